"""Plans by ANALYZE (MariaDB) or EXPLAIN (MySQL) as JSON, the slowest statements by performance_schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from runbook_lib.databases.query_plan import PlanNode, QueryPlan, StatementTimes
from runbook_lib.errors import DatabaseError

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

_SLOWEST = """
SELECT digest_text, avg_timer_wait / 1e9 FROM performance_schema.events_statements_summary_by_digest
WHERE schema_name = database() AND digest_text REGEXP '^(SELECT|WITH)' ORDER BY 2 DESC LIMIT {}
"""
_STEPS = {"filesort": "sort", "using_filesort": "sort", "temporary_table": "temporary table",
          "using_temporary_table": "temporary table", "block-nl-join": "block join"}  # fmt: skip


def query_plan(db: MySQLPort, sql: str, params: Mapping[str, Any]) -> QueryPlan:
    """See Queries.query_plan; MySQL tells what it expects only."""
    explain = "ANALYZE" if db.flavour[0] == "MariaDB" else "EXPLAIN"
    [[found]] = db.rows(f"{explain} FORMAT=JSON {sql}", params)
    return QueryPlan(tuple(_nodes(json.loads(found))))


def _nodes(found: Any) -> Iterator[PlanNode]:
    if isinstance(found, list):
        for item in found:
            yield from _nodes(item)
    if not isinstance(found, Mapping):
        return
    if "table_name" in found:
        estimated = found.get("rows", found.get("rows_examined_per_scan"))
        names = str(found["table_name"]), str(found.get("key", ""))
        yield PlanNode(str(found.get("access_type", "")), *names, estimated, found.get("r_rows"))
    for name, inner in found.items():
        if name in _STEPS and inner:
            yield PlanNode(_STEPS[name])
        yield from _nodes(inner)


def slowest_statements(db: MySQLPort, limit: int) -> StatementTimes:
    """See Queries.slowest_statements."""
    if str(db.rows("SHOW GLOBAL VARIABLES LIKE 'performance_schema'")[0][1]) != "ON":
        return StatementTimes({}, "the server counts no statements (performance_schema is off)")
    try:
        return StatementTimes({str(text): float(ms) for text, ms in db.rows(_SLOWEST.format(limit))})
    except DatabaseError as error:
        return StatementTimes({}, f"{error.observed}; grant SELECT on performance_schema.* to the login")
