"""Repair: the rows that a report names are copied again, just those, and compared again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runbook_lib.databases.shared import counted
from runbook_lib.errors import Refused
from runbook_lib.transfer.flow import Flow, Link
from runbook_lib.transfer.worker import exclusive
from runbook_lib.validation.context import Context, working
from runbook_lib.validation.findings import Kind, Mismatch
from runbook_lib.validation.report import Report
from runbook_lib.validation.rows import BATCH_KEYS, Key, as_mismatch, plain, read_pairs

FIRST_KEYS = 5  # keys of each kind that a dry run shows
DEEDS = {"missing on target": "insert", "missing on source": "delete", "different": "update"}
ROWS = frozenset({Kind.MISSING_ON_TARGET, Kind.MISSING_ON_SOURCE, Kind.DIFFERENT})


@dataclass(frozen=True)
class Repaired:
    """What a repair did, or (dry run) would do.

    Attributes:
        planned: Table → kind → rows (counts).
        first_keys: Table → kind → the first few keys, as text.
        upserted: Rows written at the target (count).
        deleted: Rows removed at the target (count).
        left: Differences of these keys that are still there.
        not_repairable: Differences that no copying of rows mends (no key, schema).
    """

    dry_run: bool
    planned: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    first_keys: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    upserted: int = 0
    deleted: int = 0
    left: tuple[Mismatch, ...] = ()
    not_repairable: tuple[Mismatch, ...] = ()

    @property
    def text(self) -> str:
        """One line."""
        parts = [f"{table}: {n} {kind}" for table, kinds in self.planned.items() for kind, n in kinds.items()]
        if self.dry_run:
            would = f"would repair {'; '.join(parts)}; nothing was written" if parts else "nothing to repair"
            return f"{would}{self._beside}"
        return f"{self.upserted} rows written, {self.deleted} removed, {len(self.left)} still differ{self._beside}"

    @property
    def _beside(self) -> str:
        count = len(self.not_repairable)
        return f"; {counted(count, 'difference')} that copying rows cannot mend" if count else ""

    @property
    def lines(self) -> list[str]:
        """For a terminal: tables and kinds with first keys, what is left, what cannot be repaired; the sum last."""
        found = []
        for table, kinds in self.planned.items():
            for kind, count in kinds.items():
                keys = self.first_keys.get(table, {}).get(kind, ())
                more = ", …" if count > len(keys) else ""
                found.append(f"{table}: {count:,} {kind}: {DEEDS[kind]} ({'; '.join(keys)}{more})")
        found += [f"still different: {mismatch}" for mismatch in self.left[:FIRST_KEYS]]
        found += [f"not repairable: {_hopeless(mismatch)}" for mismatch in self.not_repairable[:FIRST_KEYS]]
        hidden = max(0, len(self.not_repairable) - FIRST_KEYS)
        found += [f"not repairable: {hidden:,} more; copy the table again"] if hidden else []
        return [*found, self.text]

    def __str__(self) -> str:
        return self.text


def _hopeless(mismatch: Mismatch) -> str:
    """With its kind and, of a row without a key, how often it is where."""
    counts = f" (source {mismatch.source_value}, target {mismatch.target_value})" if mismatch.key else ""
    return f"{mismatch.table}: {mismatch.kind.replace('_', ' ')}: {mismatch.text}{counts}"


def repair(link: Link, report: Report, *, dry_run: bool = True) -> Repaired:
    """Make the rows that a report names equal at the link's target, and compare them again.

    A row is read at the source as it is now; one that the source does not have is deleted at the target. Tables without
    a key cannot be repaired row by row. Tolerated differences stay. The link's sync is kept out meanwhile: an older row
    must not overwrite a newer one.

    Args:
        dry_run: Only say what would be done.
    Raises:
        Refused: the source is fenced, so the target has the writes: copying would undo them.
        TransferError: a sync of the link is running.
        RowRejected: the target refused a row; the batches before it are written.
    """
    mine = [m for m in report.mismatches if m.service == link.service]
    wanted = {flow.table: _keys(flow, mine) for flow in link.flows}
    keyed = {flow.table for flow in link.flows if flow.key}
    hopeless = tuple(m for m in mine if m.kind is not Kind.ROW_COUNT and (m.kind not in ROWS or m.table not in keyed))
    kinds = {flow.table: _kinds(flow, mine) for flow in link.flows if wanted[flow.table]}
    planned = {table: {kind: len(keys) for kind, keys in found.items()} for table, found in kinds.items()}
    first = {table: {kind: keys[:FIRST_KEYS] for kind, keys in found.items()} for table, found in kinds.items()}
    if dry_run:
        return Repaired(True, planned, first, not_repairable=hopeless)
    _refuse_where_the_target_is_written(link)
    with exclusive([link]):
        upserted, deleted, left = _copy_again(link, wanted)
    return Repaired(False, planned, first, upserted, deleted, left, hopeless)


def _copy_again(link: Link, wanted: Mapping[str, list[Key]]) -> tuple[int, int, tuple[Mismatch, ...]]:
    upserted = deleted = 0
    left: list[Mismatch] = []
    for flow in link.flows:
        for start in range(0, len(wanted[flow.table]), BATCH_KEYS):
            batch = wanted[flow.table][start : start + BATCH_KEYS]
            rows = link.reader.read_rows(flow.reading, batch)
            applied = link.writer.apply_rows(flow.table, flow.key, flow.columns, batch, rows)
            upserted, deleted = upserted + applied.upserted, deleted + applied.deleted
        left += _compare_again(link, flow, wanted[flow.table])
    return upserted, deleted, tuple(left)


def _refuse_where_the_target_is_written(link: Link) -> None:
    """After the cutover the source is fenced: its rows are the older ones."""
    fenced = link.reader.fenced([feed.table for flow in link.flows for feed in flow.feeds])
    if fenced:
        raise Refused(
            f"repair of {link.writer.name}",
            f"{', '.join(sorted(fenced))} of {link.reader.name} are fenced: the target has the writes",
            state="nothing was written",
            action="repair in the other direction, or roll back first",
        )


def _keys(flow: Flow, mismatches: list[Mismatch]) -> list[Key]:
    keys: dict[tuple[str, ...], Key] = {}
    for mismatch in mismatches:
        if mismatch.table == flow.table and mismatch.kind in ROWS and mismatch.key and flow.key:
            keys.setdefault(plain(mismatch.key), mismatch.key)
    return list(keys.values())


def _kinds(flow: Flow, mismatches: list[Mismatch]) -> dict[str, tuple[str, ...]]:
    """Kind → its keys, each once, as text."""
    kind_of = {plain(m.key): m.kind.replace("_", " ") for m in mismatches if m.table == flow.table and m.kind in ROWS}
    found: dict[str, list[str]] = {}
    for key, kind in kind_of.items():
        found.setdefault(kind, []).append(", ".join(key))
    return {kind: tuple(keys) for kind, keys in sorted(found.items())}


def _compare_again(link: Link, flow: Flow, keys: list[Key]) -> list[Mismatch]:
    if not keys:
        return []
    with working(2) as pool:
        context = Context(pool=pool)
        side = context.compared(link, flow)
        pairs = read_pairs(link, side, keys, context)
    return [as_mismatch("repair", link, flow, side, pair) for pair in pairs if not pair.equal]
