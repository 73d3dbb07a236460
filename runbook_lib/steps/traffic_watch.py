"""Watch the plan's rollback triggers over live traffic, for the steps that move it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from runbook_lib.errors import RunbookError
from runbook_lib.journal import Sample
from runbook_lib.monitoring.probes import Probe
from runbook_lib.monitoring.sources import probe_of
from runbook_lib.monitoring.triggers import PROBED, Alarm, asked
from runbook_lib.monitoring.watch import Baseline, Observation, Reading, Rules, WatchResult, watch
from runbook_lib.performance.workload import load_workload
from runbook_lib.plan.model import Trigger
from runbook_lib.run.context import RunContext
from runbook_lib.services.smoke import SmokeRequest, smoke
from runbook_lib.steps.routes_and_links import behind, facing_links
from runbook_lib.traffic.port import EDGE, Router, TrafficSample
from runbook_lib.validation import ValidationOptions, validate
from runbook_lib.verdict import Outcome, Verdict


def watch_traffic(
    run: RunContext, duration_s: float, *, look_into_data: bool = False, canary: str = "", neighbour: str = ""
) -> WatchResult:
    """Watch until the time is over or a trigger fires; alarms go to the journal.

    Args:
        duration_s: How long (seconds).
        look_into_data: Probe the data and the critical features as well: for the watch after a cutover, and where
            the plan has no trigger that traffic alone can tell.
        canary, neighbour: The new backend and the one that has the rest of the reads, while both have some.
    """
    triggers, probes = watched(run, look_into_data=look_into_data)
    result = watch(
        run.router.metrics,
        triggers=triggers,
        baseline=replace(baseline(run), canary=canary, neighbour=neighbour),
        duration_s=duration_s,
        probes=probes,
        interval_s=min(1.0, duration_s / 5),
        probe_interval_s=max(2.0, duration_s / 10),
        rules=rules_of(run),
        on_sample=_progress_of_watch(run, duration_s),
    )
    record_alarms(run, result)
    return result


def record_alarms(run: RunContext, result: WatchResult) -> None:
    """What fired is an alarm of the run, what is only to be seen a note."""
    for alarm in result.fired:
        run.alarm(alarm.text, **figures(alarm))
    for alarm in result.seen:
        run.note(f"only to be seen: {alarm.text}", **figures(alarm))


def rules_of(run: RunContext) -> Rules:
    """How readings become alarms, by the options."""
    return Rules(min_requests=run.options.min_requests, floor_ms=run.options.floor_ms)


def figures(alarm: Alarm) -> dict[str, Any]:
    """What an alarm fired on, beside its text."""
    return {key: value for key, value in asdict(alarm).items() if key != "text"}


def watched(run: RunContext, *, look_into_data: bool) -> tuple[list[Trigger], dict[str, Probe]]:
    """The plan's triggers that can be judged now, and the probes of those that the router does not answer for."""
    of_traffic = any(one.metric not in PROBED for one in run.plan.triggers)
    probes = _probes(run) if look_into_data or not of_traffic else {}
    probes |= {one.metric: probe_of(one, run.environment) for one in run.plan.triggers if one.source != "router"}
    return [one for one in run.plan.triggers if one.metric in probes or not asked(one)], probes


def _progress_of_watch(run: RunContext, duration_s: float) -> Callable[[Observation, Sequence[Reading]], None]:
    """A watch is minutes, after a cutover days: says at each look how far it is, and what the triggers read."""
    begun = time.monotonic()

    def tell(_: Observation, readings: Sequence[Reading]) -> None:
        watched_s = min(time.monotonic() - begun, duration_s)
        seen = "; ".join(f"{reading.metric.replace('_', ' ')}: {reading.text}" for reading in readings)
        if changed := run.history().schema_changes:
            seen = f"{seen}; schema: {changed[-1]}"
        run.progress(watched_s, duration_s, "s", seen)

    return tell


def baseline(run: RunContext) -> Baseline:
    """What `record_baseline` measured in this run."""
    data = run.record("record_baseline").data
    return Baseline(data["p50_ms"], data["p99_ms"], data.get("mean_ms"))  # a record of before has no mean


def smoke_suite(run: RunContext, service: str) -> tuple[SmokeRequest, ...]:
    """The smoke requests of the plan's workload that belong to this service's APIs."""
    prefixes = tuple(api.rstrip("*") for api in run.plan.service(service).apis)
    path = run.environment.parameters_dir / run.plan.performance.workload
    requests = load_workload(path).smoke
    return tuple(request for request in requests if request.path.startswith(prefixes))


def _probes(run: RunContext) -> dict[str, Probe]:
    wanted = {trigger.metric for trigger in run.plan.triggers}
    known: dict[str, Probe] = {
        "data_inconsistency": lambda: _data(run),
        "critical_feature_failure": lambda: _features(run),
    }
    return {name: probe for name, probe in known.items() if name in wanted}


def _data(run: RunContext) -> Verdict:
    """Counts and a sample through the mappings, while both sides are written to: what is in flight is no failure."""
    every = facing_links(run)
    if late := behind(every):
        return Verdict(Outcome.FAIL, late)
    report = validate(
        every,
        ValidationOptions(
            checks=("row_counts", "data_sample"),
            tolerances=run.plan.tolerances,
            settle_s=run.options.settle_s,
        ),
    )
    return Verdict(report.outcome, "both sides agree" if report.passed else f"failed: {', '.join(report.failed)}")


def _features(run: RunContext) -> Verdict:
    """The smoke requests, through the router as a client would send them."""
    url = str(run.environment.router_settings["url"])
    verdicts = [smoke(url, smoke_suite(run, service.name)) for service in run.plan.services]
    worst = next((v for v in verdicts if v.outcome is Outcome.FAIL), None) or next(
        (v for v in verdicts if not v.passed), verdicts[0]
    )
    return Verdict(worst.outcome, worst.text)


def observe_edge(run: RunContext, *, interval_s: float = 1.0) -> None:
    """From now on, until the phase ends, record what the clients see at the router's edge; for the charts.

    It only looks: the triggers are evaluated by the steps that move traffic. A router that does not answer leaves a
    gap in the charts, and the steps say so themselves.

    Args:
        interval_s: Between two looks (seconds).
    """
    if run.replayed is not None:
        return  # the charts show what was seen when the phase was carried out
    router = run.environment.router()  # its own: quantiles are of the time since this one's last look
    threading.Thread(target=_observe, args=(run, router, interval_s), name="edge", daemon=True).start()


def _observe(run: RunContext, router: Router, interval_s: float) -> None:
    before: TrafficSample | None = None
    while not run.ended.wait(interval_s):
        try:
            [edge] = [sample for sample in router.metrics() if sample.backend == EDGE]
            if before is not None:
                _keep(run, before, edge)
            before = edge
        except (RunbookError, ValueError):
            before = None  # a gap


def _keep(run: RunContext, before: TrafficSample, now: TrafficSample) -> None:
    quantiles = {"p50": now.p50_ms, "p99": now.p99_ms, "mean": now.mean_ms}
    points = [Sample("edge_ms", ms, labels={"quantile": name}) for name, ms in quantiles.items() if ms is not None]
    requests = now.requests - before.requests
    if requests > 0:
        points.append(Sample("edge_requests", requests / max(now.at - before.at, 1e-3)))
        if now.errors is not None and before.errors is not None:
            points.append(Sample("edge_error_rate", max(0, now.errors - before.errors) / requests))
    run.journal.sample_many(run.run_id, points)
