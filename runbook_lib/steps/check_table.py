"""What a check found: a table that shows itself, and the verdict that the gate counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

from runbook_lib.databases.port import Problem
from runbook_lib.display.html_table import html_table
from runbook_lib.journal import Entry
from runbook_lib.journal.kinds import StandaloneVerdict
from runbook_lib.run.context import RunContext
from runbook_lib.verdict import Outcome, Verdict


@dataclass(frozen=True)
class Findings:
    """A verdict with the rows it rests on."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    verdict: Verdict

    def __str__(self) -> str:
        return f"{self.title}: {self.verdict.outcome} ({self.verdict.text})"

    def _repr_html_(self) -> str:
        return html_table(f"{self.title}: {self.verdict.text}", self.verdict.outcome, self.header, self.rows)


Shown = TypeVar("Shown")


def look(
    name: str, title: str, *, until: str = ""
) -> Callable[[Callable[[RunContext], Shown]], Callable[[RunContext], Shown]]:
    """Mark a function as a look whose verdict, of this name, is shown as recorded once the phase has passed.

    Args:
        until: A step for whose sake it is looked: when that has passed, in a phase that has not, it is shown as well.
    """

    def decorate(judge: Callable[[RunContext], Shown]) -> Callable[[RunContext], Shown]:
        @wraps(judge)
        def shown(run: RunContext) -> Any:
            known = run.recorded(name)
            if known is None and until and run.history().step_passed(until):
                known = run.history().verdicts.get((run.phase, name))
            return judge(run) if known is None else recorded_findings(title, known)

        return shown

    return decorate


def recorded_findings(title: str, entry: Entry) -> Findings:
    """A look as it was recorded."""
    found = entry.read(StandaloneVerdict)
    problems = [(line,) for line in found.data.get("problems", ())]
    table = found.data.get("table") or {"header": ("problem",), "rows": problems}
    rows = tuple(tuple(row) for row in table["rows"])
    text = f"{found.text} (recorded {entry.at[:16]} UTC)"
    verdict = Verdict(Outcome(found.outcome), text, found.data)
    return Findings(title, tuple(table["header"]), rows, verdict)


def findings(
    run: RunContext,
    name: str,
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    problems: Sequence[Problem],
    fine: str,
    *,
    waived: bool = False,
) -> Findings:
    """Record the verdict of a look: it fails on any blocking problem, and names them all; `waived`: by the policy."""
    blocking = [problem for problem in problems if problem.blocking]
    text = "; ".join(_line(problem) for problem in blocking) or fine
    table = {"header": list(header), "rows": [[str(cell) for cell in row] for row in rows]}
    data = {"problems": [_line(p) for p in problems], "table": table} | ({"waived": True} if waived else {})
    verdict = Verdict(Outcome.FAIL if blocking else Outcome.PASS, text, data)
    run.verdict(name, verdict)
    return Findings(title, tuple(header), tuple(tuple(row) for row in rows), verdict)


def _line(problem: Problem) -> str:
    return f"{problem.subject}: {problem.text}" + (f" (next: {problem.action})" if problem.action else "")
