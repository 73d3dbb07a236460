"""Steps: what is recorded, what is repeated, what is resumed, what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fix_run import WriteFile, calls, small_environment, start, switch

from runbook_lib.errors import ConfigurationError, OutOfOrder, StepFailed
from runbook_lib.run.run import Run
from runbook_lib.verdict import Outcome, Verdict


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with start(small_environment(tmp_path)) as run:
        yield run


def kinds(run: Run) -> list[str]:
    return [entry.kind for entry in run.journal.entries(run.run_id)]


def test_a_step_is_intended_checked_applied_verified_and_recorded(run: Run, tmp_path: Path) -> None:
    record = run.step(WriteFile(str(tmp_path), "first"))
    assert record.passed and record.text == "wrote first" and record.verdict == "the file is there"
    assert record.data == {"bytes": 7}
    assert kinds(run) == ["run_opened", "phase_started", "intent", "result"]
    assert calls(tmp_path) == ["check first", "apply first", "applied first", "verify first"]
    assert "wrote first" in record._repr_html_() and "first: pass" in str(record)
    assert run.journal.verify_chain(run.run_id) == run.journal.head(run.run_id)


def test_a_finished_step_is_a_no_op_that_shows_its_recorded_result(run: Run, tmp_path: Path) -> None:
    first = run.step(WriteFile(str(tmp_path), "first"))
    again = run.step(WriteFile(str(tmp_path), "first"))
    assert again == replace(first, repeated=True)
    assert calls(tmp_path, "apply") == ["first"]
    assert kinds(run).count("intent") == 1
    assert "already done" in again._repr_html_()


def test_a_step_with_other_inputs_is_another_step(run: Run, tmp_path: Path) -> None:
    run.step(WriteFile(str(tmp_path), "first"))
    assert not run.step(WriteFile(str(tmp_path), "first", content="other")).repeated
    assert calls(tmp_path, "apply") == ["first", "first"]


def test_a_missing_requirement_is_named_with_its_notebook_and_nothing_is_applied(run: Run, tmp_path: Path) -> None:
    with pytest.raises(OutOfOrder, match=r"second: first has not passed .* run first in notebooks/00_preflight"):
        run.step(WriteFile(str(tmp_path), "second", needs=("first",)))
    assert kinds(run) == ["run_opened", "phase_started"]


def test_a_requirement_stands_for_the_family_of_its_name(run: Run, tmp_path: Path) -> None:
    run.step(WriteFile(str(tmp_path), "copy:users"))
    assert run.step(WriteFile(str(tmp_path), "after", needs=("copy",))).passed


def test_blocking_problems_are_listed_and_nothing_is_applied(run: Run, tmp_path: Path) -> None:
    switch(tmp_path, "check-first")
    with pytest.raises(StepFailed, match=r"first: disk: is full; nothing was applied\. Next: make room"):
        run.step(WriteFile(str(tmp_path), "first"))
    assert calls(tmp_path) == ["check first"]
    assert run.record("first").outcome == "fail"
    assert run.history().to_undo() == []


def test_a_failing_verification_is_recorded_and_raised_and_the_step_runs_again(run: Run, tmp_path: Path) -> None:
    switch(tmp_path, "verify-first")
    with pytest.raises(StepFailed, match=r"first \(verify\): the file is not there"):
        run.step(WriteFile(str(tmp_path), "first"))
    assert run.record("first").outcome == "fail"
    switch(tmp_path, "verify-first", on=False)
    assert run.step(WriteFile(str(tmp_path), "first")).passed
    assert run.record("first").passed


def test_a_verification_that_could_not_run_is_neither_pass_nor_fail(run: Run, tmp_path: Path) -> None:
    switch(tmp_path, "unclear-first")
    with pytest.raises(StepFailed, match="the disk does not answer"):
        run.step(WriteFile(str(tmp_path), "first"))
    assert run.record("first").outcome == "could_not_run"


def test_an_exception_is_recorded_without_the_secret_in_it(run: Run, tmp_path: Path) -> None:
    switch(tmp_path, "apply-first")
    with pytest.raises(StepFailed, match="ValueError") as caught:
        run.step(WriteFile(str(tmp_path), "first"))
    assert "hunter2secret" not in str(caught.value)
    lines = [entry.line() for entry in run.journal.entries(run.run_id)]
    assert not any("hunter2secret" in line for line in lines)
    assert [unit.name for unit in run.history().to_undo()] == ["first"]


def test_an_unhealthy_source_fails_the_step(run: Run, tmp_path: Path) -> None:
    (tmp_path / "legacy.db").unlink()
    with pytest.raises(StepFailed, match=r"first \(health\): database legacy: no file"):
        run.step(WriteFile(str(tmp_path), "first"))


def test_an_interrupted_step_is_resumed(run: Run, tmp_path: Path) -> None:
    switch(tmp_path, "interrupt-first")
    with pytest.raises(KeyboardInterrupt):
        run.step(WriteFile(str(tmp_path), "first"))
    assert run.record("first").outcome == "interrupted"
    switch(tmp_path, "interrupt-first", on=False)
    record = run.step(WriteFile(str(tmp_path), "first"))
    assert record.resumed and record.passed
    progress = run.journal.get_progress(run.run_id)
    assert progress is not None and progress.reason.startswith("resuming")


@dataclass(frozen=True)
class Stranger(WriteFile):
    """Lives in a module that is no place for steps."""


def test_a_step_that_could_not_be_rebuilt_is_refused_before_anything(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not a place for steps"):
        run.step(Stranger(str(tmp_path), "first"))
    assert calls(tmp_path) == []


def test_results_hold_steps_and_verdicts_in_order(run: Run, tmp_path: Path) -> None:
    run.step(WriteFile(str(tmp_path), "first"))
    run.verdict("counts", Verdict(Outcome.PASS, "equal", {"rows": 3}))
    run.step(WriteFile(str(tmp_path), "second"))
    assert [record.name for record in run.results()] == ["first", "counts", "second"]
    assert run.results("cutover") == []
    with pytest.raises(OutOfOrder, match="third: has no result"):
        run.record("third")
