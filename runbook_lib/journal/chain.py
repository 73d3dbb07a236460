"""Entries and their chain: anybody can recompute it from the exported lines with SHA-256 alone."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cached_property
from pathlib import PurePath
from typing import Any

from runbook_lib.errors import JournalError
from runbook_lib.journal import former_kinds
from runbook_lib.journal.content import AnyContent, Content, Unknown


@dataclass(frozen=True)
class Entry:
    """One line of the record.

    Attributes:
        seq: 1, 2, 3 … within the run, without gaps.
        at: UTC, ISO 8601 with microseconds.
        payload_json: Canonical JSON text, exactly as it was hashed.
        previous_hash: `hash` of the entry before; empty for the first.
        hash: SHA-256 (hex) of the canonical JSON of all the other fields.
    """

    seq: int
    run_id: str
    at: str
    actor: str
    phase: str
    step: str
    kind: str
    payload_json: str
    previous_hash: str
    hash: str = ""

    @cached_property
    def content(self) -> Content | Unknown:
        """What it says: an instance of its kind's class (kinds.py), whichever version wrote it.

        Raises:
            JournalError: a field is missing.
        """
        try:
            return former_kinds.read(self.kind, self.step, self.payload)
        except TypeError as error:
            raise JournalError(f"entry {self.seq} ({self.kind})", str(error), action="runbook status") from error

    def read(self, kind: type[AnyContent]) -> AnyContent:
        """What it says, by the reader who knows that it is of this kind.

        Raises:
            JournalError: it is not.
        """
        if isinstance(self.content, kind):
            return self.content
        raise JournalError(f"entry {self.seq}", f"is of kind {self.content.kind}", expected=kind.kind)

    @property
    def payload(self) -> Mapping[str, Any]:
        """The payload as parsed JSON, as it was hashed: for showing and exporting."""
        parsed: Mapping[str, Any] = json.loads(self.payload_json)
        return parsed

    @property
    def time(self) -> datetime:
        """`at` as an aware datetime."""
        return datetime.fromisoformat(self.at)

    def computed_hash(self) -> str:
        """What `hash` has to be."""
        return digest_of({key: value for key, value in asdict(self).items() if key != "hash"})

    def line(self) -> str:
        """The entry as one line of JSON, fit for an export; `verify_entries` accepts what is read back."""
        return canonical_json(asdict(self))


def plain(value: Any, where: str = "payload") -> Any:
    """Make a value JSON: dataclasses, paths, times, decimals and sets become what they look like.

    Raises:
        JournalError: something else is in it; `where` names the place.
    """
    if isinstance(value, Enum):
        return plain(value.value, where)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)  # JSON has no NaN
    if isinstance(value, Decimal | PurePath):
        return str(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return _plain_container(value, where)


def _plain_container(value: Any, where: str) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name), f"{where}.{field.name}") for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(plain(key, where)): plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, set | frozenset):
        return sorted((plain(item, where) for item in value), key=canonical_json)
    if hasattr(value, "item") and callable(value.item):  # numpy and pandas scalars
        return plain(value.item(), where)
    raise JournalError(where, f"a {type(value).__name__} cannot be recorded", expected="values that JSON has")


def canonical_json(value: Any) -> str:
    """Sorted keys, no blanks, ASCII only: the same text on every machine."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest_of(value: Any) -> str:
    """SHA-256 (hex) of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(plain(value)).encode()).hexdigest()


def now_text() -> str:
    """The time as entries carry it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def verify_entries(entries: Iterable[Entry], *, containing: str = "") -> str:
    """Recompute the chain and return its head.

    Args:
        containing: A head that was recorded elsewhere (a signed statement); it must be in the chain, which
            uncovers a record that was cut off at the end.
    Raises:
        JournalError: names the first entry that does not fit.
    """
    head, seq, seen = "", 0, containing == ""
    for entry in entries:
        seq += 1
        problem = _misfit(entry, seq, head)
        if problem:
            raise _damaged(entry.run_id, f"entry {entry.seq} ({entry.kind} {entry.step or entry.phase}) {problem}")
        head = entry.hash
        seen = seen or head == containing
    if not seen:
        raise _damaged("journal", f"the head {containing[:12]}… is not in the chain of {seq} entries")
    return head


def _misfit(entry: Entry, seq: int, previous: str) -> str:
    if entry.seq != seq:
        return f"stands where entry {seq} should be"
    if entry.previous_hash != previous:
        return "does not follow from the entry before"
    return "" if entry.hash == entry.computed_hash() else "was changed after it was written"


def _damaged(subject: str, observed: str) -> JournalError:
    return JournalError(
        subject,
        observed,
        expected="an unbroken chain",
        state="nothing was done",
        action="keep the file as it is, compare it with the evidence folder, and restore a backup of the journal",
    )
