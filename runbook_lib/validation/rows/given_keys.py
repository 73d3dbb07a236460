"""Only given keys: what changed since the last validation, compared row by row (inside the cutover's fence).

Each table's keys are read once on each side, and the three checks of the data answer from that.
"""

from __future__ import annotations

from collections.abc import Sequence

from runbook_lib.transfer.links import Flow, Link
from runbook_lib.validation.context import Context, label
from runbook_lib.validation.report.mismatches import CheckResult, Kind, Mismatch
from runbook_lib.validation.rows.compared import RowPair
from runbook_lib.validation.rows.recheck import settle
from runbook_lib.validation.rows.row_pairs import as_mismatch, read_pairs


def given_keys(link: Link, flow: Flow, context: Context) -> list[tuple[object, ...]]:
    """The keys to compare in this table; a table that is not named has none."""
    return list((context.options.only_keys or {}).get((link.service, flow.table), ()))


def pairs_of(link: Link, flow: Flow, context: Context) -> list[RowPair]:
    """The given keys on both sides, read once for this validation."""
    keys = given_keys(link, flow, context)
    side = context.compared(link, flow)
    return context.caches.given.of((link.channel, flow.table), lambda: read_pairs(link, side, keys, context))


def compare(check: str, link: Link, flow: Flow, context: Context) -> CheckResult:
    """The given keys, value by value."""
    pairs = pairs_of(link, flow, context)
    side = context.compared(link, flow)
    unequal = [pair for pair in pairs if not pair.equal]
    if context.options.under_writes and unequal:
        found = settle(check, link, flow, side, [pair.key for pair in unequal], context, context.deadline())
    else:
        found = CheckResult(check, mismatches=tuple(as_mismatch(check, link, flow, side, pair) for pair in unequal))
    return found.plus(CheckResult(check, figures={label(link, flow): {"rows": len(pairs)}}))


def count(check: str, link: Link, flow: Flow, context: Context) -> CheckResult:
    """How many of the given keys there are on each side."""
    pairs = pairs_of(link, flow, context)
    there, here = _present(pairs)
    figures = {label(link, flow): {"rows": there, "target_rows": here}}
    if there == here:
        return CheckResult(check, figures=figures)
    text = f"of {len(pairs)} given keys the target has {here} rows, the source {there}"
    mismatch = Mismatch(check, link.service, flow.table, Kind.ROW_COUNT, (), (), str(there), str(here), text=text)
    return CheckResult(check, mismatches=(mismatch,), figures=figures)


def _present(pairs: Sequence[RowPair]) -> tuple[int, int]:
    return sum(pair.source is not None for pair in pairs), sum(pair.target is not None for pair in pairs)
