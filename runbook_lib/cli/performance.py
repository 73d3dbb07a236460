"""Old against new under the plan's workload: `runbook performance`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runbook_lib.cli.base import FILE, NewFile, environment_of, main
from runbook_lib.util import extras

if TYPE_CHECKING:
    from runbook_lib.performance.rounds import Performance


@main.command()
@FILE
@click.option("--json", "json_file", type=NewFile(), help="Write rounds, intervals and plans there.")
def performance(file: Path, json_file: Path | None) -> None:
    """Compare the speed of old and new under the plan's workload: status 0 fine, 1 degraded, 2 inconclusive.

    Both sides are sent the same requests and queries in turns. A metric is degraded when the whole interval of what the
    pairs of rounds say is beyond the plan's tolerance; nothing is written to either side.
    """
    from runbook_lib.display.live_line import LiveLine
    from runbook_lib.performance.against import old_against_new

    extras.require("runbook performance", "notebook")
    with LiveLine("performance", "pairs of rounds", stderr=True) as screen:
        found = old_against_new(environment_of(file), lambda done, of: screen.progress(done, of))
    for line in _lines(found):
        click.echo(line)
    if json_file:
        json_file.write_text(json.dumps(found.as_dict(), indent=1) + "\n")
    sys.exit(found.comparison.outcome.exit_status)


def _lines(found: Performance) -> Iterator[str]:
    from runbook_lib.display.palette import MARKS
    from runbook_lib.performance.compare import LABELS, WORDS, between, share, shown

    for m in found.comparison.metrics:
        figures = f"{shown(m.before):>8} → {shown(m.now):>8}  {share(m.worse):>7} ({between(m)})"
        said = f"{WORDS[m.outcome]}{': ' + m.text if m.text else ''}"
        yield f"{MARKS[m.outcome]} {LABELS[m.metric]:<25} {figures}  {said}"
    for one in found.plans.statements:
        for difference in one.differences:
            yield f"· plan of {one.name}: {difference}"
    for what, why in found.plans.missing.items():
        yield f"· {what}: not seen: {why}"
    errors = {kind: count for one in (*found.before, *found.now) for kind, count in one.errors.items()}
    yield from (f"· {kind}" for kind in errors)
    yield f"{found.comparison.text} ({len(found.before)} pairs of rounds)"
