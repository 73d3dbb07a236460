"""Old against new, metric by metric: the interval of what the pairs of rounds say, against the plan's tolerance.

Each pair of rounds gives the logarithm of new to old, turned so that more is worse. The interval around them (the
stationary bootstrap's) lies beyond the tolerance: *degraded*, a fail. Within it: *fine*, a pass. Across it, or a metric
that was not measured: *inconclusive*, which passes no gate; `rounds.py` measures more before it says so.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from runbook_lib.display.html_table import html_table
from runbook_lib.performance.bootstrap import interval
from runbook_lib.performance.measure import Measurement
from runbook_lib.plan.keys import LEAST_ROUNDS
from runbook_lib.verdict import Outcome, Verdict

LABELS = {
    "p50_ms": "response time p50 (ms)",
    "p95_ms": "response time p95 (ms)",
    "p99_ms": "response time p99 (ms)",
    "throughput_per_s": "throughput (1/s)",
    "error_rate": "error rate (share)",
    "cpu_share": "processor (cores)",
    "memory_bytes": "memory (bytes)",
}
METRICS = tuple(LABELS)
_HIGHER_IS_BETTER = frozenset({"throughput_per_s"})
WORDS = {Outcome.PASS: "fine", Outcome.FAIL: "degraded", Outcome.COULD_NOT_RUN: "inconclusive"}
MIN_PAIRS = LEAST_ROUNDS
ALPHA = 0.05  # intervals that may miss the truth, in all looks together
_MOST = math.log(1e6)  # from nothing to something: as bad as a ratio can be


@dataclass(frozen=True)
class MetricComparison:
    """One metric.

    Attributes:
        before, now: Medians of both sides.
        worse, worse_low, worse_high: By which share it is worse (negative: better), and the bounds of that.
        pairs: Of rounds (count).
        measured: In every round, on both sides.
    """

    metric: str
    before: float | None
    now: float | None
    worse: float | None
    worse_low: float | None
    worse_high: float | None
    outcome: Outcome
    text: str
    pairs: int = 0
    measured: bool = True


@dataclass(frozen=True)
class Comparison:
    """Every metric that was asked for; fail when one fails, else could_not_run when one could not, else pass."""

    metrics: tuple[MetricComparison, ...]
    tolerance: float
    outcome: Outcome
    text: str

    @property
    def open(self) -> bool:
        """More rounds may decide: nothing is degraded, and a metric that is measured is not yet fine."""
        return self.outcome is Outcome.COULD_NOT_RUN and any(
            metric.measured and metric.outcome is Outcome.COULD_NOT_RUN for metric in self.metrics
        )

    def verdict(self) -> Verdict:
        """The answer for the journal and the gate."""
        return Verdict(self.outcome, self.text, self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """JSON for the journal."""
        return {
            "outcome": str(self.outcome),
            "text": self.text,
            "tolerance": self.tolerance,
            "metrics": [asdict(metric) for metric in self.metrics],
        }

    def _repr_html_(self) -> str:
        columns = ("metric", "before", "now", "change", "interval", "verdict", "")
        rows = [
            (LABELS[m.metric], shown(m.before), shown(m.now), share(m.worse), between(m), WORDS[m.outcome], m.text)
            for m in self.metrics
        ]
        return html_table(self.text, self.outcome, columns, rows)


def compare(
    before: Sequence[Measurement],
    now: Sequence[Measurement],
    tolerance: float,
    *,
    metrics: Sequence[str] = METRICS,
    alpha: float = ALPHA,
) -> Comparison:
    """Compare two sides, whose rounds were sent in pairs: the first belongs to the first.

    Args:
        before: Rounds of the old side.
        now: As many rounds of the new one.
        tolerance: By which share a metric may be worse (0.10 = 10 %).
        metrics: The metrics that count; leave out what cannot be measured here, on purpose and in sight.
        alpha: Share of intervals that may miss the truth; a part of ALPHA where there are several looks.
    """
    compared = tuple(_metric(name, before, now, tolerance, alpha) for name in metrics)
    by_outcome = {o: [LABELS[m.metric].partition(" (")[0] for m in compared if m.outcome is o] for o in Outcome}
    if failed := by_outcome[Outcome.FAIL]:
        outcome, text = Outcome.FAIL, f"degraded by more than {tolerance:.0%}: " + ", ".join(failed)
    elif by_outcome[Outcome.COULD_NOT_RUN] or not compared:
        outcome = Outcome.COULD_NOT_RUN
        text = "inconclusive: " + (", ".join(by_outcome[outcome]) or "no metric")
    else:
        outcome, text = Outcome.PASS, f"fine: {len(compared)} metrics within {tolerance:.0%} of the baseline"
    return Comparison(compared, tolerance, outcome, text)


def ratios(name: str, before: Sequence[Measurement], now: Sequence[Measurement]) -> list[float] | None:
    """For each pair the logarithm of new to old, more is worse; None of a metric that a round did not measure."""
    pairs = [(getattr(old, name), getattr(new, name)) for old, new in zip(before, now, strict=True)]
    if not pairs or any(value is None for pair in pairs for value in pair):
        return None
    turned = [(new, old) for old, new in pairs] if name in _HIGHER_IS_BETTER else pairs
    return [_log_ratio(float(old), float(new)) for old, new in turned]


def _log_ratio(old: float, new: float) -> float:
    if old == new:
        return 0.0
    if not (old and new):
        return _MOST if new else -_MOST
    return max(-_MOST, min(math.log(new / old), _MOST))


def _metric(
    name: str, before: Sequence[Measurement], now: Sequence[Measurement], tolerance: float, alpha: float
) -> MetricComparison:
    sides = [[value for one in side if (value := getattr(one, name)) is not None] for side in (before, now)]
    was, is_now = (statistics.median(values) if values else None for values in sides)
    worse = ratios(name, before, now)
    measured = worse is not None
    if worse is None or len(worse) < MIN_PAIRS:
        text = f"{len(before)} pairs of rounds, need {MIN_PAIRS}" if measured else "was not measured in every round"
        pairs = len(before)
        return MetricComparison(name, was, is_now, None, None, None, Outcome.COULD_NOT_RUN, text, pairs, measured)
    found = interval(worse, alpha)
    outcome = _outcome(found.low, found.high, math.log1p(tolerance))
    centre, low, high = (_share_of(value) for value in (found.centre, found.low, found.high))
    text = _TEXTS[outcome].format(tolerance)
    return MetricComparison(name, was, is_now, centre, low, high, outcome, text, len(worse))


_TEXTS = {
    Outcome.PASS: "",
    Outcome.FAIL: "beyond the {:.0%} that are allowed",
    Outcome.COULD_NOT_RUN: "the interval reaches over the {:.0%} that are allowed: too noisy for these rounds",
}
_ROUNDING = 1e-9


def _outcome(low: float, high: float, limit: float) -> Outcome:
    if low > limit + _ROUNDING:
        return Outcome.FAIL
    return Outcome.PASS if high <= limit + _ROUNDING else Outcome.COULD_NOT_RUN


def _share_of(log_ratio: float) -> float | None:
    """As a share; None: from nothing to something has none, and JSON has no infinity."""
    return None if log_ratio >= _MOST else round(math.expm1(log_ratio), 6)


def between(metric: MetricComparison) -> str:
    """The interval, for people."""
    return "–" if metric.worse_low is None else f"{share(metric.worse_low)} to {share(metric.worse_high)}"


def shown(value: float | None) -> str:
    """A figure, for people."""
    return "–" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def share(value: float | None) -> str:
    """By how much worse, for people; "–" where there is no share."""
    return "–" if value is None else f"{value:+.1%}"
