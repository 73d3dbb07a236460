"""Old and new as an inventory names them: addresses, processes, a metric source; real processes on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from fix_sandbox import wait_for
from fix_servers import free_port

from runbook_lib.config.environment import Environment, load_environment_file
from runbook_lib.errors import ConfigurationError
from runbook_lib.performance.against import old_against_new
from runbook_lib.performance.processes import listening
from runbook_lib.performance.prometheus import ask
from runbook_lib.performance.rounds import Performance
from runbook_lib.verdict import Outcome

SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        sum(range(int(sys.argv[2])))
        self.send_response(200); self.send_header("content-length", "2"); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *args): pass
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
PLAN = """migration: Test
source: old
services: {shop: {database: new, apis: [/api/shop/*], tables: [items]}}
phases: [{preparation: {}}]
performance: {tolerance: 100%, workload: plans/w.yaml, metrics: [p50, cpu, memory], rounds: [6, 12]}
"""
WORKLOAD = "rate: 50\nround: 400 ms\nturn: 100 ms\nrequests: [{path: /api/shop/1}]\n"
STALE = "stale"


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    """Two services of one kind, and one that works fifteen times as much for each request."""
    found = {"old": free_port(), "same": free_port(), "slow": free_port()}
    work = {"old": "20000", "same": "20000", "slow": "300000"}
    running = [subprocess.Popen([sys.executable, "-c", SERVER, str(port), work[name]]) for name, port in found.items()]
    wait_for(lambda: all(listening("127.0.0.1", port) for port in found.values()), "the servers listen")
    assert listening("127.0.0.1", found["old"]) == (running[0].pid,)
    assert listening("db.example.org", found["old"]) == listening("127.0.0.1", free_port()) == ()
    yield found
    for process in running:
        process.kill()
        process.wait()


class Metrics(BaseHTTPRequestHandler):
    """A Prometheus that has one value for each query; that of `stale` is an hour old."""

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)["query"][0]
        values = {"cpu old": 0.5, "cpu new": 0.5, "memory old": 1e8, "memory new": 3e8, STALE: 1.0, "nan": "NaN"}
        value = (3600.0 if STALE in query else 1.0) if query.startswith("time()") else values.get(query)
        result = [] if value is None else [{"metric": {}, "value": [time.time(), str(value)]}]
        body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def prometheus() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Metrics)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def environment(root: Path, ports: dict[str, int], new: str, metrics: str = "") -> Environment:
    services = {"monolith": ports["old"], "shop@target": ports.get(new, 1)}
    written = {name: f'{{url: "http://127.0.0.1:{port}", health: /}}' for name, port in services.items()}
    inventory = [
        'databases: {old: {url: "sqlite:///o.db"}, new: {url: "sqlite:///n.db"}}',
        'router: {kind: envoy, origin: monolith, directory: envoy, admin: "http://127.0.0.1:1", url: "http://127.0.0.1:1"}',
        "services:",
        *(f'  "{name}": {text}' for name, text in written.items()),
        f"metrics: {metrics}" if metrics else "",
    ]
    for name, text in (("plans/p", PLAN), ("plans/w", WORKLOAD), ("inventories/i", "\n".join(inventory))):
        file = root / "parameters" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (root / "parameters/test.yaml").write_text("environment: test\nplan: plans/p.yaml\ninventory: inventories/i.yaml\n")
    return load_environment_file(root / "parameters/test.yaml")


def outcomes(found: Performance) -> dict[str, Outcome]:
    return {metric.metric: metric.outcome for metric in found.comparison.metrics}


def test_a_service_that_works_more_is_degraded_by_its_own_processes_too(tmp_path: Path, ports: dict[str, int]) -> None:
    found = outcomes(old_against_new(environment(tmp_path, ports, "slow")))
    assert found["cpu_share"] is Outcome.FAIL
    assert found["memory_bytes"] is Outcome.PASS
    with pytest.raises(ConfigurationError, match="service shop@target: does not answer"):
        old_against_new(environment(tmp_path, ports, "none"))


def test_what_one_process_serves_for_both_sides_is_not_measured(tmp_path: Path, ports: dict[str, int]) -> None:
    found = old_against_new(environment(tmp_path, ports, "old"))
    assert outcomes(found)["cpu_share"] is Outcome.COULD_NOT_RUN
    assert "both sides are served by one process" in found.comparison.metrics[1].text
    assert len(found.before) == 6 or outcomes(found)["p50_ms"] is Outcome.COULD_NOT_RUN


def test_processor_and_memory_are_asked_of_the_metric_source(
    tmp_path: Path, ports: dict[str, int], prometheus: str
) -> None:
    queries = "{cpu_share: {old: cpu old, new: cpu new}, memory_bytes: {old: memory old, new: memory new}}"
    metrics = f'{{kind: prometheus, url: "{prometheus}", queries: {queries}}}'
    found = outcomes(old_against_new(environment(tmp_path, ports, "same", metrics)))
    assert (found["cpu_share"], found["memory_bytes"]) == (Outcome.PASS, Outcome.FAIL)


@pytest.mark.parametrize(
    ("query", "said"), [(STALE, "3600 s old"), ("nothing", "expected one value"), ("nan", "is nan")]
)
def test_an_answer_that_is_none_or_old_is_no_measurement(prometheus: str, query: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        ask(prometheus, query)
