"""The durable, append-only, hash-chained record of a run; also its lease, its time series and its progress.

A SQLite file by default, a PostgreSQL URL for a team. Everything a run knows is read from here: a kernel may be
killed anywhere.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from runbook_lib.journal.chain import Entry, canonical_json, digest_of, plain, verify_entries
from runbook_lib.journal.history import Ask, History, Unit
from runbook_lib.journal.progress import ProgressRow

if TYPE_CHECKING:
    from runbook_lib.journal.lease import Lease
    from runbook_lib.journal.store import Journal, RunRow, Sample

__all__ = [
    "Ask",
    "Entry",
    "History",
    "Journal",
    "Lease",
    "ProgressRow",
    "RunRow",
    "Sample",
    "Unit",
    "canonical_json",
    "digest_of",
    "plain",
    "verify_entries",
]

_STORED = {"Lease": "lease", "Journal": "store", "RunRow": "store", "Sample": "store"}


def __getattr__(name: str) -> Any:
    """What needs SQLAlchemy is loaded when it is asked for: a comparison shows progress and has no journal."""
    if name in _STORED:
        return getattr(import_module(f"runbook_lib.journal.{_STORED[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
