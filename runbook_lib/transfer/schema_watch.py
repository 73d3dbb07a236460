"""While a sync runs, a schema that changes is named within seconds; what can be synced goes on (held.py)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from runbook_lib.databases.port import Database
from runbook_lib.errors import DatabaseError
from runbook_lib.schema.snapshot import table_lines
from runbook_lib.transfer.links import Link

EVERY_S = 2.0
SHARE = 20  # a look that takes long is taken as much more rarely: at most a twentieth of the time


@dataclass
class _Side:
    database: Database
    tables: Sequence[str]
    whole: bool  # of a copy of everything: what is new concerns it, too
    marks: Mapping[str, str] | None = None
    lines: dict[str, set[str]] = field(default_factory=dict)


class SchemaWatch:
    """Looks now and then at the marks of both sides of some links, and tells what has changed since the look before."""

    def __init__(
        self, links: Sequence[Link], tell: Callable[[str], object] = lambda text: sys.stderr.write(f"{text}\n")
    ) -> None:
        self.tell, self._next = tell, 0.0
        self._sides = [side for link in links for side in _sides(link)]

    def look(self) -> None:
        """Look, if it is time; a database that does not answer is looked at the next time."""
        now = time.monotonic()
        if now < self._next:
            return
        for side in self._sides:
            try:
                for line in _changes(side):
                    self.tell(line)
            except DatabaseError as error:
                self.tell(f"schema of {side.database.name}: could not be looked at: {error}")
        ended = time.monotonic()
        self._next = ended + max(EVERY_S, SHARE * (ended - now))


def _sides(link: Link) -> Iterator[_Side]:
    whole = not link.service
    yield _Side(link.reader, list(link.captured), whole)
    yield _Side(link.writer, [flow.table for flow in link.flows], whole)


def _changes(side: _Side) -> Iterator[str]:
    marks, before = side.database.schema_marks(), side.marks
    if marks == before:
        return
    changed = {name for name in {*marks, *(before or {})} if marks.get(name) != (before or {}).get(name)}
    followed = [table for table in side.tables if f"table {table}" in changed]
    now = {name: set(table_lines(table)) for name, table in side.database.catalog(followed).items()} if followed else {}
    if before is not None:
        for name in sorted(changed):
            table = name.removeprefix("table ")
            if table in side.tables or side.whole:
                yield _line(side, name, table, before, now.get(table, set()))
    side.marks = marks
    side.lines |= now


def _line(side: _Side, name: str, table: str, before: Mapping[str, str], now: set[str]) -> str:
    old = side.lines.get(table, set())
    words = [f"+ {line}" for line in sorted(now - old)] + [f"− {line}" for line in sorted(old - now)]
    what = "new" if name not in before else "changed" if name in (side.marks or {}) and now else "changed or gone"
    told = f": {'; '.join(words[:4])}" if words and what == "changed" else ""
    return (
        f"{name}: {what} at {side.database.name}{told}. What both sides have goes on."
        " Next: runbook follow apply-ddl SOURCE TARGET (in a run: the next gate names it)"
    )
