"""Envoy as a router: weights, drain and metrics through the files it watches and its admin interface.

All state is in the files: a new kernel, or another operator's machine with the same directory, sees the same routes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from runbook_lib.errors import ConfigurationError
from runbook_lib.traffic import envoy_files as xds
from runbook_lib.traffic.capabilities import ENVOY
from runbook_lib.traffic.changes import (
    one_at_a_time,
    refuse_copied_writes,
    refuse_in_use,
    refuse_wrong,
    refuse_wrong_homes,
    require_known,
    wait,
)
from runbook_lib.traffic.envoy_files import Document, Files
from runbook_lib.traffic.envoy_stats import Admin
from runbook_lib.traffic.port import Router, RouteState, Switch, TrafficSample

_ACKNOWLEDGE_S = 5.0
_DRAIN_S = 30.0
_POLL_S = 0.002  # one poll is about 1 ms of Envoy's main thread; its workers are not disturbed


def open_router(settings: Mapping[str, Any], root: Path) -> Router:
    """The router of an inventory whose kind is `envoy`.

    Args:
        settings: As `config.router_settings` declares and reads them.
        root: The project's root; a relative directory starts there.
    """
    directory = (root / settings["directory"]).resolve()
    return EnvoyRouter(Files(directory), Admin(settings["admin"], settings["timeout_s"]), settings["tester_header"])


class EnvoyRouter:
    """See the Router port; `<service>.reads` are weighted clusters, `<service>.writes` are one cluster's endpoints."""

    def __init__(self, files: Files, admin: Admin, tester_header: str):
        self.name, self.capabilities = "envoy", ENVOY
        self._files, self._admin, self._tester_header = files, admin, tester_header

    def problems(self) -> list[str]:
        """None that `routes` does not raise: what Envoy needs is in the files that it reads."""
        self.routes()
        return []

    def routes(self) -> dict[str, RouteState]:
        """The weights of every named route. ConfigurationError when Envoy or its files cannot be read."""
        running = self._admin.updates()
        table = self._files.read(self._files.rds)
        table_known = _runs(running, _watch_key(table), table["version_info"])
        states: dict[str, RouteState] = {}
        clusters, testers = self._files.clusters(), xds.testers_of(table)
        for route in xds.named_routes(table):
            name, weights, known = str(route["name"]), xds.weights_of(route), table_known
            if name in weights and name in clusters:
                taken = self._files.read(self._files.eds(name))
                known = table_known and _runs(running, f"cluster.{name}", taken["version_info"])
                weights = {self._writer(name): 100}
            states[name] = RouteState(name, weights, known, testers.get(name, ""), xds.mirror_of(route))
        return states

    def set_weights(self, changes: Mapping[str, Mapping[str, int]]) -> Switch:
        """Set these routes at once; see the port. Backends out of rotation come back first.

        Args:
            changes: Route → backend → percent; they add up to 100, a write route has one backend.
        Raises:
            ConfigurationError: a name or sum is wrong (nothing is written), or Envoy did not take the change within
                5 seconds (the files are put back).
        """
        with self._locked():
            table = self._files.read(self._files.rds)
            refuse_wrong(changes, xds.route_names(table), self._files.backends())
            version, begun = str(time.time_ns()), time.perf_counter()
            used = {backend for weights in changes.values() for backend, weight in weights.items() if weight}
            self._restore(used, version)
            wanted = self._endpoint_changes(changes, version)
            shares = {route: weights for route, weights in changes.items() if self._files.eds(route) not in wanted}
            if shares:
                wanted[self._files.rds] = xds.with_weights(table, version, shares)
            self._replace(wanted, version)
            return Switch(version, time.perf_counter() - begun)

    def send_testers(self, homes: Mapping[str, str]) -> Switch:
        """See the port: a route in front of each of these, matched by the tester's header."""
        return self._rewrite(homes, lambda table, version: xds.with_testers(table, version, homes, self._tester_header))

    def mirror(self, copies: Mapping[str, str]) -> Switch:
        """See the port; a write is never copied."""
        refuse_copied_writes(copies)
        return self._rewrite(copies, lambda table, version: xds.with_mirrors(table, version, copies))

    def _rewrite(self, homes: Mapping[str, str], change: Callable[[Document, str], Document]) -> Switch:
        """Change the route table in favour of these backends, and wait until Envoy runs it."""
        with self._locked():
            table = self._files.read(self._files.rds)
            refuse_wrong_homes(homes, xds.route_names(table), self._files.backends())
            version, begun = str(time.time_ns()), time.perf_counter()
            self._restore(set(homes.values()) - {""}, version)
            self._replace({self._files.rds: change(table, version)}, version)
            return Switch(version, time.perf_counter() - begun)

    def _restore(self, backends: Collection[str], version: str) -> None:
        """Bring these backends back into rotation, where one is out of it."""
        files = {(path := self._files.eds(backend)): self._files.read(path) for backend in sorted(backends)}
        out = {
            path: xds.restored(document, version) for path, document in files.items() if not xds.in_rotation(document)
        }
        self._replace(out, version)

    def hold(self, routes: Sequence[str], within_s: float) -> None:
        """Envoy's retries hold a refused write: nothing is to be done."""

    def release(self) -> None:
        """Nothing is held."""

    def drain(self, backend: str) -> Switch:
        """Take a backend out: nothing new at once, removed when its last request has ended.

        `set_weights` in its favour brings it back.

        Raises:
            ConfigurationError: unknown, still in use by a route, or still answering after 30 seconds (it stays
                draining: it gets nothing new).
        """
        with self._locked():
            require_known("backend", backend, self._files.backends())
            refuse_in_use(backend, self.routes())
            path, begun = self._files.eds(backend), time.perf_counter()
            document, version = self._files.read(path), str(time.time_ns())
            if xds.in_rotation(document):
                self._replace({path: xds.draining(document, version)}, version)
            self._wait_idle(backend)
            version = str(time.time_ns())
            self._replace({path: xds.parked(document, version)}, version)
            return Switch(version, time.perf_counter() - begun)

    def metrics(self, backends: Sequence[str] = ()) -> list[TrafficSample]:
        """Counters of these clusters (all when empty) and of "edge"; latency since this object's previous call."""
        return self._admin.samples(backends)

    def _writer(self, route: str) -> str:
        """The backend whose endpoints a write cluster has; its addresses when no backend has them."""
        taken = self._files.addresses(route)
        for backend in self._files.backends():
            if self._files.addresses(backend) == taken:
                return backend
        return ", ".join(f"{host}:{port}" for host, port in sorted(taken)) or "nothing"

    def _endpoint_changes(self, changes: Mapping[str, Mapping[str, int]], version: str) -> dict[Path, Document]:
        """The endpoint files of the write routes among the changes."""
        files: dict[Path, Document] = {}
        for route, weights in changes.items():
            if (path := self._files.eds(route)).exists():
                backend = next(name for name, weight in weights.items() if weight == 100)
                document = self._files.read(self._files.eds(backend))
                files[path] = xds.pointing_at(self._files.read(path), version, document)
        return files

    def _replace(self, files: Mapping[Path, Document], version: str) -> None:
        """Write all, wait until Envoy runs all; put every file back when it does not."""
        if not files:
            return
        before = {path: self._files.read(path) for path in files}
        counters = self._admin.updates()
        try:
            for path, document in files.items():
                self._files.write(path, document)
            watched = [_watch_key(document) for document in files.values()]
            self._wait_acknowledged(watched, version, counters)
        except BaseException:  # also Ctrl-C: the files must say what Envoy runs
            for path, document in before.items():
                self._files.write(path, document)
            with contextlib.suppress(ConfigurationError):  # a silent Envoy reads the files when it speaks again
                self._wait_put_back(before.values())
            raise

    def _wait_put_back(self, documents: Collection[Document]) -> None:
        """Return when Envoy runs these again: what it took before it refused the rest is over."""

        def back() -> bool:
            now = self._admin.updates()
            return all(_runs(now, _watch_key(document), document["version_info"]) for document in documents)

        wait(back, _ACKNOWLEDGE_S, _POLL_S, lambda: "the last good configuration is not acknowledged", "Envoy")

    def _wait_acknowledged(self, watched: Sequence[str], version: str, before: Mapping[str, str]) -> None:
        waiting = list(watched)

        def acknowledged() -> bool:
            now = self._admin.updates()
            for key in waiting:
                if any(_grew(before, now, key, counter) for counter in ("update_rejected", "update_failure")):
                    raise ConfigurationError(
                        f"Envoy: {key.removeprefix('cluster.').removeprefix('.')}",
                        "the update was refused",
                        state="the last good configuration is in force and the files are put back",
                        action="read Envoy's log for the reason",
                    )
            waiting[:] = [key for key in waiting if not _runs(now, key, version)]
            return not waiting

        def late() -> str:
            return f"{', '.join(waiting)} not acknowledged; the files are put back"

        wait(acknowledged, _ACKNOWLEDGE_S, _POLL_S, late, "Envoy")

    def _wait_idle(self, backend: str) -> None:
        addresses = self._files.addresses(backend)

        def in_flight() -> int:
            return sum(
                int(stat.get("value", 0))
                for cluster, host in self._admin.host_statuses()
                if cluster == backend and xds.address_of(host) in addresses
                for stat in host.get("stats", [])
                if stat["name"] in ("rq_active", "rq_pending_active")
            )

        def busy() -> str:
            return f"{backend} still has {in_flight()} requests in flight"

        wait(lambda: in_flight() == 0, _DRAIN_S, _POLL_S, busy, "Envoy")

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        return one_at_a_time(self._files.directory, "directory")


def _watch_key(document: Document) -> str:
    """How Envoy's statistics name the subscription of a file: a cluster's, or the route table's (its end)."""
    resource = document["resources"][0]
    return f"cluster.{resource['cluster_name']}" if "cluster_name" in resource else f".rds.{resource['name']}"


def _values(report: Mapping[str, str], key: str, field: str) -> list[str]:
    if key.startswith("."):
        return [value for name, value in report.items() if name.endswith(f"{key}.{field}")]
    return [report[f"{key}.{field}"]] if f"{key}.{field}" in report else []


def _runs(report: Mapping[str, str], key: str, version: str) -> bool:
    found = _values(report, key, "version_text")
    return bool(found) and all(value == version for value in found)


def _grew(before: Mapping[str, str], now: Mapping[str, str], key: str, counter: str) -> bool:
    return sum(map(int, _values(now, key, counter))) > sum(map(int, _values(before, key, counter)))
