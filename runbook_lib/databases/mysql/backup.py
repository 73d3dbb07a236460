"""A complete logical backup by the server's own dump program, and its restore into a scratch database."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pymysql

from runbook_lib.databases import adapter_helpers
from runbook_lib.databases.mysql import connection, quoting
from runbook_lib.databases.port import BackupInfo
from runbook_lib.errors import ConfigurationError, DatabaseError
from runbook_lib.util.text import one_line

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

FILE = "database.sql.gz"
_BLOCK = 1 << 18


def backup(db: MySQLPort, directory: Path, *, on_progress: Callable[[int], None] | None = None) -> BackupInfo:
    """Dump the whole database (routines, triggers and events too) in one snapshot; there is all of it or nothing.

    Args:
        on_progress: Told the bytes written.
    Raises:
        ConfigurationError: the directory is not empty, or the dump program is missing.
        DatabaseError: the dump failed.
    """
    adapter_helpers.require_empty(directory)
    started, tables = time.monotonic(), 0
    program = _program(db, "mariadb-dump", "mysqldump")
    what = ["--single-transaction", "--quick", "--hex-blob", "--routines", "--triggers", "--events"]
    what += ["--default-character-set=utf8mb4", "--tz-utc", "--no-tablespaces"]
    if b"MariaDB" not in subprocess.run([program, "--version"], capture_output=True, check=False).stdout:
        what += ["--set-gtid-purged=OFF"]  # to restore it would ask for rights over the server
    with (
        adapter_helpers.filled_folder(directory) as partial,
        _options(db) as options,
        gzip.open(partial / FILE, "wb", compresslevel=1) as file,
        _started([program, f"--defaults-extra-file={options}", *what, db.login.database]) as process,
    ):
        stdout: IO[bytes] = process.stdout  # type: ignore[assignment]  # a pipe: asked for below
        last = b""
        while block := stdout.read(_BLOCK):
            file.write(block)
            tables += (last[-13:] + block).count(b"\nCREATE TABLE ") - last[-13:].count(b"\nCREATE TABLE ")
            last = block
            if on_progress:
                on_progress((partial / FILE).stat().st_size)
    whole, elapsed_s = directory / FILE, round(time.monotonic() - started, 3)
    return BackupInfo(directory, whole.stat().st_size, adapter_helpers.digest(whole), elapsed_s, tables)


def restore(db: MySQLPort, backup: BackupInfo, database: str) -> None:
    """Restore a backup into a new database of the same server, all or nothing.

    Raises:
        DatabaseError: the backup is not what it was, the database exists, or the restore failed (it is dropped then).
    """
    if not (backup.path / FILE).is_file() or adapter_helpers.digest(backup.path / FILE) != backup.sha256:
        raise DatabaseError(f"backup {backup.path}", "is not what was written: its digest differs or it is gone")
    program = _program(db, "mariadb", "mysql")
    facts = db.facts()
    charset = f"CHARACTER SET {facts.encoding} COLLATE {facts.collation}"
    _outside(db, f"CREATE DATABASE {quoting.ident(database)} {charset}")
    try:
        with _options(db) as options, gzip.open(backup.path / FILE, "rb") as file:
            command = [program, f"--defaults-extra-file={options}", "--default-character-set=utf8mb4", database]
            with _started(command, stdin=subprocess.PIPE) as process:
                stdin: IO[bytes] = process.stdin  # type: ignore[assignment]  # a pipe: asked for
                try:
                    shutil.copyfileobj(file, stdin, _BLOCK)
                    stdin.close()
                except BrokenPipeError:
                    process.wait()  # its own complaint says why
    except BaseException as error:
        try:
            _outside(db, f"DROP DATABASE {quoting.ident(database)}")
        except DatabaseError as second:
            error.add_note(str(second))
        raise


@contextmanager
def scratch(
    db: MySQLPort, backup: BackupInfo, when_filled: Callable[[MySQLPort], object] | None = None
) -> Iterator[MySQLPort]:
    """The backup restored into a scratch database of the same server, opened; dropped at the end.

    Its name begins with the database's own, so that a grant on a pattern of names covers both, and ends with a digest
    of the backup's path: what an attempt that was killed left is found again, and dropped first.
    """
    place = hashlib.sha256(str(backup.path.absolute()).encode()).hexdigest()[:12]
    name = f"{db.login.database[:40]}_proof_{place}"
    _outside(db, f"DROP DATABASE IF EXISTS {quoting.ident(name)}")
    restore(db, backup, name)
    login = replace(db.login, database=name, masked_url=f"scratch database {name}")
    opened = type(db)(f"{db.name} (restored)", login, {"pool_size": 1})
    try:
        if when_filled:
            when_filled(opened)
        yield opened
    finally:
        opened.close()
        _outside(db, f"DROP DATABASE IF EXISTS {quoting.ident(name)}")


def _program(db: MySQLPort, maria: str, other: str) -> str:
    """The server's own program before its cousin's: MariaDB's dump has values for MySQL's generated columns."""
    candidates = (maria, other) if db.flavour[0] == "MariaDB" else (other, maria)
    for name in candidates:
        if found := shutil.which(name):
            return found
    raise ConfigurationError(candidates[0], "not found", action="install mariadb-client or mysql-client")


@contextmanager
def _options(db: MySQLPort) -> Iterator[Path]:
    """The login in a file that only we can read: neither a command line nor an environment shows a password."""
    descriptor, name = tempfile.mkstemp(prefix="runbook-", suffix=".cnf")
    values = {"host": db.login.host, "port": str(db.login.port), "user": db.login.user, "password": db.login.password}
    values |= {key.replace("unix_socket", "socket").replace("_", "-"): v for key, v in db.login.options.items()}
    try:
        with os.fdopen(descriptor, "w") as file:
            quoted = {key: value.replace("\\", "\\\\").replace('"', '\\"') for key, value in values.items()}
            file.write("[client]\n" + "".join(f'{key} = "{value}"\n' for key, value in quoted.items()))
            file.write("protocol = tcp\n" if "unix_socket" not in db.login.options else "")
        yield Path(name)
    finally:
        Path(name).unlink()


@contextmanager
def _started(command: list[str], stdin: int = subprocess.DEVNULL) -> Iterator[subprocess.Popen[bytes]]:
    """A program whose failure is an error in one line, and which never outlives an error of ours."""
    with tempfile.TemporaryFile() as complaints:
        stdout = subprocess.DEVNULL if stdin == subprocess.PIPE else subprocess.PIPE
        process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=complaints)
        try:
            yield process
            process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        finally:
            for stream in (process.stdin, process.stdout):
                if stream and not stream.closed:
                    stream.close()
        if process.returncode:
            complaints.seek(0)
            said = one_line(complaints.read().decode(errors="replace")) or f"status {process.returncode}"
            raise DatabaseError(Path(command[0]).name, said)


def _outside(db: MySQLPort, statement: str) -> None:
    driver = connection.connect(db.name, db.login)
    try:
        with driver.cursor() as cursor:
            cursor.execute(statement)
    except pymysql.MySQLError as error:
        raise db.explain(error, one_line(statement, 60)) from error
    finally:
        driver.close()
