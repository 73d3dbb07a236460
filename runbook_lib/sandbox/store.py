"""Database access of the sample services: a pool that survives lost connections, and what a refusal means over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

FENCE = "RB001"  # SQLSTATE of the migration's write fence
Row = dict[str, Any]
Connection = psycopg.AsyncConnection[Row]


class Pool:
    """At most `size` connections, opened when needed; a broken one is closed and never handed out again.

    Args:
        conninfo: libpq connection string; the password comes from PGPASSWORD.
        size: Connections at most (count).
    """

    def __init__(self, conninfo: str, size: int = 8) -> None:
        self._conninfo = conninfo
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Connection] = []

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Borrow a connection in autocommit mode; writes open their transaction themselves."""
        async with self._slots:
            connection = self._idle.pop() if self._idle else await self._open()
            try:
                yield connection
            finally:
                if not connection.closed and connection.info.transaction_status == TransactionStatus.IDLE:
                    self._idle.append(connection)
                else:
                    await connection.close()
                    await self._drop_idle()  # a server that dropped one has dropped them all

    async def close(self) -> None:
        """Close what is idle."""
        await self._drop_idle()

    async def _drop_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()

    async def _open(self) -> Connection:
        # No prepared statements: views are re-made under a running service during the extraction.
        return await psycopg.AsyncConnection.connect(
            self._conninfo, autocommit=True, row_factory=dict_row, prepare_threshold=None
        )


async def one(connection: Connection, query: str, *values: object) -> Row | None:
    """The first row of a query, or None."""
    cursor = await connection.execute(query.encode(), values)
    return await cursor.fetchone()


async def every(connection: Connection, query: str, *values: object) -> list[Row]:
    """All rows of a query."""
    cursor = await connection.execute(query.encode(), values)
    return await cursor.fetchall()


def http_status(error: psycopg.Error) -> tuple[int, dict[str, str]]:
    """What a database error means to the caller: 503 is worth a retry, 4xx is not, 500 is our mistake."""
    code = error.sqlstate or ""
    if code == FENCE:
        return 503, {"x-runbook-fence": "raised"}
    if not code or code[:2] in ("08", "40", "53", "57") or code in ("55P03", "25006"):
        return 503, {}  # lost, shutting down, deadlock, no resources, lock timeout, read-only
    if code in ("23505", "23503"):
        return 409, {}
    return (422, {}) if code[:2] in ("22", "23") else (500, {})
