"""What a run shows for a step, a gate and a rollback: static HTML in a notebook, text elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runbook_lib.display.render import render
from runbook_lib.journal import Entry, Unit
from runbook_lib.journal.kinds import Item, Result, StandaloneVerdict
from runbook_lib.journal.renamed_steps import name_today

_FIGURES = 8  # a record is one look; the rest is in the journal


@dataclass(frozen=True)
class StepRecord:
    """The recorded result of a step or of a standalone verdict.

    Attributes:
        outcome: pass, fail, could_not_run, interrupted or undone.
        text: What was done or seen, in one line.
        data: The step's figures.
        verdict: The verification's line; empty for a standalone verdict.
        duration_s: From intent to result (seconds).
        repeated: True when the step had passed before and nothing was done now.
        resumed: True when an earlier attempt had been interrupted.
    """

    name: str
    phase: str
    outcome: str
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)
    verdict: str = ""
    duration_s: float = 0.0
    repeated: bool = False
    resumed: bool = False
    at: str = ""

    @property
    def passed(self) -> bool:
        return self.outcome == "pass"

    def __str__(self) -> str:
        marks = [mark for mark, on in (("recorded", self.repeated), ("resumed", self.resumed)) if on]
        clauses = [self.text, *self._verdict(), *marks]
        return f"{self.name}: {self.outcome} ({self.duration_s:.1f} s) {'; '.join(c for c in clauses if c)}"

    def _verdict(self) -> list[str]:
        """The verification's line, when it says something else than the result's."""
        return [self.verdict] if self.verdict and self.verdict != self.text else []

    def _repr_html_(self) -> str:
        marks = " · already done, recorded result" if self.repeated else " · resumed" if self.resumed else ""
        time = f"{self.duration_s:.1f} s" if self.duration_s else ""
        return _listing(
            self.name,
            self.outcome,
            [("", key.replace("_", " "), shown(value)) for key, value in self.data.items() if _is_figure(value)][
                :_FIGURES
            ],
            lines=[text for text in (self.text, *self._verdict()) if text],
            aside=f"{time}{marks}",
        )


class StepRecords(list[StepRecord]):
    """Several steps in one table: what a cell shows that carries out a list of steps."""

    def _repr_html_(self) -> str:
        return _listing("", "", [(record.outcome, record.name, record.text) for record in self])


@dataclass(frozen=True)
class GateRecord:
    """The end of a phase: every step, verdict, sign-off and approval with its outcome."""

    phase: str
    passed: bool
    items: Sequence[Item]
    subject: str = ""  # digest of what an approval is bound to
    approval: str = ""

    def __str__(self) -> str:
        good = sum(item.passed for item in self.items)
        waived = sum(item.waived for item in self.items)
        more = f", {waived} of them waived" if waived else ""
        return f"gate {self.phase}: {'pass' if self.passed else 'fail'} ({good} of {len(self.items)}{more})"

    def _repr_html_(self) -> str:
        return _items(f"Gate: {self.phase.replace('_', ' ')}", self.passed, self.items)


@dataclass(frozen=True)
class RollbackRecord:
    """What was undone, in the order it was undone; `kept` are irreversible steps that stay in force."""

    items: Sequence[Item]
    kept: Sequence[str] = ()

    @property
    def passed(self) -> bool:
        return all(item.passed for item in self.items)

    def __str__(self) -> str:
        words = ", ".join(f"{item.name} {item.outcome}" for item in self.items) or "nothing to undo"
        return f"rollback: {words}" + (f"; in force still: {', '.join(self.kept)}" if self.kept else "")

    def _repr_html_(self) -> str:
        kept = [Item(name, "could_not_run", "cannot be undone; stays in force, as approved") for name in self.kept]
        title = "Rollback" if self.items or kept else "Rollback: nothing to undo"
        return _items(title, self.passed, [*self.items, *kept])


def _listing(
    title: str, outcome: str, rows: Sequence[tuple[str, str, str]], lines: Sequence[str] = (), aside: str = ""
) -> str:
    return render("listing", title=title, outcome=outcome, rows=rows, lines=lines, aside=aside)


def _items(title: str, passed: bool, items: Sequence[Item]) -> str:
    return _listing(title, "pass" if passed else "fail", [(item.word, item.name, item.text) for item in items])


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float | str) and len(str(value)) <= 80


def shown(value: Any) -> str:
    """A figure for people: thousands apart, few decimals."""
    if isinstance(value, bool | str):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"


def record_of(entry: Entry, *, repeated: bool = False) -> StepRecord:
    """A recorded result, or verdict, as it is shown."""
    name = name_today(entry.step)
    if isinstance(found := entry.content, StandaloneVerdict):
        return StepRecord(name, entry.phase, found.outcome, found.text, found.data, repeated=repeated, at=entry.at)
    result = entry.read(Result)
    verdict, health = result.verdict, result.health
    line = verdict.text if verdict else ""
    if verdict and verdict.passed and health and not health.passed:
        line = f"{line}; health: {health.text}"
    return StepRecord(
        name=name,
        phase=entry.phase,
        outcome=result.outcome,
        text=result.text,
        data={**(verdict.data if verdict else {}), **result.data},
        verdict=line,
        duration_s=result.duration_s,
        repeated=repeated,
        resumed=result.resumed,
        at=entry.at,
    )


def record_of_unit(unit: Unit, *, repeated: bool = False) -> StepRecord:
    """A step's last attempt as it is shown; an interrupted one has only its intent."""
    if unit.result is None or unit.undone:
        text = "undone by a rollback" if unit.undone else "interrupted: no result; run it again"
        return StepRecord(unit.name, unit.phase, unit.outcome, text, at=unit.intent.at)
    return record_of(unit.result, repeated=repeated)
