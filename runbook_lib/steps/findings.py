"""What a look at something found: a table that shows itself, and the verdict that the gate counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.run import Run
from runbook_lib.step import Outcome, Verdict
from runbook_lib.tables import html_table


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


def findings(
    run: Run,
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
    data = {"problems": [_line(p) for p in problems]} | ({"waived": True} if waived else {})
    verdict = Verdict(Outcome.FAIL if blocking else Outcome.PASS, text, data)
    run.verdict(name, verdict)
    return Findings(title, tuple(header), tuple(tuple(row) for row in rows), verdict)


def _line(problem: Problem) -> str:
    return f"{problem.subject}: {problem.text}" + (f" (next: {problem.action})" if problem.action else "")
