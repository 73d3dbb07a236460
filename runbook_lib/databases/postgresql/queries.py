"""Plans by EXPLAIN (ANALYZE), the slowest statements by pg_stat_statements."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from runbook_lib.databases.query_plan import PlanNode, QueryPlan, StatementTimes
from runbook_lib.errors import DatabaseError

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

_INSTALLED = """
SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace AS n ON n.oid = extnamespace
WHERE extname = 'pg_stat_statements'
"""
_SLOWEST = """
SELECT query, mean_exec_time FROM {}.pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND query ~* '^\\s*(select|with)\\M'
ORDER BY mean_exec_time DESC LIMIT {}
"""


def query_plan(db: PostgreSQLPort, sql: str, params: Mapping[str, Any]) -> QueryPlan:
    """See Queries.query_plan."""
    [[found]] = db.rows(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", params)
    [top] = json.loads(found) if isinstance(found, str) else found
    return QueryPlan(tuple(_nodes(top["Plan"])))


def _nodes(node: Mapping[str, Any]) -> Iterator[PlanNode]:
    names = node.get("Relation Name", ""), node.get("Index Name", "")
    yield PlanNode(node["Node Type"], *names, node.get("Plan Rows"), node.get("Actual Rows"))
    for inner in node.get("Plans", ()):
        yield from _nodes(inner)


def slowest_statements(db: PostgreSQLPort, limit: int) -> StatementTimes:
    """See Queries.slowest_statements."""
    schema = db.rows(_INSTALLED)
    if not schema:
        return StatementTimes({}, "the extension pg_stat_statements is not in this database")
    try:
        return StatementTimes({str(text): float(ms) for text, ms in db.rows(_SLOWEST.format(schema[0][0], limit))})
    except DatabaseError as error:  # not among shared_preload_libraries, or not for this login
        return StatementTimes({}, error.observed)
