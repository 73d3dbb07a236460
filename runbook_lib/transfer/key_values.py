"""Rows of the source that the target's keys will refuse: children without a parent, values that it takes for one.

Across engines only. One anti-join for each foreign key that the source does not enforce as the target will: SQLite
enforces none unasked, MySQL compares by collation and may have been told not to look, PostgreSQL has NOT VALID.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Constraint, Database, Table
from runbook_lib.plan.model import Service
from runbook_lib.schema.references import referenced
from runbook_lib.schema.types import read_type

_TEXTS = ("text", "varchar", "char", "enum", "any")


@dataclass(frozen=True)
class BrokenKey:
    """A key of the target that rows of the source break.

    Attributes:
        table: As the target calls it.
        key: In words, with its columns.
        rows: Rows, or values, that break it (count).
        text: What is wrong, with an example.
    """

    table: str
    key: str
    rows: int
    text: str

    @property
    def line(self) -> str:
        """In one line."""
        return f"{self.table}: {self.rows:,} {self.text}: {self.key}"


def orphans(
    service: Service, source: Database, read: Mapping[str, Table], written: Mapping[str, Table]
) -> Iterator[BrokenKey]:
    """Children whose parent the target will not find.

    Args:
        read: The source's tables by their names there.
        written: The target's, by theirs, with the foreign keys that are to be made.
    """
    origin = {mapping.target: mapping.source for mapping in service.tables}
    for name, table in written.items():
        for key in (c for c in table.constraints if c.kind == "foreign"):
            child = read.get(origin.get(name, ""))
            parent = read.get(origin.get(key.referenced_table, key.referenced_table))
            enforced = source.dialect == "postgresql" and key.validated
            if child and parent and not enforced and (there := referenced(key)):
                yield from _orphans(source, name, child, parent, key, there)


def _orphans(
    source: Database, name: str, child: Table, parent: Table, key: Constraint, there: Sequence[str]
) -> Iterator[BrokenKey]:
    pairs = [(f"c.{source.ident(a)}", f"p.{source.ident(b)}") for a, b in zip(key.columns, there, strict=True)]
    texts = [read_type(child.column(a).type, source.dialect).kind in _TEXTS for a in key.columns]
    exact = " AND ".join(_same(source.dialect, a, b, text) for (a, b), text in zip(pairs, texts, strict=True))
    given = " AND ".join(f"{a} IS NOT NULL" for a, _ in pairs)
    shown = f"c.{source.ident(child.key[0])}" if child.key else pairs[0][0]

    def lonely(condition: str) -> str:
        among = f"SELECT 1 FROM {source.quote(parent.name)} AS p WHERE {condition}"
        return f"FROM {source.quote(child.name)} AS c WHERE {given} AND NOT EXISTS ({among})"

    [(count, example)] = source.rows(f"SELECT COUNT(*), MIN({shown}) {lonely(exact)}")
    if not count:
        return
    loose = " AND ".join(_alike(source.dialect, a, b, text) for (a, b), text in zip(pairs, texts, strict=True))
    [(alone,)] = source.rows(f"SELECT COUNT(*) {lonely(loose)}") if any(texts) else [(count,)]
    cased = f" ({count - alone:,} of them but for case or trailing spaces)" if alone < count else ""
    what = f"{child.key[0] if child.key else key.columns[0]} = {example}"
    text = f"rows have no parent in {key.referenced_table}{cased}, e.g. {what}"
    yield BrokenKey(name, f"foreign key {key.name} ({', '.join(key.columns)})".replace("  ", " "), int(count), text)


def _same(dialect: str, own: str, there: str, text: bool) -> str:
    """Equal as the target will compare: texts by their bytes."""
    if dialect == "sqlite":
        return f"{there} = {own} COLLATE BINARY" if text else f"{there} = {own}"
    if dialect == "mysql" and text:
        parts = [f"CAST(CONVERT({each} USING utf8mb4) AS BINARY)" for each in (there, own)]
        return f"{there} = {own} AND {parts[0]} = {parts[1]}"
    return f"{there} = {own}"


def _alike(dialect: str, own: str, there: str, text: bool) -> str:
    if dialect == "mysql" or not text:
        return f"{there} = {own}"
    return f"lower(rtrim({there})) = lower(rtrim({own}))"


def folded(
    service: Service, source: Database, dialect: str, read: Mapping[str, Table], written: Mapping[str, Table]
) -> Iterator[BrokenKey]:
    """Values that a unique key of the target takes for one."""
    from runbook_lib.assessment.duplicates import duplicate_findings  # which plans its tables by the transfer's links
    from runbook_lib.assessment.subjects import Subject

    for mapping in service.tables:
        if mapping.source in read and mapping.target in written:
            subject = Subject("", mapping, read[mapping.source], written[mapping.target], dialect, there=False)
            for found in duplicate_findings(subject, source)[0]:
                text = f"values are one and the same to it, e.g. {found.example}"
                yield BrokenKey(mapping.target, f"unique key {found.subject.partition(' ')[2]}", found.count, text)
