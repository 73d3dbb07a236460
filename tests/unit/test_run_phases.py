"""Which run a notebook belongs to, and whose turn it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from fix_run import SmallEnvironment, WriteFile, small_environment, small_plan, start

from runbook_lib.errors import ConfigurationError, JournalError, OutOfOrder


def passed(environment: SmallEnvironment, phase: str) -> str:
    with start(environment, phase) as run:
        run.step(WriteFile(str(environment.root), f"{phase}_step"))
        run.gate()
        return run.run_id


def test_a_phase_starts_only_when_the_ones_before_it_passed(tmp_path: Path) -> None:
    environment = small_environment(tmp_path)
    with pytest.raises(OutOfOrder, match=r"no run of this plan .* start with notebooks/00_preflight"):
        start(environment, "cutover")
    run_id = passed(environment, "preflight")
    with pytest.raises(OutOfOrder, match=r"preparation has not passed .* run notebooks/01_preparation.ipynb"):
        start(environment, "cutover")
    assert passed(environment, "preparation") == run_id
    assert passed(environment, "cutover") == run_id
    with start(environment, "preparation") as run:
        assert run.journal.run(run_id).state == "done"


def test_a_finished_run_is_looked_at_again_and_a_new_one_begins_with_the_pre_flight(tmp_path: Path) -> None:
    environment = small_environment(tmp_path)
    run_id = [passed(environment, phase) for phase in ("preflight", "preparation", "cutover")][-1]
    with start(environment, "cutover") as run:
        assert run.run_id == run_id
        assert run.step(WriteFile(str(tmp_path), "cutover_step")).repeated
    assert passed(environment, "preflight") != run_id


def test_a_run_of_another_plan_stands_in_the_way_once_it_has_done_something(tmp_path: Path) -> None:
    passed(small_environment(tmp_path), "preflight")
    passed(small_environment(tmp_path), "preparation")
    changed = small_environment(tmp_path, small_plan("plan-2"))
    with pytest.raises(OutOfOrder, match=r"was opened with another plan .* undo it first with notebooks/90"):
        start(changed)


def test_a_plan_may_still_change_after_the_pre_flight(tmp_path: Path) -> None:
    first = passed(small_environment(tmp_path), "preflight")
    with start(small_environment(tmp_path, small_plan("plan-2"))) as run:
        assert run.run_id != first
        assert run.journal.run(first).state == "superseded"


def test_an_unknown_phase_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(OutOfOrder, match=r"did you mean `preparation`\?"):
        start(small_environment(tmp_path), "preperation")


def test_an_unknown_option_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"chunk_row: unknown; .* did you mean `chunk_rows`\?"):
        start(small_environment(tmp_path), options={"chunk_row": 5})


@pytest.mark.parametrize("value", ["many", True, 0, 1.5, float("nan")])
def test_an_option_of_another_type_or_range_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(ConfigurationError, match="option chunk_rows"):
        start(small_environment(tmp_path), options={"chunk_rows": value})


def test_options_win_over_the_parameter_file_and_the_plan(tmp_path: Path) -> None:
    environment = small_environment(tmp_path, options={"jobs": 3, "batch_keys": 10})
    with start(environment, options={"jobs": 4}) as run:
        assert (run.options.jobs, run.options.batch_keys) == (4, 10)
        assert run.effective("cutover").max_write_pause_s == 2.0
    with start(environment, options={"max_write_pause_s": 1}) as run:
        assert run.effective("cutover").max_write_pause_s == 1


def test_an_unknown_run_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no-such-run: no such run in"):
        start(small_environment(tmp_path), run_id="no-such-run")


def test_a_damaged_record_is_not_continued(tmp_path: Path) -> None:
    import sqlite3

    environment = small_environment(tmp_path)
    passed(environment, "preflight")
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection:
        connection.execute("DROP TRIGGER entries_no_UPDATE")
        connection.execute("UPDATE entries SET payload = replace(payload, 'pass', 'fail') WHERE seq = 4")
    connection.close()
    with pytest.raises(JournalError, match=r"entry 4 \(result preflight_step\) was changed"):
        start(environment, "preparation")
