"""Values that a written type does not hold, as conditions at the source: what a copy would trip over, row by row.

`schema.policies` knows the values that have no equivalent in another engine; here is what is too long, too large or too
fine for the type that they go into, and what a source lets in although its column says otherwise (SQLite).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.schema.convert.types import Neutral, read_type

BITS = {"tinyint": 8, "smallint": 16, "integer": 32, "bigint": 64}
_TEXTS = ("text", "varchar", "char")
_FLOATS = ("real", "double")
_NUMBERS = (*BITS, *_FLOATS, "numeric")
# Bytes of UTF-8 in hexadecimal: PostgreSQL's SQL_ASCII lets any bytes in, and has no function that tells.
_UTF8 = (
    "^([0-7].|(c[2-9a-f]|d.)[89ab].|e0[ab].[89ab].|(e[1-9a-c]|e[ef])([89ab].){2}|ed[89].[89ab].|f0[9ab].([89ab].){2}"
    "|f[1-3]([89ab].){3}|f48.([89ab].){2})*$"
)

_GARBLED = 100  # characters that are searched for bytes of another character set


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
    source, target = dialects
    here, there = read_type(read, source), read_type(written, target)
    found = [*_kept(sql, here)] if dialect_of(source).loose_types and not dialect_of(target).loose_types else []
    if not dialect_of(target).loose_types:  # it keeps whatever it is given
        found += [*_length(sql, here, there, source), *_range(sql, here, there, source)]
        found += _digits(sql, here, there, source)
    if dialect_of(source).keeps_nul and not dialect_of(target).keeps_nul:
        found += _nul(sql, here, source)
    if encoding == "SQL_ASCII" and here.kind in _TEXTS:
        valid = f"encode(convert_to({sql}::text, 'SQL_ASCII'), 'hex') ~ '{_UTF8}'"
        found.append(Limit("encoding", "texts that are no UTF-8", f"NOT ({valid})"))
    if source == "mysql" and here.kind in _TEXTS and collation.startswith("latin1"):
        # A client that spoke UTF-8 to a table of latin1; the beginning is enough, and cheap.
        start = f"CAST(LEFT({sql}, {_GARBLED}) AS BINARY)"
        # Told a collation: the other side has the character set's own, and two of columns do not mix.
        foreign = f"{sql} <> CONVERT(CONVERT({sql} USING ascii) USING latin1) COLLATE latin1_bin"
        garbled = f"LOWER(HEX({start})) REGEXP '{_UTF8}' AND {foreign}"
        found.append(Limit("encoding", "texts in latin1 that read as UTF-8", garbled, refused=False, goes_over=True))
    if source == "mysql" and here.kind == "enum" and target != "mysql" and "" not in here.labels:
        found.append(Limit("numbers", "empty values that the enum has not", f"{sql} = '' AND {sql} + 0 = 0"))
    return found


def shown(sql: str, source: str) -> str:
    """A column of the source for a person: SQLite's texts may hold bytes that no driver gives."""
    if not dialect_of(source).loose_types:
        return sql
    return f"CASE typeof({sql}) WHEN 'text' THEN runbook_shown(CAST({sql} AS BLOB)) ELSE {sql} END"


def _length(sql: str, here: Neutral, there: Neutral, source: str) -> Iterator[Limit]:
    most = there.modifiers[0] if there.modifiers else 1 if there.kind == "char" else 0
    if not most or there.kind not in ("varchar", "char", "varbytes"):
        return
    own = here.modifiers[0] if here.modifiers else 1 if here.kind == "char" else 0
    if not dialect_of(source).loose_types and here.kind in ("varchar", "char", "varbytes") and 0 < own <= most:
        return
    if there.kind == "varbytes":
        length = {"postgresql": "octet_length({})", "mysql": "LENGTH({})", "sqlite": "length(CAST({} AS BLOB))"}[source]
        yield Limit("lengths", f"values of more than {most:,} bytes", f"{length.format(sql)} > {most}")
    elif here.kind in (*_TEXTS, "any", "enum", "set"):
        length = {"postgresql": "char_length({}::text)", "mysql": "CHAR_LENGTH({})", "sqlite": "length({})"}[source]
        yield Limit("lengths", f"texts of more than {most:,} characters", f"{length.format(sql)} > {most}")


def _range(sql: str, here: Neutral, there: Neutral, source: str) -> Iterator[Limit]:
    if here.kind not in _NUMBERS or there.kind not in BITS:
        return
    least, greatest = _ends(there)
    own_least, own_greatest = _ends(here) if here.kind in BITS else (None, None)
    parts = [f"{sql} < {least}"] if own_least is None or own_least < least else []
    parts += [f"{sql} > {greatest}"] if own_greatest is None or own_greatest > greatest else []
    if here.kind not in BITS:
        parts.append(f"{sql} <> {_rounded(sql, 0, source)}")
    if parts:
        yield Limit("numbers", f"numbers that {there.text} has not", " OR ".join(parts))


def _ends(kind: Neutral) -> tuple[int, int]:
    bits = BITS[kind.kind]
    return (0, 2**bits - 1) if kind.unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _digits(sql: str, here: Neutral, there: Neutral, source: str) -> Iterator[Limit]:
    if there.kind != "numeric" or here.kind not in _NUMBERS or not there.modifiers:
        return
    digits, scale = there.modifiers[0], there.modifiers[1] if len(there.modifiers) > 1 else 0
    as_number = {"postgresql": "CAST({} AS numeric)", "mysql": "{}", "sqlite": "CAST({} AS REAL)"}[source]
    number = as_number.format(sql)
    finite = f" AND {sql} NOT IN ('NaN', 'Infinity', '-Infinity')" if source == "postgresql" and _odd(here) else ""
    enforced = not dialect_of(source).loose_types and here.kind == "numeric" and bool(here.modifiers)
    own_scale = here.modifiers[1] if enforced and len(here.modifiers) > 1 else 0
    whole = here.kind in BITS
    before = here.modifiers[0] - own_scale if enforced else len(str(_ends(here)[1])) if whole else None
    if before is None or before > digits - scale:
        most = f"1{'0' * (digits - scale)}"
        yield Limit("numbers", f"numbers that {there.text} has not", f"ABS({number}) >= {most}{finite}")
    if (whole and not dialect_of(source).loose_types) or (enforced and own_scale <= scale):
        return
    rounded = f"{number} <> {_rounded(number, scale, source)}{finite}"
    name = f"digits behind the point that {there.text} has not"
    found = f"typeof({sql}) = 'real' AND {rounded}" if dialect_of(source).loose_types else rounded
    yield Limit("digits", name, found, refused=False)


def _odd(kind: Neutral) -> bool:
    return kind.kind in (*_FLOATS, "numeric")


def _rounded(sql: str, scale: int, source: str) -> str:
    return f"round({sql}::numeric, {scale})" if source == "postgresql" else f"ROUND({sql}, {scale})"


def _nul(sql: str, here: Neutral, source: str) -> Iterator[Limit]:
    if here.kind in _TEXTS:
        nul = f"INSTR(CAST({sql} AS BINARY), x'00') > 0" if source == "mysql" else f"instr({sql}, char(0)) > 0"
        yield Limit("nul", "NUL characters", nul)
    elif here.kind == "json":
        escaped = "CONCAT(CHAR(92), 'u0000')" if source == "mysql" else "char(92) || 'u0000'"
        yield Limit("nul", "NUL characters in JSON", f"INSTR({sql}, {escaped}) > 0")


# As PostgreSQL's come to SQLite; they have a rule of their own (`schema.policies`).
_NO_NUMBERS = "'NaN', 'Infinity', '-Infinity'"


def _kept(sql: str, here: Neutral) -> Iterator[Limit]:
    """SQLite keeps any value in any column; servers do not."""
    odd = {
        **dict.fromkeys(BITS, f"typeof({sql}) NOT IN ('integer', 'null')"),
        **dict.fromkeys(_FLOATS, f"typeof({sql}) NOT IN ('real', 'integer', 'null') AND {sql} NOT IN ({_NO_NUMBERS})"),
        "numeric": f"typeof({sql}) = 'blob' OR (typeof({sql}) = 'text' AND {sql} NOT IN ({_NO_NUMBERS})"
        f" AND ({sql} = '' OR {sql} GLOB '*[^-+0-9.eE]*'))",
        "boolean": f"{sql} NOT IN (0, 1, 't', 'true', '1', 'f', 'false', '0')",  # as the load reads them
        **dict.fromkeys(_TEXTS, f"typeof({sql}) = 'blob'"),
        "json": f"NOT json_valid({sql})",
    }
    if found := odd.get(here.kind):
        yield Limit("other_types", f"values that are no {here.text or here.kind}", f"{sql} IS NOT NULL AND ({found})")
    if here.kind in _TEXTS:
        yield Limit("encoding", "texts that are no UTF-8", f"runbook_unreadable(CAST({sql} AS BLOB))")
