"""A blue-green plan: its order of services, its phases as data, its tests, and what it says to the steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fix_run import SmallEnvironment, small_environment, small_plan, start

from runbook_lib import steps
from runbook_lib.config.environment import load_environment
from runbook_lib.config.options import Options, carried_out
from runbook_lib.display.terminal import phases_by_state
from runbook_lib.errors import PlanError, StepFailed
from runbook_lib.plan.lint import lint
from runbook_lib.plan.load import load_plan
from runbook_lib.plan.model import Phase, Service
from runbook_lib.plan.phase_order import every_phase, folder_of, notebook_of, phases_before
from runbook_lib.runner.run_phases import phases_between

PROJECT = Path(__file__).parents[2]
PLAN = PROJECT / "parameters/plans/blue_green.yaml"


def test_the_example_is_a_plan_without_a_pitfall_that_fits_its_inventory() -> None:
    found = load_environment("blue_green", root=PROJECT)
    assert found.plan.strategy == "blue_green"
    assert [problem.text for problem in lint(found.plan) if problem.blocking] == []


def test_a_release_without_tests_of_its_own_is_a_pitfall() -> None:
    plan = load_plan(PLAN)
    untested = replace(plan, phases=tuple(replace(phase, tests=()) for phase in plan.phases))
    assert [problem.text for problem in lint(untested)] == [
        "too little testing: nothing tests green as a whole before it gets traffic"
    ]


def test_services_are_in_the_order_of_their_after_whatever_the_order_in_the_file() -> None:
    plan = load_plan(PLAN)
    assert [service.name for service in plan.services] == ["user_service", "order_service", "payment_service"]


def test_two_services_after_each_other_are_refused_at_their_line(tmp_path: Path) -> None:
    text = PLAN.read_text(encoding="utf-8").replace(
        "    database: users_db", "    after: payment_service\n    database: users_db"
    )
    (tmp_path / "plan.yaml").write_text(text)
    line = next(number for number, one in enumerate(text.splitlines(), 1) if one.strip() == "after: payment_service")
    with pytest.raises(
        PlanError, match=rf"plan\.yaml:{line}: .* are after each other\. Next: drop one `after`"
    ) as refused:
        load_plan(tmp_path / "plan.yaml")
    assert refused.value.exit_status == 2


def test_what_a_step_asks_of_a_cutover_is_said_by_the_switch_and_the_watch() -> None:
    plan = load_plan(PLAN)
    assert plan.phase("cutover") is plan.phase("switch")
    assert plan.phase("cutover").max_write_pause_s == 2.0
    assert plan.phase("watch").watch_s == 1800.0
    assert plan.phase("gradual_extraction").traffic == (10, 50, 100)
    options = Options(step_watch_s=1.0, watch_s=2.0, max_write_pause_s=3.0)
    assert carried_out(plan.phase("cutover"), options).max_write_pause_s == 3.0
    assert carried_out(plan.phase("switch"), options).watch_s == 1.0
    assert carried_out(plan.phase("watch"), options).watch_s == 2.0


def test_its_phases_come_in_order_each_with_a_folder_of_its_own_and_are_what_the_command_line_takes() -> None:
    plan = load_plan(PLAN)
    assert phases_before("switch", plan) == ("preflight", "prepare", "validate")
    assert [folder_of(name) for name in every_phase("blue_green")] == [
        *("00_preflight", "01_prepare", "02_validate", "03_switch", "04_watch", "05_cleanup")
    ]
    assert {notebook_of(name) for name in ("prepare", "watch")} == {"notebooks/patterns/blue_green.ipynb"}
    assert phases_between("", "validate", "watch", "blue_green") == ("validate", "switch", "watch")


def test_no_read_moves_to_green_before_everything_of_validate_has_passed(tmp_path: Path) -> None:
    with start(_release(tmp_path)) as run:
        run.phase = "validate"
        judged = {step.name for step in steps.phase_steps(run)}
        assert {"run_tests", "verify_data:before_reads", "verify_reverse_mapping"} == judged
        run.phase = "switch"
        names = [step.name for step in steps.phase_steps(run)]
        moves = [step for step in steps.phase_steps(run) if step.name.startswith("shift_reads")]
        assert all(judged <= set(step.requires) for step in moves) and moves
        assert names.index("start_reverse_capture") < names.index("cutover") < names.index("start_sync:back")
        assert "rehearse_fence" in str(steps.phase_steps_table(run).rows)


def test_the_status_of_a_run_names_the_phases_of_its_strategy(tmp_path: Path) -> None:
    with start(_release(tmp_path)) as run:
        assert list(phases_by_state(run.journal.run(run.run_id), run.history())) == list(every_phase("blue_green"))


@pytest.mark.parametrize(
    ("command", "outcome", "words"),
    [
        ("print('12 passed')", "pass", r"passed in .* s: 12 passed"),
        ("print('password=hunter22'); raise SystemExit(3)", "fail", r"exit status 3: password=\*\*\*"),
        ("import time; time.sleep(60)", "could_not_run", r"not finished after 0\.3 s"),
        ("raise SystemExit(127)", "could_not_run", "exit status 127"),
    ],
)
def test_the_tests_of_the_plan_pass_fail_or_could_not_run(
    tmp_path: Path, command: str, outcome: str, words: str
) -> None:
    timeout_s = 0.3 if "sleep" in command else 20.0
    with start(_release(tmp_path, ("{python}", "-c", command), timeout_s)) as run:
        run.phase = "validate"
        tests = replace(steps.RunTests(), requires=())
        if outcome == "pass":
            assert run.step(tests).outcome == outcome
            return
        with pytest.raises(StepFailed, match=words):
            run.step(tests)
        assert run.record("run_tests").outcome == outcome


def _release(root: Path, tests: Sequence[str] = ("true",), timeout_s: float = 20.0) -> SmallEnvironment:
    phases = (Phase("prepare"), Phase("validate", tests=tuple(tests), tests_timeout_s=timeout_s), Phase("switch"))
    services = (Service("user_service", "users_db", (), ()),)
    plan = replace(small_plan(), strategy="blue_green", services=services, phases=(*small_plan().phases, *phases))
    return small_environment(root, plan)
