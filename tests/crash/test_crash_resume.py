"""Kill the process at every journal write and in the middle of every act; run again: the same end state."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fix_run import MakeTable, WriteFile, small_environment, start

from runbook_lib.errors import RollbackFailed
from runbook_lib.journal import History, Journal
from runbook_lib.run.run import Run

Kill = Callable[[str, Path, str, str], None]
TESTS = Path(__file__).parent.parent
TITLES = ("one", "two", "three")
APPENDS = 11  # two phases started, three intents, three results, the schema as approved, two gates
BACK_APPENDS = 7  # a phase started, three intents and results
ACTS = [f"{stage}:{title}" for title in TITLES for stage in ("check", "apply", "applied", "verify")]
BACK_ACTS = [f"{stage}:{title}" for title in TITLES for stage in ("rollback", "verify")]


def forward(root: Path) -> None:
    """Two phases, three steps: what a person would do by opening the notebooks and running all cells."""
    environment = small_environment(root)
    with start(environment, "preflight") as run:
        run.step(WriteFile(str(root), "one"))
        run.gate()
    with start(environment, "preparation") as run:
        run.step(MakeTable(str(root), "two", needs=("one",)))
        run.step(WriteFile(str(root), "three", needs=("two",)))
        run.gate()


def back(root: Path) -> Run:
    """Rollback."""
    with start(small_environment(root), "rollback") as run:
        run.rollback()
    return run


def points(appends: int, acts: list[str]) -> list[tuple[str, str]]:
    """Before, during and after each append's transaction; in each act of each step."""
    moments = [f"{moment}:{number}" for number in range(1, appends + 1) for moment in ("before", "during", "after")]
    return [("TEST_CRASH_AT", moment) for moment in moments] + [("TEST_DIE_AT", act) for act in acts]


_SERVER = """
import os, sys
from pathlib import Path
import estate_killed, test_crash_resume as t
for line in sys.stdin:
    what, root, variable, value = line.split()
    child = os.fork()
    if child == 0:
        os.environ[variable] = value
        estate_killed.die_where_told()
        try:
            getattr(t, what)(Path(root))
        finally:
            os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def killed() -> Iterator[Kill]:
    """Carries `forward` or `back` out in a process that kills itself at a given point.

    The processes are forked from one that has imported everything: importing takes longer than a whole run.
    """
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS / 'crash'}"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", _SERVER], env=environment, **pipes) as server:

        def kill(what: str, root: Path, variable: str, value: str) -> None:
            server.stdin.write(f"{what} {root} {variable} {value}\n")
            server.stdin.flush()
            assert server.stdout.readline() == f"{-signal.SIGKILL}\n"

        yield kill
        server.stdin.close()


def state(root: Path) -> tuple[list[str], list[str], str]:
    """The files, the outcomes and the run's state; the chain is whole."""
    journal = Journal(f"sqlite:///{root}/journal.sqlite")
    (row,) = journal.runs()
    journal.verify_chain(row.run_id)
    outcomes = [unit.outcome for unit in History(journal.entries(row.run_id)).latest()]
    journal.close()
    return sorted(path.name for path in root.glob("*.out")), outcomes, row.state


@pytest.mark.parametrize(("variable", "value"), points(APPENDS, ACTS))
def test_a_run_killed_anywhere_ends_as_if_it_had_not_been(
    tmp_path: Path, killed: Kill, variable: str, value: str
) -> None:
    killed("forward", tmp_path, variable, value)
    forward(tmp_path)
    assert state(tmp_path) == (["one.out", "three.out", "two.out"], ["pass"] * 3, "open")


@pytest.mark.parametrize(("variable", "value"), points(BACK_APPENDS, BACK_ACTS))
def test_a_rollback_killed_anywhere_ends_as_if_it_had_not_been(
    tmp_path: Path, killed: Kill, variable: str, value: str
) -> None:
    forward(tmp_path)
    killed("back", tmp_path, variable, value)
    back(tmp_path)
    assert state(tmp_path) == ([], ["undone"] * 3, "rolled_back")


@pytest.mark.parametrize(("variable", "value"), points(APPENDS, ACTS)[7:])
def test_what_a_killed_run_left_is_undone_completely(tmp_path: Path, killed: Kill, variable: str, value: str) -> None:
    killed("forward", tmp_path, variable, value)
    back(tmp_path)
    files, outcomes, condition = state(tmp_path)
    assert (files, condition) == ([], "rolled_back")
    assert set(outcomes) <= {"undone", "fail"}


def test_a_rollback_after_a_kill_reports_what_it_cannot_undo(tmp_path: Path, killed: Kill) -> None:
    killed("forward", tmp_path, "TEST_DIE_AT", "applied:three")
    (tmp_path / "rollback-three").touch()
    with pytest.raises(RollbackFailed, match=r"three \(fail\): OSError: the disk refuses; two \(could_not_run\): held"):
        back(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.out")) == ["one.out", "three.out", "two.out"]
