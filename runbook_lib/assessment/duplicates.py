"""Rows that are different at the source and the same to a unique key of the target: case, accents, trailing spaces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runbook_lib.assessment.findings import Finding
from runbook_lib.assessment.table_pairs import Subject
from runbook_lib.assessment.value_scan import reading_of
from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Column, Database, Table
from runbook_lib.schema.convert.types import read_type

MOST_ROWS = 20_000_000  # grouping more takes minutes, and room on the source's disk
_TEXTS = ("text", "varchar", "char", "any")


def duplicate_findings(subject: Subject, source: Database) -> tuple[list[Finding], str]:
    """A finding for each unique key of the target that the source's rows would break, and why it was not checked."""
    if subject.mapping.derived:
        return [], ""
    found: list[Finding] = []
    for key in _keys(subject):
        folded = {name: _folded(subject, source, name) for name in key}
        if key in _unique(subject.read) and all(sql == source.ident(name) for name, sql in folded.items()):
            continue  # the source holds the same rows apart already
        if subject.read.rows_estimate > MOST_ROWS:
            return found, f"duplicates of ({', '.join(key)}) were not looked for: over {MOST_ROWS:,} rows"
        found += _grouped(subject, source, key, list(folded.values()))
    return found, ""


def _keys(subject: Subject) -> list[tuple[str, ...]]:
    here = {column.name for column in subject.read.columns}
    return [key for key in _unique(subject.written) if here.issuperset(key)]


def _unique(table: Table) -> list[tuple[str, ...]]:
    keys = [constraint.columns for constraint in table.constraints if constraint.kind in ("primary", "unique")]
    keys += [index.columns for index in table.indexes if index.unique and not index.partial]
    return list(dict.fromkeys(keys))


def _folded(subject: Subject, source: Database, name: str) -> str:
    """The column as the target's key sees it, in the source's words; the column itself where all texts stay apart."""
    sql, here, there = source.ident(name), subject.read.column(name), _column(subject, name)
    if there is None or read_type(here.type, source.dialect).kind not in _TEXTS:
        return sql
    if source.dialect == subject.dialect and (here.type, here.collation) == (there.type, there.collation):
        return sql
    dialect, target = dialect_of(source.dialect), dialect_of(subject.dialect)
    if dialect is target and (recollated := dialect.recollated(sql, there.collation)):
        return sql if there.collation in (here.collation, "") else recollated
    padded = read_type(there.type, subject.dialect).kind == "char"
    case, accents, spaces = target.overlooks(there.collation.lower(), padded=padded)
    text = dialect.text(sql)
    if case or accents:
        text = dialect.without_case(text, accents=accents)
    if spaces:
        text = dialect.without_trailing(text)
    return text if case or accents or spaces else sql


def _column(subject: Subject, name: str) -> Column | None:
    return next((column for column in subject.written.columns if column.name == name), None)


def _grouped(subject: Subject, source: Database, key: Sequence[str], folded: Sequence[str]) -> Iterator[Finding]:
    reading = reading_of(source, subject)
    given = [f"{source.ident(name)} IS NOT NULL" for name in key] + ([f"({reading.where})"] if reading.where else [])
    rows = f"FROM {reading.relation} WHERE {' AND '.join(given)} GROUP BY {', '.join(folded)} HAVING COUNT(*) > 1"
    [(count,)] = source.rows(f"SELECT COUNT(*) FROM (SELECT 1 AS one {rows}) AS d")
    if not count:
        return
    [first] = (source.ident(name) for name in _first(subject, source, key))
    one, other = (dialect_of(source.dialect).shown(f"{end}({first})") for end in ("MIN", "MAX"))
    [(least, greatest)] = source.rows(f"SELECT {one}, {other} {rows} LIMIT 1")
    yield Finding(
        "duplicates",
        "blocks",
        f"{subject.label} ({', '.join(key)})",
        f"{int(count):,} values are one and the same to the target's unique key",
        int(count),
        f"{least!r} and {greatest!r}",
        (),
        "tell them apart at the source, or give the target's column a collation that does",
        table=subject.mapping.source,
    )


def _first(subject: Subject, source: Database, key: Sequence[str]) -> tuple[str]:
    texts = [name for name in key if read_type(subject.read.column(name).type, source.dialect).kind in _TEXTS]
    return ((texts or list(key))[0],)
