"""Start programs that cannot outlive us, find what a killed run left behind, and check ports and disk."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runbook_lib.errors import ConfigurationError
from runbook_lib.util.child_process import tied


@dataclass
class Child:
    """A running program of the estate.

    Args:
        name: What operators call it, e.g. `user_service@target`.
        process: The handle; its pid is the program's own (the launcher replaces itself).
        log: Where its output goes.
    """

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def stop(self, stop_signal: signal.Signals = signal.SIGTERM, timeout_s: float = 10.0) -> None:
        """Ask it to end, and make it end after `timeout_s` seconds."""
        if self.alive:
            self.process.send_signal(stop_signal)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()

    def last_words(self, lines: int = 3) -> str:
        """The end of its log on one line, for an error message."""
        with contextlib.suppress(OSError):
            return " | ".join(self.log.read_text(errors="replace").strip().splitlines()[-lines:])
        return ""


@dataclass
class Register:
    """The processes of an estate, on disk, so that the next run can find those a killed run left behind."""

    path: Path
    entries: list[tuple[int, str]] = field(default_factory=list)

    def add(self, pid: int) -> None:
        """Record one process by pid and start time (a pid alone may be somebody else's by now)."""
        self.entries.append((pid, _started(pid)))
        self.path.write_text(json.dumps(self.entries))

    def end_stale(self, timeout_s: float = 15.0) -> int:
        """End what an earlier run recorded and is still running; returns how many there were."""
        with contextlib.suppress(OSError, ValueError):
            recorded = [(int(pid), str(start)) for pid, start in json.loads(self.path.read_text())]
            stale = [(pid, start) for pid, start in recorded if start and _started(pid) == start]
            _end(stale, timeout_s)
            self.path.unlink()
            return len(stale)
        return 0


def _end(stale: Sequence[tuple[int, str]], timeout_s: float) -> None:
    for sent, patience in ((signal.SIGTERM, timeout_s), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
        left = [(pid, start) for pid, start in stale if _started(pid) == start]
        for pid, _ in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sent)
        with contextlib.suppress(ConfigurationError):
            wait_until(lambda: all(_started(p) != s for p, s in stale), patience, "a killed run's processes")
            return


def _started(pid: int) -> str:
    """The start time of a process in clock ticks since boot, empty when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def spawn(
    name: str,
    argv: Sequence[str],
    *,
    log: Path,
    user: pwd.struct_passwd | None = None,
    environment: Mapping[str, str] | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
) -> Child:
    """Start a program that the kernel ends when the calling *thread* ends, however that happens.

    Args:
        argv: Absolute program path and arguments.
        user: Whose rights it gets; None keeps ours.
        environment: The whole environment; None passes ours on.
        death_signal: What it is sent when we are gone.
    Raises:
        ConfigurationError: the program cannot be started.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            tied(argv, death_signal, user),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment) if environment is not None else None,
            start_new_session=True,  # Ctrl-C reaches us alone: we stop the others in order
            cwd="/",
        )
    return Child(name, process, log)


def wait_until(ready: Callable[[], bool], timeout_s: float, subject: str, child: Child | None = None) -> None:
    """Wait for a condition; a child that dies meanwhile ends the wait at once.

    Raises:
        ConfigurationError: not ready within `timeout_s` seconds, or the child ended.
    """
    deadline = time.monotonic() + timeout_s
    while not ready():
        if child is not None and not child.alive:
            raise ConfigurationError(
                subject,
                f"ended with status {child.process.returncode}: {child.last_words()}",
                action=f"read {child.log}",
            )
        if time.monotonic() > deadline:
            words = f": {child.last_words()}" if child else ""
            raise ConfigurationError(subject, f"not ready after {timeout_s:g} s{words}", action="read its log")
        time.sleep(0.01)


def require_free_ports(ports: Mapping[str, int]) -> None:
    """Raise ConfigurationError naming the first port of the estate that somebody else listens on."""
    for what, port in ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise ConfigurationError(
                    f"port {port} ({what})",
                    "in use by another program",
                    state="nothing was started",
                    action="stop that program, or choose other ports with --port-base",
                ) from error


def require_disk(directories: Iterable[Path], need_bytes: int) -> None:
    """Raise ConfigurationError when a directory's file system has less than `need_bytes` free."""
    for directory in directories:
        existing = next(parent for parent in (directory, *directory.parents) if parent.exists())
        free = shutil.disk_usage(existing).free
        if free < need_bytes:
            raise ConfigurationError(
                str(directory),
                f"{free / 2**30:.2f} GiB free on its file system",
                expected=f"at least {need_bytes / 2**30:.2f} GiB",
                state="nothing was started",
                action="free some room, or choose another directory with --directory",
            )


def listening(port: int) -> bool:
    """Whether something on the loopback accepts connections on this port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
