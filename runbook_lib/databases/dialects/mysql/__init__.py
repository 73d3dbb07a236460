"""The SQL of MySQL and MariaDB."""

from __future__ import annotations

from runbook_lib.databases.dialect import Dialect
from runbook_lib.databases.dialects.mysql.repair import MySQLRepair
from runbook_lib.databases.identifiers import ident
from runbook_lib.databases.model import Sequence_


class MySQLDialect(Dialect):
    """MySQL 8 and MariaDB 10.6 and newer."""

    name = "mysql"
    longest_name = (64, "characters")
    repair = MySQLRepair
    loud_triggers = True

    def ident(self, name: str) -> str:
        return ident(name, "`")

    def parts(self, name: str) -> tuple[str, ...]:
        return (name,)  # a table is one of the connected database: a dot belongs to its name

    def advance(self, sequence: Sequence_, last: int) -> str:
        return "" if sequence.column else f"SELECT setval({self.ident(sequence.name)}, {last})"


DIALECT = MySQLDialect()
