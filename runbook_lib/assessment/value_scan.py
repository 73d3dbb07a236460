"""Counting values at the source at a bounded cost: one pass over a table, or over parts of it until the time is up."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from runbook_lib.assessment.table_pairs import Subject
from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Database, KeyRange, Selection

WHOLE_ROWS = 2_000_000  # up to here a table is read in one statement, a few seconds
PART_ROWS = 100_000


@dataclass(frozen=True)
class Bounds:
    """How much is checked.

    Attributes:
        whole_rows: Tables of up to so many rows (count, as the catalog estimates) are read whole.
        table_s: For how long a larger one is read, in parts spread over its keys (seconds).
    """

    whole_rows: int = WHOLE_ROWS
    table_s: float = 20.0


@dataclass(frozen=True)
class ScannedValues:
    """What one pass saw.

    Attributes:
        rows: Read (count).
        counts: Of each condition, in their order.
        places: Of each condition, where the first such row is (an SQL condition).
        partly: Why not all of the rows; empty: all were.
    """

    rows: int
    counts: tuple[int, ...]
    places: tuple[str, ...]
    partly: str = ""


def look(source: Database, subject: Subject, conditions: Sequence[str], bounds: Bounds) -> ScannedValues:
    """Count the rows that meet each condition."""
    reading = reading_of(source, subject)
    if subject.read.rows_estimate <= bounds.whole_rows:
        rows, *counts = _counts(source, reading, "", conditions)
        return ScannedValues(rows, tuple(counts), ("",) * len(conditions))
    ranges = source.ranges(reading, PART_ROWS)
    rows, counts, places = 0, [0] * len(conditions), [""] * len(conditions)
    deadline, done = time.monotonic() + bounds.table_s, 0
    for each in _spread(ranges):
        if time.monotonic() > deadline:
            break
        place = source.condition(reading, each)
        seen, *found = _counts(source, reading, place, conditions)
        rows, done = rows + seen, done + 1
        places = [at or (place if n else "") for at, n in zip(places, found, strict=True)]
        counts = [total + n for total, n in zip(counts, found, strict=True)]
    short = f"{rows:,} of about {subject.read.rows_estimate:,} rows in {bounds.table_s:.0f} s, spread over its keys"
    return ScannedValues(rows, tuple(counts), tuple(places), "" if done == len(ranges) else short)


def example(source: Database, subject: Subject, condition: str, place: str = "") -> str:
    """The key of one row that meets a condition; of a table without a key: nothing."""
    reading = reading_of(source, subject)
    if not reading.key:
        return ""
    where = _where(reading.where, place, condition)
    listed = ", ".join(dialect_of(source.dialect).shown(column) for column in reading.key)
    found = source.rows(f"SELECT {listed} FROM {reading.relation}{where} LIMIT 1")
    return ", ".join(f"{n} {v}" for n, v in zip(subject.read.key, found[0], strict=True)) if found else ""


def reading_of(source: Database, subject: Subject) -> Selection:
    """The subject's rows at the source, by their key."""
    key = tuple(source.ident(name) for name in subject.read.key)
    return Selection(source.quote(subject.mapping.source), key, key, subject.mapping.where)


def _counts(source: Database, reading: Selection, place: str, conditions: Sequence[str]) -> list[int]:
    sums = "".join(f", SUM(CASE WHEN {condition} THEN 1 ELSE 0 END)" for condition in conditions)
    [found] = source.rows(f"SELECT COUNT(*){sums} FROM {reading.relation}{_where(reading.where, place)}")
    return [int(number or 0) for number in found]


def _where(*conditions: str) -> str:
    given = [f"({condition})" for condition in conditions if condition]
    return f" WHERE {' AND '.join(given)}" if given else ""


def _spread(ranges: Sequence[KeyRange]) -> Iterator[KeyRange]:
    """All of them, each as far as may be from those before it: old rows and new ones are seen early."""
    step = 1
    while step < len(ranges):
        step *= 2
    seen = set[int]()
    while step:
        for number in range(0, len(ranges), step):
            if number not in seen:
                seen.add(number)
                yield ranges[number]
        step //= 2
