"""Rows of both sides side by side: read by key, compared value by value through their text forms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from runbook_lib.databases.as_stored import AsStored
from runbook_lib.databases.canonical import (
    NUMBER,
    at_scale,
    both_decimal,
    canonical_text,
    canonical_type,
    excess_digits,
    kept_digits,
    shortest,
)
from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Database, Selection
from runbook_lib.transfer.links import Flow, Link
from runbook_lib.validation.context import Context
from runbook_lib.validation.report.mismatches import Kind, Mismatch, shorten
from runbook_lib.validation.rows.compared import Compared, Key, RowPair
from runbook_lib.validation.rows.range_checksums import use_canonical

SINGLES = ("real", "float")
FLOATS = (*SINGLES, "double precision", "double")
BATCH_KEYS = 2_000  # keys a query: its text stays small, its plan an index scan

Row = tuple[Any, ...]


def plain(key: Sequence[Any]) -> tuple[str, ...]:
    """A key as text: ints and texts of one form compare alike."""
    return tuple(str(value) for value in key)


def named(key: Sequence[Any], kinds: Sequence[str]) -> tuple[str, ...]:
    """A key by its values, whatever text form they came in: `t` and 1, `1.50` and `1.5` name the same row."""
    return tuple(_name(value, kind) for value, kind in zip(key, kinds, strict=True))


def _name(value: Any, kind: str) -> str:
    if isinstance(value, AsStored):
        return str(value)
    return shortest(value, single=kind in SINGLES) if kind in FLOATS else canonical_text(value, kind) or ""


def read_pairs(link: Link, side: Compared, keys: Sequence[Key], context: Context) -> list[RowPair]:
    """Read these keys on both sides at the same time, in the keys' order."""
    across = use_canonical(link, context)
    pairs: list[RowPair] = []
    for start in range(0, len(keys), BATCH_KEYS):
        batch = keys[start : start + BATCH_KEYS]
        there, here = context.both(
            _reader(link.reader, side.reading, batch, side, side.stored, across=across),
            _reader(link.writer, side.writing, batch, side, side.types, across=across),
        )
        names = [named(key, side.key_types) for key in batch]
        pairs += [RowPair(key, there.get(name), here.get(name)) for key, name in zip(batch, names, strict=True)]
    return pairs


def _reader(
    database: Database,
    selection: Selection,
    keys: Sequence[Key],
    side: Compared,
    stored: Sequence[str],
    *,
    across: bool,
) -> Callable[[], dict[tuple[str, ...], tuple[str | None, ...]]]:
    positions = [side.columns.index(column) for column in side.key]
    # Elsewhere a value with more digits says that its column was altered since the catalog was read.
    loose = dialect_of(database.dialect).loose_types
    own = stored if loose else [""] * len(stored)
    forms = [_form(kind, each, across=across) for kind, each in zip(side.types, own, strict=True)]

    def read() -> dict[tuple[str, ...], tuple[str | None, ...]]:
        # No other engine has a row whose key is no value of its type.
        known = [key for key in keys if loose or not any(isinstance(v, AsStored) for v in key)]
        rows = database.read_rows(selection, known)
        return {named([row[i] for i in positions], side.key_types): _comparable(row, forms) for row in rows}

    return read


def _comparable(row: Row, forms: Sequence[Callable[[Any], str]]) -> tuple[str | None, ...]:
    return tuple(
        value if value is None or isinstance(value, AsStored) else form(value)
        for value, form in zip(row, forms, strict=True)
    )


def _form(kind: str, stored: str, *, across: bool) -> Callable[[Any], str]:
    """How values of a type are made comparable: as the checksums see them, so that both give one answer.

    Between engines in the canonical text of the written type (floats, whose canonical text is bits, as they print).

    Args:
        stored: The type of the column that the values are read from; "" of an expression.
    """
    if kind in FLOATS:
        return lambda value: shortest(value, single=kind in SINGLES)
    known = canonical_type(kind)
    if across and stored and both_decimal(stored, kind):
        return lambda value: kept_digits(value, stored, kind)
    if across or known.padded:
        return lambda value: canonical_text(value, kind) or ""
    if known.tag == NUMBER and known.modifiers:
        # The other side may be an expression: both are printed at the scale, as the engine prints them.
        own = stored if stored and both_decimal(stored, kind) else ""
        return lambda value: (own and excess_digits(value, own)) or at_scale(value, known)
    return lambda value: bytes(value).hex() if isinstance(value, bytes | bytearray | memoryview) else str(value)


def as_mismatch(check: str, link: Link, flow: Flow, side: Compared, pair: RowPair, *, in_flight: str = "") -> Mismatch:
    """An unequal pair as a mismatch that names its kind and its columns; `in_flight` is why it is not final."""
    columns: tuple[str, ...] = ()
    values = ("", "")
    if pair.source is None or pair.target is None:
        kind = Kind.MISSING_ON_TARGET if pair.target is None else Kind.MISSING_ON_SOURCE
        what = kind.replace("_", " ")
    else:
        kind = Kind.DIFFERENT
        columns, values = _differing(side, pair.source, pair.target)
        what = f"{', '.join(columns)} differ{'s' if len(columns) == 1 else ''}" if columns else NO_COLUMN
    if in_flight:
        what, kind = f"{what}: {in_flight}", Kind.IN_FLIGHT
    return Mismatch(check, link.service, flow.table, kind, pair.key, columns, *values, text=what)


NO_COLUMN = "hashes differ, no column does"


def _differing(
    side: Compared, source: Sequence[str | None], target: Sequence[str | None]
) -> tuple[tuple[str, ...], tuple[str, str]]:
    unequal = [i for i, (a, b) in enumerate(zip(source, target, strict=True)) if a != b]
    columns = tuple(side.columns[i] for i in unequal)
    if len(unequal) == 1:
        return columns, (quoted(source[unequal[0]]), quoted(target[unequal[0]]))
    shown = [", ".join(f"{side.columns[i]}={quoted(row[i])}" for i in unequal) for row in (source, target)]
    return columns, (shorten(shown[0]), shorten(shown[1]))


def quoted(value: object) -> str:
    """A value as a report shows it: NULL and '' and 'NULL' are three values, and a trailing space is seen."""
    return "NULL" if value is None else f"'{shorten(value)}'"
