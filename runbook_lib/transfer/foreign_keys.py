"""Prove keys at the target while changes still arrive from the source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter

from runbook_lib.databases.port import Table
from runbook_lib.errors import TransferError
from runbook_lib.plan.model import Service
from runbook_lib.schema.convert.left_behind import LeftBehind, make_each, reasons_in_one_line
from runbook_lib.schema.kept_scripts import KEYS
from runbook_lib.transfer.links import Link
from runbook_lib.transfer.sync import drain_pending
from runbook_lib.transfer.sync_process import exclusive
from runbook_lib.transfer.user_triggers import keep_waiting

_ROUNDS = 20  # one round takes milliseconds; a few are enough on a busy source
_QUIET_ROUNDS = 2  # without anything in the log: another one would find the same rows


def add_keys(service: Service, link: Link, *, batch_keys: int = 2_000) -> list[LeftBehind]:
    """Add the foreign keys between two rounds of the sync, when parents and children agree.

    The tables were copied one after the other while writes continued, so a child may have come before its parent. What
    is missing is in the log: it is drained first, children before their parents, which were committed earlier. Only
    a parent that was deleted meanwhile can be ahead of its children then; the next round brings them. A key that
    keeps failing is broken at the source too: only it is tried again, and it keeps no other back.

    Returns:
        The keys that could not be made.
    """
    keep_waiting(service.name, link)
    ordered = _children_first(link)
    left, quiet = list[LeftBehind](), 0
    for _ in range(_ROUNDS):
        drain_pending([ordered], batch_keys=batch_keys)
        left = make_each(service.name, link.writer, KEYS)
        quiet = quiet + 1 if not any(part.keys for part in link.reader.pending(link.channel).values()) else 0
        if not left or quiet == _QUIET_ROUNDS:
            break
    return left


def require_sync_keys(link: Link, left: Sequence[LeftBehind]) -> None:
    """Changes are applied by key: a key that the sync needs may not be among what could not be made.

    Raises:
        TransferError: a table has no unique index over its key at the target; the rows and all else stay.
    """
    if not left:
        return
    here = link.writer.catalog([flow.table for flow in link.flows])
    for flow in link.flows:
        if flow.table in here and not _unique(here[flow.table], flow.key):
            mine = [one for one in left if one.table == flow.table]
            raise TransferError(
                f"{link.writer.name}: {flow.table}",
                f"changes are applied by its key ({', '.join(flow.key)}), which could not be made"
                f"{': ' if mine else ''}{reasons_in_one_line(mine)}",
                state="all rows are copied, changes stay in the log at the source",
                action="correct it and run the same copy again, which resumes here; or leave the table out (--tables)",
            )


def _unique(table: Table, key: Sequence[str]) -> bool:
    wanted = set(key)
    whole = (index for index in table.indexes if index.unique and index.valid and not index.partial)
    return set(table.key) == wanted or any(set(index.columns) == wanted for index in whole)


def settle(link: Link, *, batch_keys: int = 2_000) -> None:
    """Apply what is logged by now, as the only one who does."""
    with exclusive([link]):
        drain_pending([link], batch_keys=batch_keys)


def _children_first(link: Link) -> Link:
    read = link.reader.catalog(list(link.captured))
    parents = {
        name: {c.referenced_table for c in table.constraints if c.kind == "foreign"} - {name}
        for name, table in read.items()
    }
    try:
        order = {name: -at for at, name in enumerate(TopologicalSorter(parents).static_order())}
    except CycleError:  # no order is right
        return link
    return replace(link, flows=tuple(sorted(link.flows, key=lambda flow: order[flow.feeds[0].table])))
