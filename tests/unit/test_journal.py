"""The journal on SQLite and on PostgreSQL: chain, append-only, concurrent writers, leases, series."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from runbook_lib.errors import JournalError, LeaseHeld
from runbook_lib.journal import Entry, Journal, ProgressRow, Sample, canonical_json, plain, verify_entries
from runbook_lib.journal.content import Unknown
from runbook_lib.journal.kinds import Note


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty journal's URL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/made/journal.sqlite"
        return
    server = request.getfixturevalue("servers")("postgresql")
    database = server.open("journal")
    name = database.masked_url.rpartition("/")[2]
    yield f"postgresql://migrator:{server.password}@127.0.0.1:{server.port}/{name}"
    server.drop(database)


@pytest.fixture
def journal(url: str) -> Iterator[Journal]:
    """A journal with one run, `r`."""
    journal = Journal(url, secrets=["hunter2secret"])
    journal.open_run("r", environment="demo", plan_digest="p", actor="anna")
    yield journal
    journal.close()


def note(journal: Journal, number: int, **more: Any) -> Entry:
    return journal.append("r", Note(data={"number": number}), **more)


def wait_for(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


# -- chain ---


def test_entries_are_numbered_chained_and_read_back(journal: Journal) -> None:
    written = [note(journal, n, phase="cutover", step="s", actor="anna") for n in range(3)]
    read = journal.entries("r")
    assert [entry.seq for entry in read] == [1, 2, 3, 4]
    assert read[1:] == written
    assert journal.verify_chain("r") == journal.head("r") == written[-1].hash
    assert journal.entries("r", Note, step="s") == written
    assert journal.entries("r", phase="cleanup") == []


def test_the_chain_can_be_recomputed_from_exported_lines(journal: Journal) -> None:
    import hashlib
    import json

    note(journal, 1)
    previous = ""
    for line in [entry.line() for entry in journal.entries("r")]:
        fields = json.loads(line)
        claimed = fields.pop("hash")
        assert fields["previous_hash"] == previous
        body = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        previous = hashlib.sha256(body.encode()).hexdigest()
        assert previous == claimed


def test_update_delete_and_truncate_are_refused_by_the_database(journal: Journal, url: str) -> None:
    note(journal, 1)
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    statements = ["UPDATE entries SET kind = 'x'", "DELETE FROM entries WHERE seq = 2"]
    statements += ["TRUNCATE entries"] if "postgresql" in url else []
    for statement in statements:
        with pytest.raises(Exception, match="append-only"), engine.begin() as connection:
            connection.execute(text(statement))
    engine.dispose()
    assert len(journal.entries("r")) == 2


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("UPDATE entries SET payload = '{\"data\":7}' WHERE seq = 3", r"entry 3 \(note .*was changed"),
        ("UPDATE entries SET actor = 'mallory' WHERE seq = 2", r"entry 2 .*was changed"),
        ("DELETE FROM entries WHERE seq = 3", r"entry 4 .* stands where entry 3 should be"),
        ("DELETE FROM entries WHERE seq = 5", "is not in the chain of 4 entries"),
        ("UPDATE runs SET plan_digest = 'other'", "the run's row does not fit its first entry"),
    ],
)
def test_tampering_is_found_and_the_first_bad_entry_named(tmp_path: Path, change: str, found: str) -> None:
    journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
    journal.open_run("r", environment="demo", plan_digest="p", actor="anna")
    head = [note(journal, n) for n in range(4)][-1].hash
    connection = sqlite3.connect(tmp_path / "journal.sqlite")
    connection.executescript(f"DROP TRIGGER entries_no_UPDATE; DROP TRIGGER entries_no_DELETE; {change}")
    connection.close()
    with pytest.raises(JournalError, match=found):
        journal.verify_chain("r", containing=head)
    journal.close()


def test_a_rewritten_hash_breaks_the_next_link() -> None:
    first = Entry(1, "r", "t", "", "", "", "note", "{}", "")
    first = Entry(**{**first.__dict__, "hash": first.computed_hash()})
    second = Entry(2, "r", "t", "", "", "", "note", "{}", "0" * 64)
    with pytest.raises(JournalError, match=r"entry 2 .* does not follow"):
        verify_entries([first, second])


def test_secrets_are_masked_and_unknown_kinds_refused(journal: Journal) -> None:
    entry = journal.append("r", Note(data={"a": ["x hunter2secret y", {"b": "hunter2secret"}]}))
    assert entry.read(Note).data == {"a": ["x *** y", {"b": "***"}]}
    with pytest.raises(JournalError, match="no such kind"):
        journal.append("r", Unknown("gossip", {}))
    with pytest.raises(JournalError, match="no such run"):
        journal.append("nobody", Note())


def test_payloads_become_plain_json(journal: Journal) -> None:
    at = datetime(2026, 11, 22, tzinfo=UTC)
    payload = {"d": Decimal("1.50"), "t": at, "p": Path("/x"), "n": math.nan, "s": {2, 1}, "u": "é\x00\ud800", 3: (1,)}
    assert journal.append("r", Note(data=payload)).read(Note).data == {
        "d": "1.50", "t": "2026-11-22T00:00:00+00:00", "p": "/x", "n": "nan", "s": [1, 2], "u": "é\x00\ud800", "3": [1],
    }  # fmt: skip
    with pytest.raises(JournalError, match=r"payload\.x\[1\]: a object cannot be recorded"):
        plain({"x": [1, object()]})


# -- concurrent writers ---


def _write_many(url: str, worker: int, count: int) -> None:
    journal = Journal(url)
    for number in range(count):
        journal.append("r", Note(data={"worker": worker, "number": number}))
    journal.close()


def test_writers_in_several_processes_take_turns(journal: Journal, url: str) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write_many, args=(url, worker, 25)) for worker in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    journal.verify_chain("r")
    seen = [entry.read(Note).data for entry in journal.entries("r", Note)]
    assert len(seen) == 75
    for worker in range(3):
        assert [p["number"] for p in seen if p["worker"] == worker] == list(range(25))


def test_only_one_run_of_an_environment_is_opened(journal: Journal) -> None:
    other = journal.open_run("r2", environment="demo", plan_digest="p2", actor="ben")
    assert other.run_id == "r" and [row.run_id for row in journal.runs()] == ["r"]
    assert journal.open_run("s", environment="staging", plan_digest="p", actor="ben").run_id == "s"
    journal.set_state("r", "done")
    closed = journal.latest_run("demo")
    assert closed is not None and closed.closed_at and closed.state == "done"
    assert journal.latest_run("demo", states=("open",)) is None


def test_a_forked_child_does_not_disturb_its_parent(journal: Journal) -> None:
    child = os.fork()
    if child == 0:
        try:
            journal.append("r", Note("child"))
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    note(journal, 1)
    journal.verify_chain("r")


# -- leases ---

_HOLD = """
import sys, time
from runbook_lib.journal import Journal
journal = Journal(sys.argv[1])
lease = journal.lease("r", "ben", float(sys.argv[2]))
lease.acquire()
print("held", flush=True)
sys.stdin.read()
lease.release()
"""


@pytest.fixture
def holder(journal: Journal, url: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts another process that holds the lease until its input ends."""
    started: list[subprocess.Popen[str]] = []

    def hold(ttl_s: float = 30.0) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", _HOLD, url, str(ttl_s)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
        process.communicate(timeout=20)


def test_a_second_operator_is_told_who_holds_the_lease(journal: Journal, holder: Callable[..., Any]) -> None:
    process = holder()
    with pytest.raises(LeaseHeld, match=rf"r: ben acts on this run \(host .*, process {process.pid}, since 20"):
        journal.lease("r", "anna").acquire()
    process.communicate(timeout=20)
    with journal.lease("r", "anna") as lease:
        note(journal, 1, token=lease.token)


def test_the_lease_of_a_killed_process_is_taken_over_at_once(journal: Journal, holder: Callable[..., Any]) -> None:
    process = holder()
    process.kill()
    wait_for(lambda: _state(process.pid) == "Z")  # not even reaped
    with journal.lease("r", "anna") as lease:
        assert lease.held


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_heartbeat_keeps_a_short_lease(journal: Journal, holder: Callable[..., Any]) -> None:
    holder(0.6)
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        with pytest.raises(LeaseHeld):
            journal.lease("r", "anna").acquire()
        time.sleep(0.1)


def test_who_slept_through_the_end_of_his_lease_is_fenced_off(journal: Journal, url: str) -> None:
    sleeper = journal.lease("r", "anna", 0.3)
    sleeper.acquire()
    token = sleeper.token
    sleeper._stop.set()  # as if the machine had been suspended: no more heartbeats
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD.replace("lease.acquire()", _RETRY), url, "30"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    with pytest.raises(LeaseHeld, match="ben acts on this run"):
        note(journal, 1, token=token)
    process.communicate(timeout=20)
    with pytest.raises(LeaseHeld, match="no longer ours"):
        note(journal, 1, token=token)
    sleeper.release()
    assert len(journal.entries("r")) == 1


_RETRY = """
from runbook_lib.errors import LeaseHeld
while True:
    try:
        lease.acquire()
        break
    except LeaseHeld:
        time.sleep(0.05)
"""


# -- series and progress ---


def test_samples_come_back_in_the_order_of_time(journal: Journal) -> None:
    journal.sample_many("r", [Sample("lag", 2.0, 20.0, {"service": "b"}), Sample("lag", 1.0, 10.0)])
    journal.sample("r", "rate", 5, service="a")
    journal.sample_many("r", [])
    assert [(s.at, s.value, s.labels) for s in journal.samples("r", "lag")] == [
        (10.0, 1.0, {}),
        (20.0, 2.0, {"service": "b"}),
    ]
    assert abs(journal.samples("r")[-1].at - time.time()) < 60


def test_progress_is_one_row_that_another_process_reads(journal: Journal, url: str) -> None:
    assert journal.get_progress("r") is None
    for done in (1.0, 2.0):
        row = ProgressRow("cutover", "copy", done, None, "rows", None, None, "", 1.0)
        journal.set_progress("r", row)
    other = Journal(url)
    assert other.get_progress("r") == row
    other.close()


# -- what goes wrong ---


def test_a_locked_journal_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runbook_lib.journal import tables

    monkeypatch.setattr(tables, "BUSY_S", 0.1)
    path = tmp_path / "journal.sqlite"
    journal = Journal(f"sqlite:///{path}")
    journal.open_run("r", environment="demo", plan_digest="p", actor="anna")
    other = sqlite3.connect(path)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(JournalError, match="database is locked; nothing was recorded"):
        note(journal, 1)
    other.rollback()
    other.close()
    note(journal, 1)
    journal.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:////proc/nowhere/journal.sqlite", "No such file or directory"),
        ("sqlite:////etc/passwd", "file is not a database"),
        ("mysql://u:geheim@h/d", "mysql is not supported"),
        ("u:geheim@h/d", "its address is not a URL"),
        ("postgresql://u:geheim@127.0.0.1:1/d", "Connection refused"),
    ],
)
def test_an_unfit_journal_is_one_line_without_its_password(url: str, words: str) -> None:
    with pytest.raises(JournalError, match=words) as caught:
        Journal(url)
    assert "geheim" not in str(caught.value) and "\n" not in str(caught.value)


def test_canonical_json_is_the_same_for_any_order() -> None:
    assert canonical_json({"b": 1, "a": [True, None]}) == '{"a":[true,null],"b":1}'
