"""Whether what one engine says of a type, a default or an expression is what was promised in its own terms.

An engine prints an expression in its own way: casts, parentheses and quotes come and go, BETWEEN becomes two
comparisons. Here both texts are read into the same tree. What cannot be read is compared letter by letter, without
casts, quotes, blanks and parentheses.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any

from runbook_lib.schema.expressions import CASTS, default, portable
from runbook_lib.schema.types import Neutral

_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|[\w.]+|<>|!=|<=|>=|\|\||.", re.DOTALL)
_POWER = {"OR": 1, "AND": 2, "||": 5, "+": 6, "-": 6, "*": 7}
_COMPARISONS = ("=", "<>", "!=", "<", ">", "<=", ">=", "LIKE")
_COMPARING, _NEGATING = 4, 3
_RANGES = {"tinyint": 8, "smallint": 16, "integer": 32, "bigint": 64}
_ROOM = {"tinytext": 1, "text": 2, "mediumtext": 3, "longtext": 4, "tinyblob": 1, "blob": 2, "mediumblob": 3}
_TEXTS = ("text", "varchar", "char", "enum", "set", "json")
FINEST = 6  # digits of a second where none are said

Tree = tuple[Any, ...] | str


def same_expression(one: str, other: str, columns: Collection[str], booleans: Collection[str] = ()) -> bool:
    """Whether two texts of one engine are the same condition over these columns."""
    return canonical(one, columns, booleans) == canonical(other, columns, booleans)


def canonical(text: str, columns: Collection[str], booleans: Collection[str] = ()) -> str:
    """A condition in one form, whoever printed it."""
    inner = re.sub(r"(?is)^\s*CHECK\s*\((.*)\)\s*$", r"\1", text)
    plain = portable(inner, columns, "sqlite", lambda name: '"' + name.replace('"', '""') + '"', booleans=booleans)
    if plain is not None:
        with suppress(IndexError, ValueError):  # CASE, a word that is no operand: compared by its letters then
            return _shown(_Reader(plain).read())
    return _bare(inner)


def _bare(text: str) -> str:
    """Without casts, quotes of names, blanks and parentheses, but for what stands in strings."""
    parts = re.split(r"((?:\b_\w+)?'(?:[^']|'')*')", CASTS.sub("", text))
    return "".join(
        part[part.index("'") :] if odd % 2 else re.sub(r"[\s()\"`]", "", part).casefold()
        for odd, part in enumerate(parts)
    )


class _Reader:
    """Operators by their binding power; AND and OR of many are one node."""

    def __init__(self, text: str) -> None:
        self.words: list[str] = [word for word in _TOKEN.findall(text) if not word.isspace()]
        self.at = 0

    def read(self) -> Tree:
        tree = self._expression(0)
        if self.at < len(self.words):
            raise ValueError(self.words[self.at])
        return tree

    def _next(self) -> str:
        self.at += 1
        return self.words[self.at - 1]

    def _peek(self, ahead: int = 0) -> str:
        return self.words[self.at + ahead].upper() if self.at + ahead < len(self.words) else ""

    def _expect(self, word: str) -> None:
        if self._next().upper() != word:
            raise ValueError(word)

    def _expression(self, least: int) -> Tree:
        left = self._operand()
        while True:
            word = self._peek()
            if word in _POWER and _POWER[word] > least:
                self._next()
                left = _joined(word, left, self._expression(_POWER[word]))
            elif least < _COMPARING and (word in _COMPARISONS or word in ("IS", "IN", "BETWEEN", "NOT")):
                left = self._comparison(left)
            else:
                return left

    def _comparison(self, left: Tree) -> Tree:
        word = self._next().upper()
        if word == "NOT":
            return ("NOT", self._comparison(left))
        if word == "IS":
            negated = self._peek() == "NOT" and bool(self._next())
            tree: Tree = ("IS", left, self._next().upper())
            return ("NOT", tree) if negated else tree
        if word == "BETWEEN":
            low = self._expression(_COMPARING)
            self._expect("AND")
            return ("AND", (">=", left, low), ("<=", left, self._expression(_COMPARING)))
        if word == "IN":
            listed = self._list()
            return ("=", left, listed[0]) if len(listed) == 1 else ("IN", left, *listed)
        return ({"!=": "<>"}.get(word, word), left, self._expression(_COMPARING))

    def _list(self) -> list[Tree]:
        self._expect("(")
        found = [self._expression(0)]
        while self._peek() == ",":
            self._next()
            found.append(self._expression(0))
        self._expect(")")
        return found

    def _operand(self) -> Tree:
        word = self._next()
        if word == "(":
            tree = self._expression(0)
            self._expect(")")
            return tree
        if word.upper() == "NOT":
            return ("NOT", self._expression(_NEGATING))
        if word == "-":
            return ("-", self._expression(max(_POWER.values())))
        if word.upper() in ("COALESCE", "NULLIF", "ABS"):
            return (word.upper(), *self._list())
        if word.upper() == "CASE" or not re.match(r"['\"\w]", word):
            raise ValueError(word)
        return _number(word) or word


def _joined(word: str, left: Tree, right: Tree) -> Tree:
    if word not in ("AND", "OR"):
        return (word, left, right)
    parts = [part for each in (left, right) for part in (each[1:] if each[0] == word else (each,))]
    return (word, *parts)


def _shown(tree: Tree) -> str:
    return tree if isinstance(tree, str) else f"({' '.join(map(_shown, tree))})"


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
    known = default(text, kind, dialect, FINEST) or text
    bare = _bare(known)
    if kind in ("time", "timestamp", "timestamptz"):  # MySQL prints a fraction's zeros
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
