"""Live traffic: `python -m runbook_lib.sandbox.client --url URL --ledger FILE --scale 1 --rate 120`.

Reads and writes without pause, and appends every acknowledged write to the ledger *before* the worker continues. A
request is sent once: whatever is not answered 2xx counts as failed. Ends cleanly on SIGTERM.

Readers ask for rows that are at least `SETTLED_S` old: services that are fed asynchronously may lag by less
than that while reads are moved, and a stale read is no failure of the migration.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import time
import uuid
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from runbook_lib.sandbox.ledger import percentile
from runbook_lib.sandbox.sample import seeded

SETTLED_S = 10.0
WRITERS, READERS = 5, 3
_NAMES = (
    "Zoë O'Hara",
    "back\\slash",
    "tab\there",
    "李雷",
    "مريم",
    "emoji 😀",
    'quote "x"',
    "trailing  ",
    "NULL",
    "e\u0301",
)
_METHODS = ("card", "transfer", "wallet")
_STATUSES = ("pending", "paid", "shipped", "delivered", "cancelled")
Values = dict[str, Any]


class Change(NamedTuple):
    """A write to make: where, and what it is expected to leave behind."""

    method: str
    path: str
    entity: str
    id: int | None
    body: Values
    values: Values


class Ids:
    """Rows known to exist: those seeded, and those made and acknowledged."""

    def __init__(self, count: int) -> None:
        self.seeded = count
        self.made: deque[tuple[float, int]] = deque(maxlen=2_000)

    def settled(self) -> int:
        """An id that any copy fed within `SETTLED_S` seconds has."""
        if self.made and random.random() < 0.3:
            at, key = random.choice(self.made)
            if time.monotonic() - at > SETTLED_S:
                return key
        return random.randint(1, self.seeded)


class Traffic:
    """The whole client: workers, pace, ledger.

    Args:
        url: Of Envoy's listener.
        ledger: File to append to.
        scale: Of the sample data, to know which ids exist.
        rate: Requests per second of all workers together.
    """

    def __init__(self, url: str, ledger: Path, scale: float, rate: float) -> None:
        self.url, self.rate = url, rate
        self.stopping = asyncio.Event()
        self._file = ledger.open("ab", buffering=0)  # one write a line: a kill cuts at most the last one
        self._next_slot = 0.0
        self.known = {entity: Ids(count) for entity, count in seeded(scale).items()}
        self._latencies: dict[str, list[float]] = {"read": [], "write": []}
        self._failed = 0

    def record(self, kind: str, **fields: Any) -> None:
        """Append one line."""
        self._file.write((json.dumps({"t": kind, **fields}) + "\n").encode())

    async def run(self) -> None:
        """Work until `stopping` is set; requests under way are finished and recorded."""
        limits = httpx.Limits(max_connections=WRITERS + READERS)
        async with (
            httpx.AsyncClient(base_url=self.url, timeout=30.0, limits=limits, trust_env=False) as http,
            asyncio.TaskGroup() as tasks,
        ):
            for worker in range(WRITERS):
                tasks.create_task(self._write_on(http, worker))
            for _ in range(READERS):
                tasks.create_task(self._read_on(http))
            tasks.create_task(self._sample())
        self._file.close()

    async def _pace(self) -> None:
        """Wait for the next slot; time lost in a pause is not made up for by a burst."""
        self._next_slot = max(self._next_slot + 1 / self.rate, time.monotonic())
        await asyncio.sleep(self._next_slot - time.monotonic())

    async def _sample(self) -> None:
        while not self.stopping.is_set():
            await _sleep_unless(self.stopping, 1.0)
            reads, writes = (sorted(self._latencies[kind]) for kind in ("read", "write"))
            self._latencies, failed, self._failed = {"read": [], "write": []}, self._failed, 0
            figures: dict[str, float] = {"reads": len(reads), "writes": len(writes), "failed": failed}
            for name, times in (("read", reads), ("write", writes)):
                for label, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
                    figures[f"{name}_{label}_ms"] = percentile(times, share)
            self.record("sample", at=round(time.time(), 3), **figures)

    async def _send(
        self, http: httpx.AsyncClient, method: str, path: str, body: Values | None, request_id: str
    ) -> tuple[httpx.Response | None, dict[str, Any]]:
        """Send once; returns the answer when it is 2xx, and what the ledger says about it."""
        await self._pace()
        started, at, answer, error = time.perf_counter(), time.time(), None, ""
        try:
            headers = {"idempotency-key": request_id} if body is not None else {}
            answer = await http.request(method, path, json=body, headers=headers)
        except httpx.HTTPError as problem:
            error = f"{type(problem).__name__}: {problem}"
        latency = round((time.perf_counter() - started) * 1000, 2)
        facts = {"at": round(at, 3), "latency_ms": latency, "request_id": request_id}
        if answer is not None and answer.is_success:
            self._latencies["read" if body is None else "write"].append(latency)
            return answer, {**facts, "served_by": answer.headers.get("x-served-by", "")}
        self._failed += 1
        status = answer.status_code if answer is not None else 0
        text = answer.text[:200] if answer is not None else error
        return None, {**facts, "method": method, "path": path, "status": status, "error": text}

    async def _read_on(self, http: httpx.AsyncClient) -> None:
        while not self.stopping.is_set():
            users, orders, payments = (self.known[name] for name in ("users", "orders", "payments"))
            pick = random.random()
            if pick < 0.35:
                path = f"/api/users/{users.settled()}"
            elif pick < 0.45:
                path = f"/api/users/{users.settled()}/preferences"
            elif pick < 0.55:
                number = random.randint(1, users.seeded)
                path = f"/api/auth/user{number}@example.{'org' if number % 5 == 0 else 'test'}"
            elif pick < 0.8:
                path = f"/api/orders/{orders.settled()}"
            else:
                path = f"/api/payments/{payments.settled()}"
            answer, facts = await self._send(http, "GET", path, None, "")
            if answer is None:
                self.record("failed", **facts)

    async def _write_on(self, http: httpx.AsyncClient, worker: int) -> None:
        own = Own(worker, self.known)
        while not self.stopping.is_set():
            change = own.change()
            request_id = str(uuid.uuid4())
            answer, facts = await self._send(http, change.method, change.path, change.body, request_id)
            if answer is None:
                self.record("failed", entity=change.entity, id=change.id, values=change.values, **facts)
                continue
            key = int(answer.json()["id"])
            created = change.id is None
            self.record("write", entity=change.entity, id=key, values=change.values, created=created, **facts)
            if created:
                own.remember(change, key)


class Own:
    """What one worker alone writes: every `WRITERS`-th seeded row, and the rows it made itself."""

    def __init__(self, worker: int, known: dict[str, Ids]) -> None:
        self._worker, self._known = worker, known
        self._made: dict[str, list[int]] = {"users": [], "orders": [], "payments": []}

    def change(self) -> Change:
        """The next write: half new rows, half changes of old ones."""
        makers = (
            self._new_user,
            self._new_order,
            self._new_payment,
            self._set_user,
            self._set_preferences,
            self._set_order,
        )
        return random.choices(makers, weights=(12, 22, 18, 16, 16, 16))[0]()

    def remember(self, change: Change, key: int) -> None:
        """Take note of a row this worker made."""
        table = change.entity + "s"
        self._made[table].append(key)
        self._known[table].made.append((time.monotonic(), key))

    def _pick(self, table: str) -> int:
        if self._made[table] and random.random() < 0.5:
            return random.choice(self._made[table])
        return 1 + self._worker + WRITERS * random.randrange((self._known[table].seeded - self._worker) // WRITERS)

    def _new_user(self) -> Change:
        values: Values = {
            "email": f"new-{uuid.uuid4()}@example.test", "full_name": random.choice(_NAMES),
            "bio": random.choice(_NAMES),
        }  # fmt: skip
        values |= {"theme": random.choice(("light", "dark")), "notifications": random.random() < 0.5}
        return Change("POST", "/api/users", "user", None, values, values)

    def _new_order(self) -> Change:
        items = [
            {"sku": f"SKU-{random.randrange(5000)}", "quantity": random.randint(1, 9),
             "unit_price": f"{random.randrange(1_000_000) / 10_000:.4f}"}
            for _ in range(random.randint(1, 4))
        ]  # fmt: skip
        values = {
            "user_id": self._pick("users"), "total": f"{random.randrange(10_000_000) / 100:.2f}",
            "note": random.choice(_NAMES), "items": items,
            "currency": random.choice(("EUR", "USD")), "details": {"t": random.choice(_NAMES), "n": random.random()},
        }  # fmt: skip
        return Change("POST", "/api/orders", "order", None, values, values)

    def _new_payment(self) -> Change:
        values = {
            "order_id": self._pick("orders"), "amount": f"{random.randrange(100_000_000) / 10_000:.4f}",
            "method": random.choice(_METHODS),
        }  # fmt: skip
        return Change("POST", "/api/payments", "payment", None, values, {**values, "transactions": 1})

    def _set_user(self) -> Change:
        key = self._pick("users")
        values = {
            "full_name": f"{random.choice(_NAMES)} {random.random()}",
            "status": random.choice(("active", "suspended")),
        }
        return Change("PUT", f"/api/users/{key}", "user", key, values, values)

    def _set_preferences(self) -> Change:
        key = self._pick("users")
        values = {"theme": random.choice(("light", "dark", "solarized")), "notifications": random.random() < 0.5}
        return Change("PUT", f"/api/users/{key}/preferences", "preferences", key, values, values)

    def _set_order(self) -> Change:
        key = self._pick("orders")
        values = {"status": random.choice(_STATUSES), "note": f"{random.choice(_NAMES)} {random.random()}"}
        return Change("PUT", f"/api/orders/{key}", "order", key, values, values)


async def _sleep_unless(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


async def _main(options: argparse.Namespace) -> None:
    traffic = Traffic(options.url, options.ledger, options.scale, options.rate)
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, traffic.stopping.set)
    await traffic.run()


def main() -> None:
    """Write until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m runbook_lib.sandbox.client")
    parser.add_argument("--url", required=True)
    parser.add_argument("--ledger", required=True, type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rate", type=float, default=120.0, help="requests per second in all")
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    os.umask(0o077)
    main()
