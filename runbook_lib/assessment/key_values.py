"""Rows of the source that the target's keys will refuse: children without a parent, values that it takes for one.

One anti-join for each foreign key that the source does not enforce as the target will: SQLite enforces none unasked,
MySQL compares by collation and may have been set not to look, PostgreSQL has NOT VALID. Within PostgreSQL and within
SQLite such a key is kept as the source has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Constraint, Database, Table
from runbook_lib.plan.model import Service, TableMapping
from runbook_lib.schema.convert.references import referenced
from runbook_lib.schema.convert.types import read_type

_TEXTS = ("text", "varchar", "char", "enum", "any")


@dataclass(frozen=True)
class BrokenKey:
    """A key of the target that rows of the source break.

    Attributes:
        table: As the target calls it.
        key: In words, with its columns.
        rows: Rows, or values, that break it (count).
        text: What is wrong, with an example.
        example: One of the rows by its key, or the two values.
        kept: Whether the target takes the key all the same, as little proven as at the source.
    """

    table: str
    key: str
    rows: int
    text: str
    example: str = ""
    kept: bool = False

    @property
    def line(self) -> str:
        """In one line."""
        return f"{self.table}: {self.rows:,} {self.text}, e.g. {self.example}: {self.key}"


def orphans(
    service: Service, source: Database, dialect: str, read: Mapping[str, Table], written: Mapping[str, Table]
) -> Iterator[BrokenKey]:
    """Children whose parent the target will not find.

    Args:
        dialect: The target's.
        read: The source's tables by their names there.
        written: The target's, by theirs, with the foreign keys that are to be made.
    """
    origin = {mapping.target: mapping for mapping in service.tables if not mapping.derived}
    for name, table in written.items():
        for key in (c for c in table.constraints if c.kind == "foreign"):
            mappings = origin.get(name), origin.get(key.referenced_table)
            child, parent = (read.get(m.source) if m else None for m in mappings)
            where = any(m.where for m in mappings if m)
            enforced = dialect_of(source.dialect).enforces_keys and key.validated and not where
            there = referenced(key) or ()
            if child and parent and not enforced and _here(child, key.columns) and _here(parent, there):
                relations = [_rows(source, m, table) for m, table in zip(mappings, (child, parent), strict=True) if m]
                yield from _orphans(source, dialect, name, child, relations, key, there)


def _here(table: Table, columns: Sequence[str]) -> bool:
    """Whether the source has these columns under these names."""
    return bool(columns) and {column.name for column in table.columns}.issuperset(columns)


def _rows(source: Database, mapping: TableMapping, table: Table) -> str:
    name = f"{table.only}{source.quote(mapping.source)}"  # the catalog's own name is no longer quoted
    return f"(SELECT * FROM {name} WHERE {mapping.where})" if mapping.where else name


def _orphans(
    source: Database,
    dialect: str,
    name: str,
    child: Table,
    relations: Sequence[str],
    key: Constraint,
    there: Sequence[str],
) -> Iterator[BrokenKey]:
    (children, parents), alike = relations, source.dialect == dialect
    pairs = [(f"c.{source.ident(a)}", f"p.{source.ident(b)}") for a, b in zip(key.columns, there, strict=True)]
    texts = [not alike and read_type(child.column(a).type, source.dialect).kind in _TEXTS for a in key.columns]
    here = dialect_of(source.dialect)
    exact = " AND ".join(here.same_bytes(b, a, text=text) for (a, b), text in zip(pairs, texts, strict=True))
    given = " AND ".join(f"{a} IS NOT NULL" for a, _ in pairs)
    shown = f"c.{source.ident(child.key[0])}" if child.key else pairs[0][0]

    def keys_without_parent(condition: str) -> str:
        among = f"SELECT 1 FROM {parents} AS p WHERE {condition}"
        return f"FROM {children} AS c WHERE {given} AND NOT EXISTS ({among})"

    [(count, example)] = source.rows(f"SELECT COUNT(*), MIN({shown}) {keys_without_parent(exact)}")
    if not count:
        return
    compared = zip(pairs, texts, strict=True)
    loose = " AND ".join(here.alike(b, a) if text else f"{b} = {a}" for (a, b), text in compared)
    [(alone,)] = source.rows(f"SELECT COUNT(*) {keys_without_parent(loose)}") if any(texts) else [(count,)]
    cased = f" ({count - alone:,} of them but for case or trailing spaces)" if alone < count else ""
    what = f"{child.key[0] if child.key else key.columns[0]} = {example}"
    text = f"rows have no parent in {key.referenced_table}{cased}"
    words = f"foreign key {key.name} ({', '.join(key.columns)})".replace("  ", " ")
    kept = not dialect_of(dialect).checks_references or (alike and not key.validated)
    yield BrokenKey(name, words, int(count), text, what, kept)


def folded(
    service: Service, source: Database, dialect: str, read: Mapping[str, Table], written: Mapping[str, Table]
) -> Iterator[BrokenKey]:
    """Values that a unique key of the target takes for one."""
    from runbook_lib.assessment.duplicates import duplicate_findings  # which plans its tables by the transfer's links
    from runbook_lib.assessment.table_pairs import Subject

    for mapping in service.tables:
        if mapping.source in read and mapping.target in written:
            subject = Subject("", mapping, read[mapping.source], written[mapping.target], dialect, there=False)
            for found in duplicate_findings(subject, source)[0]:
                key, text = f"unique key {found.subject.partition(' ')[2]}", "values are one and the same to it"
                yield BrokenKey(mapping.target, key, found.count, text, found.example)
