"""HTTP requests of a plan, against a real server that keeps a switch."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fix_run import small_environment, start

from runbook_lib.errors import StepFailed
from runbook_lib.run.run import Run
from runbook_lib.steps import HttpStep


@dataclass
class Switch:
    """What the server holds. `broken`: answers that it still spoils; `silent`: it acts, and answers 503."""

    url: str = ""
    on: bool = False
    broken: int = 0
    silent: bool = False
    tokens: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    switch: Switch

    def do_GET(self) -> None:
        self._answer(200, f'{{"on": {str(self.switch.on).lower()}}}')

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"] or 0)).decode()
        self.switch.sent.append(f"{self.path} {body}".strip())
        self.switch.tokens.append(self.headers["authorization"] or "")
        if self.switch.broken and not self.switch.silent:
            self.switch.broken -= 1
            return self._answer(503, "busy, token=abcdef77")
        self.switch.on = self.path == "/on"
        return self._answer(503 if self.switch.silent else 200, "fine")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def switch() -> Iterator[Switch]:
    held = Switch()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Handler,), {"switch": held}))
    held.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
    yield held
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with start(small_environment(tmp_path)) as run:
        yield run


def step(switch: Switch, retries: int = 0) -> HttpStep:
    headers = {"authorization": "Bearer env:SWITCH_TOKEN"}
    return HttpStep(
        "switch",
        {"url": f"{switch.url}/on", "method": "POST", "headers": headers, "body": '{"by": "runbook"}'},
        {"url": f"{switch.url}/", "match": '"on": true'},
        undo={"url": f"{switch.url}/off", "method": "POST", "headers": headers},
        retries=retries,
    )


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCH_TOKEN", "abcdef77")


def test_a_request_is_sent_verified_and_undone_with_a_secret_that_nothing_records(run: Run, switch: Switch) -> None:
    assert run.step(step(switch)).passed
    assert (switch.on, switch.sent, switch.tokens) == (True, ['/on {"by": "runbook"}'], ["Bearer abcdef77"])
    assert run.step(step(switch)).repeated
    assert run.rollback().passed
    assert not switch.on
    assert not any("abcdef77" in entry.line() for entry in run.journal.entries(run.run_id))


def test_what_was_so_before_the_run_is_neither_asked_for_nor_taken_back(run: Run, switch: Switch) -> None:
    switch.on = True
    assert run.step(step(switch)).text.startswith("was so already")
    assert run.rollback().passed
    assert (switch.on, switch.sent) == (True, [])


def test_a_request_that_failed_is_sent_again_as_often_as_the_plan_says(run: Run, switch: Switch) -> None:
    switch.broken = 2
    with pytest.raises(StepFailed, match=r"HTTP 503: busy, token=\*\*\*; expected 2xx; it may have been done"):
        run.step(step(switch))
    assert run.step(step(switch, retries=2)).passed
    assert len(switch.sent) == 3


def test_a_request_that_was_done_though_its_answer_failed_is_not_sent_twice(run: Run, switch: Switch) -> None:
    switch.silent = True
    assert "it was done all the same" in run.step(step(switch, retries=3)).text
    assert len(switch.sent) == 1


def test_a_check_of_another_answer_stops_it_before_it_acts(run: Run, switch: Switch) -> None:
    guarded = replace(step(switch), condition={"url": switch.url, "status": 404})
    with pytest.raises(StepFailed, match=r"HTTP 200: .*; expected 404; nothing was applied"):
        run.step(guarded)
    assert switch.sent == []
