"""Check: every row is equal. Sums per key range inside the databases; rows are fetched only where ranges differ."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from runbook_lib.databases.port import KeyRange
from runbook_lib.transfer.links import Flow, Link
from runbook_lib.validation.checkpoint import TableRanges, identity
from runbook_lib.validation.context import Context, Deadline, each_table, label
from runbook_lib.validation.options import CheckProgress
from runbook_lib.validation.report.mismatches import CheckResult, Kind, Mismatch
from runbook_lib.validation.rows import given_keys, keyless
from runbook_lib.validation.rows.compared import Compared, Key
from runbook_lib.validation.rows.drill_down import DrillDownResult, Suspects, narrow
from runbook_lib.validation.rows.duplicate_keys import twice
from runbook_lib.validation.rows.range_checksums import encoding, range_rows, sum_both
from runbook_lib.validation.rows.recheck import settle
from runbook_lib.validation.rows.row_pairs import NO_COLUMN, read_pairs
from runbook_lib.validation.rows.sampling import ends
from runbook_lib.validation.rows.small_tables import equal_sums, only_ranges

NAME = "checksums"


def checksums(link: Link, context: Context) -> CheckResult:
    """Compare the checksums of every table of a link and name the rows that differ.

    Own record hash where both sides are the same engine and major version, the canonical encoding otherwise.
    """
    if context.options.only_keys is not None:
        return each_table(NAME, link, context, lambda flow: given_keys.compare(NAME, link, flow, context))
    deadline, told = context.deadline(), _Told(link, context)
    equal = equal_sums(link, context, told.more)

    def look(flow: Flow) -> CheckResult:
        if (rows := equal.get(flow)) is None:
            return _table(link, flow, context, deadline, told)
        return CheckResult(NAME, figures={label(link, flow): {"rows": rows, "ranges": 1, "unequal_ranges": 0}})

    return each_table(NAME, link, context, look, tell=False)


class _Told:
    """How far the rows of a link are, reported after each range."""

    def __init__(self, link: Link, context: Context) -> None:
        self._context, self._tables, self._rows = context, len(link.flows), 0
        read, _ = context.catalogs(link)
        self._total = max(1, sum(read[flow.feeds[0].table].rows_estimate for flow in link.flows))

    def more(self, flow: Flow, rows: int) -> None:
        """So many more rows of this table are compared."""
        self._rows += rows
        self._context.options.on_progress(CheckProgress(NAME, flow.table, 0, self._tables, self._rows, self._total))


def _table(link: Link, flow: Flow, context: Context, deadline: Deadline, told: _Told) -> CheckResult:
    side = context.compared(link, flow)
    if not side.key:
        rows, found = keyless.compare(NAME, link, flow, side, context)
        told.more(flow, rows)
        return found
    wanted = range_rows(link, flow, context)
    cut = _cut(link, flow, side, context, wanted)
    rows, unequal = sum(each.rows for each in cut.taken.values()), list[tuple[KeyRange, int]]()
    told.more(flow, rows)
    for key_range, there, here, at in sum_both(link, side, cut.left, context, wanted):
        rows += there.rows
        if there != here:
            unequal.append((key_range, max(there.rows, here.rows)))
        else:
            cut.agreed(key_range, there.rows, at)
        told.more(flow, there.rows)
    figures: dict[str, Any] = {"rows": rows, "ranges": len(cut.ranges), "unequal_ranges": len(unequal)}
    if cut.taken:
        oldest = datetime.fromtimestamp(min(each.at for each in cut.taken.values()), UTC)
        figures |= {"taken_over": len(cut.taken), "taken_over_since": oldest.isoformat(timespec="seconds")}
    if not unequal and not cut.taken:
        context.counted(link, flow, rows, rows)
    if not unequal:
        return CheckResult(NAME, figures={label(link, flow): figures})
    narrowed = narrow(link, side, unequal, context)
    found = settle(NAME, link, flow, side, narrowed.keys, context, deadline)
    figures["suspects"] = len(narrowed.rows)
    figures |= _extent(link, side) if found.mismatches else {}  # for the chart of where they lie
    found = found.plus(_rest(link, flow, side, unequal, narrowed, found, context))
    found = found.plus(twice(NAME, link, flow, side, context))
    return found.plus(CheckResult(NAME, figures={label(link, flow): figures}))


def _cut(link: Link, flow: Flow, side: Compared, context: Context, wanted: int) -> TableRanges:
    """The table's ranges, with what an interrupted comparison has compared of them."""

    def ranges() -> list[KeyRange]:
        if only := only_ranges(link, context).get(flow.table):
            return [only]
        return link.reader.ranges(side.reading, wanted)

    if context.options.record is None:
        return TableRanges(ranges())
    read, written = context.catalogs(link)
    tables = (read[flow.feeds[0].table], written[flow.table])
    return context.options.record.cut(link, identity(link, flow, side, tables, encoding(link, context)), ranges)


def _extent(link: Link, side: Compared) -> dict[str, Any]:
    """The first and the last key at the source; of an empty table none."""
    found = ends(link.reader, side.reading, side)
    return {"first_key": list(found[0]), "last_key": list(found[-1])} if found else {}


def _rest(
    link: Link,
    flow: Flow,
    side: Compared,
    unequal: Suspects,
    narrowed: DrillDownResult,
    found: CheckResult,
    context: Context,
) -> CheckResult:
    """What the rows that were read do not explain: ranges left alone, and rows that hashes alone tell apart."""
    named = {mismatch.key for mismatch in (*found.mismatches, *found.in_flight)}
    rows = {row[0]: row for row in narrowed.rows if row[0] not in named}
    pairs = read_pairs(link, side, list(rows), context)
    blind = [rows[pair.key] for pair in pairs if pair.source is None and pair.target is None]
    if context.options.under_writes and blind:  # or deleted since: then they are not listed again
        blind = [row for row in narrow(link, side, unequal, context).rows if row in blind]
    if not context.options.under_writes:
        blind += [rows[pair.key] for pair in pairs if pair.source and pair.target and all(rows[pair.key][1:])]
    errors = {}
    if narrowed.left:
        errors[label(link, flow)] = (
            f"more rows differ than the {len(narrowed.rows):,} that are named: copy the table again"
        )
    return CheckResult(NAME, mismatches=tuple(_only_by_hash(link, flow, *row) for row in blind), errors=errors)


def _only_by_hash(link: Link, flow: Flow, key: Key, there: str | None, here: str | None) -> Mismatch:
    """A row that only its hashes tell of."""
    kind = Kind.DIFFERENT if there and here else Kind.MISSING_ON_TARGET if there else Kind.MISSING_ON_SOURCE
    text = NO_COLUMN if kind is Kind.DIFFERENT else f"{kind.replace('_', ' ')}; not found again by its key"
    return Mismatch(NAME, link.service, flow.table, kind, key, text=text)
