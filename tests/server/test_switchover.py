"""`runbook cutover` and `return` fence nobody who was not told: they ask on a terminal, and refuse without one."""

from __future__ import annotations

import os
import pty
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from estate_killed import killed_at
from fix_sandbox import wait_for

from runbook_lib.cli import main

COMMAND = [sys.executable, "-m", "runbook_lib.cli"]


def runbook(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), prog_name="runbook")


def write(name: str) -> str:
    """What happens to an application's write: "" where it is taken."""
    connection = sqlite3.connect(name)
    try:
        with connection:
            connection.execute("INSERT INTO items (name) VALUES ('written')")
    except sqlite3.DatabaseError as error:
        return str(error)
    finally:
        connection.close()
    return ""


@pytest.fixture
def followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """s.db is followed by t.db, and its sync was stopped."""
    monkeypatch.chdir(tmp_path)
    connection = sqlite3.connect("s.db")
    connection.executescript(
        "CREATE TABLE items (id INTEGER PRIMARY KEY, name text); INSERT INTO items VALUES (1, 'a')"
    )
    connection.close()
    with Path("log").open("w") as log:
        follower = subprocess.Popen([*COMMAND, "copy", "s.db", "t.db", "--follow"], stdout=log, stderr=log)
    try:
        wait_for(lambda: "syncing" in Path("log").read_text() or follower.poll() is not None, "the sync", 120)
        follower.send_signal(signal.SIGINT)
        assert follower.wait(60) == 0, Path("log").read_text()
    finally:
        follower.kill()
    yield tmp_path


def asked(answer: str, *words: str) -> tuple[int, str]:
    """Status and output of a command that a person types at a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80"}
    process = subprocess.Popen([*COMMAND, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    said = b""
    try:
        while part := os.read(ours, 4096):
            said += part
    except OSError:  # Linux says so when the last writer has gone
        status = process.wait(60)
    finally:
        os.close(ours)
    return status, said.decode().replace("\r\n", "\n")


def test_nobody_is_fenced_unasked_and_what_happens_is_said_before_and_after(followed: Path) -> None:
    refused = runbook("cutover", "s.db", "t.db")
    assert refused.exit_code == 2 and refused.stdout == ""
    assert "no --switch is given" in refused.stderr and "nothing was fenced or moved" in refused.stderr
    assert "--switch none (or --yes)" in refused.stderr
    assert write("s.db") == ""

    shown = runbook("cutover", "s.db", "t.db", "--dry-run")
    assert shown.exit_code == 0
    for words in (
        "writers now  source",
        "source is fenced on 0 of 1 tables",
        "1 key waits to be synced",
        "ms predicted, 2,000 allowed",
        "the source rejects writes (SQLSTATE RB001)",
        "nothing: you move the applications by hand",
        "runbook copy s.db t.db --follow",
        "runbook return s.db t.db --switch CMD",
    ):
        assert words in shown.stdout, shown.stdout
    assert [line for line in shown.stdout.splitlines() if len(line) > 80] == []
    assert write("s.db") == ""
    assert runbook("cutover", "s.db", "t.db", "--dry-run", "--max-write-pause", "10ms").exit_code == 1

    status, said = asked("n", "cutover", "s.db", "t.db")
    assert status == 2 and "Fence the source now" in said and "nothing was fenced or moved" in said
    assert write("s.db") == ""
    status, said = asked("y", "cutover", "s.db", "t.db")
    assert status == 0 and "point the applications at the target now" in said, said
    assert "RB001" in write("s.db") and write("t.db") == ""
    said = runbook("status").stdout
    for words in (
        "writers  the target",
        "source is fenced on 1 of 1 tables",
        "target is fenced on 0 of 1 tables",
        "sync     target → source: does not run; 1 key waits",
        "rollback open: each write at the target is logged",
        "--follow",
    ):
        assert words in said, said
    again = runbook("cutover", "s.db", "t.db", "--switch", "none")
    assert (again.exit_code, again.stdout) == (0, "the target has the writes already\n")


def test_a_return_asks_too_and_a_switch_or_yes_is_an_answer(followed: Path) -> None:
    assert runbook("cutover", "s.db", "t.db", "--switch", "touch switched").exit_code == 0
    assert Path("switched").exists() and "RB001" in write("s.db")
    assert write("t.db") == ""
    killed = killed_at("cutover:final sync done")
    assert subprocess.run([*COMMAND, "return", "s.db", "t.db", "--yes"], env=killed, check=False).returncode == -9
    said = runbook("status").stdout
    assert "writers  nobody: both sides reject writes, a cutover was interrupted" in said
    assert "nobody can write until the move resumes" in said
    Path("t.db").rename("gone.db")
    said = runbook("status").stdout
    assert "writers  not known: target did not answer" in said and "source is fenced on 1 of 1 tables" in said
    Path("gone.db").rename("t.db")
    assert runbook("cutover", "s.db", "t.db", "--switch", "none").exit_code == 0
    assert write("t.db") == ""
    refused = runbook("return", "s.db", "t.db")
    assert refused.exit_code == 2 and "the target would reject the applications' writes" in refused.stderr
    shown = runbook("return", "s.db", "t.db", "--dry-run")
    assert shown.exit_code == 0 and "1 key waits to be synced back" in shown.stdout
    assert "RB001" in write("s.db")
    back = runbook("return", "s.db", "t.db", "--yes")
    assert back.exit_code == 0 and "the source has the writes again" in back.stdout
    assert write("s.db") == "" and "RB001" in write("t.db")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--switch", "it's"], "--switch: No closing quotation"),
        (["--switch-back", "true"], "there is no --switch that it could undo"),
        (["--max-write-pause", "soon"], "--max-write-pause soon: not a duration"),
    ],
)
def test_a_wrong_option_names_itself(words: list[str], told: str) -> None:
    refused = runbook("cutover", "s.db", "t.db", *words)
    assert refused.exit_code == 2 and told in refused.stderr
