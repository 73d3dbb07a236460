"""Capture on both sides of a link: what is logged where, and who may write where."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress

from runbook_lib.databases.port import Database, Pending
from runbook_lib.errors import RunbookError
from runbook_lib.transfer import waiting_log
from runbook_lib.transfer.links import Link

_MANY = 8  # captured tables: a read of each log costs a few statements


def enable_capture(link: Link) -> None:
    """Log every change at the reader from now on; returns when no transaction older than the log is left."""
    link.reader.install_capture(link.channel, link.captured)


def fence_writer(link: Link) -> None:
    """Let nobody but the sync write at the link's writer, whatever was made there since. Idempotent."""
    written = [flow.table for flow in link.flows]
    link.writer.prepare_fence(written)
    link.writer.raise_fence(written, timeout_s=10.0)


def capture_complete(link: Link) -> bool:
    """Whether every captured table has its log, enabled."""
    return link.reader.capture_installed(link.channel) >= frozenset(link.captured)


def disable_capture(link: Link, tables: Collection[str] | None = None) -> None:
    """Remove the link's logs and triggers, or those of these tables. What was pending is lost: it has no more use."""
    for table in [""] if tables is None else tables:
        waiting_log.remove(link, table)
    link.reader.remove_capture(link.channel, tables)


def logged_tables(link: Link) -> list[str]:
    """Captured tables whose logs are to be read: of many those that have rows, which one statement tells."""
    if len(link.captured) < _MANY:
        return list(link.captured)
    found = link.reader.pending(link.channel)
    return [table for table in link.captured if table not in found or found[table].keys]


def pending(links: Sequence[Link]) -> Pending:
    """Lag over several links: pending keys (count) and the age of the oldest (seconds)."""
    parts = [part for link in links for part in link.reader.pending(link.channel).values()]
    return Pending(sum(p.keys for p in parts), max((p.oldest_s for p in parts), default=0.0))


@contextmanager
def kept_up(*databases: Database) -> Iterator[None]:
    """Keep up with the captures of these databases meanwhile, so that no server keeps its log for hours."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(1.0):
            for database in databases:
                with suppress(RunbookError):  # the work itself meets what is wrong there; else the next second does
                    database.keep_up()

    thread = threading.Thread(target=work, name="kept up", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
