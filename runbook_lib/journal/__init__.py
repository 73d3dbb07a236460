"""The durable, append-only, hash-chained record of a run; also its lease, its time series and its progress.

A SQLite file by default, a PostgreSQL URL for a team. Everything a run knows is read from here: a kernel may be
killed anywhere.
"""

from __future__ import annotations

from runbook_lib.journal.chain import KINDS, Entry, canonical_json, digest_of, plain, verify_entries
from runbook_lib.journal.history import CARRIED_OVER, SCHEMA_CHANGED, Ask, History, Unit
from runbook_lib.journal.lease import Lease
from runbook_lib.journal.progress import ProgressRow
from runbook_lib.journal.store import Journal, RunRow, Sample

__all__ = [
    "CARRIED_OVER",
    "KINDS",
    "SCHEMA_CHANGED",
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
