"""The three routers with real backends and clients: for the contract suite and `benchmarks.router_switch`.

The configurations are those of docs/routers.md with other addresses: what is documented is what is run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import psycopg
from fix_servers import PostgresServer, free_port

from runbook_lib.errors import ConfigurationError
from runbook_lib.sandbox import envoy as sandbox_envoy
from runbook_lib.sandbox.clusters import server_user
from runbook_lib.sandbox.processes import Child, listening, spawn, wait_until
from runbook_lib.traffic import envoy, haproxy, pgbouncer
from runbook_lib.traffic.port import Router

READS, WRITES = "user_service.reads", "user_service.writes"
BLUE, GREEN, OTHER = "monolith", "user_service@target", "user_service@source"
APIS = {"user_service": ("/api/users",)}
TESTER = "x-runbook-tester"
DOCS = Path(__file__).parents[1] / "docs/routers.md"


class Line(Protocol):
    """A client's connection."""

    def ask(self) -> str:
        """One request; the name of the backend that answered. Raises OSError or psycopg.Error when it fails."""
        ...

    def close(self) -> None: ...


class HttpLine:
    """One keep-alive connection. `slow`: the backend waits with its answer until it is released."""

    def __init__(self, port: int, route: str, *, header: str = "", path: str = "/api/users/1") -> None:
        self.line = socket.create_connection(("127.0.0.1", port), 20)
        self.line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        method = "POST" if route == WRITES else "GET"
        extra = f"{header}: 1\r\n" if header else ""
        self.request = f"{method} {path} HTTP/1.1\r\nhost: x\r\n{extra}content-length: 0\r\n\r\n".encode()

    def ask(self) -> str:
        self.line.sendall(self.request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._more()
        head, _, body = answer.partition(b"\r\n\r\n")
        length = int(re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)[1])  # type: ignore[index]
        while len(body) < length:
            body += self._more()
        if not head.startswith(b"HTTP/1.1 200"):
            raise OSError(head.partition(b"\r\n")[0].decode())
        return body.decode()

    def _more(self) -> bytes:
        if part := self.line.recv(4096):
            return part
        raise OSError("the connection was closed")

    def close(self) -> None:
        self.line.close()


class SqlLine:
    """One session at PgBouncer; each request is a transaction."""

    def __init__(self, conninfo: str, route: str, statement: str = "") -> None:
        self.session = psycopg.connect(conninfo, dbname=route, autocommit=True, prepare_threshold=None)
        write = "INSERT INTO written VALUES (1) RETURNING (SELECT name FROM who)"
        self.statement = statement or (write if route == WRITES else "SELECT name FROM who")

    def ask(self) -> str:
        return str(self.session.execute(self.statement.encode()).fetchall()[0][0])

    def close(self) -> None:
        self.session.close()


@dataclass
class Load:
    """What clients saw meanwhile."""

    answered: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    longest_s: float = 0.0
    ended: threading.Event = field(default_factory=threading.Event)

    def client(self, opened: Callable[[], Line]) -> None:
        line, seen, longest = opened(), Counter[str](), 0.0
        while not self.ended.is_set():
            begun = time.perf_counter()
            try:
                seen[line.ask()] += 1
            except (OSError, psycopg.Error) as error:
                self.failed.append(str(error))
                line.close()
                line = opened()
            longest = max(longest, time.perf_counter() - begun)
            self.answered[""] += 1  # how many so far, for whoever waits for them
        line.close()
        self.answered += seen
        self.longest_s = max(self.longest_s, longest)

    def wait_for(self, more: int) -> None:
        """Let this many more requests end."""
        until, deadline = self.answered[""] + more, time.monotonic() + 30
        while self.answered[""] < until:
            assert time.monotonic() < deadline, f"no traffic: {self.failed[-1:]}"
            time.sleep(0.002)


class Estate:
    """A router, its backends, and ways to harm it."""

    kind = ""
    router: Router
    child: Child

    def start(self) -> None:
        raise NotImplementedError

    def line(self, route: str, **more: str) -> Line:
        raise NotImplementedError

    def refusing(self) -> contextlib.AbstractContextManager[None]:
        """Meanwhile the router does not take what it is told."""
        raise NotImplementedError

    def in_flight(self, route: str) -> contextlib.AbstractContextManager[Callable[[], None]]:
        """Meanwhile a request is open at the route's home; what is yielded lets it end."""
        raise NotImplementedError

    def reset(self) -> None:
        """Everything at blue."""
        self.router.set_weights({READS: {BLUE: 100}, WRITES: {BLUE: 100}})

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.child.stop(signal.SIGKILL)

    def kill_and_start(self) -> None:
        self.kill()
        self.start()

    def stop(self) -> None:
        self.child.stop(signal.SIGTERM)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Meanwhile it is there and does not answer."""
        os.kill(self.child.process.pid, signal.SIGSTOP)
        stat = Path(f"/proc/{self.child.process.pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", 5, self.kind)
        try:
            yield
        finally:
            os.kill(self.child.process.pid, signal.SIGCONT)

    def ask(self, route: str, **more: str) -> str:
        line = self.line(route, **more)
        try:
            return line.ask()
        finally:
            line.close()

    def homes(self) -> dict[str, str]:
        """Route → the backend that has all of it."""
        found = {name: state.weights.items() for name, state in self.router.routes().items()}
        return {name: backend for name in (READS, WRITES) for backend, weight in found[name] if weight == 100}

    @contextlib.contextmanager
    def load(self, clients: int = 3, routes: Sequence[str] = (READS, WRITES), **more: str) -> Iterator[Load]:
        """Clients that never pause, on each of these routes."""
        load = Load()
        lines = [partial(self.line, route, **more) for route in routes for _ in range(clients)]
        threads = [threading.Thread(target=load.client, args=(line,)) for line in lines]
        for thread in threads:
            thread.start()
        try:
            load.wait_for(50)
            yield load
        finally:
            load.ended.set()
            for thread in threads:
                thread.join()


class Backends:
    """HTTP servers that answer their name; one thread for all. `/slow` is answered when `release` is set."""

    def __init__(self, names: Sequence[str]) -> None:
        self.ports: dict[str, int] = {}
        self.servers: list[asyncio.Server] = []
        self.seen: Counter[str] = Counter()
        self.entered, self.release = threading.Event(), threading.Event()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        for name in names:
            made = asyncio.run_coroutine_threadsafe(self._serve(name), self.loop)
            self.ports[name] = made.result(10)

    async def _serve(self, name: str) -> int:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    self.seen[name] += 1
                    if b"/slow" in head:
                        self.entered.set()
                        await asyncio.get_running_loop().run_in_executor(None, self.release.wait, 10)
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(name), name.encode()))
                    await writer.drain()
            except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass  # the router or the test has ended
            finally:
                writer.close()

        self.servers.append(await asyncio.start_server(answer, "127.0.0.1", 0))
        return int(self.servers[-1].sockets[0].getsockname()[1])

    def stop(self) -> None:
        self.release.set()
        asyncio.run_coroutine_threadsafe(self._end(), self.loop).result(5)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()

    async def _end(self) -> None:
        for server in self.servers:
            server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


class HttpEstate(Estate):
    """What Envoy and HAProxy have in common."""

    def __init__(self, directory: Path, names: Sequence[str]) -> None:
        self.directory, self.port, self.backends = directory, free_port(), Backends(names)

    def line(self, route: str, **more: str) -> Line:
        return HttpLine(self.port, route, **more)

    @contextlib.contextmanager
    def in_flight(self, route: str) -> Iterator[Callable[[], None]]:
        self.backends.entered.clear()
        self.backends.release.clear()
        answers: list[str] = []
        asking = threading.Thread(target=lambda: answers.append(self.ask(route, path="/api/users/slow")))
        asking.start()
        assert self.backends.entered.wait(5)
        yield self.backends.release.set
        self.backends.release.set()
        asking.join()
        assert answers, "the request in flight failed"

    def stop(self) -> None:
        super().stop()
        self.backends.stop()


class EnvoyEstate(HttpEstate):
    kind = "envoy"

    def __init__(self, directory: Path, timeout_s: float = 5.0) -> None:
        super().__init__(directory, [BLUE, OTHER, GREEN])
        self.admin = free_port()
        ports = {"port": self.port, "admin_port": self.admin}
        sandbox_envoy.write_files(directory / "envoy", **ports, backends=self.backends.ports, apis=APIS)
        settings = {"directory": "envoy", "admin": f"http://127.0.0.1:{self.admin}", "tester_header": TESTER}
        self.router = envoy.open_router({**settings, "timeout_s": timeout_s}, directory)
        self.start()

    def start(self) -> None:
        self.child = sandbox_envoy.start(self.directory / "envoy", self.admin, self.directory / "log")

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """An address in green's file is none: Envoy takes no cluster that has it."""
        path = self.directory / "envoy" / f"eds_{GREEN}.json"
        good = path.read_text()
        path.write_text(good.replace('"127.0.0.1"', '"not-an-ip"'))  # no rename: Envoy does not look
        try:
            yield
        finally:
            path.write_text(good)


class HaproxyEstate(HttpEstate):
    kind = "haproxy"

    def __init__(self, directory: Path, timeout_s: float = 5.0) -> None:
        super().__init__(directory, [BLUE, OTHER, GREEN])
        self.program = program("haproxy", "haproxy")
        self.text = block("haproxy").replace("bind :8080", f"bind 127.0.0.1:{self.port}")
        for number, name in ((4, BLUE), (5, OTHER), (6, GREEN)):
            self.text = self.text.replace(f"10.0.0.{number}:8000", f"127.0.0.1:{self.backends.ports[name]}")
        for place in ("/run/haproxy", "/var/lib/haproxy", "/etc/haproxy"):
            self.text = self.text.replace(place, str(directory))
        (directory / "server-state").touch()
        (directory / "testers.map").touch()
        settings = {"socket": str(directory / "admin.sock"), "state_file": "server-state", "testers_map": "testers.map"}
        more = {"latency_table": "latency", "timeout_s": timeout_s}
        self.router = haproxy.open_router({**settings, **more}, directory)
        self.start()

    def start(self, level: str = "admin") -> None:
        file = self.directory / "haproxy.cfg"
        file.write_text(self.text.replace("level admin", f"level {level}"))
        arguments = [self.program, "-db", "-f", str(file)]
        self.child = spawn("haproxy", arguments, log=self.directory / "log", death_signal=signal.SIGKILL)
        wait_until(self._ready, 10, "haproxy", self.child)

    def _ready(self) -> bool:
        try:
            return listening(self.port) and bool(self.router.routes())
        except ConfigurationError:
            return False

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Its socket lets nobody change anything."""
        self.kill()
        self.start(level="operator")
        try:
            yield
        finally:
            self.kill_and_start()


class Pooler(Estate):
    """PgBouncer in front of databases that are there already.

    Args:
        targets: Backend → its address, as the inventory has it.
        routes: Route → the backend it begins at.
    """

    kind = "pgbouncer"

    def __init__(self, directory: Path, targets: Mapping[str, str], routes: Mapping[str, str], **more: float) -> None:
        self.directory, self.port = directory, free_port()
        self.program = program("pgbouncer", "pgbouncer")
        main, entries = blocks("ini")
        self.main = main.replace("/etc/pgbouncer", str(directory)).replace("6432", str(self.port))
        (directory / "pgbouncer.ini").write_text(self.main)
        lines = [f"{route} = {targets[backend]}" for route, backend in routes.items()]
        (directory / "routes.ini").write_text("\n".join([entries.splitlines()[0], *lines, ""]))
        (directory / "users.txt").write_text('"runbook" "runbook"\n"app" "app"\n')
        for path in (directory, *directory.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)
        settings = {"admin": f"postgresql://runbook@127.0.0.1:{self.port}/pgbouncer", "password": "runbook"}
        files = {"file": "routes.ini", "backends": targets}
        self.router = pgbouncer.open_router({**settings, **files, "pause_s": 5.0, "timeout_s": 5.0, **more}, directory)
        self.start()

    def start(self) -> None:
        arguments = [self.program, str(self.directory / "pgbouncer.ini")]
        log, user = self.directory / "log", server_user()  # PgBouncer refuses root
        self.child = spawn("pgbouncer", arguments, log=log, user=user, death_signal=signal.SIGKILL)
        wait_until(lambda: listening(self.port), 10, "pgbouncer", self.child)

    def line(self, route: str, **more: str) -> Line:
        return SqlLine(f"host=127.0.0.1 port={self.port} user=app password=app", route, **more)


class PgBouncerEstate(Pooler):
    """The same with two databases that say who they are."""

    def __init__(self, directory: Path, server: PostgresServer, **more: float) -> None:
        self.server = server
        self.names = {BLUE: "router_blue", OTHER: "router_blue", GREEN: "router_green"}
        for name, dbname in ((BLUE, "router_blue"), (GREEN, "router_green")):
            server.admin(f"DROP DATABASE IF EXISTS {dbname} WITH (FORCE)")
            server.admin(f"CREATE DATABASE {dbname}")
            server.admin(f"CREATE TABLE who AS SELECT '{name}'::text AS name", dbname)
            server.admin("CREATE TABLE written (n int)", dbname)
            server.admin("GRANT SELECT ON who TO app; GRANT INSERT ON written TO app", dbname)
        targets = {name: f"host=127.0.0.1 port={server.port} dbname={dbname}" for name, dbname in self.names.items()}
        super().__init__(directory, targets, {READS: BLUE, WRITES: BLUE}, **more)

    @contextlib.contextmanager
    def in_flight(self, route: str) -> Iterator[Callable[[], None]]:
        session = psycopg.connect(f"host=127.0.0.1 port={self.port} user=app password=app dbname={route}")
        with contextlib.closing(session):
            session.execute("SELECT name FROM who")  # begins a transaction
            yield session.commit

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Its configuration includes another file, which is not there: it reads no entry anew."""
        (self.directory / "pgbouncer.ini").write_text(self.main.replace("routes.ini", "elsewhere.ini"))
        try:
            yield
        finally:
            (self.directory / "pgbouncer.ini").write_text(self.main)

    def console(self, command: str) -> None:
        """Give PgBouncer a command by hand."""
        place = f"host=127.0.0.1 port={self.port} user=runbook password=runbook dbname=pgbouncer"
        with contextlib.closing(psycopg.connect(place, autocommit=True)) as session:
            session.execute(command.encode())

    @contextlib.contextmanager
    def session_pooling(self) -> Iterator[None]:
        (self.directory / "pgbouncer.ini").write_text(self.main.replace("= transaction", "= session"))
        self.console("RELOAD")
        try:
            yield
        finally:
            (self.directory / "pgbouncer.ini").write_text(self.main)
            self.console("RELOAD")

    def stop(self) -> None:
        super().stop()
        for dbname in set(self.names.values()):
            self.server.admin(f"DROP DATABASE IF EXISTS {dbname} WITH (FORCE)")


ESTATES: dict[str, Any] = {"envoy": EnvoyEstate, "haproxy": HaproxyEstate, "pgbouncer": PgBouncerEstate}


@contextlib.contextmanager
def home() -> Iterator[Path]:
    """A folder that another user may enter: PgBouncer refuses root, and pytest closes its own folders to others."""
    with tempfile.TemporaryDirectory(prefix="runbook-router-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def blocks(language: str) -> list[str]:
    """The fenced blocks of docs/routers.md in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def block(language: str) -> str:
    [found] = blocks(language)
    return str(found)


def program(name: str, package: str) -> str:
    """The path of a router's program; ConfigurationError where it is not installed."""
    if found := shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        return found
    raise ConfigurationError(name, "not found", action=f"apt-get install {package}")
