"""The SQL that would repair the differences of one table at a target, in its engine's words."""

from __future__ import annotations

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Table
from runbook_lib.databases.repair import Repair as Repair
from runbook_lib.schema.convert.ddl import definition
from runbook_lib.schema.convert.target_schema import TargetTable


def repair_of(dialect: str, here: Table, promised: TargetTable) -> Repair:
    """The repairs of a table, as it is and as it should be.

    Args:
        dialect: The target's engine.
    """
    return dialect_of(dialect).repair(here, promised.table, definition(promised, dialect))
