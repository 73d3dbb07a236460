"""`runbook demo` and `runbook lab` where they cannot run, and where they are stopped: real estates, nothing left."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fix_absent import program
from fix_sandbox import free_port_base, wait_for
from nightly import at_night

from runbook_lib.sandbox.clusters import data_home
from runbook_lib.sandbox.processes import listening
from runbook_lib.sandbox.services import Ports

ROOT = Path(__file__).parents[2]
RUNBOOK = [sys.executable, "-m", "runbook_lib.cli"]
START_S = 120  # two cores, shared with other tests

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ends processes by Linux's parent-death signal")


class Estate:
    """A folder, a range of ports, and `runbook` in it."""

    def __init__(self, folder: Path) -> None:
        self.base = free_port_base()
        self.directory = folder / "estate"
        self.started: list[subprocess.Popen[str]] = []
        self.log = folder / "output.txt"

    @property
    def arguments(self) -> list[str]:
        return ["--port-base", str(self.base), "--directory", str(self.directory), "--scale", "0.02"]

    def refused(self, *before: str) -> str:
        """The one line of a `runbook demo` that could not run."""
        command = [*before, *RUNBOOK, "demo", *self.arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=START_S, check=False)
        assert done.returncode == 2, done.stderr + done.stdout
        (line,) = done.stderr.splitlines()
        assert line.startswith("runbook: ")
        return line

    def start(self) -> subprocess.Popen[str]:
        with self.log.open("w") as output:
            process = subprocess.Popen(
                [*RUNBOOK, "demo", *self.arguments], stdout=output, stderr=subprocess.STDOUT, text=True, cwd=ROOT
            )
        self.started.append(process)
        return process

    def said(self, words: str) -> bool:
        text = self.log.read_text()
        assert not any(process.poll() for process in self.started), text
        return words in text

    def nothing_runs(self) -> bool:
        return not any(listening(port) for port in Ports(self.base).all().values())

    def no_data(self) -> bool:
        return not data_home(self.directory.resolve()).exists()


@pytest.fixture
def estate(tmp_path: Path) -> Iterator[Estate]:
    made = Estate(tmp_path)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.mark.parametrize("what", ["source", "envoy", "admin"])
def test_a_port_in_use_is_named_and_nothing_is_started(what: str, estate: Estate):
    port = Ports(estate.base).all()
    number = next(value for name, value in port.items() if what in name.lower()) if what != "source" else estate.base
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", number))
        holder.listen()
        line = estate.refused()
    assert f"port {number} (" in line
    assert "in use by another program; nothing was started. Next: stop that program, or choose other ports" in line
    assert estate.nothing_runs()
    assert estate.no_data()


def test_a_disk_without_room_is_named_and_nothing_is_started(estate: Estate):
    """A file system of 8 MiB in a mount namespace of its own: it goes when the command ends."""
    estate.directory.mkdir()
    separate = [program("unshare"), "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    mount = ["sh", "-c", f'mount -t tmpfs -o size=8m tmpfs "{estate.directory}" && exec "$@"', "sh"]
    if subprocess.run([*separate, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not make a mount namespace")
    line = estate.refused(*separate, *mount)
    assert "0.01 GiB free on its file system; expected at least 1.00 GiB; nothing was started" in line
    assert str(estate.directory) in line
    assert estate.nothing_runs()
    assert estate.no_data()
    assert list(estate.directory.iterdir()) == []


def test_a_second_demo_is_told_who_runs_and_the_first_goes_on_until_it_is_ended(estate: Estate):
    first = estate.start()
    wait_for(lambda: estate.said("estate up"), "the first demo", START_S)
    line = estate.refused()
    assert f"already running (process {first.pid}). Next: wait for it, or stop it" in line
    assert first.poll() is None
    first.send_signal(signal.SIGTERM)  # what CI sends to a job that is cancelled
    assert first.wait(START_S) == 2, estate.log.read_text()
    assert estate.log.read_text().splitlines()[-1].startswith("runbook: interrupted")
    assert estate.nothing_runs()
    assert estate.no_data()


@at_night
@pytest.mark.parametrize("ending", [signal.SIGKILL], ids=["killed"])
def test_a_killed_demo_leaves_no_server_and_no_obstacle(ending: signal.Signals, estate: Estate):
    first = estate.start()
    wait_for(lambda: estate.said("✓ plan linted"), "the first phase", START_S)
    first.send_signal(ending)
    first.wait()
    estate.started.remove(first)
    wait_for(estate.nothing_runs, "the estate's end", 30)
    second = estate.start()
    wait_for(lambda: estate.said("✓ plan linted"), "the second demo", START_S)
    second.send_signal(signal.SIGINT)
    assert second.wait(START_S) == 2
    assert "runbook: interrupted" in estate.log.read_text()
    assert estate.nothing_runs()
    assert estate.no_data()


# `runbook lab` has the ports that the notebooks name, so it gets a network of its own: only a loopback.
_LAB = r"""
import atexit, re, signal, subprocess, sys, time, urllib.request
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
log = open("lab.txt", "w")
lab = subprocess.Popen([sys.executable, "-m", "runbook_lib.cli", "lab", "--no-browser", "--scale", "0.02"],
                       stdout=log, stderr=subprocess.STDOUT)
atexit.register(lab.kill)  # whatever goes wrong below
deadline, found = time.monotonic() + 120, None
while not found and lab.poll() is None and time.monotonic() < deadline:
    time.sleep(0.1)
    found = re.search(r"http://127\.0\.0\.1:8888/lab/tree/(\S+)\?token=(\S+)", open("lab.txt").read())
print(open("lab.txt").read())
notebook, token = found.groups()
def status(path):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:8888{path}", timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code
print("with token", status(f"/api/contents/{notebook}?token={token}"), "without", status(f"/api/contents/{notebook}"))
lab.send_signal(signal.SIGINT)
print("exit", lab.wait(60))
print("listening", subprocess.run(["ss", "-Hltn"], capture_output=True, text=True).stdout.split())
"""


# Not as root of the namespace: root's servers run as somebody else, whom a mapping of one user does not have.
_AS_OURSELVES = ["--user", "--map-current-user", "--keep-caps"]


def test_lab_serves_the_notebooks_with_a_token_and_ends_without_a_trace(tmp_path: Path):
    separate = [program("unshare"), "--net", *([] if os.geteuid() == 0 else _AS_OURSELVES)]
    probe = [*separate, "sh", "-c", f"{program('ip')} link set lo up && {program('ss')} -Hltn"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("this user may not make a network namespace")
    for name in ("parameters", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / name)
    command = [*separate, sys.executable, "-c", _LAB]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=2 * START_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Open it, run notebooks/00_preflight.ipynb from top to bottom" in done.stdout
    assert "with token 200 without 403" in done.stdout
    assert "exit 0" in done.stdout
    assert "listening []" in done.stdout
    assert not data_home((tmp_path / ".runbook/demo").resolve()).exists()
