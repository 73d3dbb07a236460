"""The sync process: a stop that comes first is seen, and nobody drains beside it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from estate_transfer import an_estate
from fix_servers import PostgresServer

from runbook_lib.errors import TransferError
from runbook_lib.journal import Journal
from runbook_lib.transfer.worker import exclusive, last_entry, running, stop_sync, sync_forever


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
    journal.open_run("r", environment="t", plan_digest="p", plan_path="p", inventory_digest="i", actor="a")
    handlers = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    yield journal
    for number, handler in handlers:
        signal.signal(number, handler)
    journal.close()


def test_a_stop_that_was_asked_for_before_the_sync_came_up_ends_it_before_it_drains(
    postgresql_server: PostgresServer, journal: Journal
) -> None:
    with an_estate(postgresql_server, "ready") as estate:
        since = last_entry(journal, "r")
        stop_sync(estate.forward, journal, "r", "forward")
        assert sync_forever(estate.forward, journal, "r", "forward", batch_keys=10, since=since) == 0
        assert [entry.step for entry in journal.entries("r", kind="note")] == ["sync_stop"]


def test_whoever_drains_alone_keeps_a_sync_out(postgresql_server: PostgresServer, journal: Journal) -> None:
    with an_estate(postgresql_server, "ready") as estate, exclusive(estate.forward):
        assert running(estate.forward)
        with pytest.raises(TransferError, match="another one is running"):
            sync_forever(estate.forward, journal, "r", "forward", batch_keys=10)
