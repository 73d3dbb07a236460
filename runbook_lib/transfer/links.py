"""What flows where: the plan's mappings turned into one flow for each written table, in either direction.

A flow reads rows at one database by key and makes the rows with these keys equal at the other. In reverse replication
a source table is written from its main table joined with the tables derived from it, so that re-reading a key
always gives the whole row: the order in which changes arrive does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from runbook_lib.databases.port import Database, Selection
from runbook_lib.schema.convert.value_policies import Rule
from runbook_lib.transfer.quarantine import Quarantine


@dataclass(frozen=True)
class Feed:
    """A captured table, with its columns whose values are the flow's key."""

    table: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Flow:
    """One written table in one direction.

    Attributes:
        table: The written table.
        relation: FROM clause at the reader.
        key: Written key columns, in order.
        columns: Written columns (key included), in order; generated columns are left out.
        expressions: What each column is at the reader, cast to the written column's type.
        types: The written columns' types.
        where: Condition at the reader.
        within: Condition at the writer: in reverse replication, rows outside never left it and are none of this flow's.
        feeds: Tables at the reader whose changes concern this flow.
        mapped: False when the rows are the same columns on both sides, untouched.
        rules: Values that the writer has not; those that the plan changes are changed in `expressions`.
        written: What each column is at the writer for a comparison, where it is not the column itself: in reverse
            replication, what was changed on the way there is read through the same expression.
        only: `ONLY ` where the written table has children by inheritance: their rows are none of its own.
        promised: Columns that the mapping promises at the writer, those that it lacks too (forward flows only).
    """

    table: str
    relation: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    expressions: tuple[str, ...]
    types: tuple[str, ...]
    where: str
    feeds: tuple[Feed, ...]
    mapped: bool = False
    promised: tuple[str, ...] = ()
    within: str = ""
    rules: tuple[Rule, ...] = ()
    written: tuple[str, ...] = ()
    only: str = ""

    @property
    def reading(self) -> Selection:
        """The rows at the reader."""
        keys = tuple(self.expressions[self.columns.index(column)] for column in self.key)
        return Selection(self.relation, keys, self.expressions, self.where)

    def writing(self, writer: Database) -> Selection:
        """The same rows where they were written."""
        quoted = self.written or tuple(writer.ident(column) for column in self.columns)
        return Selection(
            self.only + writer.quote(self.table), tuple(writer.ident(c) for c in self.key), quoted, self.within
        )


@dataclass(frozen=True)
class Link:
    """All flows between one reader and one writer; `channel` names its capture logs and its progress.

    `service` is the plan's; "" between two databases without a plan.
    `opposite` is the link back, for a comparison while that one is being synced: its log explains differences too.
    `quarantine` takes the rows that the writer refuses; None: the first of them is an error.
    """

    channel: str
    service: str
    reader: Database
    writer: Database
    flows: tuple[Flow, ...]
    forward: bool = True
    opposite: Link | None = None
    quarantine: Quarantine | None = None

    @cached_property
    def fed(self) -> dict[str, list[tuple[Flow, Feed]]]:
        """What each captured table feeds."""
        found: dict[str, list[tuple[Flow, Feed]]] = {}
        for flow in self.flows:
            for feed in flow.feeds:
                found.setdefault(feed.table, []).append((flow, feed))
        return found

    @cached_property
    def captured(self) -> dict[str, tuple[str, ...]]:
        """The tables to capture at the reader, with the columns that are logged (the union of what they feed)."""
        logged: dict[str, dict[str, None]] = {}
        for flow in self.flows:
            for feed in flow.feeds:
                logged.setdefault(feed.table, {}).update(dict.fromkeys(feed.columns))
        return {table: tuple(columns) for table, columns in logged.items()}
