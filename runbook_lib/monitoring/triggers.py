"""Rollback triggers as pure functions: observations in, readings and alarms out.

Three protections against acting on noise: a rolling window with a minimum of requests, several readings in a row
before an alarm, and an alarm that counts as over only well below its limit.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from runbook_lib.plan.model import Trigger
from runbook_lib.traffic.port import TrafficSample
from runbook_lib.verdict import Outcome, Verdict

PROBED = ("data_inconsistency", "critical_feature_failure")
P99_REQUESTS = 100  # in each look
QUANTILES = ("p50_ms", "p99_ms", "mean_ms")
MIN_ANSWERS = 3  # of another source than the router, in the window


def asked(trigger: Trigger) -> bool:
    """Whether it is a probe's answer, and not the router's counters, that is judged."""
    return trigger.metric in PROBED or trigger.source != "router"


@dataclass(frozen=True)
class Rules:
    """How readings become alarms.

    Attributes:
        window_s: Length of the rolling window (seconds).
        min_requests: Fewer in the window is too few to judge (count).
        confirm: Readings above the limit in a row before an alarm (count).
        clear_share: An alarm ends when its value is under this share of the limit.
        floor_ms: A response time below this is never slow, whatever the baseline (milliseconds).
    """

    window_s: float = 10.0
    min_requests: int = 20
    confirm: int = 3
    clear_share: float = 0.8
    floor_ms: float = 25.0

    def of(self, trigger: Trigger) -> Rules:
        """With what the trigger itself says."""
        asked = trigger.source != "router"
        return replace(
            self,
            window_s=self.window_s if trigger.window_s == Trigger.window_s else trigger.window_s,
            min_requests=trigger.samples or (MIN_ANSWERS if asked else self.min_requests),
            confirm=trigger.confirm or (1 if trigger.metric == "data_inconsistency" else self.confirm),
            clear_share=self.clear_share if trigger.clear == Trigger.clear else trigger.clear,
        )


@dataclass(frozen=True)
class Baseline:
    """The edge's response time before the change (milliseconds); None: was not measured. A mean without quantiles.

    Attributes:
        canary: The backend that is new, while reads go to both: for triggers with `baseline: neighbour`.
        neighbour: The backend that has the rest.
    """

    p50_ms: float | None = None
    p99_ms: float | None = None
    mean_ms: float | None = None
    canary: str = ""
    neighbour: str = ""


@dataclass(frozen=True)
class Observation:
    """One look: the edge's counters since the router started, latency since the look before, the probes' answers."""

    at: float
    requests: int
    errors: int | None  # None: this router does not count them
    p50_ms: float | None = None
    p99_ms: float | None = None
    mean_ms: float | None = None
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    silent: bool = False  # the router did not answer: the counters are those of the look before
    backends: tuple[TrafficSample, ...] = ()


class State(StrEnum):
    """What one reading of a trigger says."""

    OK = "ok"
    BREACHED = "breached"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Reading:
    """A trigger over the window: its value and limit in the trigger's own unit (share, factor, or 0/1)."""

    metric: str
    state: State
    value: float | None
    limit: float
    requests: int
    text: str


@dataclass(frozen=True)
class AlarmProgress:
    """How far a trigger is from its alarm: breached readings in a row, readings judged at all, alarm on or off."""

    streak: int = 0
    judged: int = 0
    alarmed: bool = False


@dataclass(frozen=True)
class Alarm:
    """A trigger that fired, with the figures it fired on."""

    metric: str
    at: float
    value: float | None
    limit: float
    text: str


def in_window(observations: Sequence[Observation], window_s: float) -> list[Observation]:
    """The observations of the last `window_s` seconds; a router that was restarted begins a new window."""
    recent: list[Observation] = []
    for seen in reversed(observations):
        if seen.at < observations[-1].at - window_s or (recent and recent[-1].requests < seen.requests):
            break
        recent.append(seen)
    return recent[::-1]


def evaluate(trigger: Trigger, window: Sequence[Observation], baseline: Baseline, rules: Rules) -> Reading:
    """Read one trigger over a window (see `in_window`), by its own rules (`Rules.of`). Pure."""
    if trigger.metric in PROBED:
        return _probed(trigger, window)
    if trigger.source != "router":
        return _measured(trigger, window, rules)
    window = [seen for seen in window if not seen.silent]
    if trigger.baseline == "neighbour" and baseline.canary and baseline.neighbour:
        canary = [_of_backend(seen, baseline.canary) for seen in window]
        neighbour = _response_ms([_of_backend(seen, baseline.neighbour) for seen in window])
        p50, p99, mean = (neighbour[name] for name in QUANTILES)
        window, baseline = canary, Baseline(p50, p99, mean, neighbour=baseline.neighbour)
    else:
        baseline = replace(baseline, neighbour="")
    requests = window[-1].requests - window[0].requests if window else 0
    if requests < max(1, rules.min_requests):
        text = f"{requests} requests in {rules.window_s:g} s, need {rules.min_requests}"
        return Reading(trigger.metric, State.UNKNOWN, None, trigger.threshold, requests, text)
    if trigger.metric == "error_rate":
        first, last = window[0].errors, window[-1].errors
        if first is None or last is None:
            text = "this router counts no failed requests"
            return Reading(trigger.metric, State.UNKNOWN, None, trigger.threshold, requests, text)
        errors = max(0, last - first)
        value = errors / requests
        text = f"{errors} of {requests} requests failed ({value:.2%}, limit {trigger.threshold:.2%})"
        return _compared(trigger, value, requests, text)
    return _response_time(trigger, window, baseline, rules, requests)


def _of_backend(seen: Observation, name: str) -> Observation:
    """The same look at one backend; what the router does not know of it was not measured."""
    found = next((one for one in seen.backends if one.backend == name), None) or TrafficSample(seen.at, name, 0, 0)
    figures = {one: getattr(found, one) for one in QUANTILES}
    return replace(seen, requests=found.requests, errors=found.errors, **figures)


def _response_ms(window: Sequence[Observation]) -> dict[str, float | None]:
    """The median of each quantile over the looks."""
    seen = {name: [v for one in window[1:] if (v := getattr(one, name)) is not None] for name in QUANTILES}
    return {name: statistics.median(values) if values else None for name, values in seen.items()}


def _compared(trigger: Trigger, value: float, requests: int, text: str) -> Reading:
    state = State.BREACHED if value > trigger.threshold else State.OK
    return Reading(trigger.metric, state, value, trigger.threshold, requests, text)


def _response_time(
    trigger: Trigger, window: Sequence[Observation], baseline: Baseline, rules: Rules, requests: int
) -> Reading:
    """The worse of median and p99 against its own baseline: an error of a few slow requests shows in the p99 only.

    Of fewer than 100 requests a look the p99 is the slowest one: it doubles without anything being wrong.
    """
    found: list[tuple[float, str]] = []
    quantiles = _response_ms(window)
    if requests < P99_REQUESTS * (len(window) - 1):
        del quantiles["p99_ms"]
    for name, now in quantiles.items():
        before = getattr(baseline, name)
        if now and before:
            value = 0.0 if now < rules.floor_ms else now / before
            words = f"at {baseline.neighbour}" if baseline.neighbour else "before"
            found.append((value, f"{name.removesuffix('_ms')} {now:.1f} ms, {before:.1f} ms {words}"))
    if not found:
        measured = baseline.p50_ms or baseline.p99_ms or baseline.mean_ms
        text = "no latency was measured" if measured else "no baseline was measured"
        return Reading(trigger.metric, State.UNKNOWN, None, trigger.threshold, requests, text)
    value, text = max(found)
    return _compared(trigger, value, requests, text)


def _measured(trigger: Trigger, window: Sequence[Observation], rules: Rules) -> Reading:
    """The median of the source's answers whose own time lies in the window; one of the same time is the same one."""
    verdict = window[-1].verdicts.get(trigger.metric) if window else None
    if verdict is None or not verdict.passed:
        text = verdict.text if verdict else "was not asked"
        return Reading(trigger.metric, State.UNKNOWN, None, trigger.threshold, 0, text)
    answers = [found.data for seen in window if (found := seen.verdicts.get(trigger.metric)) and found.passed]
    now = window[-1].at
    recent = {one["at"]: float(one["value"]) for one in answers if abs(now - one["at"]) <= rules.window_s}
    if len(recent) < rules.min_requests:
        text = f"{len(recent)} answers in {rules.window_s:g} s, need {rules.min_requests}"
        old_s = now - float(verdict.data["at"])
        text += f"; the last is {abs(old_s):.0f} s {'old' if old_s > 0 else 'ahead'}" if abs(old_s) > 1 else ""
        return Reading(trigger.metric, State.UNKNOWN, None, trigger.threshold, len(recent), text)
    value = statistics.median(recent.values())
    text = f"{value:g} in {len(recent)} answers of {trigger.source}, limit {trigger.threshold:g}"
    return _compared(trigger, value, len(recent), text)


def _probed(trigger: Trigger, window: Sequence[Observation]) -> Reading:
    """The newest answer of the probe decides; an answer is carried by every observation until the next one."""
    verdict = window[-1].verdicts.get(trigger.metric) if window else None
    if verdict is None or verdict.outcome is Outcome.COULD_NOT_RUN:
        text = verdict.text if verdict else "was not probed"
        return Reading(trigger.metric, State.UNKNOWN, None, 0.0, 0, text)
    failed = verdict.outcome is Outcome.FAIL
    return Reading(trigger.metric, State.BREACHED if failed else State.OK, float(failed), 0.0, 1, verdict.text)


def advance(progress: AlarmProgress, reading: Reading, rules: Rules) -> AlarmProgress:
    """The next state of a trigger after one reading. Pure; an unknown reading changes nothing but proves nothing."""
    if reading.state is State.UNKNOWN:
        return progress
    judged = progress.judged + 1
    if reading.state is State.BREACHED:
        streak = progress.streak + 1
        return AlarmProgress(streak, judged, progress.alarmed or streak >= rules.confirm)
    over = reading.value is None or reading.value <= reading.limit * rules.clear_share
    return AlarmProgress(0, judged, progress.alarmed and not over)
