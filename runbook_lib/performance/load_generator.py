"""Open-loop load over HTTP/1.1: requests leave on schedule, however slow the answers are.

A request's time counts from the moment it was due, so that a stalled server is charged for the requests that had to
wait behind the stall (no coordinated omission). asyncio streams: 0.26 ms of our own processor time a request,
httpx 1.5 ms (1,000 requests of two bytes each): the load must not eat what it measures.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from runbook_lib.errors import ConfigurationError
from runbook_lib.performance.workload import Request

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Load:
    """How much, how long.

    Attributes:
        rate_per_s: Requests that leave each second (count).
        duration_s: Of one round (seconds).
        warmup_s: Sent before and not counted (seconds).
        timeout_s: A request without its whole answer by then is an error (seconds).
    """

    rate_per_s: float = 50.0
    duration_s: float = 4.0
    warmup_s: float = 0.5
    timeout_s: float = 10.0


@dataclass
class Results:
    """Milliseconds of each good answer, and the errors by kind."""

    times_ms: list[float] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    elapsed_s: float = 0.0

    def fail(self, kind: str) -> None:
        """Count one error."""
        self.errors[kind] = self.errors.get(kind, 0) + 1


async def send(url: str, requests: Iterator[Request], load: Load) -> Results:
    """Send one round and return what came back; see Load.

    Raises:
        ConfigurationError: the address is not http.
    """
    client = _Client(url, load.timeout_s)
    try:
        await _round(client, requests, load, load.warmup_s)
        return await _round(client, requests, load, load.duration_s)
    finally:
        client.close()


async def _round(client: _Client, requests: Iterator[Request], load: Load, duration_s: float) -> Results:
    results, begun = Results(), time.perf_counter()
    tasks = []
    for number in range(round(load.rate_per_s * duration_s)):
        due = begun + number / load.rate_per_s
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(_one(client, next(requests), due, load.timeout_s, results)))
    await asyncio.gather(*tasks)
    results.elapsed_s = time.perf_counter() - begun
    return results


async def _one(client: _Client, request: Request, due: float, timeout_s: float, results: Results) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            status = await client.send(request)
    except TimeoutError:
        return results.fail(f"no answer within {timeout_s:g} s")
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        return results.fail(type(error).__name__)
    if not 200 <= status < 300:
        return results.fail(f"HTTP {status}")
    return results.times_ms.append((time.perf_counter() - due) * 1000)


class _Client:
    """Keeps connections open and opens another whenever all are busy."""

    def __init__(self, url: str, timeout_s: float):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(url, "not an http address", expected="http://host:port")
        self._host, self._prefix = parts.hostname, parts.path.rstrip("/")
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._authority, self._timeout_s = parts.netloc.rpartition("@")[2], timeout_s
        self._idle: list[Streams] = []

    async def send(self, request: Request) -> int:
        """Send one request, read its whole answer, return the status."""
        streams = await self._streams()
        try:
            reader, writer = streams
            writer.write(self._head(request) + request.body)
            status, reusable = await _answer(reader)
        except BaseException:  # cancelled by its timeout too: half an answer must not meet the next request
            streams[1].close()
            raise
        if reusable:
            self._idle.append(streams)
        else:
            writer.close()
        return status

    def close(self) -> None:
        """Close every idle connection."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()

    async def _streams(self) -> Streams:
        while self._idle:
            reader, writer = self._idle.pop()
            if not (reader.at_eof() or writer.is_closing()):
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self._host, self._port, ssl=self._tls)

    def _head(self, request: Request) -> bytes:
        headers = {"host": self._authority, **request.headers}
        if request.body or request.method in ("POST", "PUT", "PATCH"):
            headers["content-length"] = str(len(request.body))
        lines = [f"{request.method} {self._prefix}{request.path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """Status, and whether the connection may be used again; the body is read and dropped."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    version, status = head[0].split(" ")[:2]
    pairs = (line.partition(":") for line in head[1:] if line)
    headers = {name.lower(): value.strip().lower() for name, _, value in pairs}
    reusable = version == "HTTP/1.1" and headers.get("connection") != "close"
    if int(status) in (204, 304):
        return int(status), reusable
    if headers.get("transfer-encoding") == "chunked":
        await _drop_chunks(reader)
    elif "content-length" in headers:
        await reader.readexactly(int(headers["content-length"]))
    else:
        await reader.read()
        reusable = False
    return int(status), reusable


async def _drop_chunks(reader: asyncio.StreamReader) -> None:
    size = -1
    while size:
        size = int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16)
        await reader.readexactly(size + 2)
