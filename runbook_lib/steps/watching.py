"""Watch the plan's rollback triggers over live traffic, for the steps that move it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from runbook_lib.monitor import Baseline, Observation, Reading, Rules, WatchResult, watch
from runbook_lib.performance.workload import load_workload
from runbook_lib.probes import Probe
from runbook_lib.run import Run
from runbook_lib.services.smoke import SmokeRequest, smoke, smoke_requests
from runbook_lib.step import Outcome, Verdict
from runbook_lib.steps.common import links
from runbook_lib.validation import validate


def watch_traffic(run: Run, label: str, duration_s: float, *, look_into_data: bool = False) -> WatchResult:
    """Watch until the time is over or a trigger fires; alarms go to the journal, samples to the charts.

    Args:
        label: What was done just before, for the journal.
        duration_s: How long (seconds).
        look_into_data: Probe the data and the critical features as well: for the watch after a cutover.
    """
    probes = _probes(run) if look_into_data else {}
    triggers = [t for t in run.plan.triggers if t.metric in probes or t.metric in ("error_rate", "response_time")]
    result = watch(
        run.router.metrics,
        triggers=triggers,
        baseline=baseline(run),
        duration_s=duration_s,
        probes=probes,
        interval_s=min(1.0, duration_s / 5),
        probe_interval_s=max(2.0, duration_s / 10),
        rules=Rules(min_requests=run.options.min_requests),
        on_sample=lambda seen, readings: _keep(run, label, seen, readings),
    )
    for alarm in result.fired:
        run.journal.append(run.run_id, "alarm", phase=run.phase, step=label, payload=asdict(alarm))
    return result


def baseline(run: Run) -> Baseline:
    """What `record_baseline` measured in this run."""
    data = run.record("record_baseline").data
    return Baseline(data["p50_ms"], data["p99_ms"])


def smoke_suite(run: Run, service: str) -> tuple[SmokeRequest, ...]:
    """The smoke requests of the plan's workload that belong to this service's APIs."""
    prefixes = tuple(api.rstrip("*") for api in run.plan.service(service).apis)
    path = run.environment.parameters_dir / run.plan.performance.workload
    requests = smoke_requests(load_workload(path).smoke, str(path))
    return tuple(request for request in requests if request.path.startswith(prefixes))


def _probes(run: Run) -> dict[str, Probe]:
    wanted = {trigger.metric for trigger in run.plan.triggers}
    known: dict[str, Probe] = {
        "data_inconsistency": lambda: _data(run),
        "critical_feature_failure": lambda: _features(run),
    }
    return {name: probe for name, probe in known.items() if name in wanted}


def _data(run: Run) -> Verdict:
    """Counts and a sample through the mappings, while both sides are written to: what is in flight is no failure."""
    report = validate(
        links(run), checks=("row_counts", "data_sample"), tolerances=run.plan.tolerances, settle_s=run.options.settle_s
    )
    return Verdict(report.outcome, "both sides agree" if report.passed else f"failed: {', '.join(report.failed)}")


def _features(run: Run) -> Verdict:
    """The smoke requests, through the router as a client would send them."""
    url = str(run.environment.router_settings["url"])
    verdicts = [smoke(url, smoke_suite(run, service.name)) for service in run.plan.services]
    worst = next((v for v in verdicts if v.outcome is Outcome.FAIL), None) or next(
        (v for v in verdicts if not v.passed), verdicts[0]
    )
    return Verdict(worst.outcome, worst.text)


def _keep(run: Run, label: str, seen: Observation, readings: Sequence[Reading]) -> None:
    """Points for the charts: what the clients saw at the edge."""
    points = {"edge_p50_ms": seen.p50_ms, "edge_p99_ms": seen.p99_ms}
    rate = next((reading.value for reading in readings if reading.metric == "error_rate"), None)
    points["edge_error_rate"] = rate
    for series, value in points.items():
        if value is not None:
            run.journal.sample(run.run_id, series, value, during=label)
