"""A complete logical backup (pg_dump, directory format), and its restore into a scratch database that proves it."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from runbook_lib.databases import adapter_helpers
from runbook_lib.databases.identifiers import own_name
from runbook_lib.databases.port import BackupInfo
from runbook_lib.databases.postgresql import client_programs, connection, quoting
from runbook_lib.errors import ConfigurationError, DatabaseError

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

_LOCALE = """
SELECT pg_encoding_to_char(encoding), datcollate, datctype, to_jsonb(d) ->> 'datlocprovider',
       coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale')
FROM pg_database d WHERE datname = current_database()
"""


# A scratch database need not survive a crash of the server: nor does its filling go to the log, and so to replicas and
# archives. All of its tables or none: a foreign key may not lead from a logged table to one that is not, partitioned
# tables are always logged, and a publication takes no other.
_UNLOGGED = """
SELECT format('ALTER TABLE %I.%I SET UNLOGGED', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
  AND NOT EXISTS (SELECT FROM pg_class WHERE relkind = 'p')
"""
_PUBLISHED = "SELECT EXISTS (SELECT FROM pg_publication_rel)"
_MOST_UNLOGGED = 500  # tables, in one transaction: the server's table of locks has 6,400 places

_SCRATCH_SETTINGS = "-c synchronous_commit=off -c maintenance_work_mem=256MB"

# A pg_restore newer than the server sets what the server does not know; every other error counts.
_NEWER_SETTING = r'unrecognized configuration parameter "\w+_timeout"'


def backup(
    db: PostgreSQLPort, directory: Path, *, jobs: int = 2, on_progress: Callable[[int], None] | None = None
) -> BackupInfo:
    """Dump the whole database into `directory`, which must not exist or be empty; there is either all of it or nothing.

    Args:
        jobs: Tables dumped at a time (count), all in one snapshot.
        on_progress: Told the bytes written, about four times a second.
    Raises:
        ConfigurationError: the directory is in use, or its disk lacks room.
        DatabaseError: pg_dump failed.
    """
    adapter_helpers.require_empty(directory)
    started = time.monotonic()
    _require_room(directory, db.facts().size_bytes // 2)  # compressed; measured 0.2 to 0.5 of the size
    arguments = ["--format=directory", f"--jobs={jobs}", "--compress=1", "--encoding=UTF8"]
    with adapter_helpers.filled_folder(directory) as partial:
        watch = (lambda: on_progress(_size(partial))) if on_progress else None
        client_programs.run(db, "pg_dump", [*arguments, f"--file={partial}", "--lock-wait-timeout=10s"], watch=watch)
        listing = client_programs.run(db, "pg_restore", ["--list", str(partial)])
    tables = sum(" TABLE DATA " in line for line in listing.splitlines())
    if on_progress:
        on_progress(_size(directory))
    return BackupInfo(directory, _size(directory), digest(directory), client_programs.elapsed(started), tables)


def digest(directory: Path) -> str:
    """SHA-256 over the names and contents of a backup's files, in order of their names."""
    whole = hashlib.sha256()
    for file in sorted(path for path in directory.iterdir() if path.is_file()):
        with file.open("rb") as content:
            inner = hashlib.file_digest(content, "sha256").hexdigest()
        whole.update(f"{inner}  {file.name}\n".encode())
    return whole.hexdigest()


def restore(
    db: PostgreSQLPort, backup: BackupInfo, database: str, *, when_filled: Callable[[], object] | None = None
) -> None:
    """Restore a backup into a new database of the same server, all or nothing.

    Args:
        when_filled: Called once the rows are in, beside the building of indexes and constraints. The database is then
            one to inspect: a crash of the server may empty its tables.
    Raises:
        DatabaseError: the backup is not what it was, the database exists, the disk lacks room, or pg_restore failed;
            the scratch database is dropped again.
    """
    if not backup.path.is_dir() or digest(backup.path) != backup.sha256:
        raise DatabaseError(f"backup {backup.path}", "is not what was written: its digest differs or it is gone")
    facts = db.facts()
    free = facts.data_directory_free_bytes
    if free is not None and free < facts.size_bytes:
        raise _no_room(f"database {db.name}", free, facts.size_bytes)
    _create(db, database)
    with ThreadPoolExecutor(1, "runbook-restored") as beside:
        try:
            if when_filled is None:
                _load(db, backup, database)
                return
            _load(db, backup, database, "pre-data")
            _without_log(db, database)
            _load(db, backup, database, "data")
            looking = beside.submit(when_filled)
            _load(db, backup, database, "post-data")
            looking.result()
        except BaseException as error:
            _drop(db, database, error)  # which ends the session of who looks, too
            raise


def _load(db: PostgreSQLPort, backup: BackupInfo, database: str, section: str = "") -> None:
    """Identical to what was dumped but for owners: whoever proves a backup need not be its owner."""
    arguments = ["--no-owner", "--no-privileges", "--jobs=2", *([f"--section={section}"] if section else [])]
    arguments.append(str(backup.path))
    client_programs.run(
        db, "pg_restore", arguments, dbname=database, harmless=_NEWER_SETTING, settings=_SCRATCH_SETTINGS
    )


def _without_log(db: PostgreSQLPort, database: str) -> None:
    """The tables of a scratch database are not logged, where all of them can be so."""
    if db.rows(_PUBLISHED)[0][0]:
        return
    with (
        closing(connection.connect(db.name, db.login, dbname=database)) as driver,
        suppress(psycopg.Error),
        driver.transaction(),
    ):
        statements = [statement for (statement,) in driver.execute(_UNLOGGED.encode())]
        for statement in statements if len(statements) <= _MOST_UNLOGGED else ():
            driver.execute(statement)


@contextmanager
def scratch(
    db: PostgreSQLPort, backup: BackupInfo, when_filled: Callable[[PostgreSQLPort], object] | None = None
) -> Iterator[PostgreSQLPort]:
    """The backup restored into a scratch database of the same server, opened; dropped at the end.

    Its name is the backup's path: what an attempt that was killed left is found again, and dropped first.
    """
    name = own_name("runbook", str(backup.path.absolute()))
    _outside(db, f"DROP DATABASE IF EXISTS {quoting.ident(name)} WITH (FORCE)", f"dropping database {name}")
    login = replace(db.login, parameters={**db.login.parameters, "dbname": name}, masked_url=f"scratch database {name}")
    opened = type(db)(f"{db.name} (restored)", login, {"pool_size": 1})
    opened.settings["lock_timeout"] = "0"  # whoever counts waits for the building of a primary key, however long
    try:
        restore(db, backup, name, when_filled=lambda: when_filled(opened) if when_filled else None)
        yield opened
    finally:
        opened.close()
        _outside(db, f"DROP DATABASE IF EXISTS {quoting.ident(name)} WITH (FORCE)", f"dropping database {name}")


def _create(db: PostgreSQLPort, database: str) -> None:
    encoding, collate, ctype, provider, locale = db.rows(_LOCALE)[0]
    quoted = [f"'{value}'" if value else "" for value in (collate, ctype, locale)]
    options = f"TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE {quoted[0]} LC_CTYPE {quoted[1]}"
    if provider == "i":
        options += f" LOCALE_PROVIDER icu ICU_LOCALE {quoted[2]}"
    elif provider == "b":
        options += f" LOCALE_PROVIDER builtin BUILTIN_LOCALE {quoted[2]}"
    _outside(db, f"CREATE DATABASE {quoting.ident(database)} {options}", f"creating database {database}")


def _drop(db: PostgreSQLPort, database: str, error: BaseException) -> None:
    try:
        _outside(db, f"DROP DATABASE {quoting.ident(database)} WITH (FORCE)", f"dropping database {database}")
    except DatabaseError as second:
        error.add_note(str(second))


def _outside(db: PostgreSQLPort, statement: str, doing: str) -> None:
    """Run what PostgreSQL does not allow in a transaction."""
    driver = connection.connect(db.name, db.login)
    try:
        driver.autocommit = True
        driver.execute(statement)
    except psycopg.Error as error:
        raise db.explain(error, doing) from error
    finally:
        driver.close()


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.glob("*") if path.is_file())


def _require_room(directory: Path, need_bytes: int) -> None:
    existing = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < need_bytes:
        raise _no_room(str(directory), free, need_bytes)


def _no_room(subject: str, free: int, need: int) -> ConfigurationError:
    return ConfigurationError(
        subject,
        f"{free / 2**30:.2f} GiB free",
        expected=f"at least {need / 2**30:.2f} GiB",
        state="nothing was written",
        action="free some room, or choose another place",
    )
