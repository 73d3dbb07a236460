"""What a change left of the columns of a clone: MODIFY and CHANGE restate a column, and what they leave out is gone.

Compared are the clone's columns and unique keys before and after a statement, as the server's catalog tells them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runbook_lib.databases import sql_text
from runbook_lib.databases.adapter_helpers import duplicate_values
from runbook_lib.databases.model import Hazard
from runbook_lib.databases.mysql import quoting
from runbook_lib.databases.narrowing import narrows
from runbook_lib.errors import DatabaseError

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

_COLUMNS = """
SELECT column_name, column_type, is_nullable, column_default, extra, column_comment, collation_name
FROM information_schema.columns WHERE table_schema = database() AND table_name = :table
"""
_UNIQUE = """
SELECT index_name, column_name, sub_part FROM information_schema.statistics
WHERE table_schema = database() AND table_name = :table AND non_unique = 0 ORDER BY index_name, seq_in_index
"""
_EXTRAS = ("auto_increment", "on update", "invisible", "generated")
_CHARACTERS = {"CHARACTER", "CHARSET", "COLLATE", "ASCII", "UNICODE", "BINARY"}


@dataclass(frozen=True)
class Column:
    """A column as the catalog tells it; `default` is None where there is none."""

    type: str
    nullable: bool
    default: str | None
    extra: str
    comment: str
    collation: str


@dataclass(frozen=True)
class State:
    """The columns of a clone by name, and its unique keys: columns with the length of their prefix."""

    columns: dict[str, Column]
    unique: dict[str, tuple[tuple[str, int | None], ...]]


def state(db: MySQLPort, clone: str) -> State:
    """What a clone is now."""
    table = {"table": sql_text.unquoted(clone)}
    columns = {}
    for name, kind, nullable, default, extra, comment, collation in db.rows(_COLUMNS, table):
        known = None if default is None or (str(default).upper() == "NULL" and nullable == "YES") else str(default)
        columns[str(name)] = Column(
            str(kind), nullable == "YES", known, str(extra).lower(), str(comment or ""), str(collation or "")
        )
    unique: dict[str, tuple[tuple[str, int | None], ...]] = {}
    for index, column, part in db.rows(_UNIQUE, table):
        unique[str(index)] = (*unique.get(str(index), ()), (str(column), part))
    return State(columns, unique)


def hazards(
    db: MySQLPort, number: int, table: str, statement: str, before: State, after: State, *, settled: bool
) -> Iterator[Hazard]:
    """What a statement forgets, narrows, or would find twice.

    Args:
        settled: No statement before it changes rows.
    """
    changes = list(_changes(statement, before, after))
    for words, old, new in changes:
        lost = list(_forgotten(words, before.columns[old], after.columns[new]))
        if lost:
            text = f"{table}.{new} loses {', '.join(lost)}: the statement restates the column and leaves that out"
            action = (
                "write all that is to stay into it; ALTER COLUMN … SET DEFAULT, or a lighter clause, says one thing"
            )
            yield Hazard("attributes-forgotten", number, text, action)
    said = [(new, narrows(before.columns[old].type, after.columns[new].type, "mysql")) for _, old, new in changes]
    texts = [f"{table}.{name}: {text}" for name, text in said if text]
    if texts:
        yield Hazard("narrowing-type", number, "; ".join(texts), "keep the wider type, or look for such values first")
    if settled:
        for keys in _to_be_unique(before, after, {new: old for _, old, new in changes}):
            yield from _twice(db, number, table, keys, after)


def _changes(statement: str, before: State, after: State) -> Iterator[tuple[set[str], str, str]]:
    """Each MODIFY and CHANGE: its keywords, the column's name before and after."""
    for clause in _clauses(statement):
        words = [token.upper for token in clause]
        at = next((n for n, word in enumerate(words) if word in ("MODIFY", "CHANGE")), None)
        if at is None:
            continue
        named = [token for token in clause[at + 1 :] if token.upper not in ("COLUMN", "IF", "EXISTS")]
        old = sql_text.unquoted(named[0])
        new = sql_text.unquoted(named[1]) if words[at] == "CHANGE" else old
        there = {name.lower(): name for name in before.columns}, {name.lower(): name for name in after.columns}
        if old.lower() in there[0] and new.lower() in there[1]:
            yield set(words), there[0][old.lower()], there[1][new.lower()]


def _clauses(statement: str) -> list[list[sql_text.Token]]:
    """The parts of an ALTER TABLE between the commas that are in no bracket."""
    code = sql_text.code(statement, "mysql")
    found: list[list[sql_text.Token]] = [[]]
    for token, depth in zip(code, sql_text.depths(code), strict=True):
        if token.text == "," and depth == 0:
            found.append([])
        else:
            found[-1].append(token)
    return found


def _forgotten(words: set[str], old: Column, new: Column) -> Iterator[str]:
    """What the column had, has no more, and the statement says nothing of."""
    if not old.nullable and new.nullable and "NULL" not in words:
        yield "NOT NULL"
    if old.default is not None and new.default is None and "DEFAULT" not in words:
        yield f"DEFAULT {old.default}"
    for extra in _EXTRAS:
        if extra in old.extra and extra not in new.extra:
            yield extra.upper()
    if old.comment and not new.comment and "COMMENT" not in words:
        yield f"COMMENT '{old.comment}'"
    if old.collation and new.collation and old.collation != new.collation and not words & _CHARACTERS:
        yield f"COLLATE {old.collation}"


def _to_be_unique(before: State, after: State, renamed: dict[str, str]) -> Iterator[tuple[tuple[str, int | None], ...]]:
    """Unique keys to check against the rows again: new ones, and those of columns whose values compare differently."""
    for name, keys in after.unique.items():
        anew = name not in before.unique
        for column, _ in keys:
            old, new = before.columns.get(renamed.get(column, column)), after.columns.get(column)
            anew = anew or (old, new) == (None, None) or bool(old and new and _recreates_expression(old, new))
        if anew:
            yield keys


def _recreates_expression(old: Column, new: Column) -> bool:
    return (old.type, old.collation) != (new.type, new.collation)


def _twice(
    db: MySQLPort, number: int, table: str, keys: Sequence[tuple[str, int | None]], after: State
) -> Iterator[Hazard]:
    columns = [column for column, _ in keys]
    quoted = [quoting.ident(column) for column in columns]
    grouped = [_compared(key, part, after.columns[column]) for key, (column, part) in zip(quoted, keys, strict=True)]
    filled = " AND ".join(f"{key} IS NOT NULL" for key in quoted)
    ends = [f"CAST({act}(CAST({key} AS BINARY)) AS CHAR)" for act in ("MIN", "MAX") for key in quoted]
    rows = f"FROM {table} WHERE {filled} GROUP BY {', '.join(grouped)} HAVING COUNT(*) > 1"
    try:
        [(many,)] = db.rows(f"SELECT COUNT(*) FROM (SELECT 1 {rows}) AS d")
        example = db.rows(f"SELECT {', '.join(ends)} {rows} LIMIT 1") if many else []
    except DatabaseError:  # a column that only the revision makes
        return
    for row in example:
        least, most = (", ".join(map(str, half)) for half in (row[: len(keys)], row[len(keys) :]))
        shown = f"({least})" if least == most else f"({least}) and ({most})"
        yield duplicate_values(number, table, columns, int(many), shown)


def _compared(key: str, part: int | None, column: Column) -> str:
    """A column as its unique key will compare it."""
    if not column.collation:
        return key
    charset = column.collation.partition("_")[0]
    length = part or (int(column.type.partition("(")[2].partition(")")[0] or 0) if "char(" in column.type else 0)
    text = f"CONVERT({key} USING {charset}) COLLATE {column.collation}"
    return f"LEFT({text}, {length})" if length else text
