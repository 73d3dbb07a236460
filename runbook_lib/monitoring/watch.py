"""Rollback triggers, watched live: error rate, response time, data consistency, critical features.

The judgement is in `triggers` and pure; this module asks the router and the probes, once a tick. Too few requests,
a router that falls silent or a probe that was not given is "could not run", never "fine".
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from runbook_lib.display.html_table import html_table
from runbook_lib.errors import RunbookError
from runbook_lib.monitoring.probes import Probe, Probes
from runbook_lib.monitoring.triggers import (
    Alarm,
    AlarmProgress,
    Baseline,
    Observation,
    Reading,
    Rules,
    State,
    advance,
    asked,
    evaluate,
    in_window,
)
from runbook_lib.plan.model import Trigger
from runbook_lib.traffic.port import EDGE, TrafficSample
from runbook_lib.verdict import Outcome, Verdict

__all__ = ["Alarm", "Baseline", "Observation", "Reading", "Rules", "WatchResult", "measure_baseline", "watch"]

FIRST_ANSWER_S = 30.0  # how long past its end a watch waits for a probe that has not answered yet


@dataclass(frozen=True)
class WatchResult:
    """What a watch saw: the alarms (none is good), every observation, and the last reading of each trigger.

    `seen`: what would have fired, of triggers that are only to be seen (`dry_run`).
    """

    fired: tuple[Alarm, ...]
    seen: tuple[Alarm, ...]
    samples: tuple[Observation, ...]
    readings: tuple[Reading, ...]
    outcome: Outcome
    text: str
    elapsed_s: float

    def verdict(self) -> Verdict:
        """The answer for the journal and the gate."""
        return Verdict(self.outcome, self.text, self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """JSON for the journal: alarms, readings, and the samples as series."""
        series = [[s.at, s.requests, s.errors, s.p50_ms, s.p99_ms] for s in self.samples]
        return {
            "outcome": str(self.outcome),
            "text": self.text,
            "elapsed_s": round(self.elapsed_s, 3),
            "fired": [asdict(alarm) for alarm in self.fired],
            "seen": [asdict(alarm) for alarm in self.seen],
            "readings": [asdict(reading) for reading in self.readings],
            "columns": ["at", "requests", "errors", "p50_ms", "p99_ms"],
            "samples": series,
        }

    def _repr_html_(self) -> str:
        words = {one.metric: "alarm" for one in self.fired} | {one.metric: "would fire" for one in self.seen}
        rows = [(r.metric.replace("_", " "), words.get(r.metric, r.state), r.text) for r in self.readings]
        return html_table(self.text, self.outcome, ("trigger", "state", "seen"), rows)


def watch(
    source: Callable[[], Sequence[TrafficSample]],
    *,
    triggers: Sequence[Trigger],
    baseline: Baseline,
    duration_s: float,
    probes: Mapping[str, Probe] | None = None,
    interval_s: float = 1.0,
    probe_interval_s: float = 5.0,
    rules: Rules | None = None,
    stop_on_alarm: bool = True,
    on_sample: Callable[[Observation, Sequence[Reading]], None] | None = None,
) -> WatchResult:
    """Watch the triggers for `duration_s` seconds, or until the first alarm.

    Args:
        source: Gives the current counters, e.g. `router.metrics`; "edge" is judged, the others are kept for charts.
        triggers: The plan's.
        baseline: Response time before the change.
        probes: `data_inconsistency`, `critical_feature_failure` → a callable that gives a Verdict; each runs in a
            thread of its own, at most every `probe_interval_s` seconds.
        interval_s: Between two looks (seconds).
        stop_on_alarm: False watches to the end all the same.
        on_sample: Called with each observation and its readings.
    Returns:
        WatchResult: fail when a trigger fired, could_not_run when one could not be judged at the end, else pass.
    """
    rules = rules or Rules()
    running = Watch(tuple(triggers), baseline, rules, frozenset(probes or ()))
    begun = time.monotonic()
    with Probes(probes or {}, probe_interval_s, pauses_of(triggers)) as answers:
        while True:
            readings = running.look(source, answers)
            if on_sample and running.samples:
                on_sample(running.samples[-1], readings)
            elapsed_s = time.monotonic() - begun
            # A breach that began just before the end is watched until it is confirmed or over, and a probe that has
            # been asked is waited for: on a busy machine its first answer may take longer than a short watch.
            enough = duration_s + (rules.confirm * interval_s + probe_interval_s if running.undecided() else 0.0)
            enough += FIRST_ANSWER_S if answers.unanswered() else 0.0
            if elapsed_s >= enough or (stop_on_alarm and running.fired):
                return running.result(elapsed_s)
            time.sleep(min(interval_s, enough - elapsed_s))


def pauses_of(triggers: Sequence[Trigger]) -> dict[str, float]:
    """How often other sources than the router are asked (seconds): more often than a window needs answers."""
    asked_ones = [trigger for trigger in triggers if trigger.source != "router"]
    return {one.metric: one.window_s / (2 * Rules().of(one).min_requests) for one in asked_ones}


@dataclass
class Watch:
    """The state of a running watch; `look` once a tick."""

    triggers: tuple[Trigger, ...]
    baseline: Baseline
    rules: Rules
    probed: frozenset[str] = frozenset()
    samples: list[Observation] = field(default_factory=list)
    fired: list[Alarm] = field(default_factory=list)
    seen: list[Alarm] = field(default_factory=list)
    readings: dict[str, Reading] = field(default_factory=dict)
    progress: dict[str, AlarmProgress] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)

    def look(self, source: Callable[[], Sequence[TrafficSample]], probes: Probes) -> list[Reading]:
        """Take one observation and read every trigger."""
        try:
            seen = {sample.backend: sample for sample in source()}
        except RunbookError as error:
            self.missed.append(str(error))
            seen = {}
        last = self.samples[-1] if self.samples else Observation(0.0, 0, 0)
        edge, now = seen.pop(EDGE, None), time.time()
        if edge is not None and now - edge.at > self.rules.window_s:
            self.missed.append(f"the router's answer is {now - edge.at:.0f} s old")
            edge = None
        if edge:
            last = Observation(edge.at, edge.requests, edge.errors, edge.p50_ms, edge.p99_ms, edge.mean_ms)
        else:  # the router is silent: nothing new about traffic, but the probes still speak
            last = replace(last, at=now, p50_ms=None, p99_ms=None, mean_ms=None, silent=True)
        answers = probes.answers()
        fresh = frozenset(filter(probes.fresh, answers))
        return self.observe(replace(last, verdicts=answers, backends=tuple(seen.values())), fresh)

    def observe(self, observed: Observation, fresh: frozenset[str] = frozenset()) -> list[Reading]:
        """Read every trigger with this observation; `fresh`: the probes that have answered since the one before."""
        self.samples.append(observed)
        return [self._read(trigger, observed.at, fresh) for trigger in self.triggers]

    def _read(self, trigger: Trigger, at: float, fresh: frozenset[str]) -> Reading:
        rules, metric = self.rules.of(trigger), trigger.metric
        window = in_window(self.samples, rules.window_s)
        reading = self.readings[metric] = evaluate(trigger, window, self.baseline, rules)
        if asked(trigger) and metric not in fresh:
            return reading  # the same answer again is not a second confirmation
        before = self.progress.get(metric, AlarmProgress())
        after = self.progress[metric] = advance(before, reading, rules)
        if after.alarmed and not before.alarmed:
            alarm = Alarm(metric, at, reading.value, reading.limit, f"{metric}: {reading.text}")
            (self.seen if trigger.dry_run else self.fired).append(alarm)
        return reading

    def forget(self) -> None:
        """Let go of what no window reaches any more: a watch of days would hold millions of looks."""
        longest_s = max([self.rules.of(trigger).window_s for trigger in self.triggers], default=self.rules.window_s)
        self.samples[:] = in_window(self.samples, longest_s) if self.samples else []
        del self.missed[:-1]

    def undecided(self) -> bool:
        """Whether a breach waits for its confirmation, or a probe that was given has not answered yet."""
        states = {trigger.metric: self.progress.get(trigger.metric, AlarmProgress()) for trigger in self._acting}
        return any(
            (state.streak and not state.alarmed) or (metric in self.probed and not state.judged)
            for metric, state in states.items()
        )

    def result(self, elapsed_s: float) -> WatchResult:
        """What the watch saw until now."""
        unjudged = [
            trigger.metric
            for trigger in self._acting
            if self.readings[trigger.metric].state is State.UNKNOWN
            or not self.progress.get(trigger.metric, AlarmProgress()).judged
        ]
        if self.fired:
            outcome, text = Outcome.FAIL, "rollback trigger fired: " + "; ".join(alarm.text for alarm in self.fired)
        elif unjudged or not self._acting:
            reasons = [f"{metric}: {self.readings[metric].text}" for metric in unjudged] or ["the plan has no triggers"]
            missed = f" (last error: {self.missed[-1]})" if self.missed else ""
            outcome, text = Outcome.COULD_NOT_RUN, "could not judge " + "; ".join(reasons) + missed
        else:
            spoken = [sample.requests for sample in self.samples if not sample.silent] or [0]
            requests = max(0, spoken[-1] - spoken[0])
            text = f"{len(self._acting)} triggers watched for {elapsed_s:.0f} s over {requests} requests, none fired"
            outcome = Outcome.PASS
        text += "".join(f"; only to be seen: {alarm.text}" for alarm in self.seen)
        seen = tuple(self.fired), tuple(self.seen), tuple(self.samples), tuple(self.readings.values())
        return WatchResult(*seen, outcome, text, elapsed_s)

    @property
    def _acting(self) -> list[Trigger]:
        """Those that are not only to be seen."""
        return [trigger for trigger in self.triggers if not trigger.dry_run]


def measure_baseline(
    source: Callable[[], Sequence[TrafficSample]], *, duration_s: float = 5.0, interval_s: float = 1.0
) -> Baseline:
    """The edge's response time now: the median of the quantiles of several looks over `duration_s` seconds."""
    source()  # its latency is of an unknown time
    looks: list[TrafficSample] = []
    deadline = time.monotonic() + duration_s
    while time.monotonic() < deadline:
        time.sleep(min(interval_s, max(0.0, deadline - time.monotonic())))
        looks += [sample for sample in source() if sample.backend == EDGE]
    names = ("p50_ms", "p99_ms", "mean_ms")
    medians = [[v for s in looks if (v := getattr(s, name)) is not None] for name in names]
    p50, p99, mean = (round(statistics.median(values), 3) if values else None for values in medians)
    return Baseline(p50, p99, mean)
