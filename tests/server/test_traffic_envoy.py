"""What is Envoy's own: several paths and services, files that it refuses, counters. See test_router_contract.py."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fix_servers import free_port

from runbook_lib.errors import ConfigurationError
from runbook_lib.sandbox import envoy as sandbox_envoy
from runbook_lib.traffic.envoy import open_router
from runbook_lib.traffic.port import Router

BACKENDS = ("monolith", *(f"{s}@{side}" for s in sandbox_envoy.APIS for side in ("source", "target")))


class Backend(BaseHTTPRequestHandler):
    """Answers its own name; `/broken` is a 500."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one write an answer: two would wait 40 ms for the client's delayed ACK
    name = ""

    def do_GET(self) -> None:
        body = self.name.encode()
        self.send_response(500 if self.path.endswith("/broken") else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_GET

    def log_message(self, *args: object) -> None:
        """Quiet."""


@dataclass
class Edge:
    router: Router
    settings: dict[str, Any]
    directory: Path
    port: int

    def ask(self, path: str, method: str = "GET", within_s: float = 10.0) -> tuple[int, str]:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=within_s)
        try:
            line.request(method, path)
            answer = line.getresponse()
            return answer.status, answer.read().decode()
        finally:
            line.close()

    def shares(self, path: str, requests: int, method: str = "GET") -> Counter[str]:
        return Counter(self.ask(path, method)[1] for _ in range(requests))


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    servers: dict[str, ThreadingHTTPServer] = {}
    for name in BACKENDS:
        handler = type("Named", (Backend,), {"name": name})
        servers[name] = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=servers[name].serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    port, admin, directory = free_port(), free_port(), tmp_path / "envoy"
    ports = {name: server.server_port for name, server in servers.items()}
    sandbox_envoy.write_files(directory, port=port, admin_port=admin, backends=ports)
    child = sandbox_envoy.start(directory, admin, tmp_path / "envoy.log")
    settings = {
        "kind": "envoy",
        "directory": "envoy",
        "admin": f"http://127.0.0.1:{admin}",
        "tester_header": "x-tester",
        "timeout_s": 5.0,
    }
    try:
        yield Edge(open_router(settings, tmp_path), settings, directory, port)
    finally:
        child.stop()
        for server in servers.values():
            server.shutdown()
            server.server_close()


def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "condition not reached"
        time.sleep(0.01)


def test_weights_share_reads_and_writes_follow_their_single_backend(edge: Edge) -> None:
    switch = edge.router.set_weights(
        {
            "user_service.reads": {"monolith": 50, "user_service@source": 50},
            "user_service.writes": {"user_service@target": 100},
        }
    )
    assert switch.elapsed_s < 1.0
    shares = edge.shares("/api/users/1", 120)
    assert set(shares) == {"monolith", "user_service@source"}
    assert 30 <= shares["monolith"] <= 90
    assert set(edge.shares("/api/auth/x", 40)) == {"monolith", "user_service@source"}  # every prefix of the service
    assert edge.shares("/api/users", 20, "POST") == {"user_service@target": 20}
    assert edge.shares("/api/orders", 10, "POST") == {"monolith": 10}


def test_a_new_router_object_sees_the_same_routes(edge: Edge) -> None:
    edge.router.set_weights(
        {"order_service.reads": {"order_service@target": 100}, "order_service.writes": {"order_service@target": 100}}
    )
    again = open_router(edge.settings, edge.directory.parent).routes()
    assert again["order_service.writes"].weights == {"order_service@target": 100}
    assert again["order_service.reads"].weights["order_service@target"] == 100
    assert again["order_service.reads"].acknowledged


def test_a_change_that_envoy_refuses_leaves_the_last_good_state(edge: Edge) -> None:
    document = json.loads((edge.directory / "eds_user_service@target.json").read_text())
    document["resources"][0]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["address"] = (
        "not-an-ip"
    )
    (edge.directory / "eds_user_service@target.json").write_text(json.dumps(document))  # no rename: Envoy does not look
    with pytest.raises(ConfigurationError, match=r"refused.*put back"):
        edge.router.set_weights({"user_service.writes": {"user_service@target": 100}})
    assert edge.router.routes()["user_service.writes"].weights == {"monolith": 100}
    assert edge.shares("/api/users", 5, "POST") == {"monolith": 5}


def test_a_refused_route_table_changes_nothing_for_clients(edge: Edge) -> None:
    table = json.loads((edge.directory / "rds.json").read_text())
    table["resources"][0]["virtual_hosts"][0]["domains"] = ["*", "*"]
    (edge.directory / "rds.json").write_text(json.dumps(table))
    with pytest.raises(ConfigurationError, match=r"rds\.estate: the update was refused"):
        edge.router.set_weights({"user_service.reads": {"user_service@source": 100}})
    assert edge.shares("/api/users/1", 5) == {"monolith": 5}


def test_metrics_count_requests_errors_and_latency_of_the_last_window(edge: Edge) -> None:
    edge.router.metrics()
    edge.router.set_weights({"user_service.writes": {"user_service@target": 100}})
    edge.shares("/api/users/1", 20)
    edge.shares("/api/orders/broken", 5)
    edge.shares("/api/users", 7, "POST")
    until(lambda: {s.backend: s for s in edge.router.metrics()}["edge"].p99_ms is not None)
    found = {sample.backend: sample for sample in edge.router.metrics()}
    assert (found["edge"].requests, found["edge"].errors) == (32, 5)
    assert (found["monolith"].requests, found["monolith"].errors) == (25, 5)
    assert found["user_service.writes"].requests == 7
    assert (found["payment_service@target"].requests, found["payment_service@target"].errors) == (0, 0)
    assert [s.backend for s in edge.router.metrics(["monolith"])] == ["monolith", "edge"]


def test_a_dead_backend_is_failed_requests_at_the_edge_while_its_clients_wait_for_an_answer(edge: Edge) -> None:
    dead = "user_service@source"
    moved = sandbox_envoy.endpoints(dead, free_port(), version="2")
    sandbox_envoy.put(sandbox_envoy.endpoints_file(edge.directory, dead), moved)
    edge.router.set_weights({"user_service.reads": {dead: 100}})
    before = {one.backend: one for one in edge.router.metrics()}
    with contextlib.suppress(TimeoutError):  # the route tries again for 15 s
        edge.ask("/api/users/1", within_s=1.0)
    after = {one.backend: one for one in edge.router.metrics()}
    for name in ("edge", dead):
        failed = (after[name].errors or 0) - (before[name].errors or 0)
        assert 1 <= failed <= after[name].requests - before[name].requests


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    settings = {"directory": "x", "admin": "http://127.0.0.1:1", "tester_header": "x-tester", "timeout_s": 5.0}
    with pytest.raises(ConfigurationError, match="cannot be read"):
        open_router(settings, tmp_path).set_weights({"a.reads": {"b": 100}})
