"""Indexes that a database could do without, and those it lacks: proposed as revisions, never carried out unasked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.identifiers import own_name, parts_of
from runbook_lib.databases.port import Constraint, Database, Index, IndexUse, Table
from runbook_lib.display.html_table import html_table
from runbook_lib.schema.convert.translation_job import quote
from runbook_lib.schema.online import quoted
from runbook_lib.verdict import Outcome

WATCHED_S = 7 * 86400.0  # counted for less, an index that serves the end of the week looks unused
UNUSED, REDUNDANT, MISSING = "unused", "redundant", "missing"
_LONGEST = 63  # bytes of a name
# `UNIQUE btree (a, b DESC) INCLUDE (c) WHERE (x > 0)`: method, columns, the rest.
_DEFINITION = re.compile(r"^(UNIQUE )?(\w*)\s*\((.*)\)$", re.DOTALL)


@dataclass(frozen=True)
class Advice:
    """One index to drop or to build; without statements: a remark only.

    Attributes:
        kind: unused | redundant | missing.
        up: The statement that follows the advice; empty: not proposed yet, the text says why.
        down: The statement that takes it back.
    """

    kind: str
    table: str
    index: str
    text: str
    up: str = ""
    down: str = ""


@dataclass(frozen=True)
class IndexAdvice:
    """What was found in one database; shows itself as a table.

    Attributes:
        counted: For how long reads were counted, or why they are not known, in words.
    """

    database: str
    advices: tuple[Advice, ...]
    counted: str
    statistics: IndexUse = field(repr=False, default_factory=lambda: IndexUse({}))

    def files(self, name: str, revises: str) -> dict[str, str]:
        """The proposals as revisions for a person to look through: file name to text, one following the other.

        Args:
            name: The versions are `<name>_1`, `<name>_2`, …
            revises: The version that the first one follows.
        """
        written, below = {}, revises
        for number, one in enumerate((a for a in self.advices if a.up), 1):
            version = f"{name}_{number}"
            head = f"-- revision: {version}\n-- revises: {below}\n-- {one.kind} index {one.index}: {one.text}\n"
            head += "-- transaction: no\n"
            written[f"{version}.sql"] = f"{head}\n-- up\n{one.up};\n\n-- down\n{one.down};\n"
            below = version
        return written

    def __str__(self) -> str:
        lines = (f"  {one.kind}: {one.table}.{one.index}: {one.text}" for one in self.advices)
        return "\n".join([f"indexes of {self.database} ({self.counted})", *lines])

    def _repr_html_(self) -> str:
        rows = [(one.kind, one.table, one.index, one.text, one.up or "–") for one in self.advices]
        title = f"Indexes of {self.database}: {len(rows) or 'no'} findings; {self.counted}"
        return html_table(title, Outcome.PASS, ("kind", "table", "index", "why", "proposed, not carried out"), rows)


def advise(database: Database, *, watched_s: float = WATCHED_S) -> IndexAdvice:
    """Read catalog and statistics; nothing is changed.

    Args:
        watched_s: How long reads must have been counted before an index is called unused (seconds).
    Raises:
        DatabaseError: the catalog or the statistics cannot be read.
    """
    use, dialect = database.index_use(), database.dialect
    found: list[Advice] = []
    for name, table in database.catalog().items():
        redundant = dict(_redundant(table))
        found += [
            _drop(dialect, name, index, REDUNDANT, f"{redundant[index.name]} begins with the same columns")
            for index in table.indexes
            if index.name in redundant
        ]
        found += _unused(dialect, name, table, use, set(redundant), watched_s)
        found += _missing(dialect, name, table)
    order = (REDUNDANT, MISSING, UNUSED)
    advices = sorted(found, key=lambda one: (order.index(one.kind), one.table, one.index))
    return IndexAdvice(database.name, tuple(advices), _counted(use), use)


def _counted(use: IndexUse) -> str:
    if use.missing or use.since_s is None:
        return f"unused ones are not known: {use.missing or 'nobody knows since when reads are counted'}"
    return f"reads counted for {use.since_s / 86400:.1f} days, on this server only"


def _redundant(table: Table) -> Iterator[tuple[str, str]]:
    """(index, the one that does its work): of two alike the later name goes, of two that overlap the shorter one."""
    for index in table.indexes:
        for other in table.indexes:
            if (
                index.name != other.name
                and _serves(other, index)
                and not (_serves(index, other) and _first(index, other))
            ):
                yield index.name, other.name
                break


def _first(index: Index, other: Index) -> bool:
    """Which of two alike stays."""
    return (not index.constraint, not index.unique, index.name) < (not other.constraint, not other.unique, other.name)


def _serves(other: Index, index: Index) -> bool:
    """Whether `other` does all that `index` does: it begins with the same columns, in the same order and way."""
    if index.constraint or index.partial or other.partial or not other.valid:
        return False
    mine, its = _DEFINITION.match(index.definition), _DEFINITION.match(other.definition)
    if not mine or not its or mine[2] != its[2] or ")" in _outside(mine[3]) or ")" in _outside(its[3]):
        return False
    if index.unique:  # it forbids something: only the very same one replaces it
        return other.unique and mine[3] == its[3]
    return its[3] == mine[3] or (mine[2] in ("", "btree") and its[3].startswith(f"{mine[3]}, "))


def _outside(columns: str) -> str:
    """The text outside brackets: a bracket that closes there belongs to another clause (INCLUDE, WITH, WHERE)."""
    depth, kept = 0, ""
    for letter in columns:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth < 0:
            return ")"
        kept += letter if depth == 0 and letter != ")" else ""
    return kept


def _keys(table: Table) -> list[Constraint]:
    return [constraint for constraint in table.constraints if constraint.kind == "foreign"]


def _leads(index: Sequence[str], columns: Sequence[str]) -> bool:
    return set(index[: len(columns)]) == set(columns)


def _unused(
    dialect: str, name: str, table: Table, use: IndexUse, redundant: set[str], watched_s: float
) -> Iterator[Advice]:
    """Indexes without a read. What forbids or proves something is never among them, nor what a foreign key leans on."""
    for index in table.indexes:
        if index.unique or index.constraint or index.name in redundant or use.reads.get((name, index.name)) != 0:
            continue
        if any(_leads(index.columns, key.columns) for key in _keys(table)):
            continue
        if use.since_s is None or use.since_s < watched_s:
            text = f"not read so far, counted for less than {watched_s / 86400:g} days: too early to say"
            yield Advice(UNUSED, name, index.name, text)
        else:
            yield _drop(dialect, name, index, UNUSED, f"not read in {use.since_s / 86400:.0f} days")


def _missing(dialect: str, name: str, table: Table) -> Iterator[Advice]:
    """Foreign keys without an index: deleting a parent reads the whole child table."""
    there = [index.columns for index in table.indexes if index.valid and not index.partial]
    wanted = dict.fromkeys(key.columns for key in _keys(table))
    for columns in wanted:
        if any(_leads(index, columns) for index in (*there, table.key)):
            continue
        words = f"{name.rpartition('.')[2]}_{'_'.join(columns)}"
        index = words if len(words.encode()) <= _LONGEST else own_name("index", name, *columns)
        listed = ", ".join(quote(column, dialect) for column in columns)
        up, down = _create(dialect, name, index, f"({listed})"), _dropping(dialect, name, index)
        parents = ", ".join(sorted({key.referenced_table for key in _keys(table) if key.columns == columns}))
        yield Advice(MISSING, name, index, f"its foreign key to {parents} has none", up, down)


def _drop(dialect: str, table: str, index: Index, kind: str, text: str) -> Advice:
    """Drop an index; its definition, kept from the catalog, builds it again."""
    down = _create(dialect, table, index.name, index.definition)
    return Advice(kind, table, index.name, text, _dropping(dialect, table, index.name), down)


def _create(dialect: str, table: str, index: str, definition: str) -> str:
    unique, rest = definition.startswith("UNIQUE "), definition.removeprefix("UNIQUE ")
    method, _, columns = rest.partition("(")
    names = quote(index, dialect), quoted(table, dialect), f"({columns}"
    return dialect_of(dialect).create_index(*names, unique=unique, method=method.strip())


def _dropping(dialect: str, table: str, index: str) -> str:
    name = ".".join(quote(part, dialect) for part in (*parts_of(table, dialect)[:-1], index))
    return dialect_of(dialect).drop_index(name, quoted(table, dialect))
