"""Ports and small estates for the sandbox tests; safe beside other test processes."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable

import psycopg

from runbook_lib.errors import ConfigurationError
from runbook_lib.sandbox.processes import require_free_ports
from runbook_lib.sandbox.services import Ports

SCALE = 0.02


def free_port_base() -> int:
    """A base whose forty ports are free, below the range that the kernel hands out to clients."""
    chooser = random.Random(os.getpid() ^ time.time_ns())
    while True:
        base = chooser.randrange(20_000, 32_000, 50)
        try:
            require_free_ports(Ports(base).all())
        except ConfigurationError:
            continue
        return base


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 15.0) -> None:
    """Wait until something is so, or fail saying what was not."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.02)


def execute(conninfo: str, *statements: str) -> list[tuple[object, ...]]:
    """Run statements in one autocommit session; the rows of the last one."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []
