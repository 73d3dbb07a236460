"""Open-loop load over HTTP/1.1 and SQL: work leaves on schedule, however slow the answers are.

A request's time counts from the moment it was due, so that a stalled server is charged for the requests that had to
wait behind the stall (no coordinated omission). asyncio streams: 0.26 ms of our own processor time a request,
httpx 1.5 ms (1,000 requests of two bytes each): the load must not eat what it measures. Queries run in threads, each
with a session of its own, through the database's adapter.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from runbook_lib.errors import ConfigurationError, RunbookError
from runbook_lib.performance.statements import Statement
from runbook_lib.performance.workload import Load, Request

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Side:
    """Where the work of one side goes.

    Attributes:
        url_of: The base address that answers a path.
        query: Runs a statement to its last row; None: this side is asked no queries.
        sessions: Statements that run at a time (count); one more waits, and its time runs.
        pids: Its processes on this machine; their children count too.
        gauges: Asks elsewhere for what its processes use: metric → value.
        unmeasured: Why processor and memory, or one of them, cannot be measured; "" where they can.
    """

    url_of: Callable[[str], str]
    query: Callable[[Statement], object] | None = None
    sessions: int = 8
    pids: tuple[int, ...] = ()
    gauges: Callable[[], Mapping[str, float]] | None = None
    unmeasured: str = ""


def at_one_address(url: str, pids: tuple[int, ...] = ()) -> Side:
    """The side whose every path is answered at this address."""
    return Side(lambda path: url, pids=pids)


@dataclass
class Results:
    """Milliseconds of each good answer, in all and by the work's name, and the errors by kind.

    Attributes:
        elapsed_s: Of all turns, to the last answer (seconds).
        at: When the first began (seconds since the epoch).
    """

    times_ms: list[float] = field(default_factory=list)
    by_name: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    elapsed_s: float = 0.0
    at: float = 0.0

    def fail(self, kind: str) -> None:
        """Count one error."""
        self.errors[kind] = self.errors.get(kind, 0) + 1

    def add(self, other: Results) -> None:
        """Take the answers of another round in."""
        for name, times in other.by_name.items():
            self.by_name.setdefault(name, []).extend(times)
        self.times_ms += other.times_ms

    def succeed(self, name: str, took_ms: float) -> None:
        """Count one answer."""
        self.times_ms.append(took_ms)
        self.by_name.setdefault(name, []).append(took_ms)


Work = Iterator[Request | Statement]


async def take_turns(sides: Mapping[str, Side], work: Mapping[str, Work], load: Load) -> dict[str, Results]:
    """One round of each side, in short turns A B B A …, so that whatever else the machine does meets both alike.

    A side's turn ends when its last answer is there. See Load.

    Raises:
        ConfigurationError: an address is not http.
    """
    found = {name: Results() for name in sides}
    with ExitStack() as closing:
        senders = {name: _Sender(side, load.timeout_s, closing) for name, side in sides.items()}
        for name in sides:
            await _turn(senders[name], work[name], load, load.warmup_s, Results())
        turns = max(1, round(load.duration_s / load.turn_s)) if len(sides) > 1 else 1
        for number in range(turns):
            for name in list(sides) if number % 2 == 0 else list(sides)[::-1]:
                await _turn(senders[name], work[name], load, load.duration_s / turns, found[name])
    return found


async def _turn(sender: _Sender, work: Work, load: Load, duration_s: float, results: Results) -> None:
    begun, tasks = time.perf_counter(), []
    results.at = results.at or time.time()
    for number in range(round(load.rate_per_s * duration_s)):
        due = begun + number / load.rate_per_s
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(_one(sender, next(work), due, load.timeout_s, results)))
    await asyncio.gather(*tasks)
    results.elapsed_s += time.perf_counter() - begun


async def _one(sender: _Sender, work: Request | Statement, due: float, timeout_s: float, results: Results) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            failed = await (sender.ask(work) if isinstance(work, Statement) else sender.request(work))
    except TimeoutError:
        return results.fail(f"no answer within {timeout_s:g} s")
    except ConfigurationError:
        raise
    except RunbookError as error:
        return results.fail(f"{work.name}: {error.observed}")
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        return results.fail(type(error).__name__)
    if failed:
        return results.fail(failed)
    return results.succeed(work.name, (time.perf_counter() - due) * 1000)


class _Sender:
    """Keeps one client for each address."""

    def __init__(self, side: Side, timeout_s: float, closing: ExitStack):
        self._side, self._timeout_s, self._closing = side, timeout_s, closing
        self._pool = closing.enter_context(ThreadPoolExecutor(side.sessions)) if side.query else None
        self._clients: dict[str, _Client] = {}

    async def request(self, request: Request) -> str:
        """Send one; what was wrong with the answer, or ""."""
        url = self._side.url_of(request.path)
        if url not in self._clients:
            self._clients[url] = _Client(url, self._timeout_s)
            self._closing.callback(self._clients[url].close)
        status = await self._clients[url].send(request)
        return "" if 200 <= status < 300 else f"HTTP {status}"

    async def ask(self, statement: Statement) -> str:
        """Run one; an error is raised."""
        if self._side.query is None:
            raise ConfigurationError(f"query {statement.name}", "this side has no database")
        await asyncio.get_running_loop().run_in_executor(self._pool, self._side.query, statement)
        return ""


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
