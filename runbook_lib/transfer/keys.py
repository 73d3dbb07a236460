"""Prove the foreign keys at the target while changes still arrive from the source."""

from __future__ import annotations

from runbook_lib.errors import DatabaseError
from runbook_lib.plan.model import Service
from runbook_lib.schema.target import add_foreign_keys
from runbook_lib.transfer.flow import Link
from runbook_lib.transfer.sync import drain

_ROUNDS = 20  # one round takes milliseconds; a few are enough on a busy source


def add_keys(service: Service, link: Link, *, batch_keys: int = 2_000) -> None:
    """Add the foreign keys between two rounds of the sync, when parents and children agree.

    The tables were copied one after the other while writes went on, so a child may have come before its parent. What
    is missing is in the log: it is drained first. A child logged after its parents' table was drained can still be
    ahead; the next round brings the parent. A key that keeps failing is broken at the source too.
    """
    for attempt in range(_ROUNDS):
        drain([link], batch_keys=batch_keys)
        try:
            add_foreign_keys(service, link.writer)
            return
        except DatabaseError:
            if attempt == _ROUNDS - 1:
                raise
