"""What a catalog says of a table: columns, indexes, constraints. Every engine's adapter describes its tables so."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column as the catalog describes it."""

    name: str
    type: str  # the engine's own text, e.g. "character varying(40)"
    nullable: bool = True
    default: str | None = None
    generated: bool = False  # computed by the engine: excluded from copying, included in comparing
    identity: str = ""  # "", "always", "by default", "serial", "auto_increment"
    collation: str = ""
    ordinal: int = 0


@dataclass(frozen=True)
class Index:
    """One index, comparable across databases: names are left out of its definition."""

    name: str
    columns: tuple[str, ...]  # expressions appear as their text
    unique: bool = False
    definition: str = ""  # normalized, without names
    valid: bool = True
    partial: bool = False
    constraint: bool = False  # backs a primary key, unique or exclusion constraint


@dataclass(frozen=True)
class Constraint:
    """One constraint, comparable across databases: names are left out of its definition."""

    name: str
    kind: str  # primary | unique | foreign | check | exclusion | not_null
    columns: tuple[str, ...]
    definition: str = ""  # normalized, without names
    validated: bool = True
    referenced_table: str = ""


@dataclass(frozen=True)
class Table:
    """One table as its catalog describes it. `key` is the primary key, or the unique index that serves as one."""

    name: str
    schema: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    indexes: tuple[Index, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    triggers: tuple[str, ...] = ()
    rows_estimate: int = 0
    size_bytes: int = 0
    comment: str = ""
    partitioned: bool = False

    def column(self, name: str) -> Column:
        return {column.name: column for column in self.columns}[name]
