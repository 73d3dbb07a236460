"""A run in a real journal, and its sealed evidence: small, and with everything that evidence can hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

from runbook_lib.evidence.bundle import Facts, finish, phase_folder, seal_phase
from runbook_lib.evidence.keys import SigningKey, demo_key
from runbook_lib.journal import Journal
from runbook_lib.journal.kinds import Gate, Intent, Item, PhaseStarted, Result

SECRET = "p@ss w\"ö<rd>&'/+"
RUN = "20261122-2359-demo-ab12"


@dataclass(frozen=True)
class Evidence:
    bundle: Path
    journal: Journal
    key: SigningKey

    def phase(self, name: str, folder: str, passed: bool = True) -> Path:
        """Record a phase with one step and its gate, and seal its notebook."""
        record_phase(self.journal, name, passed=passed)
        path = phase_folder(self.bundle, folder)
        write_notebook(path / "notebook.ipynb", f"# Carry out {name}")
        self.seal(path, name)
        return path

    def seal(self, folder: Path, phase: str) -> None:
        facts = Facts(engines={"legacy": "PostgreSQL 18.6"}, schemas={"legacy": "ab" * 32})
        seal_phase(folder, journal=self.journal, run_id=RUN, phase=phase, key=self.key, secrets=[SECRET], facts=facts)

    def close(self, **more: object) -> Path:
        return finish(self.bundle, journal=self.journal, run_id=RUN, key=self.key, secrets=[SECRET], **more)


@pytest.fixture
def evidence(tmp_path: Path):
    journal = Journal(f"sqlite:///{tmp_path / 'journal.db'}")
    journal.open_run(RUN, environment="demo", plan_digest="cd" * 32, actor="ada", plan_path="plans/p.yaml")
    yield Evidence(tmp_path / "evidence" / "demo" / RUN, journal, demo_key(tmp_path))
    journal.close()


def record_phase(journal: Journal, phase: str, *, passed: bool = True) -> None:
    outcome = "pass" if passed else "fail"
    step, inputs = f"{phase}_step", "00" * 32
    journal.append(RUN, PhaseStarted(), phase=phase, actor="ada")
    journal.append(RUN, Intent("", {}, inputs, reversible=True), phase=phase, step=step, actor="ada")
    data = {"rows_copied": 1000, "write_pause_ms": 12.5} if phase == "data_migration" else {}
    result = Result(inputs, outcome, f"did {phase}", data, applied=True)
    journal.append(RUN, result, phase=phase, step=step, actor="ada")
    item = Item(step, outcome, "" if passed else "3 rows are missing")
    journal.append(RUN, Gate(passed, (item,)), phase=phase)


def write_notebook(path: Path, *cells: str, parameters: str = "") -> Path:
    """A notebook of these cells: those that begin with # and a blank are Markdown."""
    book = nbformat.v4.new_notebook()
    book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book.metadata.language_info = {"name": "python"}
    if parameters:
        cell = nbformat.v4.new_code_cell(parameters)
        cell.metadata.tags = ["parameters"]
        book.cells.append(cell)
    for source in cells:
        make = nbformat.v4.new_markdown_cell if source.startswith("# ") else nbformat.v4.new_code_cell
        book.cells.append(make(source))
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(book, path)
    return path
