"""Who has the writers: proven by the fences of both sides, never remembered and never guessed.

A side has them only where it is open on every table *and* the other side refuses writes to every table. Anything else
is named, side by side, and nobody is moved from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from runbook_lib.databases.port import Database
from runbook_lib.errors import TransferError

SHOWN = 5  # names in a line


class Side(StrEnum):
    """Who has the writers."""

    SOURCE = "source"
    TARGET = "target"
    BETWEEN = "nobody: a cutover was interrupted"  # both sides refuse writes to every table
    BOTH = "both: neither side refuses writes"
    MIXED = "unknown: a side is fenced in part"


@dataclass(frozen=True)
class Fences:
    """One database's tables, by whether writes to them are refused; `missing` are not there at all."""

    database: str
    fenced: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Tables asked about (count)."""
        return len(self.fenced) + len(self.open) + len(self.missing)

    @property
    def closed(self) -> bool:
        """Whether writes to every table are refused."""
        return bool(self.fenced) and not self.open and not self.missing

    @property
    def writable(self) -> bool:
        """Whether writes to every table are taken."""
        return not self.fenced and not self.missing

    def __str__(self) -> str:
        words = [f"{self.database} is fenced on {len(self.fenced)} of {self.total} tables"]
        if self.fenced and self.open:
            words.append(f"open: {_some(self.open)}")
        if self.missing:
            words.append(f"missing: {_some(self.missing)}")
        return ", ".join(words)


@dataclass(frozen=True)
class Writers:
    """Both sides' fences; of a plan with several services the target's are those of all their databases."""

    source: Fences
    targets: tuple[Fences, ...]

    @property
    def side(self) -> Side:
        """Who has the writers, as far as that is proven."""
        closed, writable = ([getattr(each, what) for each in self.targets] for what in ("closed", "writable"))
        if self.source.writable and all(closed):
            return Side.SOURCE
        if self.source.closed and all(writable):
            return Side.TARGET
        if self.source.closed and all(closed):
            return Side.BETWEEN
        return Side.BOTH if self.source.writable and all(writable) else Side.MIXED

    def __str__(self) -> str:
        return "; ".join(map(str, (self.source, *self.targets)))

    def as_dict(self) -> dict[str, Any]:
        """JSON: `side`, and of each database fenced, open and missing tables (names)."""
        sides = {"source": [self.source], "targets": list(self.targets)}
        found = {role: [_listed(each) for each in both] for role, both in sides.items()}
        return {"side": self.side.name.lower(), "source": found["source"][0], "targets": found["targets"]}

    def require(self, what: str, *allowed: Side) -> Side:
        """The side, where it is one of these.

        Raises:
            TransferError: who has the writers is not proven; the state of each side is named.
        """
        side = self.side
        if side not in allowed:
            raise TransferError(
                what,
                f"who has the writers is {side}: {self}" if side is Side.MIXED else f"{side} ({self})",
                expected="one side open on every table, and the other fenced on every table",
                state="nothing was moved or fenced",
                action=_ACTIONS.get(side, "runbook cutover or return"),
            )
        return side


_ACTIONS: Mapping[Side, str] = {
    Side.BETWEEN: "runbook cutover (or return): it begins by restoring the side that had them",
    Side.BOTH: "see which side was written to (runbook compare); where it is the source alone, runbook copy … --follow"
    " fences the target again",
    Side.MIXED: "a table or partition made since has no fence yet, or one that is missing was dropped: runbook follow"
    " apply-ddl takes it in, or lets it go; where a fence was lowered by hand, see which side was written to (runbook"
    " compare)",
}


def writers_of(source: Database, read: Sequence[str], targets: Sequence[tuple[Database, Sequence[str]]]) -> Writers:
    """Ask the fences of both sides.

    Args:
        read: The source's tables that are followed.
        targets: Each target database with its tables that are written.
    Raises:
        DatabaseError: a database does not answer.
    """
    return Writers(fences_of(source, read), tuple(fences_of(database, tables) for database, tables in targets))


def fences_of(database: Database, tables: Sequence[str]) -> Fences:
    """One database's fences over these tables."""
    asked = sorted(set(tables))
    known = set(database.tables())
    if strange := [table for table in asked if table not in known]:  # spelled otherwise, or not there
        known |= set(database.catalog(strange))
    there = [table for table in asked if table in known]
    fenced = database.fenced(there)
    return Fences(
        database.name,
        tuple(table for table in there if table in fenced),
        tuple(table for table in there if table not in fenced),
        tuple(table for table in asked if table not in known),
    )


def _listed(fences: Fences) -> dict[str, Any]:
    listed = {"fenced": list(fences.fenced), "open": list(fences.open), "missing": list(fences.missing)}
    return {"database": fences.database, **listed}


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
