"""The docs: what they link to exists, wherever it is said; decisions are listed; prose is within 120 characters."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from make_decisions_index import PAGE, decisions, index
from wrap_prose import pages, wrapped

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\((?!\w+:)([^)\s#]*)(?:#([^)\s]*))?\)")
NAMED = re.compile(r"(?<![/\w])docs/[\w./-]*\w")  # in code, comments and docstrings
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
PAGES = [str(path.relative_to(ROOT)) for path in pages()]


def text_of(page: Path) -> str:
    return FENCED.sub("", page.read_text(encoding="utf-8"))


@cache
def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    heads = re.findall(r"^#{1,6} (.+)$", text_of(page), re.MULTILINE)
    plain = [re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", head).strip().lower() for head in heads]
    return {re.sub(r"[^\w\- ]", "", head).replace(" ", "-") for head in plain}


@pytest.mark.parametrize("name", PAGES)
def test_every_relative_link_of_a_page_leads_somewhere(name: str) -> None:
    page, dead = ROOT / name, []
    for path, anchor in LINK.findall(text_of(page)):
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            dead.append(f"{path}#{anchor}")
    assert dead == []


def test_every_page_that_code_names_exists() -> None:
    kinds = ["*.py", "*.ipynb", "*.yaml", "*.yml", "*.toml"]
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *kinds],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    places = [ROOT / name for name in listed.stdout.split() if (ROOT / name).exists() and "test_docs" not in name]
    named = {(str(at.relative_to(ROOT)), each) for at in places for each in NAMED.findall(at.read_text("utf-8"))}
    assert len(named) > 20
    assert sorted(f"{at}: {each}" for at, each in named if not exists(each)) == []


def test_every_file_that_contributing_names_exists() -> None:
    """Where `NAME` or `ENGINE` stands for one that is to be written, its folder does."""
    named = re.findall(r"`([\w/]+/[\w./]*)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert len(named) > 40
    paths = {re.sub(r"(NAME|ENGINE|NNNN).*", "", name) for name in named}
    assert (
        sorted(name for name in paths if not ((ROOT / name).exists() or (ROOT / "runbook_lib" / name).exists())) == []
    )


def test_the_tree_in_contributing_is_the_library_s_in_the_order_of_its_imports() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    lines = re.findall(r"^[├└]── ((?:[\w.]+/?(?:, )?)+)", text, re.MULTILINE)
    rooms = [tuple(re.findall(r"(\w+)(?:/|\.py)", line)) for line in lines]
    layers = (ROOT / "tests/unit/test_layers.py").read_text(encoding="utf-8")
    order = ast.literal_eval(re.search(r"^ROOMS = (\(.*?^\))", layers, re.MULTILINE | re.DOTALL)[1])  # type: ignore[index]
    assert [name for line in rooms for name in line] == [name for line in order for name in line]


@pytest.mark.parametrize("name", PAGES)
def test_no_line_of_prose_is_longer_than_120_characters(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert wrapped(text) == text, "make docs"


def test_a_long_paragraph_is_wrapped_and_tables_code_and_lists_stay() -> None:
    long = " ".join(["word"] * 40)
    text = f"- {long} - 1. end\n\n| {long} |\n\n```\n{long}\n```\n"
    lines = wrapped(text).split("\n")
    assert lines[1].startswith("  word") and max(map(len, lines[:2])) <= 120
    assert lines[2:] == text.split("\n")[1:]
    assert wrapped(text).split() == text.split()


# -- decisions ---


def test_every_decision_is_listed_with_its_status_and_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == index(), "make docs"
    assert len(decisions()) > 100


def test_decisions_have_numbers_of_their_own() -> None:
    numbers = [int(path.name[:4]) for path in decisions()]
    titles = [int(re.match(r"# (\d+)\.", path.read_text("utf-8"))[1]) for path in decisions()]  # type: ignore[index]
    assert numbers == titles == sorted(set(numbers))


def test_nothing_is_added_to_the_old_list_of_decisions() -> None:
    assert len((ROOT / "docs/decisions.md").read_text("utf-8").splitlines()) == 3, "docs/decisions/NNNN-title.md"


def exists(named: str) -> bool:
    """A file or folder; a decision may be named by its number alone."""
    return (ROOT / named).exists() or (bool(re.search(r"/\d{4}$", named)) and bool([*ROOT.glob(f"{named}-*.md")]))


# -- correctness ---


CORRECTNESS = ROOT / "docs/correctness.md"


def test_each_section_of_correctness_names_tests_and_every_test_named_exists() -> None:
    sections = re.split(r"^### ", CORRECTNESS.read_text("utf-8"), flags=re.MULTILINE)[1:]
    assert len(sections) > 35
    named = {section.split("\n")[0]: re.findall(r"`([\w/]+\.py)::(\w+)`", section) for section in sections}
    assert [title for title, tests in named.items() if not tests] == []
    every = {test for tests in named.values() for test in tests}
    assert sorted(f"{file}::{name}" for file, name in every if not is_test(file, name)) == []


def is_test(file: str, name: str) -> bool:
    path = ROOT / "tests" / file
    return path.exists() and bool(re.search(rf"^(async )?def {name}\(", path.read_text("utf-8"), re.MULTILINE))


def test_what_code_says_of_correctness_is_a_section_there() -> None:
    listed = subprocess.run(
        ["git", "grep", "-hoE", r"correctness\.md#[a-z0-9-]+"], cwd=ROOT, capture_output=True, text=True
    )
    cited = {line.split("#")[1] for line in listed.stdout.split()}
    assert len(cited) > 15
    assert sorted(cited - anchors(CORRECTNESS)) == []
