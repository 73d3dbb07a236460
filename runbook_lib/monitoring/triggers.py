"""Rollback triggers as pure functions: observations in, readings and alarms out.

Three protections against acting on noise: a rolling window with a minimum of requests, several readings in a row
before an alarm, and an alarm that counts as over only well below its limit.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from runbook_lib.plan.model import Trigger
from runbook_lib.traffic.port import TrafficSample
from runbook_lib.verdict import Outcome, Verdict

PROBED = ("data_inconsistency", "critical_feature_failure")


@dataclass(frozen=True)
class Rules:
    """How readings become alarms.

    Attributes:
        window_s: Length of the rolling window (seconds).
        min_requests: Fewer in the window is too few to judge (count).
        confirm: Readings above the limit in a row before an alarm (count); a failed probe of the data needs only one.
        clear_share: An alarm ends when its value is under this share of the limit.
        floor_ms: A response time below this is never slow, whatever the baseline (milliseconds).
    """

    window_s: float = 10.0
    min_requests: int = 20
    confirm: int = 3
    clear_share: float = 0.8
    floor_ms: float = 25.0


@dataclass(frozen=True)
class Baseline:
    """The edge's response time before the change (milliseconds); None: was not measured. A mean without quantiles."""

    p50_ms: float | None = None
    p99_ms: float | None = None
    mean_ms: float | None = None


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
class Progress:
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
    recent = [seen for seen in observations if seen.at >= observations[-1].at - window_s] if observations else []
    for index in range(len(recent) - 1, 0, -1):
        if recent[index].requests < recent[index - 1].requests:
            return recent[index:]
    return recent


def evaluate(trigger: Trigger, window: Sequence[Observation], baseline: Baseline, rules: Rules) -> Reading:
    """Read one trigger over a window (see `in_window`). Pure."""
    if trigger.metric in PROBED:
        return _probed(trigger, window)
    window = [seen for seen in window if not seen.silent]
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
    if trigger.metric == "response_time":
        return _response_time(trigger, window, baseline, rules, requests)
    return Reading(trigger.metric, State.UNKNOWN, None, trigger.threshold, requests, "no such metric")


def _compared(trigger: Trigger, value: float, requests: int, text: str) -> Reading:
    state = State.BREACHED if value > trigger.threshold else State.OK
    return Reading(trigger.metric, state, value, trigger.threshold, requests, text)


def _response_time(
    trigger: Trigger, window: Sequence[Observation], baseline: Baseline, rules: Rules, requests: int
) -> Reading:
    """The worse of median and p99 against its own baseline: an error of a few slow requests shows in the p99 only."""
    found: list[tuple[float, str]] = []
    for name in ("p50_ms", "p99_ms", "mean_ms"):
        seen = [value for one in window[1:] if (value := getattr(one, name)) is not None]
        before = getattr(baseline, name) if trigger.relative_to_baseline else 1.0
        if seen and before:
            now = statistics.median(seen)
            value = 0.0 if trigger.relative_to_baseline and now < rules.floor_ms else now / before
            against = f"{before:.1f} ms before" if trigger.relative_to_baseline else f"limit {trigger.threshold:g} ms"
            found.append((value, f"{name.removesuffix('_ms')} {now:.1f} ms, {against}"))
    if not found:
        measured = baseline.p50_ms or baseline.p99_ms or baseline.mean_ms
        text = "no latency was measured" if measured else "no baseline was measured"
        return Reading(trigger.metric, State.UNKNOWN, None, trigger.threshold, requests, text)
    value, text = max(found)
    return _compared(trigger, value, requests, text)


def _probed(trigger: Trigger, window: Sequence[Observation]) -> Reading:
    """The newest answer of the probe decides; an answer is carried by every observation until the next one."""
    verdict = window[-1].verdicts.get(trigger.metric) if window else None
    if verdict is None or verdict.outcome is Outcome.COULD_NOT_RUN:
        text = verdict.text if verdict else "was not probed"
        return Reading(trigger.metric, State.UNKNOWN, None, 0.0, 0, text)
    failed = verdict.outcome is Outcome.FAIL
    return Reading(trigger.metric, State.BREACHED if failed else State.OK, float(failed), 0.0, 1, verdict.text)


def advance(progress: Progress, reading: Reading, rules: Rules) -> Progress:
    """The next state of a trigger after one reading. Pure; an unknown reading changes nothing but proves nothing."""
    if reading.state is State.UNKNOWN:
        return progress
    judged = progress.judged + 1
    if reading.state is State.BREACHED:
        needed = 1 if reading.metric == "data_inconsistency" else rules.confirm
        streak = progress.streak + 1
        return Progress(streak, judged, progress.alarmed or streak >= needed)
    over = reading.value is None or reading.value <= reading.limit * rules.clear_share
    return Progress(0, judged, progress.alarmed and not over)
