"""The tables of a database as far as they can be read: one that somebody has locked keeps no other from being compared.

Reading sizes and expressions waits for a lock, and one query reads them for all tables. Where it was not granted in
time each table is asked for by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from runbook_lib.databases.adapter_helpers import Catalog
from runbook_lib.databases.port import Database, Table
from runbook_lib.errors import LockRefused
from runbook_lib.plan.model import TableMapping
from runbook_lib.validation.report.mismatches import CheckResult, Kind, Mismatch, labelled
from runbook_lib.validation.report.report import Report

AT_A_TIME = 4  # each locked table takes the whole lock timeout


@dataclass(frozen=True)
class SkippedTables:
    """Tables that are in no link: those that only the source has, and why others could not be read.

    Attributes:
        missing: (service, table) of each that the target lacks.
        unread: (service, table) → why it cannot be compared.
    """

    missing: tuple[tuple[str, str], ...] = ()
    unread: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def plus(self, other: SkippedTables) -> SkippedTables:
        """Both."""
        return SkippedTables((*self.missing, *other.missing), {**self.unread, **other.unread})


@dataclass(frozen=True)
class Read:
    """What could be read of a side's tables, and table → why another could not."""

    tables: Mapping[str, Table]
    unread: Mapping[str, str] = field(default_factory=dict)


def read_tables(database: Database, tables: Sequence[str] | None = None) -> Read:
    """Describe these tables, or all (None).

    Raises:
        DatabaseError: nothing could be read.
    """
    try:
        return Read(database.catalog(tables))
    except LockRefused:
        asked = database.tables() if tables is None else list(tables)
    found, unread = Catalog(database.name), dict[str, str]()

    def one(table: str) -> dict[str, Table] | LockRefused:
        try:
            return database.catalog([table])
        except LockRefused as error:
            return error

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for table, read in zip(asked, pool.map(one, asked), strict=True):
            if isinstance(read, LockRefused):
                unread[table] = str(read)
            else:
                found.update(read)
    return Read(found, unread)


def split(
    mappings: Sequence[TableMapping], service: str, there: Read, here: Read
) -> tuple[tuple[TableMapping, ...], SkippedTables]:
    """The mappings whose tables were read on both sides, and the others."""
    kept, missing, unread = list[TableMapping](), list[tuple[str, str]](), dict[tuple[str, str], str]()
    for mapping in mappings:
        place = service, mapping.target
        if why := there.unread.get(mapping.source) or here.unread.get(mapping.target):
            unread[place] = why
        elif mapping.source not in there.tables:
            unread[place] = f"no table {mapping.source} at the source"
        elif mapping.target not in here.tables:
            missing.append(place)
        else:
            kept.append(mapping)
    return tuple(kept), SkippedTables(tuple(missing), unread)


def with_left_out(report: Report, out: SkippedTables) -> Report:
    """The report with what is to be said of the tables in no link.

    A failure in the first of its checks for each that the target lacks, and in each check an error for each that could
    not be read.
    """
    unread = {labelled(*place): why for place, why in out.unread.items()}
    results = [_with_unread(result, unread) for result in report.results]
    check, text = results[0].check, "no such table at the target"
    found = tuple(Mismatch(check, *place, Kind.MISSING_TABLE, text=text) for place in out.missing)
    results[0] = results[0].plus(CheckResult(check, tuple(m.label for m in found), mismatches=found))
    return replace(report, results=tuple(results))


def _with_unread(result: CheckResult, unread: Mapping[str, str]) -> CheckResult:
    known = tuple(m for m in result.information if m.kind is not Kind.EXTRA_TABLE or m.label not in unread)
    return replace(result, information=known).plus(CheckResult(result.check, tuple(unread), errors=unread))
