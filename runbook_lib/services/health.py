"""Whether a service is healthy: asked over HTTP, or by a query at its database, again after a failure.

health: /health                                     # GET, 200 within 2 s
health: {path: /ready, status: 204, timeout_s: 5, retries: 2, every_s: 1}
health: {sql: "SELECT count(*) > 0 FROM workers WHERE seen > now() - interval '1 minute'", database: users_db}
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from runbook_lib.databases.port import Database
from runbook_lib.errors import ConfigurationError, RunbookError
from runbook_lib.services.port import Health
from runbook_lib.util.http import fetch
from runbook_lib.util.redact import mask

OpenDatabase = Callable[[str], Database]


@dataclass(frozen=True)
class HealthCheck:
    """The question, and how often it is put.

    Attributes:
        path, status: GET this path of the service's `url`; this status is healthy.
        sql, database: Or one query at a database of the inventory: healthy is a first value that is neither NULL, false
            nor 0.
        timeout_s: An answer after that is none (seconds).
        retries: How often it is asked again before it counts as not healthy (count).
        every_s: Between two of these (seconds).
    """

    path: str = "/health"
    status: int = 200
    timeout_s: float = 2.0
    sql: str = ""
    database: str = ""
    retries: int = 0
    every_s: float = 0.5


def read_health_check(subject: str, given: str | Mapping[str, Any]) -> HealthCheck:
    """The check that an inventory describes: a path, or a mapping.

    Raises:
        ConfigurationError: an unknown setting, one of another type, or `sql` without `database`.
    """
    settings = {"path": given} if isinstance(given, str) else dict(given)
    known = {field.name: str(field.type) for field in fields(HealthCheck)}
    if unknown := sorted(settings.keys() - known.keys()):
        raise ConfigurationError(subject, f"health: unknown setting {unknown[0]!r}", expected=", ".join(known))
    for name, value in settings.items():
        if not _fits(value, known[name]):
            expected = "a text" if known[name] == "str" else "a number of at least 0"
            raise ConfigurationError(subject, f"health: {name} is {value!r}", expected=expected)
    if settings.get("sql") and (extra := [name for name in ("path", "status") if name in settings]):
        raise ConfigurationError(subject, f"health: `{extra[0]}` beside `sql`", action="ask one of both")
    if bool(settings.get("sql")) != bool(settings.get("database")):
        missing = "database" if settings.get("sql") else "sql"
        raise ConfigurationError(subject, f"health: no `{missing}`", expected="sql: a query, database: where")
    return HealthCheck(**settings)


def _fits(value: Any, kind: str) -> bool:
    if kind == "str":
        return isinstance(value, str)
    number = isinstance(value, int if kind == "int" else int | float) and not isinstance(value, bool)
    return number and value >= 0


def over_http(url: str, check: HealthCheck) -> Health:
    """One question to the service's health address; refused at once and silent for long are distinguished."""
    begun = time.perf_counter()
    try:
        response = fetch(url + check.path, timeout_s=check.timeout_s)
    except ConfigurationError as error:
        return Health(False, _ms(begun), error.observed)
    elapsed_ms, text = _ms(begun), mask(response.text(120))
    if response.status != check.status:
        return Health(False, elapsed_ms, f"HTTP {response.status}, expected {check.status}: {text}")
    if elapsed_ms > check.timeout_s * 1000:
        return Health(False, elapsed_ms, f"answered after {elapsed_ms:.0f} ms")
    return Health(True, elapsed_ms, text)


def over_sql(open_database: OpenDatabase, check: HealthCheck) -> Health:
    """One query. One that is not answered in time is left to its server, on a connection of its own."""
    begun, answered = time.perf_counter(), threading.Event()
    found = [Health(False, check.timeout_s * 1000, f"{check.database} did not answer within {check.timeout_s:g} s")]

    def ask() -> None:
        try:
            database = open_database(check.database)
            try:
                found.append(_judged(database.rows(check.sql), begun))
            finally:
                database.close()
        except RunbookError as error:
            found.append(Health(False, _ms(begun), str(error)))
        answered.set()

    threading.Thread(target=ask, name=f"health of {check.database}", daemon=True).start()
    answered.wait(check.timeout_s)
    return found[-1]


def _judged(rows: list[tuple[Any, ...]], begun: float) -> Health:
    first = rows[0][0] if rows else None
    if first:
        return Health(True, _ms(begun), mask(str(first)))
    return Health(False, _ms(begun), "the query has no row" if not rows else f"the query says {mask(str(first))}")


def asked(once: Callable[[], Health], check: HealthCheck) -> Health:
    """The first good answer of `1 + retries`, or the last bad one with how often it was asked."""
    for _ in range(check.retries):
        answer = once()
        if answer.ok:
            return answer
        time.sleep(check.every_s)
    last = once()
    if last.ok or not check.retries:
        return last
    return Health(False, last.elapsed_ms, f"{last.text} ({check.retries + 1} times asked)")


def _ms(begun: float) -> float:
    return (time.perf_counter() - begun) * 1000
