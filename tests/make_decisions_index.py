"""Write docs/decisions/README.md, one line for each decision: `make docs`. A test compares the file with this."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs/decisions"
PAGE = FOLDER / "README.md"
FORM = re.compile(
    r"# (?P<number>\d+)\. (?P<title>.+)\n\n"
    r"- Status: (?P<status>.+)\n- Date: (?P<date>\d{4}-\d\d-\d\d)\n(?:- About: (?P<about>.+)\n)?\n\S"
)
HEAD = """\
# Decisions

What was decided, why, and the figure behind it; one file each, listed by `make docs`. Figures: two shared cores, Python
3.11, PostgreSQL 18, Envoy 1.40, unless said. A new one takes the next number and the form of the files here: title,
*Status* (accepted, open, not met, or superseded by which), *Date*, *About*. One that is no longer true gets a new
status, and stays.

| | decision | about | date | status |
|---|---|---|---|---|
"""


def decisions() -> list[Path]:
    """The files, by their numbers."""
    return sorted(FOLDER.glob("[0-9]*.md"))


def index() -> str:
    """The text of the list."""
    return HEAD + "".join(_rows())


def _rows() -> Iterator[str]:
    for path in decisions():
        found = FORM.match(path.read_text(encoding="utf-8"))
        if not found:
            raise SystemExit(f"{path}: not the form of a decision; expected that of the file before it")
        title, about = (text.replace("|", "\\|") for text in (found["title"], found["about"] or ""))
        yield f"| {found['number']} | [{title}]({path.name}) | {about} | {found['date']} | {found['status']} |\n"


if __name__ == "__main__":
    PAGE.write_text(index(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}: {len(decisions())} decisions\n")
