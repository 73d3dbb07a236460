"""Smoke tests against a real small server."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from runbook_lib.errors import PlanError
from runbook_lib.services.smoke import SmokeRequest, smoke, smoke_requests
from runbook_lib.verdict import Outcome

ANSWERS = {"/user": (200, b'{"id": 1, "email": "a@b"}'), "/list": (200, b"[1]"), "/text": (200, b"hi")}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/late":
            time.sleep(0.3)
        status, body = ANSWERS.get(self.path, (404, b"{}"))
        self.send_response(status)
        self.send_header("x-served-by", "monolith")
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):  # a client that gave up
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_right_answers_pass(url: str) -> None:
    requests = smoke_requests(
        [{"path": "/user", "keys": ["id", "email"], "headers": {"x-served-by": "monolith"}}, "/text"]
    )
    verdict = smoke(url, [*requests, SmokeRequest("/nothing", status=404)])
    assert verdict.passed, verdict.text
    assert len(verdict.data["requests"]) == 3


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        (SmokeRequest("/gone"), "HTTP 404, expected 200"),
        (SmokeRequest("/user", keys=("id", "name")), "lacks name"),
        (SmokeRequest("/list", keys=("id",)), "a JSON list"),
        (SmokeRequest("/text", keys=("id",)), "not JSON"),
        (SmokeRequest("/user", headers={"x-served-by": "user_service"}), "header x-served-by: monolith"),
        (SmokeRequest("/late", status=404, timeout_s=0.1), "no answer"),
    ],
)
def test_each_wrong_answer_is_named_and_the_others_still_run(url: str, request_: SmokeRequest, named: str) -> None:
    verdict = smoke(url, [request_, SmokeRequest("/text")])
    assert verdict.outcome is Outcome.FAIL
    assert named in verdict.text
    assert [result["problem"] == "" for result in verdict.data["requests"]] == [False, True]


def test_a_service_that_does_not_answer_fails_and_no_requests_is_could_not_run() -> None:
    assert smoke("http://127.0.0.1:1", [SmokeRequest("/user")]).outcome is Outcome.FAIL
    assert smoke("http://127.0.0.1:1", []).outcome is Outcome.COULD_NOT_RUN


def test_wrong_entries_are_named() -> None:
    with pytest.raises(PlanError, match=r"f\.yaml: request 2: unknown key 'kees'"):
        smoke_requests(["/a", {"path": "/b", "kees": []}], "f.yaml")
    with pytest.raises(PlanError, match="has no path"):
        smoke_requests([{"name": "b"}])
