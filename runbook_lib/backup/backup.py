"""Backups that are proven: estimated, taken, restored into a scratch database and compared, kept as long as needed.

What is known of a backup lies beside it (`<database>.json`), not only in the journal of the run that took it: the
next estimate is made from it, and retention must know which backup was the last that could be restored.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runbook_lib.databases.port import BackupInfo, Database
from runbook_lib.errors import RunbookError
from runbook_lib.schema.snapshot import Shape, differences, in_words, shape_of
from runbook_lib.util.redact import mask

LOOKS, PAUSE_S = 5, 0.2  # at a table whose rows differ; seconds between two
SHARE, BYTES_A_SECOND = 0.5, 30e6  # compressed text of a database, until one was measured here


@dataclass(frozen=True)
class Estimate:
    """What a backup will take, before it is taken; `measured` says whether it rests on an earlier one."""

    size_bytes: int
    seconds: float
    free_bytes: int
    measured: bool = False

    @property
    def fits(self) -> bool:
        return self.size_bytes <= self.free_bytes

    def __str__(self) -> str:
        basis = "as measured before" if self.measured else "a rough figure: none was measured here"
        return f"about {self.size_bytes / 1e6:,.1f} MB in {self.seconds:,.0f} s ({basis})"


@dataclass(frozen=True)
class Proof:
    """What restoring a backup showed; `problems` empty: it holds what it should.

    Attributes:
        rows: Rows restored (count), all tables.
        restore_s: Restoring it into the scratch database, its rows counted meanwhile (seconds).
        compare_s: Comparing its schema, and counting again what others wrote to (seconds).
    """

    problems: tuple[str, ...]
    tables: int = 0
    rows: int = 0
    restore_s: float = 0.0
    compare_s: float = 0.0


@dataclass(frozen=True)
class Backup:
    """One backup with everything known of it, as it lies on the disk."""

    database: str
    taken_at: str
    info: BackupInfo
    source_bytes: int
    proof: Proof
    removed: tuple[str, ...] = field(default=(), compare=False)

    @property
    def proven(self) -> bool:
        return not self.proof.problems

    def __str__(self) -> str:
        info, proof = self.info, self.proof
        text = f"{self.database}: {info.size_bytes / 1e6:.1f} MB in {info.elapsed_s:.1f} s, {info.tables} tables"
        return text + f"; restored in {proof.restore_s:.1f} s, {proof.rows:,} rows" if self.proven else text


def estimate(database: Database, directory: Path) -> Estimate:
    """Size and time of a backup of this database, from the last one taken here, or roughly.

    Args:
        directory: Where it would go, `…/<run_id>/<database>`.
    """
    source_bytes = database.facts().size_bytes
    free = shutil.disk_usage(next(path for path in directory.absolute().parents if path.exists())).free
    last = next(iter(known(directory.parent.parent, directory.name)), None)
    if last is None or not last.source_bytes:
        return Estimate(int(source_bytes * SHARE), source_bytes / BYTES_A_SECOND, free)
    share = source_bytes / last.source_bytes
    return Estimate(int(last.info.size_bytes * share), last.info.elapsed_s * share, free, measured=True)


def take(database: Database, directory: Path, *, jobs: int = 2, keep: int = 3, progress: Any = None) -> Backup:
    """Back a database up and prove it by restoring it; what an attempt that was killed left is replaced.

    Args:
        directory: `…/<run_id>/<database>`: the backup, with its JSON beside it.
        keep: How many backups of this database stay (count); the last proven one always does.
        progress: Told the bytes written.
    Returns:
        Backup: whose proof may name problems; only what prevents the backup itself is raised.
    """
    directory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # every row of the source: nobody else's to read
    manifest = directory.with_name(f"{directory.name}.json")
    manifest.unlink(missing_ok=True)  # first: it must not speak of a backup that is gone
    shutil.rmtree(directory, ignore_errors=True)
    before, shape = counts(database), shape_of(database)
    info = database.backup(directory, jobs=jobs, on_progress=progress)
    proof = prove(database, info, before, shape)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    backup = Backup(directory.name, now, info, database.facts().size_bytes, proof)
    partial = manifest.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(backup), default=str, indent=1) + "\n")
    partial.rename(manifest)
    return replace(backup, removed=retain(directory.parent.parent, directory.name, keep))


def prove(database: Database, info: BackupInfo, before: Mapping[str, int], shape: Shape) -> Proof:
    """Restore a backup into a scratch database and hold it against the database as it was.

    A table whose rows changed meanwhile is counted again, five times at most: what was restored must lie between the
    fewest and the most rows seen, by as much as they differ.

    Args:
        before: Rows by table, counted before the backup was taken.
        shape: The schema at that time.
    """
    begun = time.monotonic()
    found: dict[str, int] = {}
    try:
        with database.scratch(info, lambda restored: found.update(counts(restored))) as restored:
            restore_s = time.monotonic() - begun
            problems = [f"schema: {in_words(wrong)}"] if (wrong := differences(shape, shape_of(restored))) else []
    except RunbookError as error:
        why = f"{error.subject}: {error.observed}" + (f" ({error.action})" if error.action else "")
        return Proof((f"it cannot be restored: {mask(why)}",))
    problems += _missing(database, before, found)
    compare_s = time.monotonic() - begun - restore_s
    return Proof(tuple(problems), len(found), sum(found.values()), round(restore_s, 3), round(compare_s, 3))


def _missing(database: Database, before: Mapping[str, int], found: Mapping[str, int]) -> list[str]:
    """Tables whose restored rows cannot be explained by what others write."""
    seen = {name: [count] for name, count in before.items() if found.get(name) != count}
    for look in range(LOOKS):
        if not seen:
            break
        time.sleep(PAUSE_S if look else 0)  # a table that is written to all the time may have the same count twice
        for name, count in counts(database, sorted(seen)).items():
            seen[name].append(count)
        seen = {name: rows for name, rows in seen.items() if not _explained(found.get(name, -1), rows)}
    return [f"{name}: {found.get(name, 0):,} rows restored, {rows[0]:,} were there" for name, rows in seen.items()]


def _explained(restored: int, seen: list[int]) -> bool:
    low, high = min(seen), max(seen)
    return low - (high - low) <= restored <= high + (high - low)


def counts(database: Database, tables: list[str] | None = None) -> dict[str, int]:
    """Rows of each table, or of these."""
    names = sorted(database.catalog()) if tables is None else tables
    return {name: int(database.rows(f"SELECT count(*) FROM {database.quote(name)}")[0][0]) for name in names}


def known(root: Path, name: str) -> list[Backup]:
    """The backups of a database below this folder, the newest first; one that was never finished is none."""
    found = []
    for file in root.glob(f"*/{name}.json"):
        values = json.loads(file.read_text())
        info = BackupInfo(**{**values["info"], "path": file.with_name(name)})
        proof = Proof(**{**values["proof"], "problems": tuple(values["proof"]["problems"])})
        found.append(Backup(name, values["taken_at"], info, values["source_bytes"], proof))
    return sorted(found, key=lambda backup: backup.taken_at, reverse=True)


def retain(root: Path, name: str, keep: int) -> tuple[str, ...]:
    """Remove all but the newest backups of a database; the last proven one is never removed.

    Returns:
        tuple[str, ...]: the folders removed.
    """
    found = known(root, name)
    kept = found[:keep]
    if not any(backup.proven for backup in kept):
        kept += [backup for backup in found if backup.proven][:1]
    removed = []
    for backup in (one for one in found if one not in kept):
        shutil.rmtree(backup.info.path, ignore_errors=True)
        backup.info.path.with_name(f"{name}.json").unlink(missing_ok=True)
        with suppress(OSError):  # other databases' backups of that run are still in it
            backup.info.path.parent.rmdir()
        removed.append(str(backup.info.path))
    return tuple(removed)
