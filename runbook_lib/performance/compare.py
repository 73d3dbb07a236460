"""Old against new, metric by metric, with the plan's tolerance and honest about noise.

Each round of one side is compared with rounds of the other. Worse by more than the tolerance in every comparison is
a fail; worse in the median only is "could not run": the machine is too noisy for this tolerance, measure more rounds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from runbook_lib.display.html_table import html_table
from runbook_lib.performance.measure import Measurement
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
MIN_ROUNDS = 3


@dataclass(frozen=True)
class MetricComparison:
    """One metric: medians of both sides, and by which share it is worse (negative: better) in median and at least."""

    metric: str
    before: float | None
    now: float | None
    worse: float | None
    worse_at_least: float | None
    outcome: Outcome
    text: str


@dataclass(frozen=True)
class Comparison:
    """Every metric that was asked for; fail when one fails, else could_not_run when one could not, else pass."""

    metrics: tuple[MetricComparison, ...]
    tolerance: float
    outcome: Outcome
    text: str

    def verdict(self) -> Verdict:
        """The answer for the journal and the gate."""
        return Verdict(self.outcome, self.text, self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """JSON for the journal."""
        return {
            "outcome": str(self.outcome),
            "text": self.text,
            "tolerance": self.tolerance,
            "metrics": [{k: _finite(v) for k, v in asdict(metric).items()} for metric in self.metrics],
        }

    def _repr_html_(self) -> str:
        rows = [
            (LABELS[m.metric], _shown(m.before), _shown(m.now), _share(m.worse), m.outcome.replace("_", " "), m.text)
            for m in self.metrics
        ]
        return html_table(self.text, self.outcome, ("metric", "before", "now", "change", "verdict", ""), rows)


def compare(
    before: Sequence[Measurement],
    now: Sequence[Measurement],
    tolerance: float,
    *,
    paired: bool = False,
    metrics: Sequence[str] = METRICS,
) -> Comparison:
    """Compare two sides.

    Args:
        before: Rounds of the old side (at least 3).
        now: Rounds of the new one (at least 3).
        tolerance: By which share a metric may be worse (0.10 = 10 %).
        paired: The rounds were interleaved: the first belongs to the first; else each is compared with each.
        metrics: The metrics that count; leave out what cannot be measured here, on purpose and in sight.
    """
    compared = tuple(_metric(name, before, now, tolerance, paired) for name in metrics)
    by_outcome = {o: [m.metric for m in compared if m.outcome is o] for o in Outcome}
    if failed := by_outcome[Outcome.FAIL]:
        outcome, text = Outcome.FAIL, "worse than the tolerance allows: " + ", ".join(failed)
    elif by_outcome[Outcome.COULD_NOT_RUN] or not compared:
        outcome = Outcome.COULD_NOT_RUN
        text = "could not be judged: " + (", ".join(by_outcome[outcome]) or "no metric")
    else:
        outcome, text = Outcome.PASS, f"{len(compared)} metrics within {tolerance:.0%} of the baseline"
    return Comparison(compared, tolerance, outcome, text)


def _metric(
    name: str, before: Sequence[Measurement], now: Sequence[Measurement], tolerance: float, paired: bool
) -> MetricComparison:
    old = [float(value) for one in before if (value := getattr(one, name)) is not None]
    new = [float(value) for one in now if (value := getattr(one, name)) is not None]
    was, is_now = (statistics.median(values) if values else None for values in (old, new))
    if len(old) != len(before) or len(new) != len(now) or not old or not new:
        text = "was not measured in every round"
        return MetricComparison(name, was, is_now, None, None, Outcome.COULD_NOT_RUN, text)
    if min(len(old), len(new)) < MIN_ROUNDS:
        text = f"{min(len(old), len(new))} rounds, need {MIN_ROUNDS}"
        return MetricComparison(name, was, is_now, None, None, Outcome.COULD_NOT_RUN, text)
    pairs = list(zip(old, new, strict=False)) if paired else [(o, n) for o in old for n in new]
    shares = sorted(_worse(name, o, n) for o, n in pairs)
    worse, at_least = statistics.median(shares), shares[len(shares) // 10]
    outcome, text = _judged(worse, at_least, tolerance)
    return MetricComparison(name, was, is_now, worse, at_least, outcome, text)


def _judged(worse: float, at_least: float, tolerance: float) -> tuple[Outcome, str]:
    if worse <= tolerance:
        return Outcome.PASS, ""
    if at_least > tolerance:
        return Outcome.FAIL, f"worse by {_share(worse)} ({_share(at_least)} at least), {tolerance:.0%} allowed"
    text = f"worse by {_share(worse)} in the median, but not in every round: too noisy for {tolerance:.0%}; more rounds"
    return Outcome.COULD_NOT_RUN, text


def _worse(name: str, before: float, now: float) -> float:
    """By which share `now` is worse than `before`; infinite from nothing to something."""
    if name in _HIGHER_IS_BETTER:
        before, now = now, before
    if before == now:
        return 0.0
    return now / before - 1 if before else math.inf


def _finite(value: Any) -> Any:
    """JSON has no infinity: from nothing to something has no share."""
    return None if isinstance(value, float) and math.isinf(value) else value


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _share(share: float | None) -> str:
    return "–" if share is None else "from zero" if math.isinf(share) else f"{share:+.1%}"
