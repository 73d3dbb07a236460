"""What an interrupted comparison had compared: the key ranges that agreed, and when each was read.

One file of JSON lines a table, below `.runbook`: a comparison needs no right to write to either side. The first line
says what was compared and how it was cut, each further line is one range that agreed. Ranges that did not agree are not
recorded: they are read again. The file goes when a comparison is through, whatever its verdict.

That a range agreed is a statement about the moment when it was read, in an uninterrupted comparison too. It is taken
over only while it is young, and as long as both tables are the same ones (`Table.incarnation`), with the same columns,
compared through the same expressions in the same encoding. Rows changed since then are not seen: the report says so.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from runbook_lib.databases.port import KeyRange, Table
from runbook_lib.transfer.links import Flow, Link
from runbook_lib.validation.rows.compared import Compared

WITHIN_S = 4 * 3600.0


@dataclass(frozen=True)
class CheckedRange:
    """A range that agreed: its rows (count), and when it was read (seconds since the epoch)."""

    rows: int
    at: float


@dataclass(frozen=True)
class TableRanges:
    """One table's ranges; those in `taken` (by ordinal) need not be read again. Without a path nothing is noted."""

    ranges: Sequence[KeyRange]
    taken: Mapping[int, CheckedRange] = field(default_factory=dict)
    path: Path | None = None

    @property
    def name(self) -> str:
        """Two comparisons at once may write to one file: a note is of the ranges that it names, by this."""
        return _digest(json.dumps([asdict(each) for each in self.ranges]))

    @property
    def left(self) -> list[KeyRange]:
        """What is still to be compared."""
        return [each for each in self.ranges if each.ordinal not in self.taken]

    def agreed(self, key_range: KeyRange, rows: int, at: float) -> None:
        """Note that a range of so many rows, read from `at` on, is the same on both sides."""
        if self.path is not None:
            with suppress(OSError):  # it is only read again then
                _append(self.path, {"of": self.name, "range": key_range.ordinal, "rows": rows, "at": at})


@dataclass(frozen=True)
class Record:
    """Where comparisons note what agreed.

    Args:
        folder: One for each thing that is verified: what one notes, another does not take over.
        within_s: Ranges read longer ago are read again (seconds).
        again: Take nothing over.
    """

    folder: Path
    within_s: float = WITHIN_S
    again: bool = False
    swept: set[Path] = field(default_factory=set, compare=False)  # folders that old notes were taken out of

    def cut(self, link: Link, what: str, ranges: Callable[[], list[KeyRange]]) -> TableRanges:
        """The ranges of before with what agreed, or new ones. Where nothing can be written nothing is noted.

        Args:
            what: See `identity`.
        """
        folder, young = self._of(link), time.time() - self.within_s
        path = folder / f"{_digest(what)}.jsonl"
        found = [] if self.again else list(_lines(path))
        for cut in (TableRanges([_range(r) for r in line["ranges"]]) for line in found if "ranges" in line):
            notes = (line for line in found if line.get("of") == cut.name and line["at"] > young)
            return TableRanges(
                cut.ranges, {line["range"]: CheckedRange(line["rows"], line["at"]) for line in notes}, path
            )
        new = ranges()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            if folder not in self.swept:  # once, not for each table
                self.swept.add(folder)
                for old in folder.glob("*.jsonl"):  # of tables that have changed since, or of long ago
                    if old.stat().st_mtime < young:
                        old.unlink(missing_ok=True)
            _append(path, {"ranges": [asdict(each) for each in new]})
        except OSError:
            return TableRanges(new)
        return TableRanges(new, {}, path)

    def forget(self, link: Link) -> None:
        """Take back every note about a link: its comparison is through."""
        with suppress(OSError):
            for path in self._of(link).glob("*.jsonl"):
                path.unlink(missing_ok=True)

    def _of(self, link: Link) -> Path:
        return self.folder / _digest(f"{link.channel} {link.reader.masked_url} {link.writer.masked_url}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def identity(link: Link, flow: Flow, side: Compared, tables: Sequence[Table], encoding: str) -> str:
    """What a range's agreement is about, as text: another text, another comparison.

    Args:
        tables: As read and as written.
        encoding: What is hashed, with its version.
    """
    sides = [link.reader.masked_url, link.writer.masked_url]
    schemas = [[table.incarnation, table.key, [asdict(c) for c in table.columns]] for table in tables]
    return json.dumps([encoding, sides, flow.table, asdict(side), schemas], ensure_ascii=False)


def _range(told: Mapping[str, Any]) -> KeyRange:
    """Bounds survive JSON by the port's promise: int, or text."""
    ends = {name: None if told[name] is None else tuple(told[name]) for name in ("after", "upto")}
    return KeyRange(told["ordinal"], ends["after"], ends["upto"], told["rows_estimate"], told["kind"])


def _append(path: Path, line: Mapping[str, Any]) -> None:
    """Add a line in one write; the break before it keeps it whole should a killed write have left half of one."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, b"\n" + json.dumps(line, ensure_ascii=False).encode())
    finally:
        os.close(descriptor)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """What can be read; half a line is none."""
    text = path.read_text() if path.exists() else ""
    for line in text.split("\n"):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        yield found
