"""While a sync runs, a schema that changes is named within seconds; what can be synced continues (held.py).

The same look, taken before a comparison and again when the writers are fenced, says that what was compared is still so.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from runbook_lib.databases.port import Database
from runbook_lib.errors import CutoverAborted, DatabaseError, RunbookError
from runbook_lib.schema.snapshot import table_lines
from runbook_lib.transfer.links import Link

EVERY_S = 2.0
SHARE = 20  # a look that takes long is taken as much more rarely: at most a twentieth of the time
_NAMED = 4


@dataclass
class _Side:
    database: Database
    tables: Sequence[str]
    whole: bool  # of a copy of everything: a new table concerns it, too
    marks: Mapping[str, str] | None = None
    lines: dict[str, set[str]] = field(default_factory=dict)


class SchemaWatch:
    """Looks now and then at the marks of both sides of some links, and tells what has changed since the look before."""

    def __init__(
        self, links: Sequence[Link], tell: Callable[[str], object] = lambda text: sys.stderr.write(f"{text}\n")
    ) -> None:
        self.tell, self._next = tell, 0.0
        self._sides = _sides(links)
        self._links, self._gaps = links, dict[tuple[str, str], str]()

    def look(self) -> None:
        """Look, if it is time; a database that does not answer is checked the next time."""
        now = time.monotonic()
        if now < self._next:
            return
        for side in self._sides:
            try:
                for line in _changes(side):
                    self.tell(f"{line}. What both sides have is still synced")
            except DatabaseError as error:
                sys.stderr.write(f"schema of {side.database.name}: could not be checked: {error}\n")
        self._look_at_captures()
        ended = time.monotonic()
        self._next = ended + max(EVERY_S, SHARE * (ended - now))

    def _look_at_captures(self) -> None:
        """Name once what no log has: rows that came or went with a whole table."""
        found = dict[tuple[str, str], str]()
        for link in self._links:
            try:
                found |= {(link.channel, table): why for table, why in link.reader.capture_gaps(link.channel).items()}
            except RunbookError as error:
                sys.stderr.write(f"capture of {link.channel}: could not be checked: {error}\n")
                return
        for (_, table), why in sorted(found.items() - self._gaps.items()):
            self.tell(f"{table}: {why}: runbook follow apply-ddl brings its rows. The other tables are still synced")
        self._gaps = found


class SameSchema:
    """Both sides as they are when a comparison begins; made before it, and asked again behind the fence."""

    def __init__(self, links: Sequence[Link]) -> None:
        self._sides = _sides(links)
        for side in self._sides:
            list(_changes(side))

    def require(self) -> float:
        """See that nothing has changed; how long the look took (seconds).

        Raises:
            CutoverAborted: something has, each by its name.
        """
        begun = time.monotonic()
        if found := [line for side in self._sides for line in _changes(side)]:
            more = f"; {len(found) - _NAMED} more" if len(found) > _NAMED else ""
            raise CutoverAborted(
                "cutover",
                f"since both sides were compared: {'; '.join(found[:_NAMED])}{more}",
                expected="the schema that was compared",
                state="the state before the cutover is restored",
                action="runbook follow apply-ddl carries it over, then run it again",
            )
        return time.monotonic() - begun


def _sides(links: Sequence[Link]) -> list[_Side]:
    """Each database once."""
    found: dict[int, _Side] = {}
    for link in links:
        for database, tables in ((link.reader, list(link.captured)), (link.writer, [f.table for f in link.flows])):
            side = found.setdefault(id(database), _Side(database, [], not link.service))
            side.tables = [*side.tables, *tables]
    return list(found.values())


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
            if table in side.tables or side.whole or table == name:
                yield _line(side, name, before, marks, side.lines.get(table, set()), now.get(table, set()))
    side.marks = marks
    side.lines |= now


def _line(
    side: _Side, name: str, before: Mapping[str, str], marks: Mapping[str, str], old: set[str], now: set[str]
) -> str:
    words = [f"+ {line}" for line in sorted(now - old)] + [f"− {line}" for line in sorted(old - now)]
    what = "new" if name not in before else "changed" if name in marks else "gone"
    told = f": {'; '.join(words[:_NAMED])}" if words and what == "changed" else ""
    return f"{name}: {what} at {side.database.name}{told}"
