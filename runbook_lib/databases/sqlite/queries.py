"""Plans by EXPLAIN QUERY PLAN: SQLite tells neither what it expects nor what it found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from runbook_lib.databases.query_plan import PlanNode, QueryPlan, StatementTimes

if TYPE_CHECKING:
    from runbook_lib.databases.sqlite.adapter_port import SQLitePort

# "SEARCH orders USING COVERING INDEX orders_user (user_id=?)", "SCAN orders", "USE TEMP B-TREE FOR ORDER BY"
_READ = re.compile(
    r"(SCAN|SEARCH) (?:TABLE )?(\S+)(?:.* USING (?:AUTOMATIC )?(?:COVERING )?(?:INDEX (\S+)|(INTEGER \w+ KEY)))?"
)


def query_plan(db: SQLitePort, sql: str, params: Mapping[str, Any]) -> QueryPlan:
    """See Queries.query_plan; the query is not run."""
    return QueryPlan(tuple(_node(detail) for _, _, _, detail in db.rows(f"EXPLAIN QUERY PLAN {sql}", params)))


def _node(detail: str) -> PlanNode:
    found = _READ.match(detail)
    return PlanNode(found[1], found[2], found[3] or found[4] or "") if found else PlanNode(detail)


def slowest_statements(db: SQLitePort, limit: int) -> StatementTimes:  # noqa: ARG001  there are none to be limited
    """See Queries.slowest_statements."""
    return StatementTimes({}, "SQLite does not count its statements")
