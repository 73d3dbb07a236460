"""A phase that has passed stays passed: going through it again shows what was recorded and judges nothing again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fix_run import SmallEnvironment, WriteFile, small_environment, small_plan, start

from runbook_lib.databases.port import Problem
from runbook_lib.errors import GateFailed
from runbook_lib.journal.kinds import Gate, StandaloneVerdict
from runbook_lib.plan.window import Window
from runbook_lib.run.run import Run
from runbook_lib.steps.check_table import Findings, findings, look
from runbook_lib.steps.checklist import window
from runbook_lib.steps.routes_and_links import verdict
from runbook_lib.verdict import Outcome, StepResult, Verdict

FINE, BAD = Verdict(Outcome.PASS, "fine"), Verdict(Outcome.FAIL, "writes go to the target")
SHUT = Window((0,), "12:00", "12:01", "UTC", "Monday 12:00-12:01 UTC")


@look("traffic_looked_at", "Traffic")
def traffic(run: Run) -> Findings:
    """A look that fails as soon as `moved` is there."""
    moved = (run.environment.root / "moved").exists()
    problems = [Problem("traffic", "goes elsewhere")] if moved else []
    return findings(run, "traffic_looked_at", "Traffic", ("route", "goes to"), [("all", 100)], problems, "as it was")


@pytest.fixture
def environment(tmp_path: Path) -> SmallEnvironment:
    """Its pre-flight has passed, and since then the traffic has moved."""
    environment = small_environment(tmp_path)
    with start(environment) as run:
        traffic(run)
        run.verdict("own", FINE)
        run.step(WriteFile(str(tmp_path), "first"))
        run.gate()
    (tmp_path / "moved").touch()
    return environment


def entries(run: Run) -> list[tuple[str, str]]:
    return [(entry.kind, entry.step) for entry in run.journal.entries(run.run_id)]


def test_what_a_passed_phase_looked_at_is_shown_as_recorded_and_nothing_is_written(
    environment: SmallEnvironment,
) -> None:
    with start(environment, "preparation") as run:
        before = entries(run)[:-1]
    with start(environment) as again:
        shown = traffic(again)
        assert shown.verdict.passed and "recorded" in shown.verdict.text
        assert (shown.header, shown.rows) == (("route", "goes to"), (("all", "100"),))
        assert again.verdict("own", BAD).outcome == "pass"
        assert again.step(WriteFile(str(environment.root), "first")).repeated
        record = again.gate()
        assert record.passed and [item.name for item in record.items] == ["first", "traffic_looked_at", "own"]
        assert entries(again)[: len(before)] == before and len(entries(again)) == len(before) + 1


def test_a_replay_that_is_killed_anywhere_takes_nothing_away(environment: SmallEnvironment) -> None:
    for _ in range(2):  # each ends without its gate, as a killed one does
        with start(environment) as run:
            traffic(run)
    with start(environment, "preparation") as run:
        assert run.history().phase_passed("preflight")


def test_a_run_that_an_earlier_version_judged_anew_goes_on(environment: SmallEnvironment) -> None:
    with start(environment) as run:
        run.write(StandaloneVerdict("fail", "moved"), step="traffic_looked_at")
        run.write(Gate(passed=False))
        assert not run.history().phase_passed("preflight")
    with start(environment) as run:
        assert traffic(run).verdict.passed and run.gate().passed
        assert run.history().phase_passed("preflight")


def test_a_phase_of_which_a_step_was_undone_is_judged_anew(environment: SmallEnvironment) -> None:
    with start(environment) as run:
        run.rollback(steps=["first"])
    with start(environment) as run:
        assert not traffic(run).verdict.passed
        with pytest.raises(GateFailed, match="goes elsewhere"):
            run.gate()


def test_a_run_killed_between_its_last_gate_and_its_end_is_ended_by_the_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = small_environment(tmp_path, small_plan(phases=("preparation",)))
    with start(environment) as run:
        run.verdict("own", FINE)
        run.gate()
    with start(environment, "preparation") as run:
        run.verdict("own", FINE)
        with monkeypatch.context() as killed:
            killed.setattr(run.journal, "set_state", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                run.gate()
        assert run.journal.run(run.run_id).state == "open"
    with start(environment, "preparation") as run:
        assert run.gate().passed and run.journal.run(run.run_id).state == "done"


def test_a_check_that_stands_aside_is_judged_each_time(environment: SmallEnvironment) -> None:
    with start(environment, "validation") as run:
        run.verdict("own", FINE)
        assert run.gate().passed
    with start(environment, "validation") as run:
        run.verdict("own", BAD)
        with pytest.raises(GateFailed, match="writes go to the target"):
            run.gate()


def test_the_window_is_not_asked_for_again_when_the_cutover_was_made_in_it(tmp_path: Path) -> None:
    first, cutover = small_plan().phases
    plan = replace(small_plan(), phases=(first, replace(cutover, window=SHUT)))
    environment = small_environment(tmp_path, plan)
    for phase in ("preflight", "preparation"):
        with start(environment, phase) as run:
            run.verdict("own", FINE)
            run.gate()
    with start(environment, "cutover") as run:
        run.verdict("window", FINE)
        run.step(WriteFile(str(tmp_path), "cutover"))
    with start(environment, "cutover") as run:
        assert "recorded" in window(run).verdict.text and run.gate().passed


@dataclass(frozen=True)
class Process:
    """A standing step: up while its file is there; `last` ends it for good."""

    folder: str
    name: str = "process"
    requires: Sequence[str] = ()
    reversible: bool = True
    standing: bool = True

    @property
    def ended_by(self) -> Sequence[str]:
        return ("last",)

    def check(self, run: Run) -> list[Problem]:
        return []

    def apply(self, run: Run) -> StepResult:
        Path(self.folder, "up").touch()
        return StepResult("started")

    def verify(self, run: Run) -> Verdict:
        return verdict(Path(self.folder, "up").exists(), "up or not")

    def rollback(self, run: Run) -> StepResult:
        return StepResult("nothing")


def test_a_process_that_died_is_started_again_in_a_replay_until_a_step_has_ended_it(tmp_path: Path) -> None:
    environment = small_environment(tmp_path, step_packages=("fix_run", __name__))
    with start(environment) as run:
        run.step(Process(str(tmp_path)))
        run.gate()
    (tmp_path / "up").unlink()
    with start(environment) as run:
        assert not run.step(Process(str(tmp_path))).repeated and (tmp_path / "up").exists()
    with start(environment, "preparation") as run:
        run.step(WriteFile(str(tmp_path), "last"))
    (tmp_path / "up").unlink()
    with start(environment) as run:
        assert run.step(Process(str(tmp_path))).repeated and not (tmp_path / "up").exists()
