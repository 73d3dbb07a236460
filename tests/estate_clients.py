"""Two versions of an application, each writing without pause, each remembering what was acknowledged."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from runbook_lib.databases.port import Database

DEADLOCK = {"40P01", 1213, 1020}  # PostgreSQL; MySQL; MariaDB's word for it in a snapshot


class Client:
    """Inserts and updates its own rows, and writes to rows that the other version writes to as well.

    Statements get the row's number and two words; several, parted by "; ", are one transaction. A deadlock is repeated
    and counted, as applications do; any other error is remembered.

    Args:
        start: The number of its first row.
        rows: How many rows the shared statement goes round.
    """

    def __init__(self, database: Database, start: int, insert: str, update: str, shared: str, rows: int) -> None:
        self.database, self.start, self.rows = database, start, rows
        self.insert, self.update, self.shared = insert, update, shared
        self.acknowledged: dict[int, tuple[str, str]] = {}
        self.shared_writes: Counter[int] = Counter()
        self.errors: list[str] = []
        self.writes = self.deadlocks = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        with self.database.engine.connect() as connection:
            while not self._over.is_set():
                number = self.start + self.writes
                first, last = f"N{number}", f"M{number}"
                if self._run(connection, self.insert, (number, first, last)):
                    self.acknowledged[number] = (first, last)
                if self._run(connection, self.update, (number, first + "x", last + "y")):
                    self.acknowledged[number] = (first + "x", last + "y")
                row = self.writes % self.rows
                self.shared_writes[row] += self._run(connection, self.shared, (row, f"S{self.start}", f"T{number}"))
                self.writes += 1

    def _run(self, connection: Any, statements: str, values: tuple[Any, ...]) -> bool:
        while True:
            try:
                with connection.begin():
                    for statement in statements.format(*values).split("; "):
                        connection.exec_driver_sql(statement)
                return True
            except Exception as error:
                origin = getattr(error, "orig", error)
                if {getattr(origin, "sqlstate", ""), origin.args[0]} & DEADLOCK:
                    self.deadlocks += 1
                    continue
                self.errors.append(str(error))
                return False

    def __enter__(self) -> Client:
        self._thread.start()
        wait_for(lambda: self.writes > 3 or bool(self.errors))
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def wait_for(true: Callable[[], bool]) -> None:
    """Wait for a condition, 20 s at most."""
    waiting = threading.Event()
    for _ in range(2000):
        if true():
            return
        waiting.wait(0.01)
    raise AssertionError("it did not come about in 20 s")
