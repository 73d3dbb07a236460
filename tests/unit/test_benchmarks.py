"""docs/benchmarks.md is kept row by row; every benchmark says what it does before it does it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.__main__ import write

PROJECT = Path(__file__).parents[2]
ROW = {
    "work": "copy", "peer": "pg_dump", "ours": 2.0, "theirs": 4.0, "ratio": 0.5, "limit": 1, "at_least": False,
    "unit": "s", "met": True, "at": "2026-12-01", "command": "python -m benchmarks.b",
}  # fmt: skip


def test_what_was_measured_again_takes_the_place_of_its_row_and_all_else_on_the_page_stays(tmp_path: Path):
    page = tmp_path / "benchmarks.md"
    others = ["# Benchmarks", "| start | x | `python -m benchmarks.a` |"]
    before = "| copy, processor time of all processes | pg_dump | 9.00 s | **not met** | `by hand` |"
    page.write_text("\n".join([*others, before, "| last | x | `python -m benchmarks.c` |", "", "Two cores."]))
    write([ROW, {**ROW, "work": "compare"}], page)
    assert page.read_text().splitlines() == [
        *others,
        "| copy | pg_dump | 2.00 s | 4.00 s | 0.50 | ≤ 1 | met | 2026-12-01 | `python -m benchmarks.b` |",
        "| compare | pg_dump | 2.00 s | 4.00 s | 0.50 | ≤ 1 | met | 2026-12-01 | `python -m benchmarks.b` |",
        "| last | x | `python -m benchmarks.c` |",
        "",
        "Two cores.",
    ]


def test_help_names_the_parts_and_starts_nothing():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.many_tables", "--help"], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.returncode == 0 and "sqlite: SQLite: copy and compare" in " ".join(done.stdout.split()), done.stderr
