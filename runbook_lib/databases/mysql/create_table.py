"""SHOW CREATE TABLE taken apart by its parentheses and commas: what a literal or a comment says is left as it is."""

from __future__ import annotations

from collections.abc import Sequence

from runbook_lib.databases import sql_text
from runbook_lib.databases.sql_text import NAME, Token

_INDEXES = ("KEY", "INDEX", "UNIQUE", "FULLTEXT", "SPATIAL")


def cut(create: str, ours: set[str]) -> tuple[str, list[str], list[str]]:
    """The table, its secondary indexes, its foreign keys to our tables."""
    head, items, tail = _parts(create)
    said = [[token for token in item if token.kind not in (sql_text.SPACE, sql_text.COMMENT)] for item in items]
    counter = next((words[0].text for words in said if words[0].kind == NAME and _has(words, "AUTO_INCREMENT")), "")
    options = [token.upper for token in tail if token.kind != sql_text.SPACE]
    versioned = "VERSIONING" in options  # takes no unique key afterwards
    kept, indexes, keys = list[str](), list[str](), list[str]()
    for item, words in zip(items, said, strict=True):
        text = sql_text.joined(item).strip()
        if words[0].upper == "CONSTRAINT" and _has(words, "FOREIGN"):
            if _parent(words) in ours:
                keys.append(text)
        elif words[0].upper in _INDEXES and _first_column(words) != counter and not versioned:
            indexes.append(text)  # a counter needs its index at once
        else:
            kept.append(text)
    lines = ",\n".join(f"  {text}" for text in kept)
    return f"{head}\n{lines}\n{_without_counter(tail)}", indexes, keys


def lines(create: str) -> list[list[Token]]:
    """What stands between the commas of a CREATE TABLE, as tokens without blanks."""
    return [[t for t in item if t.kind not in (sql_text.SPACE, sql_text.COMMENT)] for item in _parts(create)[1]]


def _parts(create: str) -> tuple[str, list[list[Token]], list[Token]]:
    """The text up to the opening parenthesis, what stands between commas in it, and the rest from the closing one."""
    found = list(sql_text.tokens(create, "mysql"))
    depths = sql_text.depths(found)
    opening = next(i for i, token in enumerate(found) if token.text == "(")
    closing = next(i for i in range(opening + 1, len(found)) if found[i].text == ")" and depths[i] == 0)
    items: list[list[Token]] = [[]]
    for token, depth in zip(found[opening + 1 : closing], depths[opening + 1 : closing], strict=True):
        if token.text == "," and depth == 1:
            items.append([])
        else:
            items[-1].append(token)
    return sql_text.joined(found[: opening + 1]), items, found[closing:]


def _has(words: Sequence[Token], word: str) -> bool:
    return any(token.upper == word for token in words)


def _parent(words: Sequence[Token]) -> str:
    """The table that a foreign key refers to; "" where it is one of another database."""
    at = next(i for i, token in enumerate(words) if token.upper == "REFERENCES") + 1
    other = at + 1 < len(words) and words[at + 1].text == "."
    return "" if other else sql_text.unquoted(words[at])


def _first_column(words: Sequence[Token]) -> str:
    return words[next(i for i, token in enumerate(words) if token.text == "(") + 1].text


def _without_counter(tail: Sequence[Token]) -> str:
    """A table's options without its counter's value."""
    for i, token in enumerate(tail):
        if token.upper == "AUTO_INCREMENT" and tail[i + 1].text == "=":
            return sql_text.joined(tail[:i]).rstrip() + sql_text.joined(tail[i + 3 :])
    return sql_text.joined(tail)
