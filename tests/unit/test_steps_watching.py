"""What a step says while it watches, and why a smoke test failed."""

from __future__ import annotations

from pathlib import Path

from fix_run import small_environment, start

from runbook_lib.monitoring.triggers import Reading, State
from runbook_lib.monitoring.watch import Observation
from runbook_lib.steps.smoke_test import SmokeTest
from runbook_lib.steps.traffic_watch import _progress_of_watch
from runbook_lib.verdict import StepResult


def test_a_watch_says_how_far_it_is_and_what_the_triggers_read(tmp_path: Path) -> None:
    with start(small_environment(tmp_path)) as run:
        calm = Reading("error_rate", State.OK, 0.0, 0.01, 84, "0 of 84 requests failed")
        _progress_of_watch(run, 600.0)(Observation(0.0, 84, 0), [calm])
        row = run.journal.get_progress(run.run_id)
    assert row is not None and (row.total, row.unit) == (600.0, "s")
    assert row.reason == "error rate: 0 of 84 requests failed"


def test_a_smoke_test_that_failed_says_why_not_only_where(tmp_path: Path) -> None:
    with start(small_environment(tmp_path)) as run:
        failed = {"user_service@source": "1 of 3 smoke tests failed: login: connection refused"}
        run.just_applied["smoke_test:source:start"] = StepResult("", {"failed": failed, "could_not_run": []})
        assert "login: connection refused" in SmokeTest("source").verify(run).text
