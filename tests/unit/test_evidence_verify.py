"""Whatever is changed in an evidence folder after it was signed is found, and named."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from fix_evidence import RUN, SECRET, Evidence, record_phase, write_notebook

from runbook_lib.errors import EvidenceError, JournalError
from runbook_lib.evidence import verify
from runbook_lib.evidence.keys import demo_key
from runbook_lib.evidence.verify import STEPS, require_valid, verify_bundle
from runbook_lib.journal.kinds import Approval

FILES = {
    "notebook.ipynb",
    "notebook.html",
    "report.json",
    "statement.json",
    "statement.json.sig",
    "statement.dsse.json",
}


@pytest.fixture
def sealed(evidence: Evidence) -> Evidence:
    evidence.phase("preflight", "00_preflight")
    evidence.phase("preparation", "01_preparation", passed=False)
    evidence.phase("preparation", "01_preparation")
    evidence.phase("data_migration", "03_data_migration")
    evidence.close(ledger={"acknowledged_writes": 4321, "lost_writes": 0, "failed_requests": 0}, title="To services")
    return evidence


def failed(evidence: Evidence) -> list[int]:
    return [step.number for step in verify_bundle(evidence.bundle) if not step.passed]


def test_untouched_evidence_passes_every_numbered_step(sealed: Evidence):
    steps = verify_bundle(sealed.bundle, sealed.key.verifying)
    assert [str(step) for step in steps if not step.passed] == []
    assert [step.title for step in steps] == list(STEPS)
    assert all(f"\n{step.number}. " in (verify.__doc__ or "") for step in steps)
    require_valid(steps)


def test_a_phase_folder_holds_the_six_files_and_earlier_attempts_stay(sealed: Evidence):
    assert {path.name for path in (sealed.bundle / "03_data_migration").iterdir()} == FILES
    first = json.loads((sealed.bundle / "01_preparation.attempt-1" / "statement.json").read_text())["predicate"]
    second = json.loads((sealed.bundle / "01_preparation" / "statement.json").read_text())["predicate"]
    assert (first["passed"], first["position"], second["passed"], second["position"]) == (False, 2, True, 3)
    assert first["gate"]["items"][0]["text"] == "3 rows are missing"
    assert second["journal"]["head"] and second["run"]["plan_digest"] and second["code"]["sha256"]
    assert second["engines"] == {"legacy": "PostgreSQL 18.6"}


def test_a_flipped_byte_anywhere_in_any_file_is_found(sealed: Evidence):
    files = sorted(path for path in sealed.bundle.rglob("*") if path.is_file())
    assert len(files) == 4 * 6 + 5 + 3
    for path in files:
        content = path.read_bytes()
        for place in (0, len(content) // 3, len(content) // 2, len(content) - 1):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            assert failed(sealed), f"{path.relative_to(sealed.bundle)} at {place}"
        path.write_bytes(content)
    assert failed(sealed) == []


def test_a_removed_file_is_found_whichever_it_is(sealed: Evidence):
    for path in sorted(path for path in sealed.bundle.rglob("*") if path.is_file()):
        content = path.read_bytes()
        path.unlink()
        assert failed(sealed), path.relative_to(sealed.bundle)
        path.write_bytes(content)


def test_each_finding_is_said_once_though_two_statements_name_the_file(sealed: Evidence):
    (sealed.bundle / "03_data_migration" / "report.json").write_text("{}")
    problems = [problem for step in verify_bundle(sealed.bundle) for problem in step.problems]
    assert problems.count("03_data_migration/report.json was changed after it was signed") == 1


def test_an_added_file_is_found(sealed: Evidence):
    (sealed.bundle / "03_data_migration" / "more.txt").write_text("by the way")
    assert failed(sealed) == [6]


def test_exchanged_phases_are_found(sealed: Evidence):
    a, b, aside = (sealed.bundle / name for name in ("00_preflight", "03_data_migration", "x"))
    a.rename(aside), b.rename(a), aside.rename(b)
    assert 7 in failed(sealed)


def test_a_removed_phase_is_found(sealed: Evidence):
    shutil.rmtree(sealed.bundle / "01_preparation.attempt-1")
    assert {5, 7} <= set(failed(sealed))


def test_a_journal_cut_off_at_the_end_is_found(sealed: Evidence):
    path = sealed.bundle / "journal.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert {5, 9} <= set(failed(sealed))


def test_evidence_that_somebody_signed_anew_with_a_key_of_their_own_fails_against_the_trusted_key(
    sealed: Evidence, tmp_path: Path
):
    other = demo_key(tmp_path / "other").verifying
    assert {1, 3, 4} <= {step.number for step in verify_bundle(sealed.bundle, other) if not step.passed}


def test_a_run_that_is_not_closed_says_so(evidence: Evidence):
    evidence.phase("preflight", "00_preflight")
    step = verify_bundle(evidence.bundle)[1]
    assert not step.passed
    assert "the run was not closed" in step.problems[0]


def test_a_closed_run_that_goes_on_is_closed_again(sealed: Evidence):
    sealed.phase("cutover", "04_cutover")
    assert not (sealed.bundle / "statement.json").exists()
    sealed.close()
    assert failed(sealed) == []


def test_a_phase_without_a_notebook_is_sealed_with_its_report(evidence: Evidence):
    folder = evidence.bundle / "00_preflight"
    folder.mkdir(parents=True)
    record_phase(evidence.journal, "preflight")
    evidence.seal(folder, "preflight")
    evidence.close()
    assert failed(evidence) == []


def test_nothing_is_signed_when_a_secret_is_in_an_artefact(evidence: Evidence):
    record_phase(evidence.journal, "preflight")
    folder = evidence.bundle / "00_preflight"
    write_notebook(folder / "notebook.ipynb", "# Connect", f"url = {SECRET!r}")
    with pytest.raises(EvidenceError, match=r"notebook\.ipynb at byte") as caught:
        evidence.seal(folder, "preflight")
    assert SECRET not in str(caught.value)
    assert not list(evidence.bundle.rglob("statement*"))


def test_nothing_is_signed_when_a_comment_of_an_approval_holds_a_secret(evidence: Evidence):
    record_phase(evidence.journal, "preflight")
    evidence.journal.append(RUN, Approval("", SECRET), phase="preflight", step="go", actor="ada")
    folder = evidence.bundle / "00_preflight"
    folder.mkdir(parents=True)
    with pytest.raises(EvidenceError, match=r"report\.json"):
        evidence.seal(folder, "preflight")


def test_a_damaged_journal_is_not_signed(evidence: Evidence, tmp_path: Path):
    import sqlite3

    record_phase(evidence.journal, "preflight")
    with sqlite3.connect(tmp_path / "journal.db") as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f'DROP TRIGGER "{name}"')
        database.execute("UPDATE entries SET actor = 'eve' WHERE seq = 3")
    database.close()
    folder = evidence.bundle / "00_preflight"
    folder.mkdir(parents=True)
    with pytest.raises(JournalError):
        evidence.seal(folder, "preflight")
    assert not (folder / "statement.json").exists()


def test_the_command_on_the_index_page_verifies_a_phase(sealed: Evidence):
    import html
    import re

    page = (sealed.bundle / "index.html").read_text()
    command = re.search(r"(ssh-keygen -Y verify.*?)\nrunbook", html.unescape(page), re.DOTALL).group(1)
    done = subprocess.run(["sh", "-c", command], cwd=sealed.bundle, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_folder_that_is_not_there_is_one_clear_line(tmp_path: Path):
    with pytest.raises(EvidenceError, match="no such folder"):
        verify_bundle(tmp_path / "nowhere")


def test_an_empty_folder_fails_and_does_not_raise(tmp_path: Path):
    steps = verify_bundle(tmp_path)
    assert not all(step.passed for step in steps)
    with pytest.raises(EvidenceError, match="step 1"):
        require_valid(steps)
