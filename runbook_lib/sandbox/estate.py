"""The whole demo estate as one context manager, and `python -m runbook_lib.sandbox.estate` to look around in it.

Layout of its directory (default `.runbook/demo`): `secrets/<role>` (0600), `envoy/` (xDS files), `services/`
(deployments), `logs/`, `ledger.jsonl`, `control.sock`, `lock`, `processes.json`; the clusters' data below `data/`,
or below /tmp when we are root (`clusters.data_home`).
"""

from __future__ import annotations

import argparse
import fcntl
import functools
import json
import logging
import os
import re
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from runbook_lib.errors import ConfigurationError, RunbookError
from runbook_lib.sandbox import envoy, roles
from runbook_lib.sandbox.clusters import Cluster, data_home
from runbook_lib.sandbox.control import DEFAULT_DIRECTORY, socket_path
from runbook_lib.sandbox.processes import Child, Register, require_disk, require_free_ports
from runbook_lib.sandbox.services import Ports, Services

NEED_BYTES = 2**30
_HERE = Path(__file__)  # a checkout, or the installed package with its share
_PARAMETERS = (_HERE.parents[2] / "parameters", _HERE.parents[1] / "_share/parameters")
log = logging.getLogger(__name__)


class Estate:
    """A live monolith with traffic, and the place where its services will live.

    Args:
        directory: Its own directory; one estate at a time.
        port_base: First of its ports (`services.Ports`).
        scale: Size of the sample data; 1.0 is about 260,000 rows.
        client: Start the client as well.
        rate: The client's requests per second.
        keep: Leave the data directories behind for somebody to inspect.
        fleet: Run user_service as so many instances on the monolith's data, the last one of them a spare (count).
    Raises:
        ConfigurationError: already running, a port in use, no room on the disk, a program missing or not starting.
    """

    def __init__(
        self,
        directory: Path = DEFAULT_DIRECTORY,
        *,
        port_base: int = 15400,
        scale: float = 1.0,
        client: bool = False,
        rate: float = 120.0,
        keep: bool = False,
        fleet: int = 0,
    ) -> None:
        self.directory, self.ports = directory.resolve(), Ports(port_base, fleet)
        self.scale, self.keep = scale, keep
        self.rows: dict[str, int] = {}
        self.services: Services
        self._client, self._rate = client, rate
        self._home = data_home(self.directory)
        self._register = Register(self.directory / "processes.json")
        self._undo: list[Callable[[], object]] = []
        self._passwords: dict[str, str] = {}

    @property
    def url(self) -> str:
        """What clients talk to."""
        return f"http://127.0.0.1:{self.ports.envoy}"

    @property
    def ledger(self) -> Path:
        """The client's ledger."""
        return self.directory / "ledger.jsonl"

    def conninfo(self, database: str, role: str = "migrator") -> str:
        """A libpq connection string *with* the password, for `monolith`, `users_db`, `orders_db` or `payments_db`."""
        port = self.ports.source if database == roles.SOURCE else self.ports.target
        return roles.conninfo(port, database, role, password=self._passwords[role])

    def __enter__(self) -> Estate:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def write_inventory(self, path: Path) -> Path:
        """Write the demo's inventory with this estate's ports and directory; returns the path.

        Journal, notices and evidence go below the directory too, so that estates do not meet there.
        """
        base, home = self.ports.base, str(self.directory)
        name = "rolling" if self.ports.fleet else "demo"
        original = next(place for place in _PARAMETERS if place.is_dir()) / f"inventories/{name}.yaml"
        text = re.sub(r"\b154(\d\d)\b", lambda match: str(base + int(match[1])), original.read_text())
        text = re.sub(r"\.runbook(/demo)?(?=[/\"])", lambda _: home, text)  # one pass: `home` may lie in .runbook
        path.write_text(re.sub(r"(?m)^evidence: evidence\b", f"evidence: {home}/evidence", text))
        return path

    def _start(self) -> None:
        self._lock()
        if stale := self._register.end_stale():
            log.info("ended %d processes of a killed run", stale)
        require_free_ports(self.ports.all())
        require_disk([self.directory, self._home], NEED_BYTES)
        self._clear()
        self._passwords = roles.write_passwords(self.directory / "secrets")
        self._start_clusters()
        secret = self._passwords["app"]
        self.services = Services(self.directory, self.ports, secret, self._register, self.scale, self._rate)
        self._undo.append(self.services.stop_all)
        self.services.start("monolith")
        for name in self._fleet:
            self.services.start(name)
        self._start_envoy()
        self._listen()
        if self._client:
            self.services.start("client")

    def _stop(self) -> None:
        """Undo the start in reverse; each part is tried, the first error is raised at the end."""
        errors: list[BaseException] = []
        while self._undo:
            try:
                self._undo.pop()()
            except Exception as error:  # the rest must be stopped all the same; raised below
                errors.append(error)
        if errors:
            raise errors[0]

    def _lock(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / "lock"
        file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip()
            file.close()
            raise ConfigurationError(
                f"estate in {self.directory}", f"already running (process {holder})", action="wait for it, or stop it"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._undo.append(lambda: _unlock(path, file))

    def _clear(self) -> None:
        """Remove what an earlier run left; the ledger too: it belongs to data that is gone."""
        for name in ("envoy", "services", "logs", "data"):
            shutil.rmtree(self.directory / name, ignore_errors=True)
        for name in ("ledger.jsonl", "control.sock"):
            (self.directory / name).unlink(missing_ok=True)
        _remove(self._home)
        self._home.mkdir(parents=True, mode=0o711)
        self._home.chmod(0o711)
        if not self.keep:
            self._undo.append(lambda: _remove(self._home))

    def _start_clusters(self) -> None:
        secret = self._passwords[roles.SUPERUSER]
        for name, port in (("source", self.ports.source), ("target", self.ports.target)):
            cluster = Cluster(name, self._home / name, port, secret)
            self._undo.append(functools.partial(cluster.stop, fast=not self.keep))
            cluster.start()
            self._register.add(cluster.pid)
        roles.prepare_targets(self.ports.target, self._passwords)
        self.rows = roles.prepare_source(self.ports.source, self._passwords, self.scale)

    @property
    def _fleet(self) -> list[str]:
        """The instances that have requests from the beginning: all but the spare."""
        return list(self.ports.members())[:-1]

    def _start_envoy(self) -> None:
        directory = self.directory / "envoy"
        backends = self.ports.backends()
        fleets = {"user_service": self._fleet} if self._fleet else {}
        envoy.write_files(
            directory, port=self.ports.envoy, admin_port=self.ports.admin, backends=backends, fleets=fleets
        )
        child: Child = envoy.start(directory, self.ports.admin, self.directory / "logs/envoy.log")
        self._register.add(child.process.pid)
        self._undo.append(child.stop)

    def _listen(self) -> None:
        """Open the control socket; its one thread lives as long as the estate, and so do the programs it starts."""
        path = socket_path(self.directory)
        line = socket.socket(socket.AF_UNIX)
        try:
            line.bind(path)
        except OSError as error:
            line.close()
            raise ConfigurationError(path, str(error), action="choose a shorter --directory") from error
        line.listen()
        thread = threading.Thread(target=self._answer, args=(line,), name="estate control", daemon=True)
        thread.start()
        self._undo.append(lambda: self._hang_up(line, thread))

    def _hang_up(self, line: socket.socket, thread: threading.Thread) -> None:
        # The programs first: the kernel ends those that this thread started together with it.
        self.services.stop_all()
        line.shutdown(socket.SHUT_RDWR)
        thread.join()
        line.close()
        (self.directory / "control.sock").unlink(missing_ok=True)

    def _answer(self, line: socket.socket) -> None:
        while True:
            try:
                caller, _ = line.accept()
            except OSError:  # shut down: the estate ends
                return
            with caller, suppress(OSError):  # a caller who hangs up early misses the answer
                answer = self._handle_command(json.loads(caller.makefile("rb").readline() or b"{}"))
                caller.sendall(json.dumps(answer).encode() + b"\n")

    def _handle_command(self, request: dict[str, Any]) -> dict[str, Any]:
        command, name, shape = request.get("command"), request.get("name", ""), request.get("shape")
        services = self.services
        acts: dict[str, Callable[[], dict[str, Any]]] = {
            "deploy": lambda: {"ok": True, **services.deploy(name, shape)},
            "start": lambda: services.start(name, shape),
            "stop": lambda: services.stop(name),
            "drain": lambda: services.drain(name),
            "status": lambda: services.status(name),
            "upgrade": lambda: services.upgrade(name, str(request.get("version") or "")),
            "backup": lambda: services.backup(name),
            "restore": lambda: services.restore(name, str(request.get("reference") or "")),
            "version": lambda: services.version(name),
            "inject": lambda: services.inject(name, request.get("error_rate"), request.get("latency_s")),
        }
        try:
            return acts[str(command)]()
        except KeyError:
            return {"ok": False, "error": f"unknown command {command}"}
        except (RunbookError, OSError) as error:
            return {"ok": False, "error": str(error)}


def _unlock(path: Path, file: TextIO) -> None:
    path.unlink(missing_ok=True)
    file.close()


def _remove(directory: Path) -> None:
    if directory.exists():
        shutil.rmtree(directory)


def main() -> int:
    """Run an estate until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m runbook_lib.sandbox.estate", description=__doc__)
    parser.add_argument("--directory", type=Path, default=DEFAULT_DIRECTORY)
    parser.add_argument("--port-base", type=int, default=15400)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rate", type=float, default=120.0)
    parser.add_argument("--client", action="store_true", help="start the traffic as well")
    parser.add_argument("--fleet", type=int, default=0, help="instances of user_service, one of them a spare")
    parser.add_argument("--keep", action="store_true", help="leave the data behind")
    options = vars(parser.parse_args())
    ended = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: ended.set())
    try:
        with Estate(**options) as estate:
            sys.stdout.write(f"{sum(estate.rows.values()):,} rows; {estate.url}; ledger {estate.ledger}\n")
            sys.stdout.flush()
            ended.wait()
    except RunbookError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
