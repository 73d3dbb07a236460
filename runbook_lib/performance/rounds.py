"""Rounds of both sides until the intervals are clear: looks that are fixed beforehand, and no more after the last.

At each look every metric is judged on all rounds so far, with its part of the error that all looks may make together
(Bonferroni): who looks at the same rounds again and again would find a difference at last. Degraded at any look ends
it; fine in every metric ends it; what is not clear at the last look is *inconclusive*.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from runbook_lib.performance.compare import ALPHA, Comparison, compare
from runbook_lib.performance.load_generator import Results, Side
from runbook_lib.performance.measure import Measurement, measure_pair, quantile
from runbook_lib.performance.plans import PlanComparison
from runbook_lib.performance.workload import Workload
from runbook_lib.plan.model import PerformanceGoal
from runbook_lib.verdict import Verdict

OLD, NEW = "old", "new"
_POINTS = 100  # of a distribution that is kept
RoundListener = Callable[[int, int], None]


@dataclass(frozen=True)
class Performance:
    """Old against new under the same workload.

    Attributes:
        comparison: The verdict, metric by metric.
        before, now: The rounds of both sides, in pairs.
        spread: Side → response times at each hundredth of all answers (milliseconds).
        by_name: The workload's names → the medians of both sides (milliseconds).
        notes: What could not be measured, and why.
        plans: Of the slowest statements.
    """

    comparison: Comparison
    before: tuple[Measurement, ...]
    now: tuple[Measurement, ...]
    spread: Mapping[str, Sequence[float]]
    by_name: Mapping[str, tuple[float | None, float | None]]
    notes: tuple[str, ...] = ()
    plans: PlanComparison = field(default_factory=PlanComparison)

    def verdict(self) -> Verdict:
        """The answer for the journal and the gate."""
        return Verdict(self.comparison.outcome, self.comparison.text, self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """JSON for the journal: all that the charts need."""
        return {
            **self.comparison.as_dict(),
            "rounds": {OLD: [one.as_dict() for one in self.before], NEW: [one.as_dict() for one in self.now]},
            "spread_ms": dict(self.spread),
            "medians_ms": {name: list(pair) for name, pair in self.by_name.items()},
            "notes": list(self.notes),
            "plans": self.plans.as_dict(),
        }

    def _repr_html_(self) -> str:
        return self.comparison._repr_html_()


def measure_until_clear(
    sides: Mapping[str, Side],
    workload: Workload,
    goal: PerformanceGoal,
    on_progress: RoundListener = lambda done, of: None,
) -> Performance:
    """Send pairs of rounds until a look is clear, at most up to the goal's last.

    Args:
        sides: `old` and `new`.
        on_progress: Told the pairs that are done, and how many the last look has.
    Raises:
        ConfigurationError: the workload is empty, or an address is not http.
    """
    rounds: dict[str, list[Measurement]] = {OLD: [], NEW: []}
    answers = {OLD: Results(), NEW: Results()}
    comparison = compare([], [], goal.tolerance, metrics=goal.metrics)
    for look in goal.rounds:
        for number in range(len(rounds[OLD]), look):
            for name, (measured, results) in measure_pair(sides, workload, workload.load, number).items():
                rounds[name].append(measured)
                answers[name].add(results)
            on_progress(number + 1, goal.rounds[-1])
        alpha = ALPHA / len(goal.rounds)
        comparison = compare(rounds[OLD], rounds[NEW], goal.tolerance, metrics=goal.metrics, alpha=alpha)
        if not comparison.open:
            break
    notes = tuple(f"{name}: {side.unmeasured}" for name, side in sides.items() if side.unmeasured)
    spread = {name: _spread(found.times_ms) for name, found in answers.items()}
    return Performance(
        _told(comparison, notes), tuple(rounds[OLD]), tuple(rounds[NEW]), spread, _medians(answers), notes
    )


def _told(comparison: Comparison, notes: Sequence[str]) -> Comparison:
    """With the reason beside each metric that was not measured."""
    if not notes:
        return comparison
    why = "; ".join(notes)
    metrics = tuple(one if one.measured else replace(one, text=f"not measured: {why}") for one in comparison.metrics)
    return replace(comparison, metrics=metrics)


def _spread(times_ms: Sequence[float]) -> list[float]:
    ordered = sorted(times_ms)
    points = (quantile(ordered, place / _POINTS) for place in range(_POINTS + 1))
    return [point for point in points if point is not None]


def _medians(answers: Mapping[str, Results]) -> dict[str, tuple[float | None, float | None]]:
    names = dict.fromkeys(name for found in answers.values() for name in found.by_name)
    old, new = answers[OLD].by_name, answers[NEW].by_name
    return {name: (_median(old.get(name)), _median(new.get(name))) for name in names}


def _median(times_ms: Sequence[float] | None) -> float | None:
    return round(statistics.median(times_ms), 3) if times_ms else None
