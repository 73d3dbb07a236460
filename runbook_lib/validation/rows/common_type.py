"""The type in which a column is compared: the written one, or one that holds the source's digits where that one rounds.

Both sides are read as one type. Read as `numeric(12,2)` a source's 1.2345 is the 1.23 that the target has kept of it,
and no check of the rows would tell that digits are lost.

Within one engine only: what another engine's types cut is declared in the plan, and judged by the check of the schemas.
A double that became a real is compared as a real: read as a double, the real 0.1 is another number than 0.1.
"""

from __future__ import annotations

from runbook_lib.databases import canonical
from runbook_lib.databases.canonical import CanonicalType, canonical_type
from runbook_lib.databases.dialect import dialect_of

MICROSECONDS = 6
INTEGER = (20, 0)  # digits, and those after the point
DECIMALS = ("numeric", "decimal")
_TO_THE_SECOND = ("datetime", "timestamp", "time")  # MySQL's, where nothing is said; PostgreSQL's names are longer
_TIMED = (canonical.LOCAL, canonical.INSTANT, canonical.TIME)


def widest(source: str, written: str, dialect: str) -> str:
    """The type's text for both sides."""
    there, here = canonical_type(source), canonical_type(written)
    if there.tag == here.tag == canonical.NUMBER:
        return _number(there, here, dialect) or written
    timed = there.tag == here.tag and (there.tag in _TIMED or there.name == here.name == "interval")
    return source if timed and _digits(there) > _digits(here) else written


def _number(there: CanonicalType, here: CanonicalType, dialect: str) -> str:
    """Empty: the written one will do."""
    most = dialect_of(dialect).most_digits
    if most is None or (here.name in DECIMALS and not here.modifiers):
        return ""
    (wide, scale), (kept, short) = _size(there, most), _size(here, most)
    if scale <= short:
        return ""
    return f"decimal({min(most[0], max(wide - scale, kept - short) + scale)},{scale})"


def _size(kind: CanonicalType, most: tuple[int, int]) -> tuple[int, int]:
    if kind.name not in DECIMALS:
        return INTEGER
    return (kind.modifiers[0], kind.modifiers[1] if len(kind.modifiers) > 1 else 0) if kind.modifiers else most


def _digits(kind: CanonicalType) -> int:
    """Of a second."""
    if kind.modifiers:
        return kind.modifiers[0]
    return 0 if kind.name in _TO_THE_SECOND else MICROSECONDS
