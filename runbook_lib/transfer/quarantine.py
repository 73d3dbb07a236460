"""Rows that the target refuses, quarantined in files: one JSON line each, on disk before anything counts as done.

A file only grows. A row that is refused twice (a kill between its line and its mark) has two lines, a row that fits
later has one more that lifts it: of the lines of a key the last one counts.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from runbook_lib.errors import RowRejected, TransferError

Key = tuple[Any, ...]
LIMIT = 1_000

_appending = threading.Lock()  # ranges are copied side by side


@dataclass(frozen=True)
class Refused:
    """One line: a row that was refused, or (`lifted`) one that fits by now.

    Attributes:
        columns: The written columns; `values` are theirs in the engine's text form, none when the row was unreadable.
        reason: What the target said.
        at: ISO 8601, UTC.
    """

    channel: str
    table: str
    key: Key
    columns: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()
    reason: str = ""
    at: str = ""
    lifted: bool = False


@dataclass(frozen=True)
class Quarantine:
    """Where refused rows go: `folder/channel/table.jsonl`.

    Attributes:
        limit: Rows of one channel that may be quarantined (count); one more is an error after all.
    """

    folder: Path
    limit: int = LIMIT

    def file(self, channel: str, table: str) -> Path:
        """The file of one written table."""
        return self.folder / _safe(channel) / f"{_safe(table)}.jsonl"

    def held(self, channel: str, table: str) -> dict[tuple[str, ...], Refused]:
        """The rows that are quarantined now, by their key as text."""
        return read(self.file(channel, table))

    def put(self, row: Refused) -> None:
        """Set a row aside; returns once its line is on disk.

        Raises:
            RowRejected: `limit` rows are there already.
        """
        with _appending:
            held = sum(len(read(path)) for path in (self.folder / _safe(row.channel)).glob("*.jsonl"))
            if held >= self.limit and as_text(row.key) not in self.held(row.channel, row.table):
                raise RowRejected(
                    f"{row.table}, key {shown(row.key)}",
                    f"{row.reason}; {held} rows are in quarantine already",
                    expected=f"at most {self.limit} (quarantine_limit)",
                    state="what was copied stays, and is not copied again",
                    action=f"see {self.folder}: correct the rows or the target, then run again",
                )
            append(self.file(row.channel, row.table), row)

    def lift(self, channel: str, table: str, keys: Sequence[Key]) -> None:
        """Record that these rows, of those that are quarantined, fit now."""
        file = self.file(channel, table)
        if not file.exists():
            return
        with _appending:
            for text in read(file).keys() & {as_text(key) for key in keys}:
                append(file, Refused(channel, table, text, lifted=True))

    def forget(self, channel: str, table: str) -> None:
        """Remove the file: the table is copied again."""
        self.file(channel, table).unlink(missing_ok=True)


def read(file: Path) -> dict[tuple[str, ...], Refused]:
    """The rows that a file still holds, by their key as text.

    Raises:
        TransferError: it cannot be read, or a line of it is none of ours.
    """
    if not file.exists():
        return {}
    held: dict[tuple[str, ...], Refused] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").split("\n")[:-1], 1):
        try:
            row = _decoded(json.loads(line))
        except (ValueError, TypeError, KeyError) as error:
            if line.startswith('{"channel"'):
                continue  # cut by a kill, before anything relied on it
            raise TransferError(f"{file}:{number}", "is no line of a quarantine file") from error
        held.pop(as_text(row.key), None)
        if not row.lifted:
            held[as_text(row.key)] = row
    return held


def append(file: Path, row: Refused) -> None:
    """Add one line and wait until it is on disk."""
    fresh = not file.exists()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    given = {**asdict(row), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    line = json.dumps(given, ensure_ascii=False, default=_as_json) + "\n"
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)  # rows of the user: nobody else's to read
    try:
        size = os.fstat(descriptor).st_size
        torn = size and os.pread(descriptor, 1, size - 1) != b"\n"  # a kill cut the line before
        whole = (("\n" if torn else "") + line).encode(errors="backslashreplace")
        if os.write(descriptor, whole) < len(whole):
            raise TransferError(f"{file}", "a line was not written whole", action="make room, and run again")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if fresh:
        _sync_folder(file.parent)


def as_text(key: Sequence[Any]) -> tuple[str, ...]:
    """A key as text, whatever form it came in."""
    return tuple(str(value) for value in key)


def shown(key: Sequence[Any]) -> str:
    """A key in a message."""
    return f"({', '.join(as_text(key))})"


def counts(quarantine: Quarantine | None, channel: str, tables: Sequence[str]) -> Mapping[str, int]:
    """Quarantined rows by table (counts), tables without any left out."""
    held = {table: len(quarantine.held(channel, table)) for table in tables} if quarantine else {}
    return {table: count for table, count in held.items() if count}


def _decoded(found: Mapping[str, Any]) -> Refused:
    listed = {name: tuple(found[name]) for name in ("key", "columns", "values")}
    return Refused(**{**found, **listed})


def _as_json(value: Any) -> str:
    return "\\x" + bytes(value).hex() if isinstance(value, bytes | bytearray | memoryview) else str(value)


def _safe(name: str) -> str:
    """A name as a file's; two names never give one."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:60]
    return plain if plain == name else f"{plain}-{sha256(name.encode()).hexdigest()[:8]}"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
