"""A rollback trigger that fired stays fired until its step is undone, or somebody goes on by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from fix_run import SmallPolicy, WriteFile, small_environment, start

from runbook_lib.errors import GateFailed
from runbook_lib.run.run import Run

FIRED = "error_rate: 9 of 100 requests failed (9.00%, limit 1.00%)"


def fire(run: Run) -> None:
    run.current = "one"
    run.alarm(FIRED, metric="error_rate", value=0.09)
    run.current = ""


def test_nothing_goes_on_after_a_trigger_fired_until_somebody_says_so_by_name(tmp_path: Path) -> None:
    environment = small_environment(tmp_path, policy=SmallPolicy(approvals="auto", signoffs="auto"))
    with start(environment) as run:
        first = run.step(WriteFile(str(tmp_path), "one"))
        fire(run)
        assert run.step(WriteFile(str(tmp_path), "one")).repeated and first.outcome == "pass"  # what is done is done
        with pytest.raises(GateFailed, match=r"9 of 100 requests failed .* runbook approve .*go on after error_rate"):
            run.step(WriteFile(str(tmp_path), "two"))  # also where the policy waives approvals
        with pytest.raises(GateFailed, match="go on after error_rate"):
            run.gate()
    with start(environment) as run:  # another kernel
        with pytest.raises(GateFailed):
            run.step(WriteFile(str(tmp_path), "two"))
        run.approve("go on after error_rate", "a deploy of something else")
        run.step(WriteFile(str(tmp_path), "two"))
        fire(run)
        with pytest.raises(GateFailed):  # what was acknowledged was the first one
            run.step(WriteFile(str(tmp_path), "three"))


def test_a_rollback_of_its_step_ends_it(tmp_path: Path) -> None:
    with start(small_environment(tmp_path)) as run:
        run.step(WriteFile(str(tmp_path), "one"))
        fire(run)
        run.rollback(steps={"one"})
        run.step(WriteFile(str(tmp_path), "two"))
