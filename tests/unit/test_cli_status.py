"""What `runbook status` says of a run, and that a runner does not push into a run that somebody else acts on."""

from __future__ import annotations

import multiprocessing
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from fix_evidence import RUN, Evidence, record_phase
from fix_run import small_environment

from runbook_lib.databases.port import Database
from runbook_lib.display.terminal import status_lines
from runbook_lib.errors import DatabaseError, LeaseHeld, OutOfOrder
from runbook_lib.journal import Journal, ProgressRow
from runbook_lib.journal.kinds import Intent, PhaseStarted, RollbackResult
from runbook_lib.runner.run_phases import Runner
from runbook_lib.transfer.databases_status import Place, ask_databases


def said(journal: Journal, run_id: str = "") -> str:
    return "\n".join(status_lines(journal, run_id))


def test_an_empty_journal_says_how_to_begin(tmp_path: Path):
    journal = Journal(f"sqlite:///{tmp_path / 'journal.db'}")
    assert said(journal) == "no run yet. Next: runbook run -f parameters/demo.yaml"
    journal.close()


def test_a_run_under_way_shows_phases_steps_and_progress(evidence: Evidence):
    journal = evidence.journal
    record_phase(journal, "preflight")
    journal.append(RUN, PhaseStarted(), phase="preparation")
    journal.append(RUN, Intent("", {}, "0", reversible=True), phase="preparation", step="copy_history")
    at = journal.entries(RUN)[-1].time.timestamp()
    journal.set_progress(RUN, ProgressRow("preparation", "copy_history", 5000, 10000, "rows", 2500.0, 2.0, "", at))
    text = said(journal)
    assert text.startswith(f"run {RUN}: open; plan plans/p.yaml; since ")
    assert "✓ preflight            passed at " in text
    assert "… preparation          under way" in text
    assert "… copy history: begun, no result yet" in text
    assert "copy_history: 5,000 of 10,000 rows (50%), 2,500 rows/s, 2 s left" in text
    assert "· cutover              not begun" in text


def test_a_gate_that_did_not_pass_shows_the_steps_of_its_phase(evidence: Evidence):
    record_phase(evidence.journal, "preflight", passed=False)
    text = said(evidence.journal, RUN)
    assert "✗ preflight            gate not passed" in text
    assert "✗ preflight step: did preflight" in text


def test_what_is_undone_is_said_to_be(evidence: Evidence):
    journal = evidence.journal
    record_phase(journal, "preflight")
    journal.append(RUN, PhaseStarted(), phase="rollback")
    undone = RollbackResult("00" * 32, "pass", "removed")
    journal.append(RUN, undone, phase="rollback", step="preflight_step")
    journal.set_state(RUN, "rolled_back")
    text = said(journal)
    assert "rolled back" in text
    assert "↩ preflight            undone" in text
    assert "not begun" not in text


def _hold(url: str, run_id: str, held: Event, enough: Event) -> None:
    journal = Journal(url)
    with journal.lease(run_id, "ada"):
        held.set()
        enough.wait(60)
    journal.close()


@pytest.fixture
def runner(tmp_path: Path):
    made = Runner(small_environment(tmp_path), lambda line: None)  # type: ignore[arg-type]  # what it uses of one
    made.journal.open_run("run-1", environment="demo", plan_digest="plan-1", plan_path="plans/test.yaml", actor="ada")
    yield made
    made.close()


def test_a_runner_leaves_a_run_alone_that_somebody_else_acts_on(runner: Runner, tmp_path: Path):
    spawn = multiprocessing.get_context("spawn")
    held, enough = spawn.Event(), spawn.Event()
    other = spawn.Process(target=_hold, args=(runner.environment.journal_url, "run-1", held, enough))
    other.start()
    try:
        assert held.wait(60)
        for phase in ("preflight", "rollback"):
            with pytest.raises(LeaseHeld, match="ada acts on this run"):
                runner.carry_out([phase])
    finally:
        enough.set()
        other.join()
        other.close()
    assert not (tmp_path / "evidence").exists()


def test_a_runner_refuses_a_phase_out_of_turn_before_it_makes_anything(runner: Runner, tmp_path: Path):
    with pytest.raises(OutOfOrder, match="preflight has not passed"):
        runner.carry_out(["preparation"])
    assert not (tmp_path / "evidence").exists()
    assert [entry.kind for entry in runner.journal.entries("run-1")] == ["run_opened"]


def test_a_database_that_does_not_answer_says_what_to_do():
    def refused() -> Database:
        raise DatabaseError("database source", "wrong password for x", action="set RUNBOOK_SOURCE_PASSWORD")

    seen = ask_databases(Place("source", "source", refused, ("t",), ()), []).source
    assert seen.error == "wrong password for x. Next: set RUNBOOK_SOURCE_PASSWORD"
