"""Drift: a schema that changes without a step of the run fails the next gate, until it is put back or approved."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fix_run import MakeTable, SmallEnvironment, SmallPolicy, small_environment, start, switch

from runbook_lib.errors import GateFailed, JournalError
from runbook_lib.journal.kinds import Approval, Intent, SchemaApproved
from runbook_lib.run.approvals import approve
from runbook_lib.run.run import Run
from runbook_lib.verdict import Outcome, Verdict

HOTFIX = r"schema of legacy \(fail\): users: \+ column hotfix integer"


@pytest.fixture
def environment(tmp_path: Path) -> SmallEnvironment:
    """With a table at the source, a policy that waives every approval it may, and the pre-flight passed."""
    made = small_environment(tmp_path, policy=SmallPolicy(approvals="auto", signoffs="auto"))
    by_hand(made, "CREATE TABLE users (id integer PRIMARY KEY, name text)")
    with start(made) as run:
        looked(run)
        assert "schemas" not in [item.name for item in run.gate().items]  # nothing to compare with yet
    return made


def looked(run: Run) -> None:
    run.verdict("looked", Verdict(Outcome.PASS, "fine"))


def by_hand(environment: SmallEnvironment, *statements: str) -> None:
    """What somebody does beside the run."""
    with closing(sqlite3.connect(environment.root / "legacy.db")) as driver:
        for statement in statements:
            driver.execute(statement)


def test_a_column_added_by_hand_fails_the_gate_by_its_name_until_it_is_put_back(environment: SmallEnvironment) -> None:
    by_hand(environment, "ALTER TABLE users ADD hotfix int")
    with start(environment, "preparation") as run:
        looked(run)
        with pytest.raises(GateFailed, match=f'{HOTFIX}; put it back, or: runbook approve .*"schema drift in legacy"'):
            run.gate()
        by_hand(environment, "ALTER TABLE users DROP COLUMN hotfix")
        [item] = [item for item in run.gate().items if item.name == "schemas"]
        assert (item.outcome, item.text) == ("pass", "as approved: legacy")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("CREATE INDEX named ON users (name)", "users: + index"),
        ("CREATE TABLE more (id int)", "more: + the table; more: + column id int"),
        ("CREATE VIEW names AS SELECT name FROM users", "view names: + CREATE VIEW names AS SELECT name FROM users"),
        ("CREATE TRIGGER t AFTER DELETE ON users BEGIN SELECT 1; END", "users: + trigger t"),
        ("DROP TABLE users", "users: − the table; users: −"),
    ],
)
def test_every_kind_of_change_is_drift_and_named(environment: SmallEnvironment, change: str, words: str) -> None:
    by_hand(environment, change)
    with start(environment, "preparation") as run:
        looked(run)
        with pytest.raises(GateFailed) as caught:
            run.gate()
        assert f"schema of legacy (fail): {words}" in str(caught.value)


def test_a_person_may_approve_exactly_this_drift_and_the_journal_says_who_and_why(
    environment: SmallEnvironment,
) -> None:
    by_hand(environment, "ALTER TABLE users ADD hotfix int")
    with start(environment, "preparation") as run:
        looked(run)
        with pytest.raises(JournalError, match="nothing named"):
            approve(run.journal, run.run_id, "schema drift in legacy", comment="early", actor="anna")
        with pytest.raises(GateFailed, match=HOTFIX):  # no policy waives it
            run.gate()
        approve(run.journal, run.run_id, "schema drift in legacy", comment="ticket 7", actor="anna")
        by_hand(environment, "ALTER TABLE users ADD another int")
        with pytest.raises(GateFailed, match=r"schema of legacy \(fail\): users: \+ column another int.*put it back"):
            run.gate()
        approve(run.journal, run.run_id, "schema drift in legacy", comment="ticket 8", actor="berta")
        [item] = [item for item in run.gate().items if item.name == "schema of legacy"]
        assert item.passed and "berta" in item.text and "ticket 8" in item.text
        [given] = [entry for entry in run.journal.entries(run.run_id, Approval) if entry.actor == "berta"]
        assert given.read(Approval).comment == "ticket 8"
    with start(environment, "cutover") as run:
        looked(run)
        assert run.gate().passed  # it is the approved schema now


def test_what_a_step_says_it_changes_is_no_drift_and_its_undo_is_none_either(environment: SmallEnvironment) -> None:
    with start(environment, "preparation") as run:
        run.step(MakeTable(str(environment.root), "made"))
        assert run.gate().passed
        run.rollback("preflight")
        with pytest.raises(GateFailed, match=r"not passed: made \(undone\)[^;]*; the phase stays open"):
            run.gate()  # which says nothing of the table that went
        run.step(MakeTable(str(environment.root), "made"))
        assert run.gate().passed


def test_a_step_does_not_build_on_a_schema_that_has_drifted(environment: SmallEnvironment) -> None:
    by_hand(environment, "ALTER TABLE users ADD hotfix int")
    step = MakeTable(str(environment.root), "made")
    with start(environment, "preparation") as run:
        with pytest.raises(GateFailed, match=r"schema of legacy: users: \+ column hotfix integer; .*nothing was done"):
            run.step(step)
        assert not run.journal.entries(run.run_id, Intent) and not step.path.exists()
        approve(run.journal, run.run_id, "schema drift in legacy", comment="ticket 7", actor="anna")
        assert run.step(step).passed
        assert run.gate().passed


def test_the_half_of_an_interrupted_or_failed_step_is_not_called_drift(environment: SmallEnvironment) -> None:
    step = MakeTable(str(environment.root), "made")
    with start(environment, "preparation") as run:
        switch(environment.root, "interrupt-made")
        with pytest.raises(KeyboardInterrupt):
            run.step(step)
        with pytest.raises(GateFailed, match=r"1 of 2 not passed: made \(interrupted\)"):
            run.gate()
        switch(environment.root, "interrupt-made", on=False)
        switch(environment.root, "apply-made")
        with pytest.raises(Exception, match="apply"):
            run.step(step)
        switch(environment.root, "apply-made", on=False)
        assert run.step(step).passed
        assert run.gate().passed


def test_a_gate_before_an_interrupted_step_approves_nothing_of_what_it_left(environment: SmallEnvironment) -> None:
    with start(environment, "preparation") as run:
        switch(environment.root, "interrupt-made")
        with pytest.raises(KeyboardInterrupt):
            run.step(MakeTable(str(environment.root), "made"))
    with start(environment, "validation") as run:
        looked(run)
        assert "made changes it, and was interrupted" in str(run.gate().items)
        approved = run.journal.entries(run.run_id, SchemaApproved)
        assert len(approved) == 1  # of the first gate


def test_a_database_that_does_not_answer_is_could_not_run_and_not_drift(environment: SmallEnvironment) -> None:
    with start(environment, "preparation") as run:
        looked(run)
        (environment.root / "legacy.db").rename(environment.root / "away")
        with pytest.raises(GateFailed, match=r"schema of legacy \(could_not_run\): database legacy: no file"):
            run.gate()
        (environment.root / "away").rename(environment.root / "legacy.db")
        assert run.gate().passed
