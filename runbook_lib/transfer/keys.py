"""Prove keys at the target while changes still arrive from the source."""

from __future__ import annotations

from dataclasses import replace
from graphlib import CycleError, TopologicalSorter

from runbook_lib.errors import DatabaseError
from runbook_lib.plan.model import Service
from runbook_lib.schema.target import add_foreign_keys
from runbook_lib.transfer.flow import Link
from runbook_lib.transfer.sync import drain_pending
from runbook_lib.transfer.worker import exclusive

_ROUNDS = 20  # one round takes milliseconds; a few are enough on a busy source


def add_keys(service: Service, link: Link, *, batch_keys: int = 2_000) -> None:
    """Add the foreign keys between two rounds of the sync, when parents and children agree.

    The tables were copied one after the other while writes went on, so a child may have come before its parent. What
    is missing is in the log: it is drained first, children before their parents, which were committed earlier. Only
    a parent that was deleted meanwhile can be ahead of its children then; the next round brings them. A key that
    keeps failing is broken at the source too.
    """
    ordered = _children_first(link)
    for attempt in range(_ROUNDS):
        drain_pending([ordered], batch_keys=batch_keys)
        try:
            add_foreign_keys(service, link.writer)
            return
        except DatabaseError:
            if attempt == _ROUNDS - 1:
                raise


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
