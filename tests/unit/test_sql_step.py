"""SQL of a plan: one transaction, committed only where its own verification passes within it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fix_run import small_environment, start

from runbook_lib.errors import DatabaseError, StepFailed
from runbook_lib.run.run import Run
from runbook_lib.steps import SqlStep
from runbook_lib.util import points

THERE = "SELECT count(*) FROM sqlite_master WHERE name = 'modes'"
MODES = SqlStep(
    "modes",
    "legacy",
    ("CREATE TABLE modes (name text PRIMARY KEY, ready boolean)", "INSERT INTO modes VALUES ('50% :off', true)"),
    {"query": THERE, "rows": (("1",),)},
    undo=("DROP TABLE IF EXISTS modes",),
)
ROW = {"query": "SELECT name, ready, NULL FROM modes", "rows": (("50% :off", "true", None),)}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with start(small_environment(tmp_path)) as run:
        yield run


def there(root: Path) -> bool:
    with sqlite3.connect(root / "legacy.db") as connection:
        return bool(connection.execute(THERE).fetchone()[0])


def test_statements_are_run_verified_undone_and_run_again(run: Run, tmp_path: Path) -> None:
    assert run.step(MODES).text == "legacy: 2 statements, 1 row changed"
    assert run.step(MODES).repeated
    assert run.step(replace(MODES, title="seen", proof=ROW)).text == "was so already: 1 row as expected"
    assert run.rollback().passed
    assert not there(tmp_path)
    assert run.step(MODES).passed


def test_a_verification_that_does_not_pass_within_the_transaction_leaves_nothing(run: Run, tmp_path: Path) -> None:
    wrong = replace(MODES, proof={"query": "SELECT 'x', 3.5", "rows": (("x", "3.50"),)})
    with pytest.raises(StepFailed, match=r"before the commit: 1 row, expected 1: \(x, 3\.5\) where \(x, 3\.50\)"):
        run.step(wrong)
    assert not there(tmp_path)


def test_a_statement_that_fails_takes_those_before_it_back(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="incomplete input"):
        run.step(replace(MODES, acts=(*MODES.acts, "INSERT INTO")))
    assert not there(tmp_path)
    assert run.step(MODES).passed


@pytest.mark.parametrize("point", ["system-step:begun", "system-step:done"])
def test_one_that_was_interrupted_asks_whether_it_was_committed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    def end(at: str) -> None:
        if at == point:
            raise KeyboardInterrupt

    monkeypatch.setattr(points, "observers", [end])
    with pytest.raises(KeyboardInterrupt):
        run.step(MODES)
    monkeypatch.setattr(points, "observers", [])
    assert run.step(MODES).resumed
    assert run.rollback().passed
    assert not there(tmp_path)


def test_a_check_with_other_rows_stops_it_before_it_acts(run: Run, tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="0 rows, expected 1; nothing was applied"):
        run.step(replace(MODES, condition={"query": "SELECT 1 WHERE 1 = 0", "rows": (("1",),)}))
    assert not there(tmp_path)


def test_a_schema_that_the_step_changes_is_no_drift(run: Run) -> None:
    run.step(MODES)
    assert run.gate().passed
