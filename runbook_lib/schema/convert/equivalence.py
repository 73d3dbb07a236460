"""Whether what one engine says of a type, a default or an expression is what was promised in its own terms.

An engine prints an expression in its own way: casts, parentheses and quotes come and go, BETWEEN becomes two
comparisons. Here both texts are read into the same tree. What cannot be read is compared letter by letter, without
casts, quotes, blanks and parentheses.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any

from runbook_lib.databases import sql_text
from runbook_lib.schema.convert.expression_tree import Unreadable, read
from runbook_lib.schema.convert.expressions import default
from runbook_lib.schema.convert.types import Neutral

_RANGES = {"tinyint": 8, "smallint": 16, "integer": 32, "bigint": 64}
_ROOM = {"tinytext": 1, "text": 2, "mediumtext": 3, "longtext": 4, "tinyblob": 1, "blob": 2, "mediumblob": 3}
_TEXTS = ("text", "varchar", "char", "enum", "set", "json")
FINEST = 6  # digits of a second where none are said


def same_expression(one: str, other: str, columns: Collection[str], dialect: str) -> bool:
    """Whether two texts of one engine are the same condition over these columns."""
    return canonical(one, columns, dialect) == canonical(other, columns, dialect)


def canonical(text: str, columns: Collection[str], dialect: str) -> str:
    """A condition in one form, whoever printed it."""
    inner = text
    with suppress(Unreadable):  # a function, a word that is no operand: compared by its letters then
        return _shown(_plain(read(inner, dialect, columns)))
    return _bare(inner, dialect)


def _bare(text: str, dialect: str) -> str:
    """Without casts, quotes of names, blanks and parentheses, but for what stands in texts."""
    parts, cast = list[str](), False
    code = sql_text.code(text, dialect)
    for at, token in enumerate(code):
        if token.text == "::":
            cast = True
        elif cast and _of_a_type(code, at):
            continue
        elif token.text in ("(", ")"):
            cast = cast and token.text == "("
        else:
            cast = False
            literal = token.kind == sql_text.STRING
            parts.append(token.text if literal else sql_text.unquoted(token).casefold())
    return "".join(parts)


def _of_a_type(code: Sequence[sql_text.Token], at: int) -> bool:
    """Whether a token behind a cast is a word of its type, or the brackets of an array's type."""
    pairs = ("".join(token.text for token in code[start : start + 2]) for start in (at, max(at - 1, 0)))
    return (code[at].kind == sql_text.WORD and code[at].upper in _CASTS) or "[]" in pairs


_CASTS = frozenset(
    [
        "CHARACTER",
        "VARYING",
        "DOUBLE",
        "PRECISION",
        "TIMESTAMP",
        "TIME",
        "WITH",
        "WITHOUT",
        "ZONE",
        "TEXT",
        "VARCHAR",
        "BPCHAR",
        "INTEGER",
        "BIGINT",
        "SMALLINT",
        "NUMERIC",
        "DATE",
        "BOOLEAN",
        "REAL",
        "JSONB",
        "JSON",
        "UUID",
        "INTERVAL",
        "REGCLASS",
    ]
)


def _plain(tree: Any) -> Any:
    """A tree without casts; AND and OR of many are one node, IN of one is an equation, truth is a number."""
    if not isinstance(tree, tuple):
        return tree
    kind, *rest = tree
    if kind == "cast":
        return _plain(rest[1])
    if kind in ("true", "false"):
        return ("number", "1" if kind == "true" else "0")
    if kind == "number":
        return ("number", _number(rest[0]))
    if kind == "neg" and rest[0][0] in ("number", "string"):
        return ("number", _number(f"-{rest[0][1]}"))
    parts = [_plain(each) for each in rest]
    if kind in ("and", "or"):
        flat = [part for each in parts for part in (each[1:] if each[0] == kind else (each,))]
        return (kind, *flat)
    if kind == "in" and len(parts) == 2:
        return ("=", *parts)
    return (kind, *parts)


def _shown(tree: Any) -> str:
    return repr(tree)


def _number(text: str) -> str:
    try:
        return format(Decimal(text).normalize(), "f")
    except InvalidOperation:
        return ""


def same_default(promised: str | None, found: str | None, kind: str, dialect: str) -> bool:
    """Whether a column's default, as its engine prints it, is the promised one.

    Args:
        kind: The neutral kind of the column.
    """
    return _default(promised, kind, dialect) == _default(found, kind, dialect)


def _default(text: str | None, kind: str, dialect: str) -> str:
    if text is None or text.upper() == "NULL":
        return ""
    known = default(text, kind, dialect, dialect, FINEST) or text
    bare = _bare(known, dialect)
    if kind in ("time", "timestamp", "timestamptz"):  # MySQL prints a fraction's zeros
        bare = re.sub(r"\+00'$", "'", bare)  # as PostgreSQL prints a moment: sessions are in UTC
        bare = re.sub(r"\.(\d*?)0*('?)$", lambda found: f"{'.' if found[1] else ''}{found[1]}{found[2]}", bare)
    return bare if kind in _TEXTS else _number(bare.strip("'")) or bare


def holds(here: Neutral, promised: Neutral) -> bool:
    """Whether a column of one type takes every value of the other, unchanged."""
    if here.kind == promised.kind == "unknown" or promised.kind in ("enum", "set"):
        return (here.kind, here.labels, here.text if here.kind == "unknown" else "") == (
            promised.kind, promised.labels, promised.text if here.kind == "unknown" else "",
        )  # fmt: skip
    if (room := _ROOM.get(promised.text.lower())) and here.text.lower() in _ROOM:
        return _ROOM[here.text.lower()] >= room
    if promised.kind in _RANGES or promised.kind == "numeric":
        return _holds_number(here, promised)
    if here.kind in ("text", "bytes") and promised.kind in {"text": ("text", "varchar"), "bytes": ("varbytes",)}.get(
        here.kind, ()
    ):
        return True
    if here.kind != promised.kind:
        return False
    if here.kind in ("time", "timestamp", "timestamptz"):
        return (here.modifiers or (FINEST,)) >= (promised.modifiers or (FINEST,))
    if here.kind in ("varchar", "varbytes"):
        return not here.modifiers or bool(promised.modifiers and here.modifiers >= promised.modifiers)
    return here.modifiers == promised.modifiers


def _holds_number(here: Neutral, promised: Neutral) -> bool:
    if promised.kind == "numeric" or here.kind == "numeric":
        if here.kind != "numeric":
            return False
        whole, behind = _digits(promised)
        mine, mine_behind = _digits(here)
        return mine >= whole and mine_behind >= behind
    if here.kind not in _RANGES:
        return False
    low, high = _bounds(promised)
    mine_low, mine_high = _bounds(here)
    return mine_low <= low and high <= mine_high


def _digits(neutral: Neutral) -> tuple[float, float]:
    """Digits before and behind the point (counts); without limits where none are declared."""
    if neutral.kind != "numeric":
        return len(str(_bounds(neutral)[1])), 0
    if not neutral.modifiers:
        return float("inf"), float("inf")
    scale = neutral.modifiers[1] if len(neutral.modifiers) > 1 else 0
    return neutral.modifiers[0] - scale, scale


def _bounds(neutral: Neutral) -> tuple[int, int]:
    bits = _RANGES[neutral.kind]
    return (0, 2**bits - 1) if neutral.unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def blind(collation: str) -> bool:
    """Whether a collation takes different texts for equal."""
    return bool(re.search(r"(?i)_ci\b|nocase|rtrim", collation))
