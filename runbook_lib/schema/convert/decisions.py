"""What a translation decides, and what the plan decides for it; what the source must be asked beforehand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Database, Table
from runbook_lib.schema.convert.types import DomainRules, UserTypes


@dataclass(frozen=True)
class Decision:
    """One thing that is not the same at the target. Without a choice (`chosen` empty) it blocks."""

    subject: str
    what: str
    chosen: str
    alternatives: tuple[str, ...] = ()
    lossy: bool = False

    @property
    def blocking(self) -> bool:
        return not self.chosen


@dataclass(frozen=True)
class Policies:
    """What the plan decides: `types` by `table.column` or by source type; `error`, `null`, `text`, … for values."""

    types: Mapping[str, str] = field(default_factory=dict)
    zero_dates: str = "error"
    nul: str = "error"
    nan: str = "error"
    unmapped: str = "error"

    @classmethod
    def from_plan(cls, types: Mapping[str, str]) -> Policies:
        """Of the plan's `types:`: four names are policies, the others columns or source types."""
        names = ("zero_dates", "nul", "nan", "unmapped")
        return cls(
            types={name: text for name, text in types.items() if name not in names},
            **{name: text for name, text in types.items() if name in names},
        )


def user_types(source: Database) -> UserTypes:
    """PostgreSQL's enums and domains, which the catalog names without describing; other engines have none."""
    if not dialect_of(source.dialect).user_types:
        return UserTypes()
    labels: dict[str, list[str]] = {}
    for name, bare, found in source.rows(_ENUMS):
        for known in dict.fromkeys((name, bare)):
            labels.setdefault(known, found)
    below, rules = dict[str, str](), dict[str, DomainRules]()
    for name, bare, base, required, default, checks in source.rows(_DOMAINS):
        for known in dict.fromkeys((name, bare)):  # a table's own schema is not printed
            below.setdefault(known, base)
            rules.setdefault(known, DomainRules(tuple(map(tuple, checks)), required, default))
    return UserTypes({name: tuple(each) for name, each in labels.items()}, below, rules)


_ENUMS = """
SELECT t.oid::regtype::text, quote_ident(t.typname),
       ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder)
FROM pg_catalog.pg_type t WHERE t.typtype = 'e'
"""
_DOMAINS = """
SELECT t.oid::regtype::text, quote_ident(t.typname), pg_catalog.format_type(t.typbasetype, t.typtypmod), t.typnotnull,
       t.typdefault, ARRAY(SELECT ARRAY[c.conname::text, pg_catalog.pg_get_constraintdef(c.oid)]
                           FROM pg_catalog.pg_constraint c WHERE c.contypid = t.oid AND c.contype = 'c' ORDER BY 1)
FROM pg_catalog.pg_type t WHERE t.typtype = 'd'
"""


def without_columns(table: Table, omitted: Sequence[str], name: str = "") -> Table:
    """A table without some columns and all that hangs on them, under another name if one is given."""
    gone = set(omitted)
    kept = [c for c in table.constraints if not gone & set(c.columns)]
    mentioned = [rf"\b{re.escape(column)}\b" for column in omitted]
    kept = [c for c in kept if c.kind != "check" or not any(re.search(m, c.definition) for m in mentioned)]
    return replace(
        table,
        name=name or table.name,
        columns=tuple(c for c in table.columns if c.name not in gone),
        key=() if gone & set(table.key) else table.key,
        indexes=tuple(i for i in table.indexes if not gone & set(i.columns)),
        constraints=tuple(kept),
    )
