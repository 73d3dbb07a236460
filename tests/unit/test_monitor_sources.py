"""Numbers from Prometheus, a database and JSON over HTTP: what is one, and what could not be measured."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fix_run import SmallEnvironment, small_environment

from runbook_lib.errors import RunbookError
from runbook_lib.monitoring.sources import probe_of
from runbook_lib.plan.model import Trigger

Ask = Callable[[Trigger, Any], Any]
PROMETHEUS = Trigger("errors", 0.01, source="prometheus", query="sum(errors)", window_s=30.0)
DEPTH = Trigger("depth", 9.0, source="http", value="queue.0.depth", at="queue.0.at")


@contextmanager
def served(body: Any, asked: list[str], status: int = 200) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

        def log_message(self, *_: Any) -> None:
            """Silent: the test looks at what was asked."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class WithMetrics(SmallEnvironment):
    inventory = SimpleNamespace(metrics={})


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """The verdict's data for what is served, or the error's words."""

    def answer(trigger: Trigger, body: Any, status: int = 200) -> Any:
        asked: list[str] = []
        with served(body, asked, status) as url:
            environment = WithMetrics(tmp_path, small_environment(tmp_path).plan)
            environment.inventory.metrics = {"url": url}
            changed = Trigger(**{**vars(trigger), "url": url}) if trigger.source == "http" else trigger
            try:
                found: Any = probe_of(changed, environment)().data  # type: ignore[arg-type]
            except RunbookError as error:
                found = error.observed
        answer.asked = asked  # type: ignore[attr-defined]
        return found

    return answer


def vector(*series: Any) -> dict[str, Any]:
    return {
        "status": "success",
        "data": {"resultType": "vector", "result": [{"metric": {}, "value": v} for v in series]},
    }


def test_prometheus_gives_its_number_with_its_time_and_is_asked_for_no_older_one(ask: Any) -> None:
    assert ask(PROMETHEUS, vector([1767225600.5, "0.25"])) == {"value": 0.25, "at": 1767225600.5}
    assert ask.asked == ["/api/v1/query?query=sum%28errors%29&lookback_delta=30s"]
    scalar = {"status": "success", "data": {"resultType": "scalar", "result": [5, "7"]}}
    assert ask(PROMETHEUS, scalar) == {"value": 7.0, "at": 5.0}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (vector(), 200, "no value in the window"),
        (vector([1, "1"], [1, "2"]), 200, "2 series, expected one: aggregate them"),
        (vector([1, "NaN"]), 200, "`NaN` is not a number"),
        (vector([1, "+Inf"]), 200, "`+Inf` is not a number"),
        ({"status": "success", "data": {"resultType": "matrix", "result": []}}, 200, "answers a matrix"),
        ({"status": "error", "error": "parse error at char 4"}, 400, "parse error at char 4"),
        (b"<html>gateway", 502, "HTTP 502, expected JSON"),
        ([], 200, "Prometheus: []"),
    ],
)
def test_what_prometheus_cannot_say_could_not_be_measured(ask: Any, body: Any, status: int, words: str) -> None:
    assert words in ask(PROMETHEUS, body, status)


def test_a_number_in_json_is_found_by_its_path_with_its_own_time(ask: Any) -> None:
    body = {"queue": [{"depth": "12", "at": "2026-12-01T10:00:00Z"}]}
    assert ask(DEPTH, body) == {"value": 12.0, "at": 1796119200.0}
    assert ask(DEPTH, {"queue": [{"depth": 12, "at": 1796119200000}]})["at"] == 1796119200.0  # milliseconds
    assert "no `queue.0.at`" in ask(DEPTH, {"queue": [{"depth": 12}]})
    assert "`True` is not a number" in ask(DEPTH, {"queue": [{"depth": True, "at": 1}]})
    assert "not a time" in ask(DEPTH, {"queue": [{"depth": 1, "at": "yesterday"}]})


def test_a_query_gives_one_number_and_perhaps_its_time(tmp_path: Path) -> None:
    environment: Any = small_environment(tmp_path)
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, at INTEGER)")
        database.execute("INSERT INTO orders VALUES (1, 50), (2, 60)")

    def ask(query: str) -> Any:
        return probe_of(Trigger("n", 1.0, source="sql", database="shop", query=query), environment)().data

    assert ask("SELECT count(*) FROM orders")["value"] == 2.0
    assert ask("SELECT count(*), max(at) FROM orders") == {"value": 2.0, "at": 60.0}
    for query, words in (
        ("SELECT id FROM orders", "2 rows"),
        ("SELECT max(at) FROM orders WHERE id > 9", "`None` is not a number"),
        ("SELECT x FROM orders", "x"),
    ):
        with pytest.raises(RunbookError, match=words):
            ask(query)
