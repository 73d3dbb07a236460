"""Repair: the rows that a report names are copied again, just those, and compared again."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from runbook_lib.transfer.flow import Flow, Link
from runbook_lib.validation.context import Context
from runbook_lib.validation.findings import Kind, Mismatch
from runbook_lib.validation.report import Report
from runbook_lib.validation.rows import BATCH_KEYS, Key, as_mismatch, plain, read_pairs

ROWS = frozenset({Kind.MISSING_ON_TARGET, Kind.MISSING_ON_SOURCE, Kind.DIFFERENT})


@dataclass(frozen=True)
class Repaired:
    """What a repair did, or (dry run) would do.

    Attributes:
        planned: Table → kind → rows (counts).
        upserted: Rows written at the target (count).
        deleted: Rows removed at the target (count).
        left: Differences of these keys that are still there.
        not_repairable: Differences that no copying of rows mends (no key, schema).
    """

    dry_run: bool
    planned: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    upserted: int = 0
    deleted: int = 0
    left: tuple[Mismatch, ...] = ()
    not_repairable: tuple[Mismatch, ...] = ()

    @property
    def text(self) -> str:
        """One line."""
        parts = [f"{table}: {n} {kind}" for table, kinds in self.planned.items() for kind, n in kinds.items()]
        if self.dry_run:
            return f"would repair {'; '.join(parts)}; nothing was written" if parts else "nothing to repair"
        return f"{self.upserted} rows written, {self.deleted} removed, {len(self.left)} still differ"

    def __str__(self) -> str:
        return self.text


def repair(link: Link, report: Report, *, dry_run: bool = True) -> Repaired:
    """Make the rows that a report names equal at the link's target, and compare them again.

    Copying a row again is harmless: it is read at the source as it is now. Tolerated differences stay.

    Args:
        dry_run: Only say what would be done.
    Raises:
        RowRejected: the target refused a row; the batches before it are written.
    """
    mine = [m for m in report.mismatches if m.service == link.service]
    wanted = {flow.table: _keys(flow, mine) for flow in link.flows}
    keyed = {flow.table for flow in link.flows if flow.key}
    hopeless = tuple(m for m in mine if m.kind is not Kind.ROW_COUNT and (m.kind not in ROWS or m.table not in keyed))
    planned = {flow.table: _counts(flow, mine) for flow in link.flows if wanted[flow.table]}
    if dry_run:
        return Repaired(True, planned, not_repairable=hopeless)
    upserted = deleted = 0
    left: list[Mismatch] = []
    for flow in link.flows:
        for start in range(0, len(wanted[flow.table]), BATCH_KEYS):
            batch = wanted[flow.table][start : start + BATCH_KEYS]
            rows = link.reader.read_rows(flow.reading, batch)
            applied = link.writer.apply_rows(flow.table, flow.key, flow.columns, batch, rows)
            upserted, deleted = upserted + applied.upserted, deleted + applied.deleted
        left += _compare_again(link, flow, wanted[flow.table])
    return Repaired(False, planned, upserted, deleted, tuple(left), hopeless)


def _keys(flow: Flow, mismatches: list[Mismatch]) -> list[Key]:
    keys: dict[tuple[str, ...], Key] = {}
    for mismatch in mismatches:
        if mismatch.table == flow.table and mismatch.kind in ROWS and mismatch.key and flow.key:
            keys.setdefault(plain(mismatch.key), mismatch.key)
    return list(keys.values())


def _counts(flow: Flow, mismatches: list[Mismatch]) -> dict[str, int]:
    kinds: dict[tuple[str, ...], str] = {
        plain(m.key): m.kind.replace("_", " ") for m in mismatches if m.table == flow.table and m.kind in ROWS
    }
    return {kind: list(kinds.values()).count(kind) for kind in sorted(set(kinds.values()))}


def _compare_again(link: Link, flow: Flow, keys: list[Key]) -> list[Mismatch]:
    if not keys:
        return []
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="repair") as pool:
        context = Context(pool=pool)
        side = context.compared(link, flow)
        pairs = read_pairs(link, side, keys, context)
    return [as_mismatch("repair", link, flow, side, pair) for pair in pairs if not pair.equal]
