"""PostgreSQL's SQL."""

from __future__ import annotations

from runbook_lib.databases.dialect import Dialect
from runbook_lib.databases.dialects.postgresql.repair import PostgreSQLRepair, advanced
from runbook_lib.databases.model import Sequence_


class PostgreSQLDialect(Dialect):
    """PostgreSQL 14 and newer."""

    name = "postgresql"
    longest_name = (63, "bytes")
    repair = PostgreSQLRepair

    def advance(self, sequence: Sequence_, last: int) -> str:
        return advanced(sequence, last)


DIALECT = PostgreSQLDialect()
