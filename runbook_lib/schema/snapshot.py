"""The shape of a schema in words: what was recorded after a revision, what it is now, and the difference by name."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence

from runbook_lib.databases.identifiers import parts_of
from runbook_lib.databases.port import Column, Database, Table

Shape = Mapping[str, Sequence[str]]


def shape_of(database: Database, without: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    """Each table's columns, indexes, constraints and triggers, one line each, in no order that a revision changes.

    A column that went and came back stands last in its table: that is no difference. Views, routines and types are
    one line each, the beginning of their text and its digest.

    Args:
        without: Tables left out, whatever their schema.
    """
    found = database.catalog()
    wanted = [name for name in sorted(found) if parts_of(name, database.dialect)[-1] not in without]
    tables = {name: table_lines(found[name]) for name in wanted}
    beside = {name: (_shortened(text),) for name, text in sorted(database.definitions().items())}
    return {**tables, **beside}


def digest_of(shape: Shape) -> str:
    """SHA-256 of a shape."""
    return hashlib.sha256(json.dumps(dict(shape), sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def differences(before: Shape, after: Shape) -> list[tuple[str, str, str]]:
    """(table, "+" or "-", line) for everything that came or went; a changed line is one that went and one that came."""
    found = []
    for table in sorted({*before, *after}):
        old, new = set(before.get(table, ())), set(after.get(table, ()))
        if (table not in before or table not in after) and not _BESIDE.match(table):
            found.append((table, "-" if table in before else "+", "the table"))
        found += [(table, "-", line) for line in sorted(old - new)] + [(table, "+", line) for line in sorted(new - old)]
    return found


def in_words(found: Sequence[tuple[str, str, str]], most: int = 4) -> str:
    """Differences in one line."""
    words = [f"{table}: {'+' if sign == '+' else '−'} {line}" for table, sign, line in found]
    return "; ".join(words[:most]) + (f"; {len(words) - most} more" if len(words) > most else "")


def for_people(found: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """The same without what a column's own line says of it too, and without words that a definition begins with."""
    told = [one for one in found if not _OF_COLUMN.fullmatch(one[2])]
    return [(table, sign, _KIND.sub("", line)) for table, sign, line in told]


_OF_COLUMN = re.compile(r"not_null NOT NULL \S+")
_KIND = re.compile(r"^(?:primary|unique|foreign|check|exclusion|not_null) ")
_BESIDE = re.compile(r"(?:materialized )?view |function |procedure |aggregate |type |event |trigger ")


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:60]}… [{hashlib.sha256(text.encode()).hexdigest()[:8]}]"


def table_lines(table: Table) -> tuple[str, ...]:
    """A table's columns, indexes, constraints and triggers, one line each."""
    lines = [f"column {_column(column)}" for column in table.columns]
    lines += [f"index {i.definition or ', '.join(i.columns)}{'' if i.valid else ' (invalid)'}" for i in table.indexes]
    lines += [f"{c.kind} {c.definition}{'' if c.validated else ' (not validated)'}" for c in table.constraints]
    return tuple(sorted(lines + [f"trigger {trigger}" for trigger in table.triggers]))


def _column(column: Column) -> str:
    words = [column.name, column.type, "" if column.nullable else "not null"]
    words += [
        f"default {column.default}" if column.default is not None else "",
        "generated" if column.generated else "",
    ]
    words += [column.identity and f"identity {column.identity}", column.collation and f"collate {column.collation}"]
    return " ".join(word for word in words if word)
