"""What every check is given: how to look, both catalogs (read once), and a pool that works on both sides at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Catalogs, Database, KeyRange, Selection
from runbook_lib.errors import RunbookError
from runbook_lib.schema.convert.expected_table import Promised
from runbook_lib.transfer.links import Flow, Link
from runbook_lib.validation.checks.object_matching import promises
from runbook_lib.validation.report.mismatches import CheckResult, joined, labelled
from runbook_lib.validation.rows.common_type import widest
from runbook_lib.validation.rows.compared import Compared

if TYPE_CHECKING:
    from runbook_lib.validation.checkpoint import Record

COUNT_ROWS = 20_000_000  # rows counted in one statement: about a second

Left = TypeVar("Left")
Right = TypeVar("Right")
Keys = Sequence[tuple[Any, ...]]


@dataclass(frozen=True)
class Progress:
    """How far a check is: `done` of `total` tables; `table` is the one begun now ("" at the end).

    `rows` and `rows_total` (counts, of the whole link, estimated) are reported by the check that reads every row.
    """

    check: str
    table: str
    done: int
    total: int
    rows: int = 0
    rows_total: int = 0

    @property
    def at(self) -> int:
        """So far, in `unit`."""
        return self.rows if self.rows_total else self.done

    @property
    def of(self) -> int:
        """In all, in `unit`; never less than `at`, as it is an estimate."""
        return max(self.rows_total, self.rows) or self.total

    @property
    def unit(self) -> str:
        return "rows" if self.rows_total else "tables"


@dataclass(frozen=True)
class Deadline:
    """Time to settle, shared by the tables of one check (seconds, monotonic)."""

    at: float

    @property
    def over(self) -> bool:
        return time.monotonic() >= self.at


@dataclass(frozen=True)
class Context:
    """How to look. See `runbook_lib.validation.validate` for the meaning and the units of each field."""

    pool: ThreadPoolExecutor
    jobs: int = 2
    under_writes: bool = True
    settle_s: float = 5.0
    chunk_rows: int = 0
    sample_rows: int = 1000
    seed: int = 0
    only_keys: Mapping[tuple[str, str], Keys] | None = None
    sequences: bool = False
    types: Mapping[str, Any] = field(default_factory=dict)
    require: Collection[str] = ()
    record: Record | None = None
    on_progress: Callable[[Progress], None] = lambda progress: None
    memo: dict[Any, Any] = field(default_factory=dict)

    def once(self, key: Any, work: Callable[[], Left]) -> Left:
        """Do something once for this validation."""
        if key not in self.memo:
            self.memo[key] = work()
        found: Left = self.memo[key]
        return found

    def both(self, left: Callable[[], Left], right: Callable[[], Right]) -> tuple[Left, Right]:
        """Ask both sides at the same time. Only from the thread that validates: tasks never wait for tasks."""
        other = self.pool.submit(right)
        return left(), other.result()

    def catalogs(self, link: Link) -> Catalogs:
        """The link's tables at the reader and at the writer."""
        return self.once(("catalogs", link.channel), lambda: self._read_catalogs(link))

    def catalogs_now(self, link: Link) -> Catalogs | None:
        """The same read again, once, when all is compared; None where that is not possible any more."""

        def read() -> Catalogs | None:
            try:
                return self._read_catalogs(link)
            except RunbookError:
                return None

        return self.once(("catalogs now", link.channel), read)

    def _read_catalogs(self, link: Link) -> Catalogs:
        read = list(dict.fromkeys(flow.feeds[0].table for flow in link.flows))
        written = [flow.table for flow in link.flows]
        return self.both(lambda: link.reader.catalog(read), lambda: link.writer.catalog(written))

    def row_bytes(self, link: Link, flow: Flow) -> int:
        """A row at the reader (bytes, by the statistics, at least 1)."""
        table = self.catalogs(link)[0][flow.feeds[0].table]
        return max(1, table.size_bytes // max(1, table.rows_estimate))

    def promised(self, link: Link) -> dict[str, Promised]:
        """What the target has to show, by written table: as the source is, or as its translation says."""
        return self.once(("promised", link.channel), lambda: promises(link, *self.catalogs(link), self.types))

    def compared(self, link: Link, flow: Flow) -> Compared:
        """The columns to compare; generated columns are excluded from copying and included here."""
        return self.once(("compared", link.channel, flow), lambda: self._compared(link, flow))

    def _compared(self, link: Link, flow: Flow) -> Compared:
        columns, types, extra = flow.columns, self._types(link, flow), self._generated(link, flow)
        reading, writing = flow.reading, flow.writing(link.writer)
        if extra:
            names = tuple(extra)
            columns, types = (*columns, *names), (*types, *extra.values())
            reading = replace(reading, columns=(*reading.columns, *map(link.reader.ident, names)))
            writing = replace(writing, columns=(*writing.columns, *map(link.writer.ident, names)))
        stored = self._stored(link, flow, reading.columns)
        filled = self._never_null(link, flow)
        loose = all(dialect_of(side.dialect).loose_types for side in (link.reader, link.writer))
        alike = "all" if loose else "misfits"
        reading, writing = (
            replace(one, never_null=tuple(one.columns[number] for number in filled), as_stored=alike)
            for one in (reading, writing)
        )
        return Compared(reading, writing, flow.key, columns, types, stored)

    def _stored(self, link: Link, flow: Flow, read: Sequence[str]) -> tuple[str, ...]:
        columns = self.catalogs(link)[0][_names(flow)[0]].columns
        own = {sql: column.type for column in columns for sql in (column.name, link.reader.ident(column.name))}
        return tuple(own.get(sql, "") for sql in read)

    def _types(self, link: Link, flow: Flow) -> tuple[str, ...]:
        """The written types, or the source's where those round; in reverse, what the source keeps is enough."""
        dialect = link.reader.dialect
        if flow.mapped or not link.forward or self.only_keys is not None or dialect != link.writer.dialect:
            return flow.types
        read = {column.name: column.type for column in self.catalogs(link)[0][_names(flow)[0]].columns}
        both = zip(flow.columns, flow.types, strict=True)
        return tuple(widest(read.get(name, kind), kind, dialect) for name, kind in both)

    def _never_null(self, link: Link, flow: Flow) -> tuple[int, ...]:
        """The flow's columns that are NOT NULL on both sides, of the same type, and read as they are."""
        if flow.mapped or link.reader.dialect != link.writer.dialect:
            return ()
        read, written = (
            {column.name: column.type for column in tables[name].columns if not column.nullable}
            for tables, name in zip(self.catalogs(link), _names(flow), strict=True)
        )
        plain = [
            flow.expressions[number] == link.reader.ident(name) and name in read and read[name] == written.get(name)
            for number, name in enumerate(flow.columns)
        ]
        return tuple(number for number, sure in enumerate(plain) if sure)

    def _generated(self, link: Link, flow: Flow) -> dict[str, str]:
        if flow.mapped or self.only_keys is not None:
            return {}
        read, written = (tables[name] for tables, name in zip(self.catalogs(link), _names(flow), strict=True))
        there = {column.name for column in read.columns}
        return {
            column.name: column.type
            for column in written.columns
            if column.name not in flow.columns and column.generated and column.name in there
        }

    def counts(self, link: Link, flow: Flow, *, now: bool = False) -> tuple[int, int]:
        """The rows on both sides: as they were counted, or summed and found equal, before; else, or `now`, counted."""
        known = ("rows", link.channel, flow)
        if now:
            self.memo.pop(known, None)
        return self.once(known, lambda: self._count(link, flow))

    def _count(self, link: Link, flow: Flow) -> tuple[int, int]:
        reading, writing = flow.reading, flow.writing(link.writer)
        pieces = [KeyRange(0)]
        if flow.key and self.catalogs(link)[0][flow.feeds[0].table].rows_estimate > COUNT_ROWS:
            pieces = link.reader.ranges(reading, COUNT_ROWS)
        return self.both(lambda: _counted(link.reader, reading, pieces), lambda: _counted(link.writer, writing, pieces))

    def counted(self, link: Link, flow: Flow, there: int, here: int) -> None:
        """Both sides have just been counted, or read in full: so many rows."""
        self.memo["rows", link.channel, flow] = (there, here)

    def is_counted(self, link: Link, flow: Flow) -> bool:
        """Whether `counts` asks nobody."""
        return ("rows", link.channel, flow) in self.memo

    def different(self, link: Link, flow: Flow) -> dict[Any, Any]:
        """The rows that a check has found different for good: key → both sides as they were then."""
        return self.once(("different", link.channel, flow.table), dict)

    def deadline(self) -> Deadline:
        """From now on, `settle_s` seconds."""
        return Deadline(time.monotonic() + self.settle_s)


@contextmanager
def working(threads: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of so many threads; work that is given up (Ctrl-C) waits for the statements under way, and begins none."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="validate")
    try:
        yield pool
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
    finally:
        pool.shutdown()


def _counted(database: Database, selection: Selection, pieces: Sequence[KeyRange]) -> int:
    return sum(database.count(replace(selection, where=database.condition(selection, each))) for each in pieces)


def _names(flow: Flow) -> tuple[str, str]:
    return flow.feeds[0].table, flow.table


def label(link: Link, flow: Flow) -> str:
    """`service.table`, as the report's grid calls it; without a plan just the table."""
    return labelled(link.service, flow.table)


def each_table(
    check: str, link: Link, context: Context, look: Callable[[Flow], CheckResult], *, tell: bool = True
) -> CheckResult:
    """Check every table of a link; one that cannot be checked is recorded with its reason, the others continue.

    `tell` is False for a check that says itself how far it is.
    """
    results = [CheckResult(check)]
    for done, flow in enumerate(link.flows):
        table = label(link, flow)
        if tell:
            context.on_progress(Progress(check, table, done, len(link.flows)))
        try:
            found = look(flow)
        except Exception as error:
            found = CheckResult(check, errors={table: reason(error)})
        results.append(replace(found, tables=(table,)))
    context.on_progress(Progress(check, "", len(link.flows), len(link.flows)))
    return joined(results)


def could_not_run(check: str, link: Link, error: Exception) -> CheckResult:
    """A check that could not run for any table of a link."""
    tables = tuple(label(link, flow) for flow in link.flows)
    return CheckResult(check, tables, errors=dict.fromkeys(tables, reason(error)))


def reason(error: Exception) -> str:
    """Why something could not run, in one line."""
    if isinstance(error, RunbookError):
        return str(error)
    first = (str(error).strip() or "no message").splitlines()[0]
    return f"{type(error).__name__}: {first}"
