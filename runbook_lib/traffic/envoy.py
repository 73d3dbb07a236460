"""Envoy as a router: weights, drain and metrics through the files it watches and its admin interface.

All state is in the files: a new kernel, or another operator's machine with the same directory, sees the same routes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runbook_lib.errors import ConfigurationError
from runbook_lib.traffic import envoy_files as xds
from runbook_lib.traffic.envoy_files import Document, Files
from runbook_lib.traffic.envoy_stats import Admin
from runbook_lib.traffic.port import Router, RouteState, Switch, TrafficSample

_ACKNOWLEDGE_S = 5.0
_DRAIN_S = 30.0
_POLL_S = 0.002  # one poll is about 1 ms of Envoy's main thread; its workers are not disturbed


def open_router(settings: Mapping[str, Any], root: Path) -> Router:
    """The router of an inventory whose kind is `envoy`.

    Args:
        settings: `directory` (of rds.json and eds_*.json, relative to `root`), `admin` and `url` (http addresses);
            `origin` is the caller's.
        root: The project's root.
    Raises:
        ConfigurationError: a setting is missing or unknown.
    """
    known = {"kind", "directory", "admin", "url", "origin"}
    if unknown := sorted(settings.keys() - known):
        raise ConfigurationError("router", f"unknown setting {unknown[0]!r}", expected=", ".join(sorted(known)))
    for key in ("directory", "admin"):
        if not settings.get(key):
            raise ConfigurationError("router", f"{key!r} is missing", action="add it to the inventory")
    directory = (root / str(settings["directory"])).resolve()
    return EnvoyRouter(Files(directory), Admin(str(settings["admin"])), str(settings.get("url", "")))


class EnvoyRouter:
    """See the Router port; `<service>.reads` are weighted clusters, `<service>.writes` are one cluster's endpoints."""

    def __init__(self, files: Files, admin: Admin, url: str = ""):
        self.name, self.url = "envoy", url
        self._files, self._admin = files, admin

    def routes(self) -> dict[str, RouteState]:
        """The weights of every named route. ConfigurationError when Envoy or its files cannot be read."""
        running = self._admin.updates()
        table = self._files.read(self._files.rds)
        table_known = _runs(running, _watch_key(table), table["version_info"])
        states: dict[str, RouteState] = {}
        for route in xds.named_routes(table):
            name, weights = str(route["name"]), xds.weights_of(route)
            if name in weights and name in self._files.clusters():
                taken = self._files.read(self._files.eds(name))
                known = table_known and _runs(running, f"cluster.{name}", taken["version_info"])
                states[name] = RouteState(name, {self._writer(name): 100}, known)
            else:
                states[name] = RouteState(name, weights, table_known)
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
            self._refuse_wrong(changes, {str(route["name"]) for route in xds.named_routes(table)})
            version, begun = str(time.time_ns()), time.perf_counter()
            used = {backend for weights in changes.values() for backend, weight in weights.items() if weight}
            back = {
                path: xds.restored(document, version)
                for path, document in ((self._files.eds(b), self._files.read(self._files.eds(b))) for b in sorted(used))
                if not xds.in_rotation(document)
            }
            self._replace(back, version)
            wanted = self._endpoint_changes(changes, version)
            shares = {route: weights for route, weights in changes.items() if self._files.eds(route) not in wanted}
            if shares:
                wanted[self._files.rds] = xds.with_weights(table, version, shares)
            self._replace(wanted, version)
            return Switch(version, time.perf_counter() - begun)

    def drain(self, backend: str) -> Switch:
        """Take a backend out: nothing new at once, removed when its last request has ended.

        `set_weights` in its favour brings it back.

        Raises:
            ConfigurationError: unknown, still in use by a route, or still answering after 30 seconds (it stays
                draining: it gets nothing new).
        """
        with self._locked():
            self._refuse_in_use(backend)
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

    def _refuse_wrong(self, changes: Mapping[str, Mapping[str, int]], known_routes: set[str]) -> None:
        backends = self._files.backends()
        for route, weights in changes.items():
            _known("route", route, known_routes)
            for backend in weights:
                _known("backend", backend, backends)
            if sum(weights.values()) != 100 or any(weight < 0 for weight in weights.values()):
                raise _nothing(route, f"weights {dict(weights)}", "percentages from 0 that add up to 100")
            if route.endswith(".writes") and 100 not in weights.values():
                raise _nothing(route, f"weights {dict(weights)}", "one backend at 100: writes have one home")

    def _refuse_in_use(self, backend: str) -> None:
        _known("backend", backend, self._files.backends())
        for name, state in self.routes().items():
            if name.endswith((".reads", ".writes")) and state.weights.get(backend):
                raise _nothing(
                    backend, f"{name} sends it {state.weights[backend]} %", "no weight", "set_weights to another first"
                )

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
            raise

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

        _wait(acknowledged, _ACKNOWLEDGE_S, lambda: f"{', '.join(waiting)} not acknowledged; the files are put back")

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

        _wait(lambda: in_flight() == 0, _DRAIN_S, lambda: f"{backend} still has {in_flight()} requests in flight")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One change at a time on this machine: read, change and write belong together."""
        try:
            handle = os.open(self._files.directory, os.O_RDONLY)
        except OSError as error:
            raise ConfigurationError(
                str(self._files.directory), f"cannot be read: {error.strerror}", action="correct router.directory"
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _known(what: str, name: str, names: Sequence[str] | set[str]) -> None:
    if name not in names:
        raise _nothing(name, f"no such {what}", ", ".join(sorted(names)))


def _nothing(subject: str, observed: str, expected: str, action: str = "") -> ConfigurationError:
    return ConfigurationError(subject, observed, expected=expected, state="nothing was changed", action=action)


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


def _wait(reached: Callable[[], bool], timeout_s: float, complaint: Callable[[], str]) -> None:
    deadline = time.monotonic() + timeout_s
    while not reached():
        if time.monotonic() > deadline:
            raise ConfigurationError("Envoy", f"{complaint()} after {timeout_s:g} s", action="read Envoy's log")
        time.sleep(_POLL_S)
