"""HAProxy as a router: weights, drain, testers and metrics through its runtime API and the files it starts from.

A route is a HAProxy backend of its name whose servers are the inventory's services; the state is in its server-state
file and its map of testers, each written before the change is made, so that a restart finds it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runbook_lib.errors import ConfigurationError
from runbook_lib.traffic import haproxy_state as state
from runbook_lib.traffic.capabilities import HAPROXY, cannot
from runbook_lib.traffic.changes import (
    one_at_a_time,
    refuse_in_use,
    refuse_wrong,
    refuse_wrong_homes,
    refused,
    require_known,
    wait,
    write_durably,
)
from runbook_lib.traffic.haproxy_map import TestersMap
from runbook_lib.traffic.haproxy_socket import RuntimeApi, Session
from runbook_lib.traffic.haproxy_state import Row, Server
from runbook_lib.traffic.haproxy_stats import Counters
from runbook_lib.traffic.port import Router, RouteState, Switch, TrafficSample

_DRAIN_S = 30.0
_POLL_S = 0.01


def open_router(settings: Mapping[str, Any], root: Path) -> Router:
    """The router of an inventory whose kind is `haproxy`.

    Args:
        settings: As `config.router_settings` declares and reads them.
        root: The project's root; relative paths start there.
    """
    api = RuntimeApi(str(settings["socket"]), settings["timeout_s"])
    testers = TestersMap(api, root / settings["testers_map"]) if settings["testers_map"] else None
    return HaproxyRouter(api, root / settings["state_file"], testers, Counters(api, settings["latency_table"]))


class HaproxyRouter:
    """See the Router port; `<service>.reads` and `<service>.writes` are backends, weighted among their servers."""

    def __init__(self, api: RuntimeApi, file: Path, testers: TestersMap | None, counters: Counters):
        self.name, self.capabilities = "haproxy", HAPROXY
        self._api, self._file, self._testers, self._counters = api, file, testers, counters

    def problems(self) -> list[str]:
        """A socket that may not change anything, no table of response times, a map that HAProxy does not use."""
        found = []
        if "admin" not in (level := self._api.ask("show cli level").strip()):
            found.append(f"its stats socket has `level {level}`, a switch needs `level admin`")
        if not self._counters.has_table():
            found.append(f"it has no stick table {self._counters.table}: response times cannot be judged")
        if self._testers and not self._testers.in_use():
            found.append(f"its configuration uses no map {self._testers.file}")
        return found

    def routes(self) -> dict[str, RouteState]:
        """The weights as HAProxy runs them; acknowledged where the state file says the same."""
        servers, _ = state.running(self._api)
        wanted, testers = state.written(self._file), self._testers.running() if self._testers else {}
        states: dict[str, RouteState] = {}
        for name in dict.fromkeys(server.route for server in servers):
            mine = [server for server in servers if server.route == name]
            kept = all(wanted.get(at, stand) == stand for at, stand in _stand(mine).items())
            states[name] = RouteState(name, {s.backend: s.weight for s in mine}, kept, testers.get(name, ""))
        return states

    def set_weights(self, changes: Mapping[str, Mapping[str, int]]) -> Switch:
        """Set these routes at once; see the port. Servers out of rotation come back first.

        Raises:
            ConfigurationError: a name or sum is wrong, a server that is to get requests is down, or HAProxy refuses.
        """

        def changed(server: Server) -> Server:
            weights = changes.get(server.route)
            if weights is None:
                return server
            weight = weights.get(server.backend, 0)
            return (server.ready() if weight else server).weighing(weight)

        with self._locked():
            servers, others = state.running(self._api)
            refuse_wrong(changes, {s.route for s in servers}, {s.backend for s in servers})
            for route, weights in changes.items():
                _refuse_unfit(route, [backend for backend, weight in weights.items() if weight], servers)
            return self._replace(servers, others, changed)

    def send_testers(self, homes: Mapping[str, str]) -> Switch:
        """See the port: the map says to which server a tester's requests go, whatever its weight."""
        if self._testers is None:
            raise refused("haproxy", "the inventory names no testers_map", "router.testers_map", "see docs/routers.md")
        with self._locked():
            servers, others = state.running(self._api)
            refuse_wrong_homes(homes, {s.route for s in servers}, {s.backend for s in servers})
            for route, backend in homes.items():
                _refuse_unfit(route, [backend] * bool(backend), servers)
            begun = time.perf_counter()
            self._replace(servers, others, lambda s: s.ready() if homes.get(s.route) == s.backend else s)
            return Switch(self._testers.replace(homes), time.perf_counter() - begun)

    def mirror(self, copies: Mapping[str, str]) -> Switch:
        """HAProxy cannot: ConfigurationError says what was found and what is needed."""
        raise cannot(self.name, "mirroring", ", ".join(copies))

    def hold(self, routes: Sequence[str], within_s: float) -> None:
        """HAProxy cannot: a fenced service answers, and its client asks again."""

    def release(self) -> None:
        """Nothing is held."""

    def drain(self, backend: str) -> Switch:
        """Take a backend out: nothing new at once, in maintenance when its last request has ended.

        `set_weights` in its favour brings it back.

        Raises:
            ConfigurationError: unknown, still in use by a route, or still answering after 30 seconds (it stays
                draining: it gets nothing new).
        """
        with self._locked():
            servers, others = state.running(self._api)
            require_known("backend", backend, {server.backend for server in servers})
            refuse_in_use(backend, self.routes())
            begun = time.perf_counter()
            self._replace(servers, others, lambda s: s.drained() if s.backend == backend and s.in_rotation else s)

            def busy() -> str:
                return f"{backend} still has {self._counters.in_flight(backend)} requests in flight"

            wait(lambda: self._counters.in_flight(backend) == 0, _DRAIN_S, _POLL_S, busy, "haproxy")
            servers, others = state.running(self._api)
            switch = self._replace(servers, others, lambda s: s.parked() if s.backend == backend else s)
            return Switch(switch.version, time.perf_counter() - begun)

    def metrics(self, backends: Sequence[str] = ()) -> list[TrafficSample]:
        """Counters of these backends and of "edge"; its quantiles are of the time since this object's last call."""
        return self._counters.samples(backends)

    def _replace(self, before: Sequence[Server], others: Sequence[Row], change: Callable[[Server], Server]) -> Switch:
        """Write the state down, make HAProxy run it, see that it does; put both back when it does not."""
        begun, after = time.perf_counter(), [change(server) for server in before]
        last = self._file.read_text(encoding="utf-8") if self._file.exists() else state.as_file(before, others)
        with self._api.session() as session, self._put_back(session, before, after, last):
            write_durably(self._file, state.as_file(after, others))
            session.carry_out(state.commands(before, after))
            found = _stand(state.running(self._api)[0])
            if late := [name for name, wanted in _stand(after).items() if found.get(name) != wanted]:
                raise ConfigurationError("haproxy", f"does not run the change of {late[0][0]}")
        return Switch(str(time.time_ns()), time.perf_counter() - begun)

    @contextlib.contextmanager
    def _put_back(
        self, session: Session, before: Sequence[Server], after: Sequence[Server], last: str
    ) -> Iterator[None]:
        try:
            yield
        except BaseException as error:  # also Ctrl-C: the file must say what HAProxy runs
            write_durably(self._file, last)
            told = "the last good weights are in force and in its state file"
            try:
                with contextlib.suppress(ConfigurationError):  # what it refused it need not take back
                    session.carry_out(state.commands(after, before))
                in_force = _stand(state.running(self._api)[0]) == _stand(before)
            except ConfigurationError:
                in_force = False
            if not in_force:
                told = "the last good weights are in its state file; until it speaks again, what it runs is not known"
            if not isinstance(error, ConfigurationError):
                raise
            action = error.action or "read haproxy's log, and see that the socket has `level admin`"
            raise ConfigurationError(error.subject, error.observed, state=told, action=action) from error

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        return one_at_a_time(self._file.parent, "state_file")


def _stand(servers: Sequence[Server]) -> dict[tuple[str, str], tuple[int, int]]:
    """Route and backend → weight and administrative state."""
    return {(server.route, server.backend): (server.weight, server.admin) for server in servers}


def _refuse_unfit(route: str, backends: Sequence[str], servers: Sequence[Server]) -> None:
    """Raise ConfigurationError where a backend that is to get requests is no server of the route, or is down."""
    mine = {server.backend: server for server in servers if server.route == route}
    for backend in backends:
        if backend not in mine:
            raise refused(route, f"has no server {backend}", ", ".join(mine), "add it to haproxy's configuration")
        if mine[backend].down:
            raise refused(route, f"{backend} is down by haproxy's own check", "a server that answers", "read its log")
