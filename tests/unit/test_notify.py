"""Notices reach a real file, a real HTTP server and a real command; a target that fails is reported, not raised."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.journal import Journal
from runbook_lib.journal.kinds import Note
from runbook_lib.monitoring.announce import announce
from runbook_lib.monitoring.notifications import Notice, notify

NOTICE = Notice(
    "rollback_trigger",
    "error_rate 4.00 %, limit 1.00 %\nsecond line",
    environment="demo",
    run_id="r1",
    phase="cutover",
    data={"value": 0.04},
)


class Hook(BaseHTTPRequestHandler):
    received: list[tuple[str, dict[str, Any], str | None]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.received.append((self.path, body, self.headers.get("x-key")))
        self.send_response(500 if "broken" in self.path else 204)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[tuple[str, dict[str, Any], str | None]]]]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    received: list[tuple[str, dict[str, Any], str | None]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Hook,), {"received": received}))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    server.server_close()


def test_every_kind_of_target_is_told(tmp_path: Path, hook: tuple[str, list[Any]]) -> None:
    url, received = hook
    script = "import sys, pathlib; pathlib.Path('told').write_text(sys.stdin.read())"
    targets = {
        "log": {"kind": "file", "path": "notices/all.txt"},
        "team": {"kind": "webhook", "url": f"{url}/team", "headers": {"x-key": "k"}},
        "pager": {"kind": "command", "command": [sys.executable, "-c", script]},
    }
    result = notify(NOTICE, targets, tmp_path)
    notify(NOTICE, {"log": targets["log"]}, tmp_path)
    assert not result.failed
    lines = (tmp_path / "notices/all.txt").read_text().splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("[demo r1 cutover] rollback_trigger: error_rate 4.00 %, limit 1.00 % second line")
    path, body, key = received[0]
    assert (path, key, body["event"], body["data"]) == ("/team", "k", "rollback_trigger", {"value": 0.04})
    assert json.loads((tmp_path / "told").read_text())["run_id"] == "r1"


def test_a_target_that_fails_is_reported_and_the_others_are_still_told(
    tmp_path: Path, hook: tuple[str, list[Any]]
) -> None:
    targets = {
        "broken": {"kind": "webhook", "url": f"{hook[0]}/broken"},
        "nobody": {"kind": "webhook", "url": "http://127.0.0.1:1/services/T0/secret-part"},
        "fails": {
            "kind": "command",
            "command": f"{sys.executable} -c \"import sys; sys.exit('password=hunter22 no')\"",
        },
        "absent": {"kind": "command", "command": "no-such-program"},
        "folder": {"kind": "file", "path": "."},
        "empty": {"kind": "file"},
        "odd": {"kind": "pigeon"},
        "log": {"kind": "file", "path": "log"},
    }
    result = notify(NOTICE, targets, tmp_path)
    problems = {one.target: one.problem for one in result.failed}
    assert problems.keys() == targets.keys() - {"log"}
    assert problems["broken"].startswith("HTTP 500")
    assert problems["fails"] == "exit status 1: password=*** no"
    assert problems["absent"] == "No such file or directory"
    assert problems["empty"] == "has no path"
    assert "secret-part" not in json.dumps(result.as_dict()) + result._repr_html_()
    assert (tmp_path / "log").exists()


def test_secrets_in_a_notice_are_masked(tmp_path: Path) -> None:
    notice = Notice("x", "postgresql://a:hunter22@db", data={"seen": ["password=hunter22"]})
    notify(notice, {"log": {"kind": "file", "path": "log"}}, tmp_path)
    assert "hunter22" not in (tmp_path / "log").read_text()
    assert "hunter22" not in str(json.loads(notice.as_json()))


def test_apprise_tells_a_server_and_one_that_refuses_is_named_without_its_address(
    tmp_path: Path, hook: tuple[str, list[Any]]
) -> None:
    url, received = hook
    place = url.removeprefix("http://")
    targets = {
        "team": {"kind": "apprise", "url": f"json://{place}/team"},
        "broken": {"kind": "apprise", "url": f"json://user:secret-part@{place}/broken"},
        "odd": {"kind": "apprise", "url": "pigeon://secret-part"},
    }
    result = notify(NOTICE, targets, tmp_path)
    problems = {one.target: one.problem for one in result.failed}
    assert problems == {"broken": "JSON did not take it", "odd": "its url is none that apprise knows"}
    assert received[0][1]["title"] == "demo rollback_trigger" and "error_rate 4.00 %" in received[0][1]["message"]
    assert "secret-part" not in json.dumps(result.as_dict()) + result._repr_html_()


def test_whom_a_notice_did_not_reach_is_recorded_and_nothing_is_stopped(tmp_path: Path) -> None:
    class Environment:
        name, root = "demo", tmp_path

        def notify_targets(self) -> dict[str, dict[str, Any]]:
            return {"team": {"kind": "webhook", "url": "http://127.0.0.1:1/secret-part"}}

    said: list[str] = []
    with closing(Journal(f"sqlite:///{tmp_path}/journal.sqlite")) as journal:
        journal.open_run("r", environment="demo", plan_digest="p", actor="ada")
        announce(Environment(), journal, "r", "run_started", "it begins", show=said.append)  # type: ignore[arg-type]
        [note] = [one.read(Note) for one in journal.entries("r", Note)]
    assert note.text == f"run_started: {said[0]}" and said[0].startswith("team was not told: ")
    assert "secret-part" not in note.text
