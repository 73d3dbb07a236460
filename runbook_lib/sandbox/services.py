"""The programs of the estate: the monolith, two instances of each service, and the client, started on request.

`S@source` serves its slice from the monolith's database (the extraction: views in the schema named like the
service, reads only); `S@target` from its own. Both may run at once, each on its own port, so that the router can
move between them without a failed request.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runbook_lib.errors import ConfigurationError
from runbook_lib.sandbox.envoy import put
from runbook_lib.sandbox.processes import Child, Register, spawn, wait_until
from runbook_lib.sandbox.roles import SOURCE, TARGETS, conninfo

START_TIMEOUT_S = 20.0
DRAIN_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Ports:
    """Every port of an estate, from one base.

    Args:
        base: The first one; 40 above it are ours.
        fleet: Instances of user_service that share its routes, the last one of them a spare (count, at most 6).
    """

    base: int = 15400
    fleet: int = 0

    @property
    def source(self) -> int:
        """PostgreSQL of the monolith."""
        return self.base

    @property
    def target(self) -> int:
        """PostgreSQL of the services."""
        return self.base + 1

    @property
    def envoy(self) -> int:
        """Envoy's listener: what clients talk to."""
        return self.base + 10

    @property
    def admin(self) -> int:
        """Envoy's own interface."""
        return self.base + 11

    def members(self) -> dict[str, int]:
        """Port by instance of the fleet."""
        return {f"user_service-{number}": self.base + 23 + number for number in range(1, self.fleet + 1)}

    def backends(self) -> dict[str, int]:
        """Port by instance."""
        numbered = list(enumerate(TARGETS, start=1))
        return {
            "monolith": self.base + 20,
            **{f"{name}@source": self.base + 20 + number for number, name in numbered},
            **{f"{name}@target": self.base + 30 + number for number, name in numbered},
            **self.members(),
        }

    def all(self) -> dict[str, int]:
        """Every port by what it is for."""
        fixed = {"source PostgreSQL": self.source, "targets' PostgreSQL": self.target}
        return {**fixed, "Envoy": self.envoy, "Envoy admin": self.admin, **self.backends()}


@dataclass
class Services:
    """Starts, stops, drains and disturbs the programs.

    Args:
        directory: The estate's; logs and deployments go below it.
        ports: Where everything listens.
        password: Of the role `app`.
        register: Where pids are noted.
        scale: Of the sample data (the client needs to know which rows exist).
        rate: Requests per second of the client.
        spoiled: Instances and releases of them that never become healthy.
    """

    directory: Path
    ports: Ports
    password: str
    register: Register
    scale: float
    rate: float
    token: str = field(default_factory=lambda: os.urandom(16).hex())
    children: dict[str, Child] = field(default_factory=dict)
    spoiled: set[tuple[str, str]] = field(default_factory=set)

    def deploy(self, name: str, shape: str | None = None) -> dict[str, Any]:
        """Write down how an instance is to be run (`services/NAME.json`); nothing starts."""
        port = self._port(name)
        service, _, side = name.partition("@")
        if side == "target":
            database = conninfo(self.ports.target, TARGETS[service], "app", application_name=name)
        else:
            options = {"options": f"-c search_path={service},public"} if side else {}
            database = conninfo(self.ports.source, SOURCE, "app", application_name=name, **options)
        shape = shape or ("services" if side else "monolith")
        deployment = {"name": name, "port": port, "database": database, "shape": shape, "version": "1"}
        self._write(name, deployment)
        return deployment

    def _file(self, name: str) -> Path:
        return self.directory / "services" / f"{name}.json"

    def _write(self, name: str, deployment: dict[str, Any]) -> None:
        self._file(name).parent.mkdir(exist_ok=True)
        put(self._file(name), deployment)

    def upgrade(self, name: str, version: str) -> dict[str, Any]:
        """Deploy another release of an instance and restart it; it answers afterwards, healthy or not."""
        self._write(name, {**json.loads(self._file(name).read_text()), "version": version})
        return self._restart(name)

    def backup(self, name: str) -> dict[str, Any]:
        """Keep how an instance is deployed; `text` names the copy."""
        copy = f"{name}.{time.time_ns()}.backup"
        put(self._file(name).with_name(copy), json.loads(self._file(name).read_text()))
        return {"ok": True, "name": name, "text": copy}

    def restore(self, name: str, reference: str) -> dict[str, Any]:
        """Deploy an instance as a backup has it, and restart it."""
        copy = self._file(name).with_name(reference)
        if not copy.is_file():
            raise ConfigurationError(name, f"no backup {reference}")
        self._write(name, json.loads(copy.read_text()))
        return self._restart(name)

    def version(self, name: str) -> dict[str, Any]:
        """The release that runs, as the instance itself says."""
        return {"ok": True, "name": name, "text": str(self._tell(name, {})["version"])}

    def _restart(self, name: str) -> dict[str, Any]:
        self.stop(name)
        known = json.loads(self._file(name).read_text())
        self._spawn_app(name, known)
        wait_until(lambda: self._answers(name), START_TIMEOUT_S, name, self.children[name])
        return {"ok": True, "name": name, "text": known["version"]}

    def start(self, name: str, shape: str | None = None) -> dict[str, Any]:
        """Start an instance, deployed as it was or by default, and wait until it is healthy.

        One that runs is left alone; one that drained takes requests again.
        """
        if name == "client":
            return self._start_client()
        path = self._file(name)
        known = json.loads(path.read_text()) if path.exists() and not shape else self.deploy(name, shape)
        if not self.alive(name):
            self._spawn_app(name, known)
        else:
            self._tell(name, {"draining": False})
        wait_until(lambda: self.healthy(name), START_TIMEOUT_S, name, self.children[name])
        return {"ok": True, "name": name, "url": f"http://127.0.0.1:{known['port']}", "shape": known["shape"]}

    def stop(self, name: str) -> dict[str, Any]:
        """Finish requests in flight, then end the program; no-op if it does not run."""
        if child := self.children.pop(name, None):
            child.stop(signal.SIGTERM, 40.0 if name == "client" else 10.0)
        return {"ok": True, "name": name, "running": False}

    def drain(self, name: str) -> dict[str, Any]:
        """Report unhealthy from now on, and wait until no request is in flight."""
        state = self._tell(name, {"draining": True})
        deadline = time.monotonic() + DRAIN_TIMEOUT_S
        while state["in_flight"] and time.monotonic() < deadline:
            time.sleep(0.02)
            state = self._tell(name, {})
        return {"ok": state["in_flight"] == 0, "name": name, **state}

    def inject(self, name: str, error_rate: float | None, latency_s: float | None) -> dict[str, Any]:
        """Make an instance answer 500 to a share of its requests, or slowly; both 0 (or nothing) heals it."""
        wanted = {"error_rate": error_rate or 0.0, "latency_s": latency_s or 0.0}
        return {"ok": True, "name": name, **self._tell(name, wanted)}

    def status(self, name: str = "") -> dict[str, Any]:
        """Whether one instance is healthy, or what runs."""
        if name:
            running = self.alive(name)
            healthy = running and (name == "client" or self.healthy(name))
            return {"ok": healthy, "name": name, "running": running, "healthy": healthy}
        return {
            "ok": True,
            "running": {name: child.process.pid for name, child in self.children.items() if child.alive},
        }

    def alive(self, name: str) -> bool:
        """Whether its program runs."""
        return name in self.children and self.children[name].alive

    def healthy(self, name: str) -> bool:
        """Whether it and its database answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port(name)}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _answers(self, name: str) -> bool:
        """Whether it answers at all."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port(name)}/health", timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except (urllib.error.URLError, OSError):
            return False

    def stop_all(self) -> None:
        """The client first, so that it sees no failure; then the services."""
        for name in sorted(self.children, key=lambda name: name != "client"):
            self.stop(name)

    @property
    def ledger(self) -> Path:
        """The client's ledger."""
        return self.directory / "ledger.jsonl"

    def _start_client(self) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.ports.envoy}"
        if not self.alive("client"):
            argv = [sys.executable, "-m", "runbook_lib.sandbox.client", "--url", url, "--ledger", str(self.ledger)]
            self._spawn("client", [*argv, "--scale", str(self.scale), "--rate", str(self.rate)], dict(os.environ))
            wait_until(
                lambda: self.ledger.exists() and self.ledger.stat().st_size > 0,
                START_TIMEOUT_S, "client", self.children["client"],
            )  # fmt: skip
        return {"ok": True, "name": "client", "ledger": str(self.ledger)}

    def _spawn_app(self, name: str, known: dict[str, Any]) -> None:
        argv = [sys.executable, "-m", "runbook_lib.sandbox.app", name, "--port", str(known["port"])]
        secrets = {"DATABASE_URL": known["database"], "PGPASSWORD": self.password, "SANDBOX_TOKEN": self.token}
        version = known.get("version", "1")
        spoiled = {"APP_SPOILED": "1"} if (name, version) in self.spoiled else {}
        self._spawn(
            name, argv, {**os.environ, **secrets, **spoiled, "APP_SHAPE": known["shape"], "APP_VERSION": version}
        )

    def _spawn(self, name: str, argv: list[str], environment: dict[str, str]) -> None:
        logs = self.directory / "logs"
        logs.mkdir(exist_ok=True)
        self.children[name] = spawn(name, argv, log=logs / f"{name}.log", environment=environment)
        self.register.add(self.children[name].process.pid)

    def _port(self, name: str) -> int:
        backends = self.ports.backends()
        if name not in backends:
            raise ConfigurationError(name, "no such instance", expected="one of " + ", ".join(backends))
        return backends[name]

    def _tell(self, name: str, wanted: dict[str, Any]) -> dict[str, Any]:
        if not self.alive(name):
            raise ConfigurationError(name, "not running", action=f"control start {name}")
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port(name)}/_control",
            data=json.dumps(wanted).encode(),
            headers={"content-type": "application/json", "x-sandbox-token": self.token},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  http, of our own making
            state: dict[str, Any] = json.load(answer)
        return state
