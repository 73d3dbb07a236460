"""What every notebook has in common, so that whoever knows one knows all (design, section 4)."""

from __future__ import annotations

import ast
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from runbook_lib.config.environment import PARAMETERS
from runbook_lib.plan.phase_order import ASIDE, PHASES, ROLLBACK

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
PARAMETER_FILES = sorted((ROOT / "parameters").glob("*.yaml"))
PARTS = ("What this does", "Before you start", "Steps", "Gate", "If it fails")
BLUE_GREEN = "blue_green"
MOST_LINES = 12
MEDIAN_LINES = 3
MOST_CHARTS = 2  # beside each other without a word between
VERBS = {
    "Archive", "Carry", "Check", "Clean", "Compare", "Convert", "Cut", "Extract", "Go", "Measure", "Migrate", "Move",
    "Prepare", "Roll", "Switch", "Undo", "Upgrade", "Validate",
}  # fmt: skip
SQL = re.compile(
    r"\b(SELECT\s.+\sFROM|INSERT\s+INTO|UPDATE\s.+\sSET|DELETE\s+FROM|CREATE\s+TABLE|ALTER\s+TABLE)\b", re.I
)

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path) -> list[Any]:
    return list(json.loads(path.read_text())["cells"])


def source(cell: Any) -> str:
    return "".join(cell["source"])


def code(path: Path) -> list[str]:
    return [source(cell) for cell in cells(path) if cell["cell_type"] == "code"]


def lines(text: str) -> int:
    return len([line for line in text.splitlines() if line.strip()])


def only_a_chart(text: str) -> bool:
    body = ast.parse(text).body
    return len(body) == 1 and isinstance(body[0], ast.Expr) and ast.unparse(body[0]).startswith("charts.")


def runs_of_code(path: Path) -> Iterator[list[str]]:
    """The code cells that follow each other without Markdown between them."""
    run: list[str] = []
    for cell in cells(path):
        if cell["cell_type"] == "code":
            run.append(source(cell))
        elif run:
            yield run
            run = []
    if run:
        yield run


@every_notebook
def test_it_is_valid_and_committed_without_outputs(path: Path):
    nbformat.validate(nbformat.read(path, as_version=4))
    for cell in cells(path):
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
    identifiers = [cell["id"] for cell in cells(path)]
    assert len(set(identifiers)) == len(identifiers)


@every_notebook
def test_its_metadata_say_which_kernel_and_no_more(path: Path):
    metadata = json.loads(path.read_text())["metadata"]
    assert set(metadata) == {"kernelspec", "language_info"}
    assert metadata["kernelspec"]["name"] == "python3"


@every_notebook
def test_the_first_cell_has_a_title_with_a_verb_and_the_five_parts_in_order(path: Path):
    first = cells(path)[0]
    assert first["cell_type"] == "markdown"
    title, *_ = source(first).splitlines()
    assert title.startswith("# ")
    assert title.split()[1] in VERBS
    places = [source(first).find(f"**{part}.**") for part in PARTS]
    assert -1 not in places
    assert places == sorted(places)
    headings = [line for cell in cells(path) for line in source(cell).splitlines() if cell["cell_type"] == "markdown"]
    assert [line for line in headings if line.startswith("# ")] == [title]


@every_notebook
def test_every_code_cell_has_its_words_before_it(path: Path):
    for run in runs_of_code(path):
        beside = run[1:]
        assert [text for text in beside if not only_a_chart(text)] == []
        assert len(beside) <= MOST_CHARTS
    for before, after in pairwise(cells(path)):
        assert (before["cell_type"], after["cell_type"]) != ("markdown", "markdown"), source(after)[:40]


@every_notebook
def test_cells_are_short(path: Path):
    lengths = [lines(text) for text in code(path)]
    assert max(lengths) <= MOST_LINES
    assert statistics.median(lengths) <= MEDIAN_LINES


@every_notebook
def test_there_is_no_programming_in_it(path: Path):
    for text in code(path):
        assert not re.search(r"(?m)^\s*[!%]", text), "a shell command or a magic"
        forbidden = (
            ast.FunctionDef,
            ast.AsyncFunctionDef,
            ast.ClassDef,
            ast.Lambda,
            ast.Try,
            ast.With,
            ast.While,
            ast.If,
        )
        found = [type(node).__name__ for node in ast.walk(ast.parse(text)) if isinstance(node, forbidden)]
        assert found == []
        strings = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
        assert [value for value in strings if isinstance(value, str) and SQL.search(value)] == []


@every_notebook
def test_its_first_code_cell_names_exactly_the_parameters_with_type_and_meaning(path: Path):
    first = next(cell for cell in cells(path) if cell["cell_type"] == "code")
    assert first["metadata"]["tags"] == ["parameters"]
    body = ast.parse(source(first)).body
    assert all(isinstance(node, ast.AnnAssign) and node.value is not None for node in body)
    own = ("phase",) if path.stem == BLUE_GREEN else ()  # it carries out several phases, one at a time
    assert tuple(ast.unparse(node.target) for node in body if isinstance(node, ast.AnnAssign)) == (*PARAMETERS, *own)
    assert all("#" in line for line in source(first).splitlines())
    tagged = [cell for cell in cells(path) if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1


@pytest.mark.parametrize("path", PARAMETER_FILES, ids=lambda path: path.stem)
def test_a_parameter_file_has_exactly_the_notebooks_parameters(path: Path):
    values = yaml.safe_load(path.read_text())
    assert set(values) == set(PARAMETERS)
    assert values["environment"] == path.stem


@every_notebook
def test_it_opens_its_own_phase_and_ends_with_its_gate(path: Path):
    everything = "\n".join(code(path))
    if path.stem == BLUE_GREEN:
        assert "open_run(phase," in everything
    else:
        (phase,) = re.findall(r"open_run\(\s*\"(\w+)\"", everything)
        assert path.stem.lstrip("0123456789_") == phase
        assert phase in (*PHASES, ROLLBACK, *ASIDE)
    assert code(path)[-1].strip().startswith("run.gate(")
    assert cells(path)[-1]["cell_type"] == "code"
    assert everything.count("run.gate(") == 1


def test_every_phase_has_its_notebook_in_its_place():
    names = {path.relative_to(ROOT / "notebooks").as_posix() for path in NOTEBOOKS}
    assert {f"{number:02d}_{phase}.ipynb" for number, phase in enumerate(PHASES)} | {"90_rollback.ipynb"} <= names


@every_notebook
def test_its_links_lead_somewhere(path: Path):
    for cell in cells(path):
        if cell["cell_type"] == "markdown":
            for target in re.findall(r"\]\(([^)#:]+)\)", source(cell)):
                assert (path.parent / target).exists(), target


def test_ruff_is_content():
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--quiet", *map(str, NOTEBOOKS)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
