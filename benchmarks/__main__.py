"""Run every benchmark, one after the other, and write docs/benchmarks.md from what they measured."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from benchmarks.bench import RESULTS, ROOT

NOT_BENCHMARKS = {"__init__", "__main__", "bench", "sample_databases"}  # the last proves, and times nothing
HEAD = """# Benchmarks

Written by `make bench` (`python -m benchmarks NAME` for one). Two shared cores, 24 GiB; ours and the peer
take turns in one run, the best of the rounds counts. The ratio is ours divided by the peer's.

| work | peer | ours | peer's | ratio | wanted | | measured | command |
|---|---|---|---|---|---|---|---|---|
"""


def main() -> int:
    known = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem not in NOT_BENCHMARKS)
    runs = {name: [sys.executable, "-m", f"benchmarks.{name}"] for name in sys.argv[1:] or known}
    failed = [name for name, command in runs.items() if subprocess.run(command, cwd=ROOT, check=False).returncode]
    lines = [line(json.loads(path.read_text())) for path in sorted(RESULTS.glob("*.json"))]
    (ROOT / "docs/benchmarks.md").write_text(HEAD + "\n".join(lines) + "\n")
    return 1 if failed else 0


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
