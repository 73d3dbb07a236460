"""A reflected catalog as another engine has to show it; everything that does not go over faithfully is a `Decision`.

The decisions are there before anything is created; one without a choice blocks until the plan makes it (`types:` for
a column or a source type, or a policy). Text compares bytewise at the target, so that keys are unique on both sides
alike (docs/correctness.md#text-keys).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from runbook_lib.databases.dialect import Counter, dialect_of
from runbook_lib.databases.identifiers import split
from runbook_lib.databases.port import Column, Constraint, Index, Table
from runbook_lib.schema.convert.decisions import Policies
from runbook_lib.schema.convert.domains import with_domains
from runbook_lib.schema.convert.equivalence import blind
from runbook_lib.schema.convert.expression_clauses import (
    condition,
    default_of,
    generated_as,
    index_condition,
    inner,
    says,
)
from runbook_lib.schema.convert.losses import collisions, left_out, values
from runbook_lib.schema.convert.prefix_index import cut_columns, prefixes
from runbook_lib.schema.convert.references import reference
from runbook_lib.schema.convert.row_size import too_long
from runbook_lib.schema.convert.target_schema import (
    TargetCheck,
    TargetColumn,
    TargetIndex,
    TargetReference,
    TargetSchema,
    TargetTable,
)
from runbook_lib.schema.convert.translation_job import SharedFacts, _Job, quote
from runbook_lib.schema.convert.type_overrides import parse_override
from runbook_lib.schema.convert.types import MappedType, Neutral, UserTypes, read_type, write_type

TEXTS = ("text", "varchar", "char", "any", "bytes", "varbytes")


def _known(tables: Mapping[str, Table], target: str) -> SharedFacts:
    """Where tables, indexes and counters share their names, those that are given by themselves are taken."""
    taken = set[str]()
    for table in tables.values() if dialect_of(target).shared_names else ():
        own = split(table.name)[-1].lower()
        taken |= {own, f"{own}_pkey", *(f"{own}_{c.name.lower()}_seq" for c in table.columns if c.identity)}
    return SharedFacts({table.name: subject for subject, table in tables.items()}, frozenset(taken))


def translate(
    tables: Mapping[str, Table],
    source: str,
    target: str,
    policies: Policies = Policies(),  # noqa: B008  frozen
    user: UserTypes = UserTypes(),  # noqa: B008  frozen
) -> TargetSchema:
    """Translate tables (by name, as `Database.catalog` gives them) from one engine to another."""
    tables = with_domains(tables, user)
    job = _Job(source, target, tables, policies, user, _known(tables, target))
    made = {subject: _table(job, subject, table) for subject, table in tables.items()}
    values(job)
    return TargetSchema(source, target, made, tuple(dict.fromkeys(job.decisions)), dict(job.renamed))


def _table(job: _Job, subject: str, table: Table) -> TargetTable:
    collisions(job, subject, table)
    foreign = [c for c in table.constraints if c.kind == "foreign"]
    keys = {c: reference(job, subject, table, c, lambda owner, column: _type_of(job, owner, column)) for c in foreign}
    columns = {column.name: _column(job, subject, table, column) for column in table.columns}
    primary = next((c.columns for c in table.constraints if c.kind == "primary"), ())
    key = job.listed(subject, primary)
    checks = {c: found for c in table.constraints if (found := _check(job, subject, table, c))}
    if table.comment and not dialect_of(job.target).table_comments:
        job.decide(subject, "SQLite has no comments on tables", "the comment is left out", lossy=True)
    indexes = _indexes(job, subject, table)
    left_out(job, subject, table)
    shown = [_constraint(job, c, checks.get(c), keys.get(c)) for c in table.constraints if c.kind != "not_null"]
    shown_indexes = [shows for index, made, _ in indexes if (shows := _shown_index(job, table, index, made))]
    of_types = [
        Constraint(f"{name}_check", "check", (name,), f"CHECK ({c.check})") for name, c in columns.items() if c.check
    ]
    expected = replace(
        table,
        columns=tuple(each.column for each in columns.values()),
        constraints=(*filter(None, shown), *of_types),
        indexes=tuple(shown_indexes),
        triggers=(),
    )
    return TargetTable(
        expected,
        job.table(table.name),
        columns,
        key,
        tuple(checks.values()),
        tuple(filter(None, keys.values())),
        tuple(made for _, made, needed in indexes if made and needed),
        open_checks=None in shown,
        open_indexes=len(shown_indexes) < len(table.indexes),
        blind=frozenset(c.name for c in table.columns if blind(c.collation)),
    )


# -- columns ---


def _column(job: _Job, subject: str, table: Table, column: Column) -> TargetColumn:
    place, dialect = f"{subject}.{column.name}", dialect_of(job.target)
    neutral = read_type(column.type, job.source, job.user)
    mapped = _mapped(job, table, column, neutral, place)
    own = job.name(column.name, place)
    primary = any(c.kind == "primary" and column.name in c.columns for c in table.constraints)
    shown = replace(
        column,
        type=mapped.type or "any",
        nullable=column.nullable and not (primary and not dialect.keys_take_null),
        default=None,
        generated=False,
        identity="",
        collation=dialect.text_collation if neutral.kind in ("text", "varchar", "char") else "",
    )
    if column.generated:
        found = generated_as(job, table, column, place)
        shown = replace(shown, default=found, generated=found is not None)
        free, required = found is None, found is None and not column.nullable
        return TargetColumn(shown, own, mapped.type, neutral, required, free=free, written=column.type)
    counter, default, free = _counter(job, table, column, place), None, False
    if column.default and not counter.clause and not _counted(column):
        default = default_of(job, column, neutral, mapped, place)
        free = default is None
    kind = dialect.key_type(mapped.type) if table.key == (column.name,) else mapped.type
    check = mapped.check.format(column=own) if mapped.check and not counter.whole else ""
    shown = replace(shown, default=default, identity=counter.identity)
    return TargetColumn(shown, own, kind, neutral, not column.nullable, counter, check, free, column.type)


def _counted(column: Column) -> bool:
    return bool(column.default and re.match(r"(?i)nextval\(", column.default))


def _counter(job: _Job, table: Table, column: Column, place: str) -> Counter:
    if not (column.identity or _counted(column)):
        return Counter()
    own = (column.name,)
    counter = dialect_of(job.target).counter(alone=table.key == own, first=table.key[:1] == own)
    if counter.missing:
        job.decide(place, counter.missing, "no counter: give values", lossy=True)
    return counter


def _mapped(job: _Job, table: Table, column: Column, neutral: Neutral, place: str) -> MappedType:
    mapped = _alone(job, table, column, neutral, place)
    longest = dialect_of(job.target).longest_row
    if longest and column.name in _to_text(job, table):
        what = f"{mapped.type}: with the other columns more than the {longest:,} bytes of a MySQL row"
        mapped = MappedType("longblob" if mapped.type.startswith("varbinary") else "longtext")
        job.decide(place, what, mapped.type, f"types: {{{place}: …}}")
    return mapped


def _to_text(job: _Job, table: Table) -> frozenset[str]:
    """Columns that are too long together for one row."""
    if table.name not in job.long:
        quiet = replace(job, decisions=[], renamed={}, names=set())
        kinds = {
            c.name: _alone(quiet, table, c, read_type(c.type, job.source, job.user), "").type for c in table.columns
        }
        keyed = {name for c in table.constraints for name in c.columns} | {n for i in table.indexes for n in i.columns}
        told = {c.name for c in table.columns if f"{table.name}.{c.name}" in job.policies.types}
        job.long[table.name] = frozenset(too_long(kinds, keyed | told))
    return job.long[table.name]


def _alone(job: _Job, table: Table, column: Column, neutral: Neutral, place: str) -> MappedType:
    told = job.policies.types
    for asked in (place, f"{table.name}.{column.name}", column.type):
        if asked in told:
            job.decide(place, f"{column.type} by the plan", told[asked])
            return MappedType(parse_override(told[asked], job.source)[0])
    if job.policies.nan == "text" and neutral.kind in ("real", "double") and not dialect_of(job.target).keeps_nan:
        job.decide(place, "NaN has no equivalent: kept as text by the plan", "text", lossy=True)
        return MappedType("varchar(30)")
    mapped = write_type(neutral, job.target, key_parts=_key_parts(job, table, column), unmapped=job.policies.unmapped)
    if mapped.unknown:
        job.decide(place, mapped.note, "", f"types: {{{place}: …}}", "unmapped: text", lossy=True)
    elif mapped.note:
        job.decide(place, f"{column.type}: {mapped.note}", mapped.type, f"types: {{{place}: …}}", lossy=mapped.lossy)
    return mapped


def _key_parts(job: _Job, table: Table, column: Column) -> int:
    """Text columns that share a key with this one; foreign keys too: their columns must be of the parents' types."""
    kinds = {c.name: read_type(c.type, job.source, job.user).kind for c in table.columns}
    keys = [c.columns for c in table.constraints if c.kind in ("primary", "unique", "foreign")]
    keys += [index.columns for index in table.indexes if index.unique]
    shared = [sum(kinds.get(name) in TEXTS for name in key) for key in keys if column.name in key]
    return max(shared, default=0)


def _type_of(job: _Job, table: Table, column: Column) -> str:
    place = f"{job.known.subjects.get(table.name, table.name)}.{column.name}"
    return _mapped(job, table, column, read_type(column.type, job.source, job.user), place).type


# -- constraints ---


def _check(job: _Job, subject: str, table: Table, check: Constraint) -> TargetCheck | None:
    if check.kind == "exclusion":
        own = "exclusion constraints are PostgreSQL's own"
        mine = dialect_of(job.source).exclusion_constraints
        what = own if mine else f"{check.definition}: only MariaDB has such a key"
        job.decide(f"{subject} {check.name}", what, "left out", lossy=True)
    if check.kind != "check":
        return None
    found = condition(job, table, inner(check.definition, job.source))
    if found is None:
        what = f"{check.definition} may mean something else there"
        job.decide(f"{subject} {check.name}".strip(), what, "left out", "add it by hand", lossy=True)
        return None
    return TargetCheck(job.object(check.name, subject, "check") if check.name else "", found)


def _constraint(
    job: _Job, constraint: Constraint, check: TargetCheck | None, key: TargetReference | None
) -> Constraint | None:
    """A constraint in the target's words; None where it has no equivalent. A key to a table outside stays as it is."""
    if constraint.kind == "foreign":
        if key is None and job.parent(constraint.referenced_table):
            return None  # its types do not fit there
        return replace(constraint, definition=key.definition) if key else constraint
    if constraint.kind in ("primary", "unique"):
        columns = ", ".join(quote(name, job.target) for name in constraint.columns)
        word = "PRIMARY KEY" if constraint.kind == "primary" else "UNIQUE"
        return replace(constraint, definition=f"{word} ({columns})")
    return replace(constraint, definition=f"CHECK ({check.condition})") if check else None


# -- indexes ---


def _indexes(job: _Job, subject: str, table: Table) -> list[tuple[Index, TargetIndex | None, bool]]:
    """Each index, what it becomes, and whether it is made: not where its columns are unique already."""
    made = {next((c.columns for c in table.constraints if c.kind == "primary"), ())}
    kinds = {c.name: read_type(c.type, job.source, job.user) for c in table.columns}
    found = dict[int, tuple[Index, TargetIndex | None, bool]]()
    numbered = sorted(enumerate(table.indexes), key=lambda each: not each[1].unique)
    for number, index in numbered:
        lengths = prefixes(index) if dialect_of(job.source).prefix_indexes else {}
        needed = not (index.unique and index.columns in made and not index.partial and not lengths)
        quiet = job if needed else replace(job, decisions=[], renamed={}, names=set())
        becomes = _index(quiet, subject, table, index, lengths, kinds)
        if becomes and index.unique and not lengths:
            made.add(index.columns)
        found[number] = (index, becomes, needed)
    return [found[number] for number in range(len(numbered))]


def _index(
    job: _Job, subject: str, table: Table, index: Index, lengths: Mapping[str, int], kinds: Mapping[str, Neutral]
) -> TargetIndex | None:
    """None where it has no equivalent."""
    place, where = f"{subject} {index.name}", _where(job, table, index)
    method = re.match(r"(?:UNIQUE )?(\w+) \(", index.definition)
    if any(column not in kinds for column in index.columns) or where is None:
        what = f"{index.definition or 'an index'}: an expression or condition that may mean something else there"
        job.decide(place, what, "left out", "make it by hand", lossy=index.unique)
        return None
    if method and method[1].lower() not in ("btree", "unique", "hash"):
        job.decide(place, f"access method {method[1]} has no equivalent", "left out", "make it by hand")
        return None
    if index.unique and "NULLS NOT DISTINCT" in index.definition.upper():
        job.decide(place, f"{index.definition}: NULLs may be there more than once", "a weaker rule", lossy=True)
    elif says(index.definition, job.source, "INCLUDE", "COLLATE", "DESC", "NULLS"):
        job.decide(place, f"{index.definition}: columns only, ascending, are carried over", "a plain index")
    parts = tuple(
        _prefix(job, subject, name, lengths[name], kinds[name])
        if name in lengths
        else _index_part(job, subject, index, name, kinds[name])
        for name in index.columns
    )
    return TargetIndex(job.object(index.name, subject, "index"), parts, index.unique, where)


def _shown_index(job: _Job, table: Table, index: Index, made: TargetIndex | None) -> Index | None:
    """An index as the target's catalog has to show it; None where it has no equivalent, or is not shown."""
    cut = dialect_of(job.source).prefix_indexes and bool(prefixes(index))
    if made is None or (cut and not dialect_of(job.target).shows_index_expressions):
        return None
    unnamed = not index.name or index.name == "PRIMARY" or index.name.startswith("sqlite_autoindex")
    name = f"{table.name}_{'_'.join(index.columns)}" if unnamed else index.name
    columns = cut_columns(index) if cut else index.columns
    return replace(index, name=name, columns=columns, definition=f"{'UNIQUE ' if index.unique else ''}{made.body}")


def _prefix(job: _Job, subject: str, column: str, length: int, kind: Neutral) -> str:
    binary = kind.kind in ("bytes", "varbytes")
    return dialect_of(job.target).first_part(job.name(column, f"{subject}.{column}"), length, binary=binary)


def _where(job: _Job, table: Table, index: Index) -> str | None:
    if not index.partial:
        return ""
    found = index_condition(index.definition, job.source)
    if not found or not dialect_of(job.target).partial_indexes:
        return None
    expression = condition(job, table, found)
    return expression or None


def _index_part(job: _Job, subject: str, index: Index, column: str, neutral: Neutral) -> str:
    """MySQL needs a length for long text in an index that is not unique (in unique ones the column itself is short)."""
    own = job.name(column, f"{subject}.{column}")
    table = job.tables[subject]
    if not dialect_of(job.target).prefix_indexes or index.unique or neutral.kind not in TEXTS:
        return own
    if _key_parts(job, table, table.column(column)) or 0 < (neutral.modifiers or (0,))[0] <= 255:
        return own
    texts = sum(read_type(table.column(c).type, job.source, job.user).kind in TEXTS for c in index.columns)
    length = min(255, 3072 // 4 // max(texts, 1))
    job.decide(f"{subject} {index.name}", f"text in an index needs a length at {column}", f"a prefix of {length}")
    return f"{own}({length})"
