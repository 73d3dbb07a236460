"""Evidence that a kill left half-made is completed, and verifies."""

from __future__ import annotations

import pytest
from fix_evidence import Evidence, record_phase, write_notebook

from runbook_lib.evidence import bundle as bundles
from runbook_lib.evidence.bundle import closed, phase_folder, sealed_pass, unsealed
from runbook_lib.evidence.verify import verify_bundle


def problems(evidence: Evidence) -> list[str]:
    return [str(step) for step in verify_bundle(evidence.bundle) if not step.passed]


@pytest.mark.parametrize(
    "killed_at", ["statement.json.draft", "statement.json.sig", "statement.dsse.json", "statement.json"]
)
def test_a_phase_killed_while_it_is_sealed_is_sealed_by_the_next_attempt(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    evidence.phase("preflight", "00_preflight")
    record_phase(evidence.journal, "preparation")
    folder = phase_folder(evidence.bundle, "01_preparation")
    write_notebook(folder / "notebook.ipynb", "# Prepare")
    original = bundles.Path.write_bytes

    def die(path: bundles.Path, content: bytes) -> int:
        if killed_at in path.name:
            original(path, content[: len(content) // 2])
            raise SystemExit  # not caught anywhere below, like a kill; what a kill skips is restored here
        return original(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(bundles.Path, "write_bytes", die)
        with pytest.raises(SystemExit):
            evidence.seal(folder, "preparation")
    (folder / bundles.DRAFT).write_text("{}")  # its removal is what a kill would have skipped
    assert unsealed(evidence.bundle) == [folder] and not closed(evidence.bundle)
    evidence.seal(folder, "preparation")
    assert sealed_pass(folder)
    (evidence.bundle / bundles.DRAFT).write_text("{}")
    (evidence.bundle / ".summary.json.1.part").write_text("{")
    evidence.close()
    assert problems(evidence) == [] and closed(evidence.bundle)


def test_a_phase_killed_before_its_seal_does_not_verify_and_is_found(evidence: Evidence) -> None:
    evidence.phase("preflight", "00_preflight")
    record_phase(evidence.journal, "preparation")
    write_notebook(phase_folder(evidence.bundle, "01_preparation") / "notebook.ipynb", "# Prepare")
    evidence.close()
    assert any("01_preparation/statement.json is missing" in line for line in problems(evidence))
    [left] = unsealed(evidence.bundle)
    evidence.seal(left, "preparation")
    evidence.close()
    assert problems(evidence) == []


def test_a_notebook_that_ended_before_it_began_its_phase_is_sealed_as_not_passed(evidence: Evidence) -> None:
    folder = phase_folder(evidence.bundle, "02_gradual_extraction")
    write_notebook(folder / "notebook.ipynb", "# Extract")
    evidence.seal(folder, "gradual_extraction")
    assert not sealed_pass(folder)
    evidence.close()
    assert problems(evidence) == []
