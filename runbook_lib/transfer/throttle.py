"""When the copy and the sync wait: for a file, for a busy server, for a replica that lags behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runbook_lib.databases.port import Database, Load
from runbook_lib.errors import DatabaseError

Ask = Callable[[], str]  # a reason to wait, "" for none


@dataclass(frozen=True)
class Limits:
    """What is tolerated; 0 or None: not checked.

    Attributes:
        file: Everything waits while it exists.
        sessions: Sessions at work, by side: "source", "target" (counts).
        lag_s: Of a replica: seconds.
        lag_bytes: The same in bytes of its log (PostgreSQL).
    """

    file: Path | None = None
    sessions: Mapping[str, int] | None = None
    lag_s: float = 0.0
    lag_bytes: int = 0


class Throttle:
    """Asks at most once in an interval, whoever calls from whatever thread, and adds up how long the answer was: wait.

    Args:
        asks: In their order; the first reason counts.
        interval_s: Time between two rounds of asking (seconds).
        on_reason: Called with each round that found a reason.
    """

    def __init__(
        self, *asks: Ask, interval_s: float = 1.0, on_reason: Callable[[str], None] = lambda reason: None
    ) -> None:
        self._asks, self._interval_s, self._on_reason = asks, interval_s, on_reason
        self._lock = threading.Lock()
        self._reason, self._asked = "", float("-inf")
        self.waited_s = 0.0

    def __call__(self) -> str:
        """The reason to wait, "" for none."""
        with self._lock:
            now = time.monotonic()
            if now - self._asked < self._interval_s:
                return self._reason
            if self._reason:
                self.waited_s += now - self._asked
            self._reason = next((reason for ask in self._asks if (reason := ask())), "")
            self._asked = time.monotonic() if self._reason else now
            if self._reason:
                self._on_reason(self._reason)
            return self._reason


def throttle(
    limits: Limits,
    sides: Mapping[str, Sequence[Database]],
    replicas: Sequence[Database] = (),
    on_reason: Callable[[str], None] = lambda reason: None,
) -> Throttle:
    """What `copy_link` and the sync are given as `pause`.

    Args:
        sides: "source" and "target" → their databases. Of a PostgreSQL primary all connected replicas count.
        replicas: Databases of the inventory that replicate one of them.
    """
    asks: list[Ask] = []
    if file := limits.file:
        asks.append(lambda: f"{file} exists" if file.exists() else "")
    lag = bool(limits.lag_s or limits.lag_bytes)
    for side, databases in sides.items():
        tolerated = (limits.sessions or {}).get(side, 0)
        if tolerated or lag:
            asks += [_server(database, side, tolerated, limits) for database in {d.name: d for d in databases}.values()]
    asks += [_replica(database, limits) for database in replicas if lag]
    return Throttle(*asks, on_reason=on_reason)


def _server(database: Database, side: str, tolerated: int, limits: Limits) -> Ask:
    def ask() -> str:
        found = database.load()
        if tolerated and found.active > tolerated:
            return f"{found.active} sessions at work at the {side} {database.name}, more than {tolerated}"
        return _behind(f"a replica of {database.name}", found, limits)

    return ask


def _replica(database: Database, limits: Limits) -> Ask:
    def ask() -> str:
        found = database.load()
        if found.replicates is None:
            raise DatabaseError(
                f"database {database.name}",
                "shows no replication to this login",
                state="nothing waits for it",
                action="name a replica in `replicas`, or GRANT REPLICATION CLIENT (MariaDB: REPLICA MONITOR)",
            )
        if not found.replicates:
            return f"{database.name} does not replicate"
        return _behind(database.name, found, limits)

    return ask


def _behind(what: str, found: Load, limits: Limits) -> str:
    if limits.lag_s and found.lag_s > limits.lag_s:
        return f"{what} is {found.lag_s:.1f} s behind, more than {limits.lag_s:g}"
    if limits.lag_bytes and found.lag_bytes > limits.lag_bytes:
        return f"{what} is {found.lag_bytes:,} bytes behind, more than {limits.lag_bytes:,}"
    return ""
