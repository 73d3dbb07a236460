"""Whether the keys that a statement adds are there already, just so: of that name alone they may be somebody's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from runbook_lib.databases import sql_text
from runbook_lib.databases.mysql import create_table, quoting
from runbook_lib.databases.sql_text import Token

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

# What the server prints otherwise than one may write it, or not at all.
_SAME = {"INDEX": "KEY"}
_SILENT = (("USING", "BTREE"), ("ON", "DELETE", "RESTRICT"), ("ON", "UPDATE", "RESTRICT"))


def keys_are_there(db: MySQLPort, statement: str) -> bool:
    """Whether every index and foreign key of an ALTER TABLE … ADD is there by its name and is the same.

    Another statement is none of this: True.
    """
    code = sql_text.code(statement.rstrip().rstrip(";"), "mysql")
    if sql_text.words(code, 0, 2) != ("ALTER", "TABLE") or len(code) < 5 or code[3].upper != "ADD":
        return True
    shown = str(db.rows(f"SHOW CREATE TABLE {quoting.ident(sql_text.unquoted(code[2]))}")[0][1])
    there = [_normal(part) for part in create_table.lines(shown)]
    return all(any(_same(_normal(part[1:]), line) for line in there) for part in _clauses(code[3:]))


def _same(asked: Sequence[str], shown: Sequence[str]) -> bool:
    """A name that was written without quotes is in capitals here, like every word; the server shows it as it is."""
    return len(asked) == len(shown) and all(a in (b, b.upper()) for a, b in zip(asked, shown, strict=True))


def _clauses(code: Sequence[Token]) -> Iterator[list[Token]]:
    """Each `ADD …`: what is between commas in no bracket."""
    found: list[Token] = []
    for token, depth in zip(code, sql_text.depths(code), strict=True):
        if token.text == "," and depth == 0:
            yield found
            found = []
        else:
            found.append(token)
    yield found


def _normal(part: Sequence[Token]) -> tuple[str, ...]:
    """Words in capitals, names without quotes; what goes without saying left out."""
    words = [_SAME.get(token.upper, token.upper) or sql_text.unquoted(token) or token.text for token in part]
    for silent in _SILENT:
        for at in range(len(words) - len(silent), -1, -1):
            if tuple(words[at : at + len(silent)]) == silent:
                del words[at : at + len(silent)]
    return tuple(words)
