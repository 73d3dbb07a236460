"""Facts, missing rights, statistics, backup by SQLite's backup API, and locks that die with their process."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from runbook_lib.databases import adapter_helpers
from runbook_lib.databases.port import BackupInfo, Problem, ServerFacts
from runbook_lib.databases.sqlite import quoting
from runbook_lib.errors import ConfigurationError, DatabaseError

if TYPE_CHECKING:
    from runbook_lib.databases.sqlite.adapter_port import SQLitePort

PAGES_A_STEP = 20_000
FILE = "database.sqlite"


def facts(db: SQLitePort) -> ServerFacts:
    """Describe the library and the file."""
    with db.reading("reading the database") as driver:
        [pages], [page], [encoding] = (
            driver.execute(f"PRAGMA {what}").fetchone() for what in ("page_count", "page_size", "encoding")
        )
    return ServerFacts(
        dialect="sqlite",
        version=sqlite3.sqlite_version_info,
        version_text=f"SQLite {sqlite3.sqlite_version}",
        encoding=encoding,
        collation="BINARY",
        size_bytes=pages * page,
        max_connections=0,  # no limit of its own
        read_only=not _writable(db.path),
        data_directory_free_bytes=shutil.disk_usage(db.path.parent).free,
    )


def privileges_missing(db: SQLitePort, role: str) -> list[Problem]:
    """What the role needs of the file and its directory; both sides write (log tables, progress)."""
    if role == "reader":  # it is open: all of it can be read
        return []
    subject, problems = f"database {db.name}", []
    if not os.access(db.path, os.W_OK):
        problems.append(Problem(subject, f"{db.path} may not be written to", f"chmod u+w {db.path}"))
    if not os.access(db.path.parent, os.W_OK):
        text = f"no file may be made in {db.path.parent}: SQLite keeps its journal there"
        problems.append(Problem(subject, text, f"chmod u+w {db.path.parent}"))
    if role == "source" and db.journal_mode != "wal":
        text = f"journal mode {db.journal_mode}: writers wait while a range is read"
        problems.append(Problem(subject, text, "PRAGMA journal_mode = WAL", blocking=False))
    return problems


def _writable(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def analyze(db: SQLitePort, tables: Sequence[str]) -> None:
    """Gather statistics, one transaction a table."""
    for table in tables:
        db.execute(f"ANALYZE {quoting.quote(table)}")


def backup(db: SQLitePort, directory: Path, *, on_progress: Callable[[int], None] | None = None) -> BackupInfo:
    """Copy the whole database into a directory that must not exist or be empty; all of it or nothing.

    Args:
        on_progress: Told the bytes written, after each 20,000 pages.
    Raises:
        ConfigurationError: the directory is in use, or its disk lacks room.
        DatabaseError: SQLite refused, or the copy fails its integrity check.
    """
    started = time.monotonic()
    adapter_helpers.require_empty(directory)
    size = db.facts().size_bytes
    existing = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    if shutil.disk_usage(existing).free < size:
        raise ConfigurationError(str(directory), f"less than {size / 2**20:.0f} MiB free", state="nothing was written")
    with adapter_helpers.filled_folder(directory) as partial:
        tables = _copy_pages(db, partial / FILE, on_progress)
    file = directory / FILE
    return BackupInfo(directory, file.stat().st_size, adapter_helpers.digest(file), time.monotonic() - started, tables)


def _copy_pages(db: SQLitePort, file: Path, on_progress: Callable[[int], None] | None) -> int:
    def told(_: int, remaining: int, total: int) -> None:
        if on_progress:
            on_progress((total - remaining) * 4096)

    # The read transaction keeps the snapshot: otherwise each write of another connection starts the copy again.
    with db.reading("backing up") as driver:
        driver.execute("SELECT count(*) FROM sqlite_master").fetchone()
        copy = sqlite3.connect(file)
        try:
            driver.backup(copy, pages=PAGES_A_STEP, progress=told)
            _require_sound(copy, file)
            found = copy.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()
        finally:
            copy.close()
    return int(found[0])


def _require_sound(copy: sqlite3.Connection, file: Path) -> None:
    said = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if said != "ok":
        raise DatabaseError(
            f"backup {file}", f"integrity check: {said}", action="check the source by PRAGMA integrity_check"
        )


def restore(db: SQLitePort, backup: BackupInfo, database: str) -> None:
    """Restore a backup into a new database beside this one: a file of that name, in the same directory.

    Raises:
        DatabaseError: the backup is not what it was, or the file exists.
    """
    file, target = backup.path / FILE, db.path.with_name(database)
    if not file.is_file() or adapter_helpers.digest(file) != backup.sha256:
        raise DatabaseError(f"backup {backup.path}", "is not what was written: its digest differs or it is gone")
    if target.exists():
        raise DatabaseError(f"database {target}", "exists already", state="nothing was restored")
    partial = target.with_name(f".{target.name}.partial")
    try:
        shutil.copyfile(file, partial)
        copy = sqlite3.connect(partial)
        try:
            _require_sound(copy, partial)
        finally:
            copy.close()
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def scratch(
    db: SQLitePort, backup: BackupInfo, when_filled: Callable[[SQLitePort], object] | None = None
) -> Iterator[SQLitePort]:
    """The backup restored into a file beside this one, opened; removed at the end.

    Its name is a digest of the backup's path: what an attempt that was killed left is found again, and replaced.
    """
    place = hashlib.sha256(str(backup.path.absolute()).encode()).hexdigest()[:12]
    target = db.path.with_name(f"{db.path.stem}.proof-{place}{db.path.suffix}")
    target.unlink(missing_ok=True)
    restore(db, backup, target.name)
    opened = type(db)(f"{db.name} (restored)", target, {})
    try:
        if when_filled:
            when_filled(opened)
        yield opened
    finally:
        opened.close()
        for file in target.parent.glob(f"{target.name}*"):  # what WAL leaves beside it, too
            file.unlink()


@contextmanager
def advisory_lock(db: SQLitePort, name: str) -> Iterator[bool]:
    """A lock on a file beside the database: granted once, gone with the process, however it ends; never waits."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    path = db.path.with_name(f".{db.path.name}.runbook-{digest}.lock")
    descriptor = _locked(db, path)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            path.unlink(missing_ok=True)  # still locked: whoever has it open already finds it gone, and tries again
            os.close(descriptor)


def _locked(db: SQLitePort, path: Path) -> int | None:
    while True:
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DatabaseError(f"database {db.name}", f"no lock file may be made: {error}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if path.exists() and path.stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
        os.close(descriptor)
