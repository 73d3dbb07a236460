"""Real servers for tests: one of each engine for a test session (each xdist worker has its own), a database a test.

A new engine is a class with `open` and `drop`, and a line in ENGINES. Where a server cannot be had: `fix_absent`.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import psycopg
import pymysql
import pytest
from fix_absent import absent
from psycopg.conninfo import make_conninfo

from runbook_lib.databases import mysql, sqlite
from runbook_lib.databases.port import Database
from runbook_lib.databases.postgresql import PostgreSQL, open_database
from runbook_lib.errors import ConfigurationError
from runbook_lib.sandbox.clusters import SETTINGS, Cluster, find_binaries, server_user
from runbook_lib.sandbox.processes import Child, spawn, wait_until


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _memory(need_bytes: int = 4 * 2**30) -> str | None:
    """A file system in memory with room enough, if this machine has one."""
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() and shutil.disk_usage(shared).free > need_bytes else None


@contextlib.contextmanager
def _stopped_on_error(server: Any) -> Iterator[None]:
    """A server that cannot start leaves no process and no directory; the end of its log is in the error."""
    try:
        yield
    except BaseException:
        server.stop()
        raise


SERVER_SETTINGS = {**SETTINGS, "max_prepared_transactions": "2"}  # a standby needs them too


class PostgresServer:
    """An embedded cluster with passwords; tests log in as `migrator`, no superuser (but on PostgreSQL 14).

    With RUNBOOK_TEST_PGBIN=/path/bin it is the PostgreSQL there.

    Attributes:
        binaries: The directory of `initdb` and `postgres`.
        port: TCP port on 127.0.0.1.
        password: Of `migrator`.
        superuser: libpq connection string of the superuser, to database postgres.
    """

    def __init__(self, binaries: Path | None = None, settings: Mapping[str, str] = SERVER_SETTINGS) -> None:
        self.binaries = binaries or Path(os.environ.get("RUNBOOK_TEST_PGBIN") or find_binaries())
        # Not pytest's tmp_path: the server's user could not reach it. In memory where there is room: each DROP
        # DATABASE is a checkpoint, and the suite takes half the time there.
        self.directory = Path(tempfile.mkdtemp(prefix="runbook-test-", dir=_memory()))
        self.port, self.password, admin = free_port(), secrets.token_urlsafe(12), secrets.token_urlsafe(12)
        place = self.directory / "postgresql"
        self.cluster = Cluster("test", place, self.port, admin, binaries=self.binaries, settings=settings)
        self.superuser = make_conninfo(
            host="127.0.0.1", port=self.port, user="postgres", password=admin, dbname="postgres"
        )
        with _stopped_on_error(self):
            self._start()

    def _start(self) -> None:
        user = server_user()
        if user:
            os.chown(self.directory, user.pw_uid, user.pw_gid)
        self.cluster.start()
        self.admin(f"CREATE ROLE migrator LOGIN CREATEDB PASSWORD '{self.password}'")
        right = "GRANT SET ON PARAMETER session_replication_role TO migrator"
        self.admin("ALTER ROLE migrator SUPERUSER" if self.superusers else right)
        self.admin("GRANT pg_read_all_stats TO migrator")
        self.admin("ALTER ROLE migrator REPLICATION")
        self.admin("CREATE ROLE app LOGIN PASSWORD 'app'")

    def admin(self, statement: str, dbname: str = "postgres") -> None:
        """Run one statement as superuser."""
        with psycopg.connect(self.superuser, dbname=dbname, autocommit=True) as connection:
            connection.execute(statement)

    @property
    def superusers(self) -> bool:
        """Whether only superusers may load without firing triggers, and the migrator is one: PostgreSQL 14."""
        with psycopg.connect(self.superuser) as connection:
            return connection.info.server_version < 150_000

    @contextlib.contextmanager
    def without_replication(self) -> Iterator[None]:
        """The migrator may not use replication slots meanwhile."""
        superuser = "SUPERUSER" if self.superusers else "NOSUPERUSER"
        self.admin("ALTER ROLE migrator NOREPLICATION NOSUPERUSER")
        try:
            yield
        finally:
            self.admin(f"ALTER ROLE migrator REPLICATION {superuser}")

    @contextlib.contextmanager
    def without_free_slot(self) -> Iterator[None]:
        """Every replication slot is taken meanwhile."""
        with psycopg.connect(self.superuser, autocommit=True) as connection:
            free = "SELECT current_setting('max_replication_slots')::int - count(*) FROM pg_replication_slots"
            others = [f"other_{number}" for number in range(connection.execute(free).fetchall()[0][0])]
            for name in others:
                connection.execute("SELECT pg_create_physical_replication_slot(%s)", (name,))
            try:
                yield
            finally:
                for name in others:
                    connection.execute("SELECT pg_drop_replication_slot(%s)", (name,))

    def url(self, dbname: str, user: str = "migrator") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{dbname}"

    def open(self, name: str, **options: Any) -> PostgreSQL:
        """A fresh database, owned by the migrator."""
        dbname = f"{name}_{secrets.token_hex(4)}"
        self.admin(f'CREATE DATABASE "{dbname}" OWNER migrator')
        self.admin("GRANT ALL ON SCHEMA public TO migrator", dbname)
        return open_database(name, self.url(dbname), self.password, options)

    def drop(self, database: Database) -> None:
        database.close()
        dbname = database.masked_url.rpartition("/")[2]
        self.admin(f'DROP DATABASE IF EXISTS "{dbname}" WITH (FORCE)')

    def stop(self) -> None:
        self.cluster.stop()  # not at once: that leaves shared memory segments behind
        shutil.rmtree(self.directory)


def system_postgresql() -> PostgresServer:
    """The system's PostgreSQL, another version than the embedded one."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise ConfigurationError("the system's PostgreSQL", "none found", action="apt-get install postgresql")
    return PostgresServer(found[-1].parent)


MYSQL_RIGHTS = (
    "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, TRIGGER, CREATE TEMPORARY TABLES,"
    " LOCK TABLES, EVENT, SHOW VIEW, CREATE VIEW, CREATE ROUTINE, ALTER ROUTINE, EXECUTE"
)


class MariaDBServer:
    """Debian's MariaDB in a directory of its own; tests log in as `migrator`, who may use the tests' databases only.

    With RUNBOOK_TEST_MYSQLD=/path/mysqld it is that server, a MySQL.

    Attributes:
        port: TCP port on 127.0.0.1.
        password: Of `migrator`.
    """

    def __init__(self) -> None:
        oracle = os.environ.get("RUNBOOK_TEST_MYSQLD")
        program = oracle or shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if not program:
            raise ConfigurationError("MariaDB", "mariadbd not found", action="apt-get install mariadb-server")
        self.directory = Path(tempfile.mkdtemp(prefix="runbook-test-", dir=_memory()))
        self.port, self.password, self.socket = free_port(), secrets.token_urlsafe(12), self.directory / "socket"
        self.child: Child | None = None
        with _stopped_on_error(self):
            self._start(program, oracle)

    def _start(self, program: str, oracle: str | None) -> None:
        user, data = _mysql_user(), self.directory / "data"
        if user:
            os.chown(self.directory, user.pw_uid, user.pw_gid)
        install = [*_installing(oracle), f"--datadir={data}", *([f"--user={user.pw_name}"] if user else [])]
        made = subprocess.run(install, capture_output=True, text=True)
        if made.returncode:
            raise ConfigurationError("MariaDB", made.stderr.strip().replace("\n", " | ")[-300:])
        command = [program, "--no-defaults", f"--datadir={data}", f"--port={self.port}", "--bind-address=127.0.0.1"]
        command += [f"--socket={self.socket}", f"--pid-file={self.directory}/pid", "--skip-log-bin"]
        command += [f"--tmpdir={self.directory}"]  # a server that starts removes what another has in /tmp
        command += ["--local-infile=1", "--mysqlx=OFF", "--secure-file-priv=NULL"] if oracle else []
        command += ["--innodb-buffer-pool-size=256M", "--innodb-flush-log-at-trx-commit=2", "--skip-name-resolve"]
        self.child = spawn(
            "MariaDB", command, log=self.directory / "log", user=user, environment={"TZ": "UTC"},
            death_signal=signal.SIGTERM,
        )  # fmt: skip
        wait_until(self._ready, 30.0, "MariaDB", self.child)
        self.admin(
            f"CREATE USER migrator@`127.0.0.1` IDENTIFIED BY '{self.password}'",
            f"GRANT {MYSQL_RIGHTS} ON `t\\_%`.* TO migrator@`127.0.0.1`",
            "GRANT PROCESS ON *.* TO migrator@`127.0.0.1`",
            "CREATE USER app@`127.0.0.1` IDENTIFIED BY 'app'",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON `t\\_%`.* TO app@`127.0.0.1`",
            *(["INSTALL COMPONENT 'file://component_classic_hashing'"] if self._lacks_md5() else []),
            *(["GRANT XA_RECOVER_ADMIN ON *.* TO migrator@`127.0.0.1`"] if oracle else []),
            *(["GRANT FLUSH_TABLES ON *.* TO migrator@`127.0.0.1`"] if oracle else []),
        )

    def _lacks_md5(self) -> bool:
        try:
            self.admin("SELECT md5('')")
        except pymysql.MySQLError:
            return True
        return False

    def _ready(self) -> bool:
        return "ready for connections" in (self.directory / "log").read_text(errors="replace")

    def admin(self, *statements: str) -> None:
        """Run statements as root, through the socket."""
        connection = pymysql.connect(unix_socket=str(self.socket), user="root", autocommit=True)
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def url(self, dbname: str, user: str = "migrator") -> str:
        return f"mysql://{user}@127.0.0.1:{self.port}/{dbname}"

    def open(self, name: str, **options: Any) -> mysql.MySQL:
        """A fresh database that the migrator may use."""
        dbname = f"t_{name}_{secrets.token_hex(4)}"
        self.admin(f"CREATE DATABASE `{dbname}` CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
        return mysql.open_database(name, self.url(dbname), self.password, options)

    def drop(self, database: Database) -> None:
        database.close()
        self.admin(f"DROP DATABASE IF EXISTS `{database.masked_url.rpartition('/')[2]}`")

    def stop(self) -> None:
        if self.child:
            self.child.stop(signal.SIGTERM, 30.0)
        shutil.rmtree(self.directory)


def _installing(mysqld: str | None) -> list[str]:
    """The command that makes an empty data directory."""
    if mysqld:
        return [mysqld, "--no-defaults", "--initialize-insecure"]
    install = ["mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal"]
    return [*install, "--skip-test-db"]


def _mysql_user() -> pwd.struct_passwd | None:
    """MariaDB refuses root: its own user then, else the one that PostgreSQL runs as; None means ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("mysql")
    except KeyError:
        return server_user()


class SQLiteFiles:
    """No server: a directory, with a file for each database."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="runbook-test-", dir=_memory()))

    def open(self, name: str, **options: Any) -> sqlite.SQLite:
        """A fresh file in WAL mode, where readers and the writer do not wait for each other."""
        file = self.directory / f"{name}_{secrets.token_hex(4)}.db"
        with contextlib.closing(sqlite3.connect(file)) as driver:
            driver.execute("PRAGMA journal_mode = WAL")
        return sqlite.open_database(name, f"sqlite:///{file}", None, options)

    def drop(self, database: Database) -> None:
        database.close()

    def stop(self) -> None:
        shutil.rmtree(self.directory)


ENGINES = {"postgresql": PostgresServer}
# Servers of tests that say themselves which engines they are for.
SERVERS: dict[str, Any] = {**ENGINES, "mysql": MariaDBServer, "sqlite": SQLiteFiles}
SERVERS["system postgresql"] = system_postgresql


class Servers:
    """An engine's server, started when a test first asks for it; one that does not start is not tried again."""

    def __init__(self) -> None:
        self.running: dict[str, Any] = {}
        self._refused: dict[str, str] = {}

    def get(self, engine: str) -> Any:
        if engine not in self.running and engine not in self._refused:
            try:
                self.running[engine] = SERVERS[engine]()
            except ConfigurationError as error:
                self._refused[engine] = f"no {engine} server: {error}"
        return self.running[engine] if engine in self.running else absent(self._refused[engine])


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[str], Any]]:
    """Gives an engine's server; stops all at the end."""
    started = Servers()
    yield started.get
    for server in started.running.values():
        server.stop()


@pytest.fixture(params=sorted(ENGINES))
def server(request: pytest.FixtureRequest, servers: Callable[[str], PostgresServer]) -> PostgresServer:
    """The server of the engine under test."""
    return servers(request.param)


@pytest.fixture
def postgresql_server(servers: Callable[[str], PostgresServer]) -> PostgresServer:
    """For tests that concern PostgreSQL alone."""
    return servers("postgresql")


@pytest.fixture
def mariadb_server(servers: Callable[[str], Any]) -> MariaDBServer:
    """For tests that concern MySQL and MariaDB alone."""
    return cast(MariaDBServer, servers("mysql"))


@pytest.fixture
def new_on(servers: Callable[[str], Any]) -> Iterator[Callable[..., Any]]:
    """Makes databases by engine and name, e.g. `new_on("mysql", "source")`; they are dropped after the test."""
    made: list[tuple[Any, Database]] = []

    def make(engine: str, name: str, **options: Any) -> Database:
        server = servers(engine)
        made.append((server, server.open(name, **options)))
        return made[-1][1]

    yield make
    for server, database in made:
        server.drop(database)


@pytest.fixture
def new_database(server: PostgresServer) -> Iterator[Callable[..., Any]]:
    """Makes databases, by name, that are dropped after the test."""
    made: list[Database] = []

    def make(name: str, **options: Any) -> Database:
        made.append(server.open(name, **options))
        return made[-1]

    yield make
    for database in made:
        server.drop(database)


@pytest.fixture
def database(new_database: Callable[..., Any]) -> Any:
    """An empty database."""
    return new_database("source")


@pytest.fixture
def target(new_database: Callable[..., Any]) -> Any:
    """A second empty database."""
    return new_database("target")
