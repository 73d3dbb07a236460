"""The client's ledger: one JSON line for each acknowledged write, and the proof that none of them was lost.

Line kinds: `write` (acknowledged), `failed` (any answer but 2xx, or none), `sample` (one second of traffic).
Every entity is written by one worker only, so the last acknowledged write of each field is its expected value.
A failed write may have happened or not: its values are accepted too, until the next acknowledged one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

Values = dict[str, Any]
Target = str | psycopg.Connection[Any]
BATCH = 5_000

_PREFERENCES = {
    "monolith": "select id, theme, notifications_enabled as notifications from users where id = any(%s)",
    "services": "select user_id as id, theme, notifications from preferences where user_id = any(%s)",
}
_STATE = {
    "user": """select u.id, email, full_name, status::text, bio from users u left join profiles p on p.user_id = u.id
               where u.id = any(%s)""",
    "order": """select id, user_id, status::text, total::text, currency, details, note,
                coalesce((select jsonb_agg(jsonb_build_object('sku', sku, 'quantity', quantity,
                'unit_price', unit_price::text) order by line_no) from order_items i where i.order_id = o.id), '[]')
                as items from orders o where id = any(%s)""",
    "payment": """select id, order_id, amount::text, method::text,
                  (select count(*) from transactions t where t.payment_id = p.id) as transactions
                  from payments p where id = any(%s)""",
}
_MADE_BY = {
    kind: f"select request_id::text as request_id, array_agg(id) as ids from {table} "
    "where request_id = any(%s::uuid[]) group by 1"
    for kind, table in (("user", "users"), ("order", "orders"), ("payment", "payments"))
}


@dataclass(frozen=True)
class LostWrite:
    """An acknowledged write that a database does not have, has otherwise, or has twice.

    Args:
        entity: `user`, `preferences`, `order` or `payment`.
        id: Its key.
        problem: `missing`, `different: FIELD, ...` or `made twice`.
        expected: The last acknowledged values.
        found: What the database holds.
    """

    entity: str
    id: int
    problem: str
    expected: Values
    found: Values | None


@dataclass(frozen=True)
class Summary:
    """The whole ledger in figures: counts, and times in milliseconds or seconds since 1970."""

    acknowledged_writes: int
    reads: int
    failed_requests: int
    started: float
    ended: float
    write_p50_ms: float
    write_p99_ms: float
    write_max_ms: float


@dataclass
class _Expected:
    values: Values = field(default_factory=dict)
    also: list[Values] = field(default_factory=list)

    def differs(self, found: Values) -> list[str]:
        return [
            name
            for name, value in self.values.items()
            if found.get(name) != value and all(found.get(name) != other.get(name, value) for other in self.also)
        ]


class Ledger:
    """A ledger file; it may still be growing.

    Args:
        path: The JSON-lines file that `runbook_lib.sandbox.client` writes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def records(self, kind: str) -> Iterator[dict[str, Any]]:
        """All lines of one kind; a last line cut short by a kill was never acknowledged to anybody."""
        with self.path.open(encoding="utf-8") as lines:
            for line in lines:
                if line.endswith("\n") and (record := json.loads(line))["t"] == kind:
                    yield record

    def samples(self) -> list[dict[str, Any]]:
        """One entry per second: at (s since 1970), reads, writes, failed (count), read/write p50, p99, max (ms)."""
        return list(self.records("sample"))

    def failures(self) -> list[dict[str, Any]]:
        """Every failed request: at, method, path, status (0: no answer), error, latency_ms."""
        return list(self.records("failed"))

    def summary(self) -> Summary:
        """Count everything once."""
        writes, samples = list(self.records("write")), self.samples()
        latencies = sorted(record["latency_ms"] for record in writes)
        times = [record["at"] for record in (*writes, *samples)]
        return Summary(
            acknowledged_writes=len(writes),
            reads=sum(sample["reads"] for sample in samples),
            failed_requests=len(self.failures()),
            started=min(times, default=0.0),
            ended=max(times, default=0.0),
            write_p50_ms=percentile(latencies, 0.50),
            write_p99_ms=percentile(latencies, 0.99),
            write_max_ms=latencies[-1] if latencies else 0.0,
        )

    def expected(self) -> dict[str, dict[int, _Expected]]:
        """The last acknowledged state of every entity that was written, by kind and id."""
        state: dict[str, dict[int, _Expected]] = {"user": {}, "preferences": {}, "order": {}, "payment": {}}
        with self.path.open(encoding="utf-8") as lines:
            records = [json.loads(line) for line in lines if line.endswith("\n")]
        for record in records:
            if record.get("id") is None or record["t"] == "sample" or "entity" not in record:
                continue
            for entity, values in _parts(record):
                entry = state[entity].setdefault(record["id"], _Expected())
                if record["t"] == "write":
                    entry.values.update(values)
                    entry.also = []
                else:
                    entry.also.append(values)
        return {kind: {key: e for key, e in entries.items() if e.values} for kind, entries in state.items()}

    def made(self) -> dict[str, dict[str, int]]:
        """For every kind: the id that was acknowledged for each request that made a row."""
        made: dict[str, dict[str, int]] = {"user": {}, "order": {}, "payment": {}}
        for record in self.records("write"):
            if record["created"]:
                made[record["entity"]][record["request_id"]] = record["id"]
        return made


def missing_writes(
    ledger: Ledger, *, users: Target, orders: Target, payments: Target, shape: str = "services"
) -> list[LostWrite]:
    """Hold every acknowledged write against the databases; an empty list means that none was lost.

    Args:
        users: Connection, or libpq connection string, of the database that holds users.
        orders: The same for orders; for the monolith all three are the same.
        payments: The same for payments.
        shape: Where preferences are: `monolith` (columns of users) or `services` (a table).
    Raises:
        psycopg.Error: a database cannot be read: this check could not run.
    """
    homes = {"user": users, "preferences": users, "order": orders, "payment": payments}
    queries = {**_STATE, "preferences": _PREFERENCES[shape]}
    lost: list[LostWrite] = []
    for kind, entries in ledger.expected().items():
        found = {row["id"]: row for row in _rows(homes[kind], queries[kind], list(entries))}
        lost += _compare(kind, entries, found)
    for kind, requests in ledger.made().items():
        for row in _rows(homes[kind], _MADE_BY[kind], list(requests)):
            identity = requests[row["request_id"]]
            if row["ids"] != [identity]:
                wanted = {"request_id": row["request_id"], "id": identity}
                lost.append(LostWrite(kind, identity, "made twice", wanted, dict(row)))
    return lost


def percentile(ordered: list[float], share: float) -> float:
    """The value below which `share` (0-1) of an ordered list lies; 0 for an empty one."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _parts(record: dict[str, Any]) -> Iterator[tuple[str, Values]]:
    """What a write leaves behind, by kind: a new user comes with preferences, which live elsewhere."""
    values = dict(record["values"])
    if record["entity"] == "user" and "theme" in values:
        yield "preferences", {name: values.pop(name) for name in ("theme", "notifications")}
    yield record["entity"], values


def _compare(kind: str, entries: dict[int, _Expected], found: dict[int, Values]) -> Iterator[LostWrite]:
    for key, entry in entries.items():
        row = found.get(key)
        if row is None:
            yield LostWrite(kind, key, "missing", entry.values, None)
        elif names := entry.differs(row):
            yield LostWrite(kind, key, "different: " + ", ".join(names), entry.values, row)


def _rows(target: Target, query: str, keys: list[Any]) -> Iterable[Values]:
    if not isinstance(target, str):
        yield from _batches(target, query, keys)
        return
    with psycopg.connect(target, autocommit=True) as connection:
        yield from _batches(connection, query, keys)


def _batches(connection: psycopg.Connection[Any], query: str, keys: list[Any]) -> Iterator[Values]:
    with connection.cursor(row_factory=dict_row) as cursor:
        for first in range(0, len(keys), BATCH):
            yield from cursor.execute(query.encode(), (keys[first : first + BATCH],)).fetchall()
