"""The sync process: a stop that comes first is seen, and nobody drains beside it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from estate_transfer import an_estate
from fix_sandbox import wait_for
from fix_servers import PostgresServer

from runbook_lib.errors import StepFailed, TransferError
from runbook_lib.journal import Journal
from runbook_lib.journal.kinds import SyncStopRequested
from runbook_lib.operations.pair import pair_of
from runbook_lib.operations.replicate import FORWARD, follow
from runbook_lib.transfer.capture import enable_capture, fence_writer
from runbook_lib.transfer.sync_process import (
    Stop,
    exclusive,
    last_entry,
    running,
    stop_at_signals,
    stop_sync,
    sync_forever,
)


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
        assert sync_forever(estate.forward, journal, "r", "forward", batch_keys=10, stop=Stop(), since=since) == 0
        assert [entry.kind for entry in journal.entries("r")] == ["run_opened", "sync_stop_requested"]


def test_whoever_drains_alone_keeps_a_sync_out(postgresql_server: PostgresServer, journal: Journal) -> None:
    with an_estate(postgresql_server, "ready") as estate, exclusive(estate.forward):
        assert running(estate.forward)
        with pytest.raises(TransferError, match="another one is running"):
            sync_forever(estate.forward, journal, "r", "forward", batch_keys=10, stop=Stop())


def test_a_sync_that_is_to_stop_is_waited_for_while_it_makes_progress_and_named_when_it_stands_still(
    postgresql_server: PostgresServer, journal: Journal, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("runbook_lib.transfer.sync_process._LOOK_S", 0.05)
    with an_estate(postgresql_server, "ready") as estate:
        ended = threading.Event()

        def slowly() -> None:
            with exclusive(estate.forward):
                for key in range(12):  # far longer than it may stand still
                    journal.sample("r", "applied_keys", key, direction="forward")
                    ended.wait(0.05)

        sync = threading.Thread(target=slowly)
        sync.start()
        wait_for(lambda: running(estate.forward), "the sync", 30)
        stop_sync(estate.forward, journal, "r", "forward", within_s=0.3)
        sync.join()
        assert "sync forward: waiting for its batch to end since" in capsys.readouterr().err
        with (
            exclusive(estate.forward),
            pytest.raises(StepFailed, match=r"for 0 s \(0 keys pending, its last"),
        ):
            stop_sync(estate.forward, journal, "r", "forward", within_s=0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_as_a_cutover_asks_for_the_way_ends_the_follower(
    new_on: Callable[..., Any], journal: Journal, number: signal.Signals
) -> None:
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    for side in (source, target):
        side.run_script("CREATE TABLE users (id int PRIMARY KEY, name text)")
    pair = pair_of(source, target)
    enable_capture(pair.forward)
    fence_writer(pair.forward)
    said: list[str] = []

    def meanwhile() -> str:
        if not journal.entries("r", SyncStopRequested):
            journal.append("r", SyncStopRequested(FORWARD))
            os.kill(os.getpid(), number)
        assert len(said) == 1, "it continued after the signal"
        return ""

    assert follow(pair, journal, "r", said.append, pause=meanwhile) == 0
    assert said[1:] == ["stopped; 0 keys applied. Capture continues: the same command resumes"]


def test_a_second_signal_interrupts_what_the_first_one_waits_for() -> None:
    with stop_at_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(60.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):  # and means afterwards what it did
        os.kill(os.getpid(), signal.SIGINT)


def test_signals_are_ignored_once_the_last_thing_that_a_process_does_was_stopped_by_one() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        with stop_at_signals(last=True) as stop:
            pass
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
        with stop_at_signals(last=True) as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.wait(60.0)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)
