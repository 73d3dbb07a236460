"""A service run by commands: a real small HTTP server, started and stopped through a command template."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbook_lib.errors import ConfigurationError
from runbook_lib.services.command import CommandService, open_service

# start leaves the server behind with its output open; stop ends it by pid: what systemctl does, in small.
TOOL = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
command, port, here = sys.argv[1], sys.argv[2], Path(__file__).parent
calls, pid = here / "calls", here / "pid"
calls.write_text((calls.read_text() if calls.exists() else "") + command + " " + " ".join(sys.argv[3:]) + "\\n")
if command == "start":
    pid.write_text(str(subprocess.Popen([sys.executable, "-I", str(here / "serve.py"), port]).pid))
elif command == "stop":
    os.kill(int(pid.read_text()), signal.SIGTERM); pid.unlink()
elif command == "backup":
    print("taking it"); print("backup-17")
elif command == "fail":
    print("dbname=x password=hunter22 refused", file=sys.stderr); sys.exit(3)
elif command == "hang":
    time.sleep(60)
"""
SERVE = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 503); self.end_headers(); self.wfile.write(b"fine")
    def log_message(self, *args): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def service(tmp_path: Path, port: int) -> Iterator[CommandService]:
    (tmp_path / "tool.py").write_text(TOOL)
    (tmp_path / "serve.py").write_text(SERVE)
    opened = make(tmp_path, port)
    yield opened
    opened.stop()


def make(root: Path, port: int, **settings: object) -> CommandService:
    given = {
        "url": f"http://127.0.0.1:{port}",
        "deploy": f"{{python}} -I tool.py deploy {port} {{name}} {{version}}",
        "start": f"{{python}} -I tool.py start {port}",
        "stop": ["{python}", "-I", "tool.py", "stop", str(port)],
        "backup": f"{{python}} -I tool.py backup {port}",
        "restore": f"{{python}} -I tool.py restore {port} {{reference}}",
        "timeout_s": 10,
        **settings,
    }
    opened = open_service("user_service", given, root)
    assert isinstance(opened, CommandService)
    return opened


def calls(root: Path) -> list[str]:
    return [line.split()[0] for line in (root / "calls").read_text().splitlines()]


def test_start_and_stop_wait_for_the_state_and_are_idempotent(service: CommandService, tmp_path: Path) -> None:
    assert not service.running()
    assert not service.health().ok and "refused" in service.health().text, "and not: no answer within 2 s"
    service.start()
    assert service.running()
    assert service.health().ok
    assert service.health().text == "fine"
    service.start()
    service.stop()
    assert not service.running()
    service.stop()
    assert calls(tmp_path) == ["start", "stop"]


def test_backup_gives_the_reference_that_restore_gets(service: CommandService, tmp_path: Path, port: int) -> None:
    service.restore(service.backup())
    service.deploy("2.1 beta")  # a value with a blank stays one argument
    assert (tmp_path / "calls").read_text().splitlines() == [
        "backup ",
        "restore backup-17",
        "deploy user_service 2.1 beta",
    ]


def test_a_running_service_that_answers_503_runs_but_is_not_healthy(tmp_path: Path, port: int) -> None:
    (tmp_path / "tool.py").write_text(TOOL)
    (tmp_path / "serve.py").write_text(SERVE)
    sick = make(tmp_path, port, health={"path": "/other", "timeout_s": 1}, timeout_s=1.5)
    try:
        with pytest.raises(ConfigurationError, match=r"start: not healthy: HTTP 503, expected 200.* 1\.5 s after"):
            sick.start()
        assert sick.running()
        assert make(tmp_path, port, health={"path": "/other", "status": 503}).health().ok
    finally:
        sick.stop()


def test_a_failing_command_shows_its_status_and_words_but_no_secret(tmp_path: Path, port: int) -> None:
    (tmp_path / "tool.py").write_text(TOOL)
    with pytest.raises(ConfigurationError) as caught:
        make(tmp_path, port, start=f"{sys.executable} -I tool.py fail {port}").start()
    assert "exit status 3: dbname=x password=*** refused" in str(caught.value)
    assert "hunter22" not in str(caught.value)


def test_a_command_that_hangs_is_ended(tmp_path: Path, port: int) -> None:
    (tmp_path / "tool.py").write_text(TOOL)
    begun = time.monotonic()
    with pytest.raises(ConfigurationError, match=r"not finished after 0\.5 s; it was ended"):
        make(tmp_path, port, start=f"{sys.executable} -I tool.py hang {port}", timeout_s=0.5).start()
    assert time.monotonic() - begun < 5


def test_a_status_command_decides_whether_it_runs(tmp_path: Path, port: int) -> None:
    assert make(tmp_path, port, status=["true"]).running()
    assert not make(tmp_path, port, status=["false"]).running()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"url": ""}, "has no url"),
        ({"sart": "x"}, "unknown setting 'sart'"),
        ({"start": "run {nmae}"}, r"unknown placeholder \{nmae\}"),
        ({"start": "run {"}, "start: "),
        ({"health": {"pth": "/"}}, "health: unknown setting 'pth'"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, port: int, settings: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        make(tmp_path, port, **settings)


def test_a_command_that_the_inventory_does_not_have_is_named(tmp_path: Path, port: int) -> None:
    with pytest.raises(ConfigurationError, match=r"services\.user_service\.start"):
        open_service("user_service", {"url": f"http://127.0.0.1:{port}"}, tmp_path).start()
    with pytest.raises(ConfigurationError, match="no-such-program: No such file"):
        make(tmp_path, port, start="no-such-program").start()
    with pytest.raises(ConfigurationError, match="printed no reference"):
        make(tmp_path, port, backup=["true"]).backup()
