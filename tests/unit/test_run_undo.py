"""Rollback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fix_run import WriteFile, calls, small_environment, small_plan, start, switch

from runbook_lib.errors import OutOfOrder, RollbackFailed, StepFailed
from runbook_lib.run.run import Run
from runbook_lib.steps import timeline


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A run with three steps: two in the pre-flight, one in the preparation, which is open."""
    environment = small_environment(tmp_path)
    with start(environment) as first:
        first.step(WriteFile(str(tmp_path), "one"))
        first.step(WriteFile(str(tmp_path), "two"))
        first.gate()
    with start(environment, "preparation") as second:
        second.step(WriteFile(str(tmp_path), "three"))
        yield second


def test_a_run_is_undone_in_reverse_order_and_each_undo_is_proven(run: Run, tmp_path: Path) -> None:
    record = run.rollback()
    assert record.passed and [item.name for item in record.items] == ["three", "two", "one"]
    assert not list(tmp_path.glob("*.out"))
    assert "removed three" in record._repr_html_()
    assert run.journal.run(run.run_id).state == "rolled_back"
    assert {r.outcome for r in run.results()} == {"undone"}


def test_what_is_undone_is_not_undone_again(run: Run, tmp_path: Path) -> None:
    run.rollback()
    assert run.rollback().items == ()
    assert calls(tmp_path, "rollback") == ["three", "two", "one"]


def test_single_steps_are_undone_beside_a_run_that_stays_what_it_was(run: Run, tmp_path: Path) -> None:
    run.journal.set_state(run.run_id, "done")
    assert [item.name for item in run.rollback(steps=["one", "three"]).items] == ["three", "one"]
    assert [path.name for path in tmp_path.glob("*.out")] == ["two.out"]
    assert run.journal.run(run.run_id).state == "done"


def test_a_failure_does_not_stop_the_rest_and_both_errors_are_named(run: Run, tmp_path: Path) -> None:
    switch(tmp_path, "verify-four")
    with pytest.raises(StepFailed):
        run.step(WriteFile(str(tmp_path), "four"))
    switch(tmp_path, "rollback-four")
    switch(tmp_path, "stuck-two")
    with pytest.raises(RollbackFailed) as caught:
        run.rollback()
    assert "2 of 4 not undone" in str(caught.value)
    assert "four (fail): OSError: the disk refuses" in str(caught.value)
    assert "two (fail): still in force" in str(caught.value)
    assert any("four had failed before: wrote four" in note for note in caught.value.__notes__)
    assert calls(tmp_path, "rollback") == ["four", "three", "two", "one"]
    assert run.journal.run(run.run_id).state == "rolling_back"
    switch(tmp_path, "rollback-four", on=False)
    switch(tmp_path, "stuck-two", on=False)
    assert [item.name for item in run.rollback().items] == ["four", "two"]


def test_what_a_step_stands_on_is_held_while_the_step_is_in_force(run: Run, tmp_path: Path) -> None:
    run.step(WriteFile(str(tmp_path), "four", needs=("two",)))
    switch(tmp_path, "rollback-four")
    with pytest.raises(RollbackFailed, match=r"two \(could_not_run\): held: four is still in force"):
        run.rollback()
    assert calls(tmp_path, "rollback") == ["four", "three", "one"]
    switch(tmp_path, "rollback-four", on=False)
    assert [item.name for item in run.rollback().items] == ["four", "two"]


def test_nothing_before_a_barrier_is_undone_while_it_is_in_force(run: Run, tmp_path: Path) -> None:
    run.step(WriteFile(str(tmp_path), "cutover", barrier=True))
    run.step(WriteFile(str(tmp_path), "after"))
    switch(tmp_path, "rollback-cutover")
    with pytest.raises(RollbackFailed, match="4 of 5 not undone"):
        run.rollback()
    assert calls(tmp_path, "rollback") == ["after", "cutover"]
    switch(tmp_path, "rollback-cutover", on=False)
    assert run.rollback().passed
    assert calls(tmp_path, "rollback") == ["after", "cutover", "cutover", "three", "two", "one"]


def test_an_interrupted_step_is_undone_too(run: Run, tmp_path: Path) -> None:
    switch(tmp_path, "interrupt-four")
    with pytest.raises(KeyboardInterrupt):
        run.step(WriteFile(str(tmp_path), "four"))
    assert next(item.name for item in run.rollback().items) == "four"


def test_a_step_that_was_undone_runs_again(run: Run, tmp_path: Path) -> None:
    run.rollback(to_phase="preflight")
    assert not run.step(WriteFile(str(tmp_path), "three")).repeated
    assert (tmp_path / "three.out").exists()


def test_a_rollback_to_a_phase_keeps_that_phase_and_the_run_goes_on(run: Run, tmp_path: Path) -> None:
    record = run.rollback(to_phase="preflight")
    assert [item.name for item in record.items] == ["three"]
    assert run.history().phase_passed("preflight")
    assert run.journal.run(run.run_id).state == "open"
    with pytest.raises(OutOfOrder, match="phase nowhere: unknown"):
        run.rollback(to_phase="nowhere")


def test_a_rollback_to_a_phase_undoes_phases_that_the_plan_does_not_describe(tmp_path: Path) -> None:
    environment = small_environment(tmp_path, small_plan(phases=("preparation", "cleanup")))
    with start(environment) as first:
        first.step(WriteFile(str(tmp_path), "one"))
        first.gate()
    with start(environment, "preparation") as second:
        second.step(WriteFile(str(tmp_path), "two"))
        second.gate()
    with start(environment, "cutover") as third:
        third.step(WriteFile(str(tmp_path), "three"))
        assert [item.name for item in third.rollback(to_phase="preparation").items] == ["three"]


def test_an_undone_phase_has_not_passed_any_more(run: Run, tmp_path: Path) -> None:
    run.gate()
    assert run.history().phase_passed("preparation")
    run.rollback(to_phase="preflight")
    assert not run.history().phase_passed("preparation")


def test_the_rollback_notebook_closes_the_run_to_forward_phases(run: Run, tmp_path: Path) -> None:
    run.close()
    environment = run.environment
    with start(environment, "rollback") as back:  # type: ignore[arg-type]
        assert back.run_id == run.run_id
        with pytest.raises(OutOfOrder, match="is being rolled back"):
            start(environment, "preparation")  # type: ignore[arg-type]
        back.rollback()
        assert {bar["name"]: bar["outcome"] for bar in timeline(back)}["preparation"] == "undone"
        told = back.journal.get_progress(run.run_id)
        assert told is not None and told.done == told.total, "the bar that is kept must not stand at nine tenths"
        back.step(WriteFile(str(tmp_path), "proof"))
        assert back.gate().passed
    with start(environment, "rollback") as again:  # type: ignore[arg-type]
        assert again.run_id == run.run_id and again.rollback().items == ()
    with pytest.raises(OutOfOrder, match=r"was rolled back; nothing was started\. Next: start a new run"):
        start(environment, "preparation")  # type: ignore[arg-type]
    with start(environment) as fresh:  # type: ignore[arg-type]
        assert fresh.run_id != run.run_id


def test_irreversible_steps_are_named_up_front_and_nothing_is_undone_without_consent(run: Run, tmp_path: Path) -> None:
    step = WriteFile(str(tmp_path), "drop", reversible=False)
    with pytest.raises(Exception, match="irreversible"):
        run.step(step)
    run.approve("irreversible: drop", "yes")
    run.step(step)
    with pytest.raises(RollbackFailed, match=r"cannot be undone: drop .*; nothing was undone"):
        run.rollback()
    assert calls(tmp_path, "rollback") == []
    run.approve("rollback past drop", "the archive has it")
    record = run.rollback()
    assert record.kept == ("drop",) and [item.name for item in record.items] == ["three", "two", "one"]
    assert step.path.exists() and "drop" in str(record)


def test_a_rollback_that_may_not_begin_leaves_the_run_open_to_its_phases(run: Run, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="irreversible"):
        run.step(WriteFile(str(tmp_path), "drop", reversible=False))
    run.approve("irreversible: drop", "yes")
    run.step(WriteFile(str(tmp_path), "drop", reversible=False))
    run.close()
    with start(run.environment, "rollback") as back:  # type: ignore[arg-type]
        with pytest.raises(RollbackFailed, match="nothing was undone"):
            back.rollback()
        assert back.journal.run(run.run_id).state == "open"
    with start(run.environment, run.phase) as again:  # type: ignore[arg-type]
        assert again.run_id == run.run_id


def test_a_rollback_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(OutOfOrder, match="there is nothing to roll back"):
        start(small_environment(tmp_path), "rollback")
