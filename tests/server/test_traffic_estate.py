"""Router, services, smoke tests, performance and monitor together, on the demo estate with its live client."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from estate_steps import environment_of
from fix_sandbox import free_port_base

from runbook_lib.monitoring.watch import Baseline, Rules, measure_baseline, watch
from runbook_lib.performance.measure import Load, measure
from runbook_lib.performance.workload import Workload, load_workload
from runbook_lib.plan.model import Trigger
from runbook_lib.sandbox.estate import Estate
from runbook_lib.services.command import open_service
from runbook_lib.services.port import ServiceController
from runbook_lib.services.smoke import smoke
from runbook_lib.traffic.port import Router
from runbook_lib.verdict import Outcome

ROOT = Path(__file__).parents[2]
TRIGGERS = (
    Trigger("error_rate", 0.01),
    Trigger("response_time", 2.0, relative_to_baseline=True),
    Trigger("critical_feature_failure"),
)


@dataclass
class Live:
    estate: Estate
    router: Router
    inventory: dict[str, Any]
    workload: Workload

    def service(self, name: str) -> ServiceController:
        return open_service(name, self.inventory["services"][name], ROOT)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    home = tmp_path_factory.mktemp("estate")
    with Estate(home / "demo", port_base=free_port_base(), scale=0.01, client=True, rate=60.0) as estate:
        inventory = yaml.safe_load(estate.write_inventory(home / "inventory.yaml").read_text())
        router = environment_of(home / "inventory.yaml").router()
        yield Live(estate, router, inventory, load_workload(ROOT / "parameters/plans/workload.yaml"))


def test_calm_traffic_passes_and_injected_errors_fire_a_trigger(live: Live) -> None:
    baseline = measure_baseline(live.router.metrics, duration_s=3)
    assert baseline.p50_ms is not None

    def features() -> Any:
        return smoke(live.estate.url, live.workload.smoke)

    def look(duration_s: float) -> Any:
        calm = Baseline(max(baseline.p50_ms or 0, 20.0), max(baseline.p99_ms or 0, 500.0))  # two shared cores
        probes = {"critical_feature_failure": features}
        return watch(
            live.router.metrics,
            triggers=TRIGGERS,
            baseline=calm,
            duration_s=duration_s,
            probes=probes,
            interval_s=0.5,
            rules=Rules(window_s=3.0),
        )

    before = look(3)
    assert before.outcome is Outcome.PASS, before.text
    live.estate.services.inject("monolith", 0.5, None)
    try:
        broken = look(30)
    finally:
        live.estate.services.inject("monolith", 0.0, None)
    assert broken.outcome is Outcome.FAIL
    assert broken.elapsed_s < 15
    assert {alarm.metric for alarm in broken.fired} <= {"error_rate", "critical_feature_failure"}


def test_services_start_and_stop_through_the_inventory_and_take_reads(live: Live) -> None:
    service = live.service("order_service@source")  # its tables keep their names: no views needed
    assert not service.running()
    service.start()
    service.start()
    assert service.health().ok
    live.router.set_weights({"order_service.reads": {"order_service@source": 100}})
    orders = [request for request in live.workload.smoke if request.path.startswith("/api/orders")]
    verdict = smoke(live.estate.url, [replace(one, headers={"x-served-by": "order_service@source"}) for one in orders])
    live.router.set_weights({"order_service.reads": {"monolith": 100}})
    live.router.drain("order_service@source")
    service.stop()
    assert not service.running()
    assert verdict.passed, verdict.text


def test_the_workload_measures_the_monolith_without_errors(live: Live) -> None:
    pids = [live.estate.services.children["monolith"].process.pid]
    url = live.inventory["services"]["monolith"]["url"]
    for found in measure(url, live.workload, Load(40, 1.0, 0.3), pids=pids, rounds=2):
        assert found.error_rate == 0, found.errors
        assert found.p99_ms is not None
        assert found.cpu_share is not None
        assert found.memory_bytes is not None
        assert found.memory_bytes > 10_000_000
