"""An expression of any engine as a tree: columns, literals by their value, operators by their binding power.

    ("column", name)  ("string", value)  ("number", text)  ("null",)  ("true",)  ("false",)
    ("cast", type, x)  ("neg", x)  ("not", x)  ("is null", x)  ("in", x, …)  ("case", operand, when, then, …, else)
    ("coalesce", …)  ("nullif", a, b)  ("abs", x)  and ("=", a, b) for every operator of two

What is not among these raises Unreadable: it is not guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from runbook_lib.databases import sql_text
from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.sql_text import NAME, NUMBER, STRING, WORD, Token

Tree = tuple[Any, ...]

_SAME = {"!=": "<>", "==": "=", "~~": "LIKE", "!~~": "NOT LIKE"}
_COMPARISONS = ("=", "<>", "<", ">", "<=", ">=")
_OR, _AND, _NOT, _COMPARING, _HIGHEST = 1, 2, 3, 4, 9
_CALLS = {"COALESCE": (1, 99), "NULLIF": (2, 2), "ABS": (1, 1)}
_TYPES_OF_WORDS = {"CHARACTER": ("VARYING",), "DOUBLE": ("PRECISION",)}


class Unreadable(ValueError):
    """A word, an operator or a function that no rule here knows."""


def read(text: str, dialect: str, columns: Collection[str]) -> Tree:
    """The tree of a text over these columns.

    Raises:
        Unreadable: it says something that is not known here.
    """
    reader = _Reader(sql_text.code(text, dialect), dialect, columns)
    tree = reader.expression(0)
    if reader.at < len(reader.tokens):
        raise Unreadable(reader.tokens[reader.at].text)
    return tree


def columns_of(tree: Any) -> set[str]:
    """The columns that a tree names."""
    if not isinstance(tree, tuple) or not tree:
        return set()
    return {tree[1]} if tree[0] == "column" else set().union(*map(columns_of, tree))


def value_of(token: Token, dialect: str) -> str:
    """A text literal's value.

    Raises:
        Unreadable: bits, bytes or Unicode escapes.
    """
    text = token.text
    if text[:1] == "$":
        return text[text.index("$", 1) + 1 : text.rindex("$", 0, len(text) - 1)]
    engine = dialect_of(dialect)
    escaped = engine.backslash_escapes
    if engine.escape_strings and text[:1] in "eE":
        text, escaped = text[1:], True
    if text[:1] not in ("'", '"'):
        raise Unreadable(token.text)
    inner = text[1:-1]
    return _unescaped(inner, text[0]) if escaped else inner.replace(text[0] * 2, text[0])


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "0": "\0", "Z": "\x1a"}


def _unescaped(text: str, quote: str) -> str:
    def one(found: re.Match[str]) -> str:
        if found[0] == quote * 2:
            return quote
        return _ESCAPES.get(found[0][1], found[0][1])

    return re.sub(rf"\\.|{quote}{quote}", one, text, flags=re.DOTALL)


class _Reader:
    """Operators by their binding power."""

    def __init__(self, tokens: list[Token], dialect: str, columns: Collection[str]) -> None:
        self.tokens, self.dialect, self.at = tokens, dialect, 0
        self.columns = set(columns)
        self.folded = {name.lower(): name for name in columns}
        joins = dialect_of(dialect).join_power
        self.powers = {"OR": _OR, "AND": _AND, "+": 6, "-": 6, "*": 7, **({"||": joins} if joins else {})}

    def _peek(self, ahead: int = 0) -> str:
        """The next keyword or sign; "" for a name, a literal and the end."""
        if self.at + ahead >= len(self.tokens):
            return ""
        token = self.tokens[self.at + ahead]
        return token.upper or (token.text if token.kind == sql_text.SIGN else "")

    def _take(self) -> Token:
        if self.at >= len(self.tokens):
            raise Unreadable("the end")
        self.at += 1
        return self.tokens[self.at - 1]

    def _expect(self, *words: str) -> None:
        for word in words:
            if self._peek() != word:
                raise Unreadable(word)
            self.at += 1

    def _has(self, *words: str) -> bool:
        """Whether these words follow; then they are taken."""
        found = all(self._peek(i) == word for i, word in enumerate(words))
        self.at += len(words) if found else 0
        return found

    def expression(self, least: int) -> Tree:
        left = self._operand()
        while True:
            word = _SAME.get(self._peek(), self._peek())
            if word in self.powers and self.powers[word] > least:
                self.at += 1
                left = (word.lower(), left, self.expression(self.powers[word]))
            elif least < _COMPARING and word in (*_COMPARISONS, "LIKE", "NOT LIKE", "IS", "IN", "BETWEEN", "NOT"):
                left = self._comparison(left, word)
            else:
                return left

    def _comparison(self, left: Tree, word: str) -> Tree:
        self.at += 1
        if word == "NOT":
            return ("not", self._comparison(left, self._peek()))
        if word == "IS":
            return self._state(left)
        if word == "BETWEEN":
            low = self.expression(_COMPARING)
            self._expect("AND")
            return ("and", (">=", left, low), ("<=", left, self.expression(_COMPARING)))
        if word == "IN":
            return ("in", left, *self._listed())
        if self._peek() in ("ANY", "ALL", "SOME"):
            return self._any(left, word)
        right = self.expression(_COMPARING)
        if self._peek() == "ESCAPE":
            raise Unreadable("ESCAPE")
        if word == "NOT LIKE":
            return ("not", ("like", left, right))
        return (word.lower(), left, right)

    def _state(self, left: Tree) -> Tree:
        negated = self._has("NOT")
        self._expect("NULL")
        return ("not", ("is null", left)) if negated else ("is null", left)

    def _any(self, left: Tree, word: str) -> Tree:
        """`= ANY (ARRAY[…])`, as PostgreSQL prints IN, and `<> ALL`, as it prints NOT IN."""
        kind = self._take().upper
        if (word, kind) not in (("=", "ANY"), ("<>", "ALL")):
            raise Unreadable(kind)
        self._expect("(")
        wrapped = self._has("(")
        self._expect("ARRAY", "[")
        items = [self.expression(0)]
        while self._has(","):
            items.append(self.expression(0))
        self._expect("]")
        if wrapped:
            self._expect(")")
        self._casts(("null",))
        self._expect(")")
        found = ("in", left, *items)
        return found if kind == "ANY" else ("not", found)

    def _listed(self) -> list[Tree]:
        self._expect("(")
        found = [self.expression(0)]
        while self._has(","):
            found.append(self.expression(0))
        self._expect(")")
        return found

    def _operand(self) -> Tree:
        token = self._take()
        return self._casts(self._primary(token))

    def _primary(self, token: Token) -> Tree:
        word = token.upper or token.text
        if token.kind == NUMBER:
            return ("number", token.text)
        if token.kind == STRING:
            return ("string", value_of(token, self.dialect))
        if token.kind == NAME or (token.kind == WORD and word.lower() in self.folded and self._peek() != "("):
            return self._column(token)
        if word == "(":
            tree = self.expression(0)
            self._expect(")")
            return tree
        if word == "NOT":
            return ("not", self.expression(_NOT))
        if word in ("-", "+"):
            operand = self.expression(_HIGHEST)
            return ("neg", operand) if word == "-" else operand
        if word in ("NULL", "TRUE", "FALSE"):
            return (word.lower(),)
        if word == "CASE":
            return self._case()
        if word == "CAST":
            return self._cast()
        if word == "DATE" and self.at < len(self.tokens) and self.tokens[self.at].kind == STRING:
            return ("cast", "date", self._primary(self._take()))  # PostgreSQL prints it as a cast
        if word in _CALLS:
            found = self._listed()
            if not _CALLS[word][0] <= len(found) <= _CALLS[word][1]:
                raise Unreadable(word)
            return (word.lower(), *found)
        introduced = re.fullmatch(r"_[A-Z0-9]+", word) and self.at < len(self.tokens)
        if introduced and dialect_of(self.dialect).charset_introducers:
            return self._primary(self._take())  # _utf8mb4'text'
        raise Unreadable(token.text)

    def _column(self, token: Token) -> Tree:
        name = sql_text.unquoted(token)
        found = name if name in self.columns else "" if token.kind == NAME else self.folded.get(name.lower(), "")
        if not found or self._peek() in (".", "("):
            raise Unreadable(token.text)
        return ("column", found)

    def _case(self) -> Tree:
        parts: list[Any] = [None if self._peek() == "WHEN" else self.expression(0)]
        while self._has("WHEN"):
            parts.append(self.expression(0))
            self._expect("THEN")
            parts.append(self.expression(0))
        parts.append(self.expression(0) if self._has("ELSE") else ("null",))
        self._expect("END")
        return ("case", *parts)

    def _cast(self) -> Tree:
        self._expect("(")
        tree = self.expression(0)
        self._expect("AS")
        kind = self._type()
        self._expect(")")
        return ("cast", kind, tree)

    def _casts(self, tree: Tree) -> Tree:
        while self._has("::"):
            tree = ("cast", self._type(), tree)
        return tree

    def _type(self) -> str:
        """A type's text: its words, its numbers in parentheses, `[]` behind it."""
        words = [self._take().text]
        while self._has("."):
            words[-1] += f".{self._take().text}"
        if self._peek() in _TYPES_OF_WORDS.get(words[0].upper(), ()):
            words.append(self._take().text)
        if self._peek() == "(":
            opening = self.at
            while self._peek() != ")":
                self.at += 1
            self.at += 1
            words.append("".join(token.text for token in self.tokens[opening : self.at]))
        for form in (("WITHOUT", "TIME", "ZONE"), ("WITH", "TIME", "ZONE"), ("CHARSET", "BINARY")):
            if self._has(*form):
                words += [word.lower() for word in form]
        if self._has("[", "]"):
            words.append("[]")
        return " ".join(words).lower()
