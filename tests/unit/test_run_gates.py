"""Gates, sign-offs, approvals."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fix_run import SmallPolicy, WriteFile, small_environment, small_plan, start, switch

from runbook_lib.errors import GateFailed, JournalError, StepFailed
from runbook_lib.journal.kinds import Gate
from runbook_lib.plan.model import ChecklistItem, Task
from runbook_lib.plan.window import Window
from runbook_lib.run.approvals import approve
from runbook_lib.steps import checklist, window
from runbook_lib.verdict import Outcome, Verdict

AUTO = SmallPolicy(approvals="auto", signoffs="auto")


def test_a_gate_passes_when_everything_did_and_is_recorded(tmp_path: Path) -> None:
    with start(small_environment(tmp_path)) as run:
        run.step(WriteFile(str(tmp_path), "first"))
        record = run.gate()
        assert record.passed and "first" in record._repr_html_()
        assert run.journal.entries(run.run_id, Gate)[-1].read(Gate).passed is True


def test_a_gate_names_every_failing_verdict(tmp_path: Path) -> None:
    with start(small_environment(tmp_path)) as run:
        switch(tmp_path, "verify-first")
        with pytest.raises(StepFailed):
            run.step(WriteFile(str(tmp_path), "first"))
        run.verdict("counts", Verdict(Outcome.FAIL, "one row missing"))
        run.verdict("sample", Verdict(Outcome.COULD_NOT_RUN, "no answer"))
        run.verdict("schemas", Verdict(Outcome.PASS, "equal"))
        with pytest.raises(GateFailed) as caught:
            run.gate()
        for words in ("first (fail)", "counts (fail): one row missing", "sample (could_not_run)", "3 of 4"):
            assert words in str(caught.value)
        assert "schemas" not in str(caught.value)
        assert run.journal.entries(run.run_id, Gate)[-1].read(Gate).passed is False


def test_the_last_verdict_of_a_name_counts(tmp_path: Path) -> None:
    with start(small_environment(tmp_path)) as run:
        run.verdict("counts", Verdict(Outcome.FAIL, "one row missing"))
        run.verdict("counts", Verdict(Outcome.PASS, "equal"))
        assert run.gate().passed


def test_a_phase_in_which_nothing_ran_does_not_pass(tmp_path: Path) -> None:
    with start(small_environment(tmp_path)) as run, pytest.raises(GateFailed, match="nothing was run"):
        run.gate()


def test_an_interrupted_step_does_not_pass(tmp_path: Path) -> None:
    with start(small_environment(tmp_path)) as run:
        switch(tmp_path, "interrupt-first")
        with pytest.raises(KeyboardInterrupt):
            run.step(WriteFile(str(tmp_path), "first"))
        with pytest.raises(GateFailed, match=r"first \(interrupted\)"):
            run.gate()


def test_a_step_that_the_plan_lists_must_have_run(tmp_path: Path) -> None:
    environment = small_environment(tmp_path, small_plan(steps=("copy", "prove")))
    with start(environment) as run:
        run.verdict("looked", Verdict(Outcome.PASS, "fine"))
        run.gate()
    with start(environment, "preparation") as run:
        run.step(WriteFile(str(tmp_path), "copy:users"))
        with pytest.raises(GateFailed, match=r"1 of 3 not passed: prove \(fail\): the plan lists it"):
            run.gate()
        run.verdict("prove", Verdict(Outcome.PASS, "equal"))
        assert run.gate().passed


def test_a_persons_task_needs_a_sign_off_by_name(tmp_path: Path) -> None:
    task = "Agree the service boundaries"
    environment = small_environment(tmp_path, small_plan(tasks=(Task(task),)))
    with start(environment) as run:
        run.verdict("looked", Verdict(Outcome.PASS, "fine"))
        run.gate()
    with start(environment, "preparation") as run:
        run.step(WriteFile(str(tmp_path), "first"))
        with pytest.raises(
            GateFailed, match=f'not signed off; runbook approve {run.run_id} "{task}" -f .*demo.yaml --comment'
        ):
            run.gate()
        with pytest.raises(JournalError, match=f'nothing named "Agree" is asked for; expected one of: "{task}"'):
            approve(run.journal, run.run_id, "Agree", comment="yes", actor="anna")
        approve(run.journal, run.run_id, task, comment="agreed on Monday", actor="anna")
        item = run.gate().items[-1]
        assert item.name == task and "anna" in item.text and "agreed on Monday" in item.text


def test_a_waived_sign_off_is_recorded_as_such(tmp_path: Path) -> None:
    with start(small_environment(tmp_path, policy=AUTO)) as run:
        run.step(WriteFile(str(tmp_path), "first"))
        assert run.signoff("Tell the teams").passed
        record = run.gate(approval="Continue")
        assert [item.word for item in record.items] == ["pass", "waived", "waived"]
        assert record._repr_html_().count(">waived</span>") == 2
        assert str(record) == "gate preflight: pass (3 of 3, 2 of them waived)"
        waived = [entry.content.waived for entry in run.journal.approvals(run.run_id)]
        assert waived == ["policy signoffs: auto", "policy approvals: auto"]


def test_a_waived_item_of_the_checklist_has_no_tick_and_is_counted_as_waived(tmp_path: Path) -> None:
    items = (
        ChecklistItem("tested_in_staging", "The same plan has passed in staging", "staging_evidence"),
        ChecklistItem("validation_plan_ready", "The validation is planned", "validation_enabled"),
    )
    with start(small_environment(tmp_path, replace(small_plan(), checklist=items), policy=AUTO)) as run:
        shown = checklist(run)
        assert [(row[0], row[1]) for row in shown.rows] == [(items[0].title, "waived"), (items[1].title, "✓")]
        assert shown.rows[0][2].endswith("passed in staging; waived by policy signoffs: auto")
        assert shown.verdict.text == "1 of 2 items are backed, 1 waived by policy"


@pytest.mark.parametrize(("policy", "word"), [("ignore", "waived"), ("enforce", "fail")])
def test_a_window_that_is_shut_is_no_plain_pass_where_the_policy_ignores_it(
    tmp_path: Path, policy: str, word: str
) -> None:
    tomorrow = (datetime.now(UTC).weekday() + 1) % 7
    shut = Window((tomorrow,), "12:00", "12:01", "UTC", "tomorrow 12:00-12:01 UTC")
    first, cutover = small_plan().phases
    plan = replace(small_plan(), phases=(first, replace(cutover, window=shut)))
    with start(small_environment(tmp_path, plan, policy=SmallPolicy(window=policy))) as run:
        window(run)
        try:
            record = run.gate()
        except GateFailed as refusal:
            record = refusal.record  # type: ignore[attr-defined]
        assert [(item.name, item.word) for item in record.items] == [("window", word)]


def test_an_approval_outlives_a_restart_of_the_notebook(tmp_path: Path) -> None:
    environment = small_environment(tmp_path)
    for attempt in range(2):
        with start(environment) as run:
            run.step(WriteFile(str(tmp_path), "first"))
            run.verdict("counts", Verdict(Outcome.PASS, f"equal at attempt {attempt}"))
            if attempt == 0:
                with pytest.raises(GateFailed, match="not approved; runbook approve"):
                    run.gate(approval="Switch writes")
                approve(run.journal, run.run_id, "preflight", comment="go", actor="anna")
            else:
                assert run.gate(approval="Switch writes").passed


def test_an_approval_is_bound_to_what_was_approved(tmp_path: Path) -> None:
    with start(small_environment(tmp_path)) as run:
        run.step(WriteFile(str(tmp_path), "first"))
        with pytest.raises(GateFailed):
            run.gate(approval="Switch writes")
        run.approve("Switch writes", "go")
        run.step(WriteFile(str(tmp_path), "second"))
        with pytest.raises(GateFailed, match="what was approved has changed since"):
            run.gate(approval="Switch writes")


def test_nothing_is_asked_for_while_something_fails(tmp_path: Path) -> None:
    with start(small_environment(tmp_path)) as run:
        run.verdict("counts", Verdict(Outcome.FAIL, "one row missing"))
        with pytest.raises(GateFailed):
            run.gate(approval="Switch writes")
        assert run.history().asks == []


def test_what_cannot_be_undone_needs_an_approval_of_its_own(tmp_path: Path) -> None:
    with start(small_environment(tmp_path)) as run:
        step = WriteFile(str(tmp_path), "drop", reversible=False)
        with pytest.raises(GateFailed, match="irreversible: drop: not approved"):
            run.step(step)
        assert not step.path.exists()
        run.approve("irreversible: drop", "archived before")
        assert run.step(step).passed
