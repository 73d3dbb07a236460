"""The docs: what they link to exists, wherever it is said."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from wrap_prose import pages

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


def exists(named: str) -> bool:
    """A file or folder; a decision may be named by its number alone."""
    return (ROOT / named).exists() or (bool(re.search(r"/\d{4}$", named)) and bool([*ROOT.glob(f"{named}-*.md")]))
