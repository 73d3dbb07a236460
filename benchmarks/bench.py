"""What every benchmark shares: servers of its own, a peer beside us in turn, a ratio, a line for docs/benchmarks.md.

A benchmark is `python -m benchmarks.NAME` (`--help` says its parts); `make bench` runs them all. Figures are wall time
(seconds), best of the rounds; ours and the peer's rounds take turns, so that a busy machine is busy for both. With
`--processor-time` they are the processor time of all processes, servers too: for a machine that is not idle.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the tests' servers

RESULTS = Path(os.environ.get("RUNBOOK_BENCH_RESULTS", ROOT / ".runbook/bench"))


SERVERS: list[int] = []  # process ids of those that run now
PROCESSOR = "processor time of all processes"
_clock: list[Callable[[], float]] = [time.perf_counter]
TUNED = {"shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "30min"}


@dataclass(frozen=True)
class Outcome:
    """One line of the table: `ratio` is ours divided by the peer's, unless `unit` says what else it is."""

    name: str
    work: str
    peer: str
    ours: float
    theirs: float
    limit: float
    at_least: bool = False  # the limit is a floor
    unit: str = "s"
    command: str = ""

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs

    @property
    def met(self) -> bool:
        return self.ratio >= self.limit if self.at_least else self.ratio <= self.limit


def start(main: Callable[..., Any], **parts: Callable[[], None]) -> Any:
    """Read the command line, then run the benchmark; where it has parts, those that are named, or all of them.

    Args:
        main: The benchmark's own: its arguments, which have defaults, are the command's; with parts it is called with
            the functions that were chosen.
        parts: Name → function, whose docstring is one line.
    Returns:
        Any: what `main` returns.
    """
    module = main.__globals__
    name = module["__spec__"].name.removesuffix(".__main__")
    parser = argparse.ArgumentParser(
        prog=f"python -m {name}", description=module["__doc__"], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processor-time", action="store_true", help=f"measure the {PROCESSOR}, not wall time")
    if parts:
        told = "; ".join(f"{part}: {(each.__doc__ or '').rstrip('.')}" for part, each in parts.items())
        parser.add_argument("parts", nargs="*", metavar="PART", help=f"all by default. {told}")
    figures = {} if parts else dict(inspect.signature(main).parameters)
    for figure, each in figures.items():
        parser.add_argument(
            figure, nargs="?", type=type(each.default), default=each.default, help="%(default)s by default"
        )
    found = parser.parse_args()
    if parts and (unknown := set(found.parts) - set(parts)):
        parser.error(f"no part {', '.join(sorted(unknown))}; expected: {', '.join(parts)}")
    if found.processor_time:
        _clock[0] = _processor_s
    chosen = [parts[part] for part in found.parts or parts] if parts else [getattr(found, name) for name in figures]
    return main(*chosen)


def _processor_s() -> float:
    """Processor time so far of our finished children and of the servers with all of theirs (seconds)."""
    ours, ticks, stats = resource.getrusage(resource.RUSAGE_CHILDREN), os.sysconf("SC_CLK_TCK"), {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile: its parent has its time
            stats[int(path.parent.name)] = path.read_text().rpartition(")")[2].split()
    wanted = {pid for pid, found in stats.items() if {pid, int(found[1])} & set(SERVERS)}
    spent = sum(int(figure) for pid in wanted for figure in stats[pid][11:15])
    return ours.ru_utime + ours.ru_stime + spent / ticks


def need(*programs: str) -> Mapping[str, str]:
    """Paths of the peer's programs; ends the benchmark with its reason where one is missing."""
    found = {name: shutil.which(name) for name in programs}
    if missing := [name for name, path in found.items() if not path]:
        print(f"skipped: {', '.join(missing)} not found (Debian: apt-get install {' '.join(missing)})")
        sys.exit(0)
    return {name: str(path) for name, path in found.items()}


def best(rounds: int, ready: Callable[[], object] = lambda: None, **runs: Callable[[], object]) -> dict[str, float]:
    """The best time of each (seconds), one round of each in turn; `ready` is called before each, unmeasured."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name, run in runs.items():
            ready()
            started = _clock[0]()
            run()
            times[name].append(_clock[0]() - started)
            print(f"  round {number + 1} {name:<12} {times[name][-1]:8.2f} s", flush=True)
    return {name: min(found) for name, found in times.items()}


def report(outcome: Outcome) -> None:
    """Print one line and keep it for docs/benchmarks.md."""
    figures = f"ours {outcome.ours:,.2f} {outcome.unit}, {outcome.peer} {outcome.theirs:,.2f} {outcome.unit}"
    wanted = f"{'>=' if outcome.at_least else '<='} {outcome.limit:g}: {'met' if outcome.met else 'NOT MET'}"
    print(f"{outcome.name}: {figures}, ratio {outcome.ratio:.3f} (wanted {wanted})")
    RESULTS.mkdir(parents=True, exist_ok=True)
    work = f"{outcome.work}, {PROCESSOR}" if _clock[0] is _processor_s and outcome.unit == "s" else outcome.work
    row = {**asdict(outcome), "work": work, "ratio": outcome.ratio, "met": outcome.met, "at": time.strftime("%Y-%m-%d")}
    (RESULTS / f"{outcome.name}.json").write_text(json.dumps(row, indent=1))


def installed() -> dict[str, str]:
    """An environment in which our bytecode is kept, as an installed program's is."""
    return {**os.environ, "PYTHONPYCACHEPREFIX": str(RESULTS / "bytecode"), "PYTHONDONTWRITEBYTECODE": ""}


def runbook(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run our own command line as a user does, with its bytecode kept as an installed program's is; its output."""
    command = [sys.executable, "-m", "runbook_lib.cli", *arguments]
    within = {**installed(), **(environment or {})}
    ran = subprocess.run(command, capture_output=True, text=True, env=within, cwd=ROOT)
    if ran.returncode not in (0, 1):
        raise SystemExit(f"runbook {' '.join(arguments[:2])}: status {ran.returncode}\n{ran.stdout}{ran.stderr}")
    return ran.stdout


def run(command: Sequence[str] | str, *, cwd: str | None = None, **environment: str) -> str:
    """Run a peer; its output."""
    within, shell = {**os.environ, **environment}, isinstance(command, str)
    ran = subprocess.run(command, capture_output=True, text=True, shell=shell, env=within, cwd=cwd)
    if ran.returncode:
        raise SystemExit(f"{command}: status {ran.returncode}\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    return ran.stdout


@contextlib.contextmanager
def postgresql(name: str, *, system: bool = False, **settings: str) -> Iterator[PostgreSQLServer]:
    """A PostgreSQL cluster of its own; `system` takes Debian's (15) instead of the embedded one (18)."""
    from fix_servers import free_port

    from runbook_lib.sandbox import clusters

    directory = Path(tempfile.mkdtemp(prefix="runbook-bench-", dir="/tmp"))
    user = clusters.server_user()
    if user:
        os.chown(directory, user.pw_uid, user.pw_gid)
    binaries = _system_binaries() if system else None
    tuned = {
        **clusters.SETTINGS,
        "shared_buffers": "1GB",
        "max_wal_size": "8GB",
        "checkpoint_timeout": "30min",
        **settings,
    }
    cluster = clusters.Cluster(name, directory / name, free_port(), "bench", binaries=binaries, settings=tuned)
    cluster.start()
    pid = int((cluster.data / "postmaster.pid").read_text().split()[0])
    SERVERS.append(pid)
    try:
        yield PostgreSQLServer(cluster.port, binaries or clusters.find_binaries())
    finally:
        SERVERS.remove(pid)
        cluster.stop(fast=True)
        shutil.rmtree(directory, ignore_errors=True)


def _system_binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        print("skipped: no PostgreSQL of the system (Debian: apt-get install postgresql-15)")
        sys.exit(0)
    return found[-1].parent


@dataclass(frozen=True)
class PostgreSQLServer:
    """Superuser `postgres`, password `bench`; the URL holds it, for peers that want it so."""

    port: int
    binaries: Path

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres:bench@127.0.0.1:{self.port}/{database}"

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement outside a transaction."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def fresh(self, database: str) -> str:
        """Drop and create a database; its URL."""
        self.sql(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
        self.sql(f'CREATE DATABASE "{database}"')
        return self.url(database)

    def clear(self, *databases: str) -> None:
        """Have these empty, and nothing of before left to be written: a drop makes the next one wait for the disk."""
        for database in databases:
            self.fresh(database)
        self.sql("CHECKPOINT")


@contextlib.contextmanager
def mariadb() -> Iterator[MariaDBFixture]:
    """The tests' MariaDB, on disk and with a larger buffer pool where the test server allows it."""
    from fix_servers import MariaDBServer

    server = MariaDBServer()
    try:
        SERVERS.append(server.child.process.pid)
        server.admin("SET GLOBAL innodb_buffer_pool_size = 1073741824")
        yield MariaDBFixture(server.port, server.password, server.admin)
    finally:
        server.stop()


@dataclass(frozen=True)
class MariaDBFixture:
    """Databases named `t_…`, user `migrator`."""

    port: int
    password: str
    admin: Callable[..., None]

    def url(self, database: str) -> str:
        return f"mysql://migrator:{self.password}@127.0.0.1:{self.port}/{database}"

    def fresh(self, database: str) -> str:
        """Drop and create a database (`t_…`); its URL."""
        self.admin(f"DROP DATABASE IF EXISTS `{database}`", f"CREATE DATABASE `{database}` CHARACTER SET utf8mb4")
        return self.url(database)
