"""Monitor a batch that is back in rotation: its health, and the plan's rollback triggers over live traffic."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from runbook_lib.errors import StepFailed
from runbook_lib.monitoring.probes import Probe
from runbook_lib.monitoring.sources import probe_of
from runbook_lib.monitoring.triggers import PROBED, asked
from runbook_lib.monitoring.watch import Baseline, Observation, Reading, watch
from runbook_lib.performance.workload import load_workload
from runbook_lib.plan.units import duration
from runbook_lib.run.context import RunContext
from runbook_lib.services.smoke import smoke
from runbook_lib.steps.fleet import POLL_S, FleetControl, marks
from runbook_lib.steps.traffic_watch import baseline, record_alarms, rules_of
from runbook_lib.verdict import Outcome, Verdict


def monitor(run: RunContext, control: FleetControl, batch: Sequence[str], subject: str) -> Verdict:
    """Watch for the plan's period, or until an instance of the batch is ill or a trigger fires.

    Raises:
        StepFailed: an instance of the batch does not answer any more, or flaps.
    """
    length_s = control.goal.monitor_s
    control.forget(batch)

    def see(_: Observation | None = None, readings: Sequence[Reading] = ()) -> None:
        control.look()
        for name in batch:
            streak = control.streaks[name]
            if streak.ill or streak.flapping:
                raise StepFailed(subject, f"{name}, while it was monitored: {streak}", state=control.state())
        seen = "; ".join(f"{one.metric.replace('_', ' ')}: {one.text}" for one in readings)
        run.progress(round(min(time.monotonic() - begun, length_s), 1), length_s, "s", seen or "healthy")

    begun = time.monotonic()
    if run.plan.triggers:
        before = baseline(run) if needs_baseline(run) else Baseline()
        result = watch(
            run.router.metrics,
            triggers=run.plan.triggers,
            baseline=replace(before, canary=batch[0], neighbour=_neighbour(run, control)),
            duration_s=length_s,
            probes=_probes(run),
            interval_s=min(1.0, length_s / 5),
            probe_interval_s=max(2.0, length_s / 10),
            rules=rules_of(run),
            on_sample=see,
        )
        record_alarms(run, result)
        return Verdict(result.outcome, result.text)
    while time.monotonic() - begun < length_s:
        see()
        time.sleep(POLL_S)
    return Verdict(Outcome.PASS, f"healthy for {duration(length_s)}; the plan has no triggers")


def needs_baseline(run: RunContext) -> bool:
    """Whether a trigger compares with how the edge answered before."""
    return any(not asked(trigger) for trigger in run.plan.triggers)


def _neighbour(run: RunContext, control: FleetControl) -> str:
    """An instance in rotation that has the old release still; empty: none."""
    touched = marks(run)
    return next((name for name in control.in_rotation() if name not in touched), "")


def _probes(run: RunContext) -> dict[str, Probe]:
    found = {one.metric: probe_of(one, run.environment) for one in run.plan.triggers if one.source != "router"}
    if any(one.metric in PROBED for one in run.plan.triggers):
        found["critical_feature_failure"] = lambda: _features(run)
    return found


def _features(run: RunContext) -> Verdict:
    """The workload's smoke requests, through the router as a client would send them."""
    workload = load_workload(run.environment.parameters_dir / run.plan.performance.workload)
    return smoke(str(run.environment.router_settings["url"]), workload.smoke)
