"""What a table promises at a target of another engine: the translation as a catalog, to be compared with what is there.

Both sides are brought into one form: definitions without names, conditions as trees. What has no equivalent at the
target is not promised; an object that somebody added there is no difference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Column, Constraint, Index, Table
from runbook_lib.schema.convert import ddl as ddl
from runbook_lib.schema.convert.decisions import Policies
from runbook_lib.schema.convert.domains import with_domains
from runbook_lib.schema.convert.equivalence import canonical, holds, same_default, same_expression
from runbook_lib.schema.convert.expression_clauses import (
    condition,
    default_clause,
    generated_clause,
    index_condition,
    inner,
)
from runbook_lib.schema.convert.prefix_index import cut_columns, plain, prefixes
from runbook_lib.schema.convert.references import referenced
from runbook_lib.schema.convert.translation_job import _Job, quote
from runbook_lib.schema.convert.types import Neutral, UserTypes, read_type


@dataclass(frozen=True)
class Promised:
    """One table in the target's own terms.

    Attributes:
        table: Its columns, indexes and constraints as the target has to show them.
        neutral: Column → the source's type.
        free: Columns whose default or expression has no equivalent: any will do.
        open_checks: Some check has no equivalent: further ones may stand there.
        open_indexes: Some index has no equivalent.
        blind: Columns whose texts the source itself compares without case (or accents, or trailing spaces).
        create: DDL of the table, of its own engine; recreated where ALTER TABLE cannot repair it (SQLite).
        after: DDL of its indexes.
    """

    table: Table
    neutral: Mapping[str, Neutral] = field(default_factory=dict)
    free: frozenset[str] = frozenset()
    open_checks: bool = False
    open_indexes: bool = False
    blind: frozenset[str] = frozenset()
    create: str = ""
    after: str = ""


def promise(
    tables: Mapping[str, Table], source: str, target: str, policies: Policies, user: UserTypes
) -> dict[str, Promised]:
    """Each table (by any name) as the target has to show it; `Table.name` is what it is called there."""
    tables = with_domains(tables, user)
    known = ddl.known(tables, target)
    return {name: _promised(_Job(source, target, tables, policies, user, known), name) for name in tables}


def _promised(job: _Job, subject: str) -> Promised:
    table = job.tables[subject]
    neutral = {c.name: read_type(c.type, job.source, job.user) for c in table.columns}
    columns, free = list[Column](), set[str]()
    for column in table.columns:
        described, open_ = _column(job, subject, table, column)
        columns.append(described)
        free |= {column.name} if open_ else set()
    carried = [_constraint(job, subject, table, c) for c in table.constraints if c.kind != "not_null"]
    constraints = [*filter(None, carried), *_of_types(job, subject, table)]
    indexes = [made for index in table.indexes if (made := _index(job, subject, table, index))]
    made_table = replace(
        table, columns=tuple(columns), constraints=tuple(constraints), indexes=tuple(indexes), triggers=()
    )
    inline = ddl._references(job, subject, table) if not dialect_of(job.target).alters_constraints else []
    return Promised(
        table=made_table,
        neutral=neutral,
        free=frozenset(free),
        open_checks=None in carried,
        open_indexes=len(indexes) < len(table.indexes),
        blind=frozenset(c.name for c in table.columns if blind(c.collation)),
        create=ddl._create(job, subject, table, inline),
        after="\n".join(ddl._indexes(job, subject, table)),
    )


def _column(job: _Job, subject: str, table: Table, column: Column) -> tuple[Column, bool]:
    """The column at the target, and whether its default or expression is free."""
    place = f"{subject}.{column.name}"
    neutral = read_type(column.type, job.source, job.user)
    mapped = ddl._mapped(job, table, column, neutral, place)
    identity = ddl._identity(job, table, column, place)
    primary = any(c.kind == "primary" and column.name in c.columns for c in table.constraints)
    nullable = column.nullable and not (primary and not dialect_of(job.target).keys_take_null)
    generated, free, default = False, False, None
    if column.generated:
        made = generated_clause(job, table, column, place)
        found = re.search(r"(?s)GENERATED ALWAYS AS \((.*)\) STORED", made)
        default, free, generated = (found[1], False, True) if found else (None, True, False)
    elif column.default and not identity and not re.match(r"(?i)nextval\(", column.default):
        text = default_clause(job, column, neutral, mapped, place)
        default, free = text.removeprefix(" DEFAULT ") or None, not text
    counted = "auto_increment" if "AUTO" in identity else "by default" if identity else ""
    described = replace(
        column,
        type=mapped.type or "any",
        nullable=nullable,
        default=default,
        generated=generated,
        identity=counted,
        collation=dialect_of(job.target).text_collation if neutral.kind in ("text", "varchar", "char") else "",
    )
    return described, free


def _constraint(job: _Job, subject: str, table: Table, constraint: Constraint) -> Constraint | None:
    """A constraint in the target's words; None where it has no equivalent. A key to a table outside stays as it is."""
    if constraint.kind == "check":
        text = condition(job, table, inner(constraint.definition, job.source))
        return None if text is None else replace(constraint, definition=f"CHECK ({text})")
    if constraint.kind == "foreign":
        made = ddl._references(job, subject, replace(table, constraints=(constraint,)))
        if not made and job.parent(constraint.referenced_table):
            return None  # its types do not fit there
        return replace(constraint, definition=made[0][made[0].index("FOREIGN KEY") :]) if made else constraint
    if constraint.kind not in ("primary", "unique"):
        return None
    columns = ", ".join(quote(name, job.target) for name in constraint.columns)
    word = "PRIMARY KEY" if constraint.kind == "primary" else "UNIQUE"
    return replace(constraint, definition=f"{word} ({columns})")


def _index(job: _Job, subject: str, table: Table, index: Index) -> Index | None:
    """An index as the translation makes it, definition without names; None where it has no equivalent."""
    made = ddl._indexes(job, subject, replace(table, indexes=(index,), constraints=()))
    cut = dialect_of(job.source).prefix_indexes and bool(prefixes(index))
    if not made or (cut and not dialect_of(job.target).shows_index_expressions):
        return None
    _, _, body = made[0].rstrip(";").partition(f" ON {job.table(table.name)} ")
    unnamed = not index.name or index.name == "PRIMARY" or index.name.startswith("sqlite_autoindex")
    name = f"{table.name}_{'_'.join(index.columns)}" if unnamed else index.name
    columns = cut_columns(index) if cut else index.columns
    return replace(index, name=name, columns=columns, definition=f"{'UNIQUE ' if index.unique else ''}{body}")


def _of_types(job: _Job, subject: str, table: Table) -> list[Constraint]:
    """The checks that stand for what a type promised: labels of an enum, numbers without a sign."""
    found = []
    for column in table.columns:
        neutral = read_type(column.type, job.source, job.user)
        mapped = ddl._mapped(job, table, column, neutral, f"{subject}.{column.name}")
        if mapped.check and not column.generated and not ddl._identity(job, table, column, "").startswith("!"):
            text = mapped.check.format(column=quote(column.name, job.target))
            found.append(Constraint(f"{column.name}_check", "check", (column.name,), f"CHECK ({text})"))
    return found


# -- comparing ---


def comparable(table: Table, dialect: str) -> Table:
    """A table's indexes and constraints in one form, each once."""
    kinds = {c.name: read_type(c.type, dialect).kind for c in table.columns}
    constraints = {_one_form(c, kinds, dialect): c for c in table.constraints if c.kind in _KINDS}
    indexes = dict[tuple[tuple[str, ...], bool, str], Index]()
    for index in table.indexes:
        where = canonical(index_condition(index.definition, dialect), kinds, dialect) if index.partial else ""
        index = replace(index, columns=tuple(map(plain, index.columns)))
        indexes.setdefault((index.columns, index.unique, where), index)
    return replace(
        table,
        constraints=tuple(replace(c, definition=text) for (_, text), c in constraints.items()),
        indexes=tuple(replace(i, definition=_shown(*form)) for form, i in indexes.items()),
    )


def aligned(promised: Table, here: Table, dialect: str) -> Table:
    """What is there, with unique constraints and unique indexes called what the source calls them.

    MySQL gives every foreign key an index: one that nobody promised is left out.
    """
    wanted = {c.columns for c in promised.constraints if c.kind == "unique"}
    as_index = {i.columns for i in promised.indexes if i.unique and not i.constraint and not i.partial} - wanted
    foreign = [c.columns for c in here.constraints if c.kind == "foreign" and dialect_of(dialect).indexes_foreign_keys]
    named = {i.definition for i in promised.indexes}
    constraints = [c for c in here.constraints if c.kind != "unique" or c.columns not in as_index]
    held = {c.columns for c in constraints if c.kind == "unique"}
    indexes = list[Index]()
    for index in here.indexes:
        if index.unique and not index.partial and index.columns in wanted:
            if index.columns not in held:
                constraints.append(Constraint(index.name, "unique", index.columns, _unique(index.columns)))
            index = replace(index, constraint=True)
        elif index.columns in as_index:
            index = replace(index, constraint=False)
        if (
            index.unique
            or index.definition in named
            or not any(f[: len(index.columns)] == index.columns for f in foreign)
        ):
            indexes.append(index)
    return replace(here, constraints=tuple(constraints), indexes=tuple(indexes))


def _unique(columns: tuple[str, ...]) -> str:
    return f"UNIQUE ({', '.join(columns)})"


_ACTIONS = r"ON (?:UPDATE|DELETE) (?:CASCADE|SET NULL|SET DEFAULT)|INITIALLY DEFERRED"
_KINDS = ("primary", "unique", "foreign", "check")


def _one_form(constraint: Constraint, kinds: Mapping[str, str], dialect: str) -> tuple[str, str]:
    kind, columns = constraint.kind, ", ".join(constraint.columns)
    if kind == "check":
        return kind, f"CHECK {canonical(inner(constraint.definition, dialect), kinds, dialect)}"
    if kind != "foreign":
        return kind, f"{'PRIMARY KEY' if kind == 'primary' else 'UNIQUE'} ({columns})"
    there = ", ".join(referenced(constraint) or [])
    actions = re.findall(_ACTIONS, constraint.definition.upper())
    text = f"FOREIGN KEY ({columns}) REFERENCES {constraint.referenced_table}({there})"
    return kind, " ".join([text, *sorted(actions)])


def _shown(columns: tuple[str, ...], unique: bool, where: str) -> str:
    return f"{'UNIQUE ' if unique else ''}({', '.join(columns)}){f' WHERE {where}' if where else ''}"


def same_column(facet: str, promised: Promised, here: Column, dialect: str) -> bool:
    """Whether one facet of a column (type, default, …) is what was promised."""
    column = promised.table.column(here.name)
    origin = promised.neutral[here.name]
    if facet == "type":
        found = read_type(here.type, dialect)
        return holds(found, read_type(column.type, dialect)) or holds(found, origin)
    if facet == "collation":
        return not blind(here.collation) or here.name in promised.blind
    if facet == "identity":
        return bool(column.identity) == bool(here.identity)
    if facet == "generated":
        return column.generated == here.generated or here.name in promised.free
    if facet == "default":
        return _same_default(promised, column, here, dialect)
    return bool(getattr(column, facet) == getattr(here, facet))


def _same_default(promised: Promised, column: Column, here: Column, dialect: str) -> bool:
    """Of a generated column: its expression, where the engine tells it. A counter's default is the counter's affair."""
    if here.name in promised.free or here.identity or column.identity or column.generated != here.generated:
        return True
    if column.generated:
        names = [each.name for each in promised.table.columns]
        return here.default is None or same_expression(column.default or "", here.default, names, dialect)
    return same_default(column.default, here.default, promised.neutral[here.name].kind, dialect)


def blind(collation: str) -> bool:
    """Whether a collation takes different texts for equal."""
    return bool(re.search(r"(?i)_ci\b|nocase|rtrim", collation))
