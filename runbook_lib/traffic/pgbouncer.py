"""PgBouncer as a router of SQL: a route is a database entry; a switch is PAUSE, re-point, RELOAD, RESUME.

The included file of entries is the state: PgBouncer starts with it, and a new kernel reads the same routes. PAUSE lets
each transaction end, holds the ones that come, and takes at most the inventory's `pause`; clients see a wait, no error.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runbook_lib.errors import ConfigurationError
from runbook_lib.traffic import pgbouncer_file as file_of
from runbook_lib.traffic.capabilities import PGBOUNCER, cannot
from runbook_lib.traffic.changes import (
    UNCHANGED,
    one_at_a_time,
    refuse_in_use,
    refuse_wrong,
    refused,
    require_known,
    write_durably,
)
from runbook_lib.traffic.pgbouncer_console import Console, Row, Session, Silent
from runbook_lib.traffic.pgbouncer_file import Entry
from runbook_lib.traffic.pgbouncer_stats import Counters
from runbook_lib.traffic.port import READS, WRITES, Router, RouteState, Switch, TrafficSample

_DRAIN_S = 30.0
_RETRY_S = 1.0
_POLL_S = 0.002
_PAUSED = "1"


def open_router(settings: Mapping[str, Any], root: Path) -> Router:
    """The router of an inventory whose kind is `pgbouncer`.

    Args:
        settings: As `config.router_settings` declares and reads them; `password` is the secret itself, or None.
        root: The project's root; a relative file starts there.
    """
    console = Console(str(settings["admin"]), settings["password"], settings["timeout_s"])
    return PgBouncerRouter(console, root / settings["file"], settings["backends"], settings["pause_s"])


class PgBouncerRouter:
    """See the Router port; a route has one home, and all of it moves at once."""

    def __init__(self, console: Console, file: Path, backends: Mapping[str, str], pause_s: float):
        self.name, self.capabilities = "pgbouncer", PGBOUNCER
        self._console, self._file, self._backends, self._pause_s = console, file, backends, pause_s
        self._counters = Counters(console)
        self._held: list[str] = []  # of this process: what a killed one held, the next switch resumes

    def problems(self) -> list[str]:
        """Session pooling, a slow second try, entries that PgBouncer does not have, a user who may only look."""
        with self._console.session() as session:
            running, config, user = _running(session), _config(session), session.user
        wanted = file_of.entries(file_of.read(self._file))
        found = [
            f"{name} is pooled by session, where PAUSE waits until every client has left" for name in _kept(running)
        ]
        found += [f"{name} is in {self._file}, which PgBouncer does not include" for name in wanted.keys() - running]
        if float(config["server_login_retry"]) > _RETRY_S:
            observed = f"found: server_login_retry = {config['server_login_retry']}"
            found.append(f"{observed}; needed: {_RETRY_S:g} or less: clients wait so long after some switches")
        if user not in config["admin_users"].replace(",", " ").split():
            found.append(f"the user {user} may not PAUSE: write it to admin_users")
        return found

    def routes(self) -> dict[str, RouteState]:
        """Each route's home; acknowledged where PgBouncer runs what the file says, and nothing is paused."""
        with self._console.session() as session:
            running = _running(session)
        wanted = file_of.entries(file_of.read(self._file))
        return {name: self._state(name, row, wanted.get(name)) for name, row in running.items()}

    def set_weights(self, changes: Mapping[str, Mapping[str, int]]) -> Switch:
        """Give these routes their home, all of it; see the port. A route that a killed switch left paused is resumed.

        Raises:
            ConfigurationError: a share other than all or nothing, session pooling, transactions that do not end within
                `pause`, or a PgBouncer that does not take the change: each with the routes as they were, resumed.
        """
        begun = time.perf_counter()
        with self._locked(), self._console.session() as session:
            before, running = file_of.read(self._file), _running(session)
            refuse_wrong(changes, running, self._backends)
            homes = {route: _home(route, weights) for route, weights in changes.items()}
            self._refuse_session_pooling({name: running[name] for name in homes})
            after = file_of.pointing(before, homes, self._backends)
            wanted = file_of.entries(after)
            if missing := sorted(homes.keys() - wanted.keys()):
                raise refused(str(self._file), f"has no entry {missing[0]}", "one for each route", "add it to the file")
            moved = [name for name in homes if _address(running[name]) != wanted[name].address]
            with self._put_back(before, list(homes), session):
                self._pause([name for name in moved if running[name]["paused"] != _PAUSED], self._pause_s)
                write_durably(self._file, after)
                session.run("RELOAD")
                self._refuse_not_taken(homes, wanted, _running(session))
                _resume(homes.keys() - self._held, session)
        return Switch(str(time.time_ns()), time.perf_counter() - begun)

    def send_testers(self, homes: Mapping[str, str]) -> Switch:
        """PgBouncer cannot: ConfigurationError says what was found and what is needed."""
        raise cannot(self.name, "header_match", ", ".join(homes))

    def mirror(self, copies: Mapping[str, str]) -> Switch:
        """PgBouncer cannot: ConfigurationError says what was found and what is needed."""
        raise cannot(self.name, "mirroring", ", ".join(copies))

    def hold(self, routes: Sequence[str], within_s: float) -> None:
        """PAUSE: transactions of these routes end, and new ones wait; see the port.

        Raises:
            ConfigurationError: session pooling, or transactions that do not end within `pause`; nothing is held then.
        """
        with self._locked(), self._console.session() as session:
            running = _running(session)
            self._refuse_session_pooling({name: running[name] for name in routes})
            with self._put_back(file_of.read(self._file), routes, session):
                waiting = [name for name in routes if running[name]["paused"] != _PAUSED]
                self._pause(waiting, min(within_s, self._pause_s))
            self._held = list(routes)

    def release(self) -> None:
        """RESUME what `hold` paused."""
        if self._held:
            with self._console.session() as session:
                _resume(self._held, session)
            self._held = []

    def drain(self, backend: str) -> Switch:
        """Wait until no connection to what a route had before is open; `set_weights` has left none of its own.

        Raises:
            ConfigurationError: unknown, still in use by a route, or a transaction there is open after 30 seconds.
        """
        begun = time.perf_counter()
        with self._locked(), self._console.session() as session:
            require_known("backend", backend, self._backends)
            refuse_in_use(backend, self.routes())
            for name in _running(session):
                session.run(f'WAIT_CLOSE "{name}"', _DRAIN_S - (time.perf_counter() - begun))
        return Switch(str(time.time_ns()), time.perf_counter() - begun)

    def metrics(self, backends: Sequence[str] = ()) -> list[TrafficSample]:
        """Transactions of each route (PgBouncer counts by entry, not by server) and of "edge"; their mean duration."""
        return [sample for sample in self._counters.samples() if not backends or sample.backend in (*backends, "edge")]

    def _state(self, name: str, row: Row, wanted: Entry | None) -> RouteState:
        known = wanted is not None and wanted.address == _address(row)
        fits = [one for one, target in self._backends.items() if Entry(target).address == _address(row)]
        home = wanted.home if wanted and known and wanted.home in fits else (fits or [":".join(_address(row))])[0]
        return RouteState(name, {home: 100}, known and row["paused"] != _PAUSED)

    def _refuse_session_pooling(self, running: Mapping[str, Row]) -> None:
        if kept := _kept(running):
            expected = "pool_mode = transaction: PAUSE would wait until every client has left"
            raise refused(f"{self._console.name} {kept[0]}", "session pooling", expected, "set pool_mode, and RELOAD")

    def _pause(self, routes: Sequence[str], within_s: float) -> None:
        """Let the transactions of these routes end, and hold the next ones; on a connection that may wait in vain."""
        deadline = time.monotonic() + within_s
        with self._console.session() as session:
            for name in routes:
                _let_log_in(name, session, deadline)
                try:
                    session.run(f'PAUSE "{name}"', max(0.0, deadline - time.monotonic()))
                except Silent as error:
                    observed = f"a transaction of {name} did not end within {within_s:g} s"
                    action = "see SHOW SERVERS for who is in it, or allow a longer router.pause"
                    raise ConfigurationError(self._console.name, observed, state=UNCHANGED, action=action) from error

    def _refuse_not_taken(
        self, homes: Mapping[str, str], wanted: Mapping[str, Entry], running: Mapping[str, Row]
    ) -> None:
        for name in homes:
            if name not in running or _address(running[name]) != wanted[name].address:
                state, action = "the entries of before are in force", "read its log for what it refused"
                raise ConfigurationError(self._console.name, f"does not take {name}", state=state, action=action)

    @contextlib.contextmanager
    def _put_back(self, before: str, routes: Sequence[str], session: Session) -> Iterator[None]:
        """Where the switch fails or is interrupted: the file says what it said, and no route is left paused.

        On the connection that was there before: a broken configuration lets nobody in, and keeps who is.
        """
        try:
            yield
        except BaseException as error:  # also Ctrl-C
            try:
                if file_of.read(self._file) != before:
                    write_durably(self._file, before)
                    session.run("RELOAD")
                _resume([name for name in routes if name not in self._held], session)
            except ConfigurationError as silent:
                error.add_note(f"not resumed: {silent}")
                if isinstance(error, ConfigurationError):
                    state = f"{', '.join(routes)} may be paused until it is restarted, or switched again"
                    raise ConfigurationError(error.subject, error.observed, state=state, action=error.action) from error
            raise

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        return one_at_a_time(self._file.parent, "file")


def _home(route: str, weights: Mapping[str, int]) -> str:
    shares = {backend: weight for backend, weight in weights.items() if weight}
    if len(shares) > 1:
        raise cannot("pgbouncer", "weights", f"{route} at {', '.join(f'{b} {w} %' for b, w in shares.items())}")
    return next(iter(shares))


def _address(row: Row) -> tuple[str, str, str]:
    return row["host"], row["port"], row["database"]


def _kept(running: Mapping[str, Row]) -> list[str]:
    """The routes that are pooled by session."""
    return [name for name, row in running.items() if row["pool_mode"] == "session"]


def _running(session: Session) -> dict[str, Row]:
    """The routes that PgBouncer has, each with its own pool mode or the general one."""
    rows = [row for row in session.run("SHOW DATABASES") if row["name"].endswith((READS, WRITES))]
    general = _config(session)["pool_mode"] if not all(row["pool_mode"] for row in rows) else ""
    return {row["name"]: {**row, "pool_mode": row["pool_mode"] or general} for row in rows}


def _config(session: Session) -> dict[str, str]:
    return {row["key"]: row["value"] for row in session.run("SHOW CONFIG")}


def _let_log_in(route: str, session: Session, deadline: float) -> None:
    """Return when no connection to the route's server is logging in.

    One that PAUSE cuts off counts as a failed login, and the next clients get that as their error (1.18).
    """
    while time.monotonic() < deadline:
        pools = [row for row in session.run("SHOW POOLS") if row["database"] == route]
        if not any(int(row["sv_login"]) for row in pools):
            return
        time.sleep(_POLL_S)


def _resume(routes: Iterable[str], session: Session) -> None:
    running = _running(session)
    for name in routes:
        if running[name]["paused"] == _PAUSED:
            session.run(f'RESUME "{name}"')
