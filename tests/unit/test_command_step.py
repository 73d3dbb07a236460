"""Commands of a plan: done once, known to be ours, undone; killed anywhere, asked again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fix_run import WriteFile, small_environment, small_plan, start
from fix_sandbox import wait_for

from runbook_lib.errors import GateFailed, StepFailed
from runbook_lib.plan.model import Task
from runbook_lib.plan.system_tasks import CommandTask
from runbook_lib.run.run import Run
from runbook_lib.steps import CommandStep, system_steps
from runbook_lib.util import points


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with start(small_environment(tmp_path)) as run:
        yield run


def python(code: str) -> tuple[str, ...]:
    return ("{python}", "-I", "-c", code.replace("{", "{{").replace("}", "}}"))


WRITE = python("import pathlib; p = pathlib.Path('flag'); p.write_text('on'); open('calls', 'a').write('w')")
ASK = python("import pathlib, sys; sys.exit(not pathlib.Path('flag').exists())")
REMOVE = python("import pathlib; pathlib.Path('flag').unlink(missing_ok=True)")
FLAG = CommandStep("flag", WRITE, ASK, undo=REMOVE)


def test_a_command_is_run_verified_and_undone_and_its_output_has_no_secret(run: Run, tmp_path: Path) -> None:
    told = CommandStep("flag", (*WRITE[:-1], WRITE[-1] + "; print('password=hunter22 taken')"), ASK, undo=REMOVE)
    record = run.step(told)
    assert record.passed and record.text == "password=*** taken"
    assert run.step(told).repeated
    assert (tmp_path / "calls").read_text() == "w"
    assert run.rollback().passed
    assert not (tmp_path / "flag").exists()


def test_what_was_so_before_the_run_is_neither_done_nor_undone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "flag").write_text("somebody's")
    assert run.step(FLAG).text.startswith("was so already")
    assert run.rollback().passed
    assert (tmp_path / "flag").read_text() == "somebody's"


@pytest.mark.parametrize("point", ["system-step:begun", "system-step:done"])
def test_one_that_was_interrupted_asks_again_and_is_known_to_be_ours(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    def end(at: str) -> None:
        if at == point:
            raise KeyboardInterrupt

    monkeypatch.setattr(points, "observers", [end])
    with pytest.raises(KeyboardInterrupt):
        run.step(FLAG)
    monkeypatch.setattr(points, "observers", [])
    assert run.step(FLAG).resumed
    assert (tmp_path / "calls").read_text() == "w"
    assert run.rollback().passed
    assert not (tmp_path / "flag").exists()


def test_what_a_failed_command_did_in_part_is_undone(run: Run, tmp_path: Path) -> None:
    half = CommandStep("half", python("open('flag', 'w'); print('PGPASSWORD=hunter22 no'); exit(3)"), ASK, undo=REMOVE)
    with pytest.raises(StepFailed, match=r"command_step:half: exit status 3: PGPASSWORD=\*\*\* no"):
        run.step(half)
    assert run.rollback().passed
    assert not (tmp_path / "flag").exists()


def test_a_check_that_says_no_stops_it_before_it_acts(run: Run, tmp_path: Path) -> None:
    step = CommandStep("flag", WRITE, ASK, condition=python("exit('the disk is full')"), undo=REMOVE)
    with pytest.raises(StepFailed, match="the disk is full; nothing was applied"):
        run.step(step)
    assert not (tmp_path / "calls").exists()
    (tmp_path / "flag").touch()  # somebody has done it: nothing is left to be in the way of
    assert run.step(step).passed


@pytest.mark.parametrize(
    ("proof", "says"),
    [(python("exit(255)"), "exit status 255"), (("no-such-program",), "No such file or directory")],
)
def test_a_verification_that_could_not_be_asked_is_no_proof_of_anything(
    run: Run, proof: tuple[str, ...], says: str
) -> None:
    with pytest.raises(StepFailed, match=says):
        run.step(CommandStep("flag", WRITE, proof, undo=REMOVE))
    assert run.record("command_step:flag").outcome == "could_not_run"


def test_without_a_rollback_it_waits_for_an_approval_of_its_own(run: Run, tmp_path: Path) -> None:
    with pytest.raises(GateFailed, match="irreversible: command_step:flag"):
        run.step(CommandStep("flag", WRITE, ASK))
    assert not (tmp_path / "flag").exists()
    run.approve("irreversible: command_step:flag", "we know")
    assert run.step(CommandStep("flag", WRITE, ASK)).passed


SPAWN = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, '-I', '-c', 'import time; time.sleep(60)'])
open('pids', 'w').write(f'{os.getpid()} {child.pid}\\n')
time.sleep(60)
"""


def pids(root: Path) -> list[int]:
    return [int(pid) for pid in (root / "pids").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_one_that_takes_too_long_is_ended_with_all_that_it_started(run: Run, tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"not finished after 1\.5 s; it was ended"):
        run.step(CommandStep("slow", python(SPAWN), ASK, undo=REMOVE, timeout_s=1.5))
    wait_for(lambda: not any(map(alive, pids(tmp_path))), "both ended")


def test_a_command_ends_with_the_process_that_is_killed_while_it_waits_for_it(tmp_path: Path) -> None:
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from pathlib import Path
from fix_run import small_environment, start
from runbook_lib.steps import CommandStep
with start(small_environment(Path({str(tmp_path)!r}))) as run:
    run.step(CommandStep("slow", {python(SPAWN)!r}, {ASK!r}, undo={REMOVE!r}))
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    wait_for(lambda: (tmp_path / "pids").exists() and "\n" in (tmp_path / "pids").read_text(), "started", 30)
    process.kill()
    process.wait()
    leader, child = pids(tmp_path)
    wait_for(lambda: not alive(leader), "the command ended")
    os.kill(child, signal.SIGKILL)  # what a command leaves behind is its own


def test_the_plan_s_tasks_are_carried_out_and_the_gate_names_what_was_not(tmp_path: Path) -> None:
    task = Task(command=CommandTask("flag", WRITE, ASK, rollback=REMOVE))
    environment = small_environment(tmp_path, small_plan(tasks=[task]))
    with start(environment) as run:
        assert system_steps(run) == []
        run.step(WriteFile(str(tmp_path), "first"))
        run.gate()
    with start(environment, "preparation") as run:
        run.step(WriteFile(str(tmp_path), "second"))
        with pytest.raises(GateFailed, match=r"command_step:flag \(fail\): the plan lists it for this phase"):
            run.gate()
    with start(environment, "preparation") as run:
        (record,) = run.steps(system_steps(run))
        assert record.name == "command_step:flag"
        assert run.gate().passed
