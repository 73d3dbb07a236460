"""Repair: the rows that a report names are copied again, just those, and compared again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runbook_lib.databases.port import Applied
from runbook_lib.errors import Refused
from runbook_lib.transfer.links import Flow, Link
from runbook_lib.transfer.sync_process import exclusive
from runbook_lib.util.text import counted
from runbook_lib.validation import repair_keyless
from runbook_lib.validation.context import Context, label, working
from runbook_lib.validation.options import ValidationOptions
from runbook_lib.validation.report.mismatches import Kind, Mismatch
from runbook_lib.validation.report.report import Report
from runbook_lib.validation.rows.compared import Key
from runbook_lib.validation.rows.row_pairs import BATCH_KEYS, as_mismatch, plain, read_pairs

FIRST_KEYS = 5  # keys of each kind that a dry run shows
DEEDS = {
    "missing on target": "insert",
    "missing on source": "delete",
    "different": "update",
    "duplicate rows": "delete",
}
ROWS = frozenset({Kind.MISSING_ON_TARGET, Kind.MISSING_ON_SOURCE, Kind.DIFFERENT})


@dataclass(frozen=True)
class Repaired:
    """What a repair did, or (dry run) would do.

    Attributes:
        planned: Table → kind → rows (counts).
        first_keys: Table → kind → the first few keys (without a key: rows), as text.
        upserted: Rows written at the target (count).
        deleted: Rows removed at the target (count).
        left: Differences of these keys that are still there.
        not_repairable: Differences that no copying of rows repairs (schema).
        refused: `service.table` of tables without a key that were left alone → why.
    """

    dry_run: bool
    planned: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    first_keys: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    upserted: int = 0
    deleted: int = 0
    left: tuple[Mismatch, ...] = ()
    not_repairable: tuple[Mismatch, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)

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
        return f"; {counted(count, 'difference')} that copying rows cannot repair" if count else ""

    @property
    def lines(self) -> list[str]:
        """For a terminal: tables and kinds with first keys, what is left, what cannot be repaired; the sum last."""
        found = []
        for table, kinds in self.planned.items():
            for kind, count in kinds.items():
                keys = self.first_keys.get(table, {}).get(kind, ())
                found.append(f"{table}: {count:,} {kind}: {DEEDS[kind]} ({'; '.join(keys)})")
        found += [f"not repaired: {why}" for why in self.refused.values()]
        found += [f"still different: {mismatch}" for mismatch in self.left[:FIRST_KEYS]]
        found += [f"not repairable: {_unrepairable(mismatch)}" for mismatch in self.not_repairable[:FIRST_KEYS]]
        hidden = max(0, len(self.not_repairable) - FIRST_KEYS)
        found += [f"not repairable: {hidden:,} more; copy the table again"] if hidden else []
        return [*found, self.text]

    def __str__(self) -> str:
        return self.text


def _unrepairable(mismatch: Mismatch) -> str:
    return f"{mismatch.table}: {mismatch.kind.replace('_', ' ')}: {mismatch.text}"


def repair(link: Link, report: Report, *, dry_run: bool = True) -> Repaired:
    """Make the rows that a report names equal at the link's target, and compare them again.

    A row is read at the source as it is now; one that the source does not have is deleted at the target. In a table
    without a key rows are made as many as at the source; where that cannot be known exactly the table is left alone,
    and it is said why. Tolerated differences stay. The link's sync is kept out meanwhile: an older row
    must not overwrite a newer one.

    Args:
        dry_run: Only say what would be done.
    Raises:
        Refused: the source is fenced, so the target has the writes: copying would undo them. Or a table without a key
            is written to; the batches before are written.
        TransferError: a sync of the link is running.
        RowRejected: the target refused a row; the batches before it are written.
    """
    mine = [m for m in report.mismatches if m.service == link.service]
    refused = {label(link, flow): why for flow in link.flows if (why := _obstacle(link, flow, report))}
    work = [_wanted(flow, mine) for flow in link.flows if label(link, flow) not in refused]
    named = {id(mismatch) for each in work for mismatch in each.named}
    hopeless = tuple(m for m in mine if m.kind is not Kind.ROW_COUNT and m.label not in refused and id(m) not in named)
    planned = {each.flow.table: each.kinds for each in work if each.named}
    first = {each.flow.table: each.first for each in work if each.named}
    if dry_run:
        return Repaired(True, planned, first, not_repairable=hopeless, refused=refused)
    _refuse_where_the_target_is_written(link)
    with exclusive([link]), working(2) as pool:
        upserted, deleted, left = _repaired_rows(link, work, Context(pool, ValidationOptions(under_writes=False)))
    return Repaired(False, planned, first, upserted, deleted, left, hopeless, refused)


@dataclass(frozen=True)
class _Wanted:
    """A table's rows to repair: those that the report names; of one with a key each key once."""

    flow: Flow
    named: list[Mismatch]

    @property
    def keys(self) -> list[Key]:
        return list({plain(mismatch.key): mismatch.key for mismatch in self.named}.values())

    @property
    def kinds(self) -> dict[str, int]:
        """Kind → rows (count)."""
        return {kind: sum(count for _, count in rows) for kind, rows in self._rows().items()}

    @property
    def first(self) -> dict[str, tuple[str, ...]]:
        """Kind → its first keys, or rows with how many there are of them; an ellipsis where there are more."""
        shown = {}
        for kind, rows in self._rows().items():
            few = [f"{text} ×{count}" if count > 1 else text for text, count in rows[:FIRST_KEYS]]
            shown[kind] = (*few, "…") if len(rows) > FIRST_KEYS else tuple(few)
        return shown

    def _rows(self) -> dict[str, list[tuple[str, int]]]:
        """Kind → its rows as text, each with how many there are too many or too few."""
        found: dict[str, dict[tuple[str, ...], tuple[str, int]]] = {}
        for mismatch in self.named:
            told = (mismatch.text, abs(mismatch.times[0] - mismatch.times[1])) if mismatch.times else None
            key = plain(mismatch.key)
            found.setdefault(mismatch.kind.replace("_", " "), {})[key] = told or (", ".join(key), 1)
        return {kind: list(rows.values()) for kind, rows in sorted(found.items())}


def _obstacle(link: Link, flow: Flow, report: Report) -> str:
    return "" if flow.key else repair_keyless.obstacle(link, flow, report)


def _wanted(flow: Flow, mismatches: list[Mismatch]) -> _Wanted:
    if not flow.key:
        return _Wanted(flow, repair_keyless.of_table(flow, mismatches))
    return _Wanted(flow, [m for m in mismatches if m.table == flow.table and m.kind in ROWS and m.key])


def _repaired_rows(link: Link, work: list[_Wanted], context: Context) -> tuple[int, int, tuple[Mismatch, ...]]:
    """Rows written and removed (counts), and what still differs."""
    upserted = deleted = 0
    left: list[Mismatch] = []
    for each in work:
        if each.named:
            done = _rows_again(link, each, context)
            upserted, deleted = upserted + done.upserted, deleted + done.deleted
            left += _compare_again(link, each, context)
    return upserted, deleted, tuple(left)


def _rows_again(link: Link, each: _Wanted, context: Context) -> Applied:
    if not each.flow.key:
        return repair_keyless.recount(link, each.flow, each.named, context)
    return _copy_again(link, each.flow, each.keys)


def _copy_again(link: Link, flow: Flow, keys: Sequence[Key]) -> Applied:
    upserted = deleted = 0
    for start in range(0, len(keys), BATCH_KEYS):
        batch = keys[start : start + BATCH_KEYS]
        rows = link.reader.read_rows(flow.reading, batch)
        applied = link.writer.apply_rows(flow.table, flow.key, flow.columns, batch, rows)
        upserted, deleted = upserted + applied.upserted, deleted + applied.deleted
    return Applied(upserted, deleted)


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


def _compare_again(link: Link, each: _Wanted, context: Context) -> list[Mismatch]:
    if not each.flow.key:
        return repair_keyless.compare_again(link, each.flow, context)
    side = context.compared(link, each.flow)
    pairs = read_pairs(link, side, each.keys, context)
    return [as_mismatch("repair", link, each.flow, side, pair) for pair in pairs if not pair.equal]
