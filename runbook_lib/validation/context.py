"""What every check is given: how to look, both catalogs (read once), and a pool that works on both sides at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Catalogs, Database, KeyRange, Selection
from runbook_lib.errors import RunbookError
from runbook_lib.schema.convert.target_schema import TargetTable
from runbook_lib.transfer.links import Flow, Link
from runbook_lib.validation.caches import Caches
from runbook_lib.validation.checks.object_matching import promises
from runbook_lib.validation.options import CheckProgress, ValidationOptions
from runbook_lib.validation.report.mismatches import CheckResult, joined, labelled
from runbook_lib.validation.rows.common_type import widest
from runbook_lib.validation.rows.compared import Compared

COUNT_ROWS = 20_000_000  # rows counted in one statement: about a second

Left = TypeVar("Left")
Right = TypeVar("Right")


@dataclass(frozen=True)
class Deadline:
    """Time to settle, shared by the tables of one check (seconds, monotonic)."""

    at: float

    @property
    def over(self) -> bool:
        return time.monotonic() >= self.at


@dataclass(frozen=True)
class Context:
    """How to look, the threads to do it with, and what was worked out once for all checks."""

    pool: ThreadPoolExecutor
    options: ValidationOptions = ValidationOptions()  # noqa: RUF009  frozen
    caches: Caches = field(default_factory=Caches)

    def both(self, left: Callable[[], Left], right: Callable[[], Right]) -> tuple[Left, Right]:
        """Ask both sides at the same time. Only from the thread that validates: tasks never wait for tasks."""
        other = self.pool.submit(right)
        return left(), other.result()

    def catalogs(self, link: Link) -> Catalogs:
        """The link's tables at the reader and at the writer."""
        return self.caches.catalogs.of(link.channel, lambda: self._read_catalogs(link))

    def catalogs_now(self, link: Link) -> Catalogs | None:
        """The same read again, once, when all is compared; None where that is not possible any more."""

        def read() -> Catalogs | None:
            try:
                return self._read_catalogs(link)
            except RunbookError:
                return None

        return self.caches.catalogs_now.of(link.channel, read)

    def _read_catalogs(self, link: Link) -> Catalogs:
        read = list(dict.fromkeys(flow.feeds[0].table for flow in link.flows))
        written = [flow.table for flow in link.flows]
        return self.both(lambda: link.reader.catalog(read), lambda: link.writer.catalog(written))

    def row_bytes(self, link: Link, flow: Flow) -> int:
        """A row at the reader (bytes, by the statistics, at least 1)."""
        table = self.catalogs(link)[0][flow.feeds[0].table]
        return max(1, table.size_bytes // max(1, table.rows_estimate))

    def promised(self, link: Link) -> dict[str, TargetTable]:
        """What the target has to show, by written table: as the source is, or as its translation says."""
        return self.caches.promised.of(
            link.channel, lambda: promises(link, *self.catalogs(link), self.options.types or {})
        )

    def compared(self, link: Link, flow: Flow) -> Compared:
        """The columns to compare; generated columns are excluded from copying and included here."""
        return self.caches.compared.of((link.channel, flow), lambda: self._compared(link, flow))

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
        if flow.mapped or not link.forward or self.options.only_keys is not None or dialect != link.writer.dialect:
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
        if flow.mapped or self.options.only_keys is not None:
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
        if now:
            self.caches.rows.pop((link.channel, flow), None)
        return self.caches.rows.of((link.channel, flow), lambda: self._count(link, flow))

    def _count(self, link: Link, flow: Flow) -> tuple[int, int]:
        reading, writing = flow.reading, flow.writing(link.writer)
        pieces = [KeyRange(0)]
        if flow.key and self.catalogs(link)[0][flow.feeds[0].table].rows_estimate > COUNT_ROWS:
            pieces = link.reader.ranges(reading, COUNT_ROWS)
        return self.both(lambda: _counted(link.reader, reading, pieces), lambda: _counted(link.writer, writing, pieces))

    def counted(self, link: Link, flow: Flow, there: int, here: int) -> None:
        """Both sides have just been counted, or read in full: so many rows."""
        self.caches.rows[link.channel, flow] = (there, here)

    def is_counted(self, link: Link, flow: Flow) -> bool:
        """Whether `counts` asks nobody."""
        return (link.channel, flow) in self.caches.rows

    def different(self, link: Link, flow: Flow) -> dict[Any, Any]:
        """The rows that a check has found different for good: key → both sides as they were then."""
        return self.caches.different.of((link.channel, flow.table), dict)

    def deadline(self) -> Deadline:
        """From now on, `settle_s` seconds."""
        return Deadline(time.monotonic() + self.options.settle_s)


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
            context.options.on_progress(CheckProgress(check, table, done, len(link.flows)))
        try:
            found = look(flow)
        except Exception as error:
            found = CheckResult(check, errors={table: reason(error)})
        results.append(replace(found, tables=(table,)))
    context.options.on_progress(CheckProgress(check, "", len(link.flows), len(link.flows)))
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
