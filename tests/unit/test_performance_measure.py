"""Measuring a real small server whose behaviour is known."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from runbook_lib.errors import ConfigurationError
from runbook_lib.performance.measure import Load, Measurement, measure, measure_interleaved, quantile
from runbook_lib.performance.processes import usage
from runbook_lib.performance.workload import RequestTemplate, Workload

FAST = Load(rate_per_s=100, duration_s=0.4, warmup_s=0.0, timeout_s=2.0)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    seen: Counter[str]
    stall: threading.Lock

    def do_GET(self) -> None:
        self.seen[self.path] += 1
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == "/slow":
            time.sleep(0.05)
        if self.path == "/never":
            time.sleep(0.6)
        if self.path == "/stall" and self.seen["/stall"] == 3:
            with self.stall:
                time.sleep(0.3)
        with self.stall:
            self.send_response(500 if self.path == "/broken" else 204 if self.path == "/empty" else 200)
        if self.path == "/chunked":
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"3\r\nabc\r\n0\r\n\r\n")
        elif self.path == "/closing":
            self.send_header("connection", "close")
            self.end_headers()
            self.wfile.write(b"until the end")
            self.close_connection = True
        elif self.path == "/empty":
            self.end_headers()
        else:
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

    do_POST = do_GET

    def log_message(self, *args: object) -> None:
        """Quiet."""

    def finish(self) -> None:
        try:
            super().finish()
        except OSError:
            self.seen["gone"] += 1  # a client that gave up


class Server(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, request: object, address: object) -> None:
        """A connection that its client dropped is not this test's news."""


@pytest.fixture
def server() -> Iterator[tuple[str, Counter[str]]]:
    seen: Counter[str] = Counter()
    handler = type("Seeing", (Handler,), {"seen": seen, "stall": threading.Lock()})
    server = Server(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()


def one(path: str, method: str = "GET", body: object = None) -> Workload:
    return Workload((RequestTemplate(path, path, method, body=body),))


def only(url: str, path: str, load: Load = FAST, **template: object) -> Measurement:
    return measure(url, one(path, **template), load, rounds=1)[0]  # type: ignore[arg-type]


def test_a_fast_server_is_measured_at_the_offered_rate(server: tuple[str, Counter[str]]) -> None:
    deadline = time.monotonic() + 60
    while True:
        found = only(server[0], "/fast")
        assert (found.requests, found.errors, found.error_rate) == (40, {}, 0)
        assert found.p50_ms is not None
        assert found.throughput_per_s is not None
        assert found.p50_ms > 0
        assert 0 < found.throughput_per_s <= 105
        assert Measurement(**json.loads(json.dumps(found.as_dict()))) == found
        if found.p50_ms < 50 and found.throughput_per_s > 60:
            return
        # A machine that stood still is measured as slow, and rightly: once in a minute it does not.
        assert time.monotonic() < deadline, found


def test_a_slow_server_shows_its_delay(server: tuple[str, Counter[str]]) -> None:
    found = only(server[0], "/slow")
    assert found.p50_ms is not None
    assert 50 <= found.p50_ms < 150


def test_requests_that_wait_behind_a_stall_are_charged_for_it(server: tuple[str, Counter[str]]) -> None:
    found = only(server[0], "/stall", Load(100, 0.5, 0.0, 5.0))
    assert found.p50_ms is not None
    assert found.p50_ms > 50  # about 30 of the 50 were due during the 300 ms


@pytest.mark.parametrize("path", ["/chunked", "/closing", "/empty"])
def test_every_way_of_ending_an_answer_is_understood(server: tuple[str, Counter[str]], path: str) -> None:
    assert only(server[0], path).error_rate == 0


def test_errors_and_missing_answers_are_counted_by_kind(server: tuple[str, Counter[str]]) -> None:
    assert only(server[0], "/broken").errors == {"HTTP 500": 40}
    late = only(server[0], "/never", Load(20, 0.3, 0.0, 0.2))
    assert late.errors == {"no answer within 0.2 s": 6}
    assert late.p50_ms is None
    nobody = only("http://127.0.0.1:1", "/x")
    assert nobody.error_rate == 1.0
    assert set(nobody.errors) == {"ConnectionRefusedError"}


def test_bodies_are_sent_and_the_warmup_is_not_counted(server: tuple[str, Counter[str]]) -> None:
    found = only(server[0], "/post", Load(50, 0.2, 0.2, 2.0), method="POST", body={"a": 1})
    assert found.requests == 10
    assert server[1]["/post"] == 20


def test_sides_take_turns_with_the_same_requests(server: tuple[str, Counter[str]]) -> None:
    url = server[0]
    found = measure_interleaved({"old": url, "new": url}, one("/fast"), Load(50, 0.1, 0.0), rounds=2)
    order = sorted((m.at, side) for side, rounds in found.items() for m in rounds)
    assert [side for _, side in order] == ["old", "new", "new", "old"]


def test_it_runs_inside_a_running_event_loop_as_in_a_notebook(server: tuple[str, Counter[str]]) -> None:
    async def cell() -> Measurement:
        return only(server[0], "/fast")

    assert asyncio.run(cell()).error_rate == 0


def test_processor_and_memory_count_the_children_too() -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"
    busy = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    try:
        before = usage([busy.pid])
        deadline = time.monotonic() + 10
        while (now := usage([busy.pid])) is None or before is None or now.cpu_s - before.cpu_s < 0.1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert now.memory_bytes > 5_000_000
    finally:
        os.killpg(busy.pid, 9)
        busy.wait()
    assert usage([busy.pid]) is None


def test_a_workload_without_requests_and_an_odd_address_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="has no requests"):
        measure("http://127.0.0.1:1", Workload(()))
    with pytest.raises(ConfigurationError, match="not an http address"):
        measure("ftp://127.0.0.1", one("/"), FAST)


def test_quantiles_are_linear_between_neighbours() -> None:
    assert quantile([], 0.5) is None
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.5
    assert quantile([1.0], 0.99) == 1.0
