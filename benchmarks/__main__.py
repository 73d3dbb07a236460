"""Run benchmarks, one after the other, and write what they measured into docs/benchmarks.md.

A row is replaced by the one of the same work; those of benchmarks that did not run, and the text around, stay.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.bench import PROCESSOR, RESULTS, ROOT

NOT_BENCHMARKS = {"__init__", "__main__", "bench", "sample_databases"}  # the last proves, and times nothing
PAGE = ROOT / "docs" / "benchmarks.md"


def main() -> int:
    known = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem not in NOT_BENCHMARKS)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all by default: {', '.join(known)}")
    parser.add_argument("--page", action="store_true", help="run none: write what is in the folder of results")
    found = parser.parse_args()
    runs = {} if found.page else {name: [sys.executable, "-m", f"benchmarks.{name}"] for name in found.names or known}
    failed = [name for name, command in runs.items() if subprocess.run(command, cwd=ROOT, check=False).returncode]
    write([json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))])
    return 1 if failed else 0


def write(rows: list[dict[str, Any]], page: Path = PAGE) -> None:
    """Put rows into the page: each in place of the same work's before, a new one below those of its command."""
    lines = page.read_text().splitlines()
    for row in rows:
        lines = _placed(lines, row)
    page.write_text("\n".join(lines) + "\n")


def _placed(lines: list[str], row: dict[str, Any]) -> list[str]:
    made, work = line(row), _work(line(row))
    if old := [at for at, text in enumerate(lines) if text.startswith("| ") and _work(text) == work]:
        return [*lines[: old[0]], made, *(text for at, text in enumerate(lines) if at > old[0] and at not in old)]
    table = [at for at, text in enumerate(lines) if text.startswith("| ")]
    beside = [at for at in table if lines[at].endswith(f"`{row['command']}` |")]
    return [*lines[: (beside or table)[-1] + 1], made, *lines[(beside or table)[-1] + 1 :]]


def _work(row: str) -> str:
    """What was measured, by whichever clock."""
    return row[2:].partition(" | ")[0].removesuffix(f", {PROCESSOR}")


def line(row: dict[str, Any]) -> str:
    """One outcome as a row of the table."""
    ours, theirs = (f"{row[name]:,.2f} {row['unit']}" for name in ("ours", "theirs"))
    wanted = f"{'≥' if row['at_least'] else '≤'} {row['limit']:g}"
    met = "met" if row["met"] else "**not met**"
    ratio, command = f"{row['ratio']:.2f}", f"`{row['command']}`"
    cells = [row["work"], row["peer"], ours, theirs, ratio, wanted, met, row["at"], command]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
