"""Take the source database's name out of texts that the server writes: `b27`.`invoice_no` reaches into the source.

The server writes names in backticks and texts in single quotes; words that a user wrote stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from runbook_lib.databases import sql_text
from runbook_lib.databases.sql_text import NAME, SIGN, WORD, Token


def own_names(text: str, database: str) -> str:
    """A default, a check or a table's text: what has the database's name before it is a sequence or a routine."""
    return _without(text, lambda found, at: sql_text.unquoted(found[at]) == database and found[at].kind == NAME)


def view(text: str, database: str, known: Collection[str]) -> str:
    """A view's text; `known`: tables, views, sequences and routines, for an alias may have the database's name."""

    def ours(found: list[Token], at: int) -> bool:
        return (
            found[at].kind == NAME
            and sql_text.unquoted(found[at]) == database
            and sql_text.unquoted(found[at + 2]) in known
        )

    return _without(text, ours)


def head(text: str, database: str, modes: Collection[str]) -> str:
    """A trigger's statement, whose own and whose table's name a user may have written with the database."""
    listed = list(sql_text.tokens(text, "mysql", modes))
    code = [token for token in listed if token.kind not in (sql_text.SPACE, sql_text.COMMENT)]
    ends = next(
        (code[i].start for i in range(len(code) - 2) if sql_text.words(code, i) == ("FOR", "EACH", "ROW")), len(text)
    )

    def ours(found: list[Token], at: int) -> bool:
        return sql_text.unquoted(found[at]).casefold() == database.casefold()

    return _without(text[:ends], ours, modes) + text[ends:]


def _without(text: str, ours: Callable[[list[Token], int], bool], modes: Collection[str] = ()) -> str:
    code = sql_text.code(text, "mysql", modes)
    cuts = [
        (code[i].start, code[i + 2].start)
        for i in range(len(code) - 2)
        if code[i].kind in (NAME, WORD)
        and code[i + 1].text == "."
        and code[i + 1].kind == SIGN
        and code[i + 2].kind in (NAME, WORD)
        and (i == 0 or code[i - 1].text != ".")
        and ours(code, i)
    ]
    for start, end in reversed(cuts):
        text = text[:start] + text[end:]
    return text
