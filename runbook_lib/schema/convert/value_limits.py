"""Values that a written type does not hold, as conditions at the source: what a copy would trip over, row by row.

`schema.policies` knows the values that have no equivalent in another engine; here is what is too long, too large or too
fine for the type that they go into, and what a source lets in although its column says otherwise (SQLite).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runbook_lib.databases.dialect import Dialect, dialect_of
from runbook_lib.databases.neutral_type import BITS, FLOATS, NUMBERS, TEXTS
from runbook_lib.schema.convert.types import Neutral, read_type

_SIZED = ("varchar", "char", "varbytes")


@dataclass(frozen=True)
class Limit:
    """Values of one column that the written column has not.

    Attributes:
        kind: The finding's kind, as the plan accepts it.
        name: What they are, in the plural.
        found: SQL condition of the source that finds them.
        refused: The target refuses them; False: it changes them without a word.
        goes_over: Nothing changes: it is only worth knowing.
    """

    kind: str
    name: str
    found: str
    refused: bool = True
    goes_over: bool = False


def limits_of(
    sql: str, read: str, written: str, dialects: tuple[str, str], *, encoding: str = "", collation: str = ""
) -> list[Limit]:
    """The limits of one column.

    Args:
        sql: The column at the source, quoted.
        read: Its type there.
        written: Its type at the target.
        dialects: The source's and the target's.
        encoding: The source database's, where it keeps bytes that may be no text (`SQL_ASCII`).
        collation: The column's at the source.
    """
    source, target = map(dialect_of, dialects)
    here, there = read_type(read, source.name), read_type(written, target.name)
    found = list[Limit]()
    if not target.loose_types:  # it keeps whatever it is given
        found += [Limit(*stray) for stray in source.mistyped_values(sql, here)]
        found += [*_length(sql, here, there, source), *_range(sql, here, there, source)]
        found += _digits(sql, here, there, source)
    if source.keeps_nul and not target.keeps_nul:
        found += _nul(sql, here, source)
    if here.kind in TEXTS and (garbled := source.not_utf8(sql, encoding)):
        found.append(Limit("encoding", "texts that are no UTF-8", garbled))
    if here.kind in TEXTS and (garbled := source.utf8_misread(sql, collation)):
        found.append(Limit("encoding", "texts in latin1 that read as UTF-8", garbled, refused=False, goes_over=True))
    if here.kind == "enum" and source.empty_enums and not target.empty_enums and "" not in here.labels:
        found.append(Limit("numbers", "empty values that the enum has not", f"{sql} = '' AND {sql} + 0 = 0"))
    return found


def _length(sql: str, here: Neutral, there: Neutral, source: Dialect) -> Iterator[Limit]:
    most = there.modifiers[0] if there.modifiers else 1 if there.kind == "char" else 0
    if not most or there.kind not in _SIZED:
        return
    own = here.modifiers[0] if here.modifiers else 1 if here.kind == "char" else 0
    if not source.loose_types and here.kind in _SIZED and 0 < own <= most:
        return
    if there.kind == "varbytes":
        yield Limit("lengths", f"values of more than {most:,} bytes", f"{source.octets(sql)} > {most}")
    elif here.kind in (*TEXTS, "any", "enum", "set"):
        yield Limit("lengths", f"texts of more than {most:,} characters", f"{source.characters(sql)} > {most}")


def _range(sql: str, here: Neutral, there: Neutral, source: Dialect) -> Iterator[Limit]:
    if here.kind not in NUMBERS or there.kind not in BITS:
        return
    least, greatest = _ends(there)
    own_least, own_greatest = _ends(here) if here.kind in BITS else (None, None)
    parts = [f"{sql} < {least}"] if own_least is None or own_least < least else []
    parts += [f"{sql} > {greatest}"] if own_greatest is None or own_greatest > greatest else []
    if here.kind not in BITS:
        parts.append(f"{sql} <> {source.rounded(sql, 0)}")
    if parts:
        yield Limit("numbers", f"numbers that {there.text} has not", " OR ".join(parts))


def _ends(kind: Neutral) -> tuple[int, int]:
    bits = BITS[kind.kind]
    return (0, 2**bits - 1) if kind.unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _digits(sql: str, here: Neutral, there: Neutral, source: Dialect) -> Iterator[Limit]:
    if there.kind != "numeric" or here.kind not in NUMBERS or not there.modifiers:
        return
    digits, scale = there.modifiers[0], there.modifiers[1] if len(there.modifiers) > 1 else 0
    odd = here.kind in (*FLOATS, "numeric") and source.finite(sql)
    finite = f" AND {odd}" if odd else ""
    enforced = not source.loose_types and here.kind == "numeric" and bool(here.modifiers)
    own_scale = here.modifiers[1] if enforced and len(here.modifiers) > 1 else 0
    whole = here.kind in BITS
    before = here.modifiers[0] - own_scale if enforced else len(str(_ends(here)[1])) if whole else None
    if before is None or before > digits - scale:
        most = f"1{'0' * (digits - scale)}"
        too_large = f"ABS({source.number(sql)}) >= {most}{finite}"
        yield Limit("numbers", f"numbers that {there.text} has not", too_large)
    if (whole and not source.loose_types) or (enforced and own_scale <= scale):
        return
    name = f"digits behind the point that {there.text} has not"
    yield Limit("digits", name, f"{source.finer(sql, scale)}{finite}", refused=False)


def _nul(sql: str, here: Neutral, source: Dialect) -> Iterator[Limit]:
    if here.kind in TEXTS:
        yield Limit("nul", "NUL characters", source.has_nul(sql))
    elif here.kind == "json":
        yield Limit("nul", "NUL characters in JSON", source.nul_in_json(sql))
