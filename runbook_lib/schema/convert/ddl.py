"""DDL for another engine, from a reflected catalog; everything that does not go over faithfully is a `Decision`.

The decisions are there before anything is created; one without a choice blocks until the plan makes it (`types:` for
a column or a source type, or a policy). Text compares bytewise at the target, so that keys are unique on both sides
alike (docs/correctness.md#text-keys).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.identifiers import split
from runbook_lib.databases.port import Column, Index, Table
from runbook_lib.schema.convert.decisions import Policies, Translation
from runbook_lib.schema.convert.domains import with_domains
from runbook_lib.schema.convert.expression_clauses import (
    condition,
    default_clause,
    generated_clause,
    index_condition,
    inner,
    says,
)
from runbook_lib.schema.convert.losses import collisions, left_out, values
from runbook_lib.schema.convert.prefix_index import prefixes
from runbook_lib.schema.convert.references import references
from runbook_lib.schema.convert.row_size import too_long
from runbook_lib.schema.convert.translation_job import Known, _Job
from runbook_lib.schema.convert.type_overrides import told_type
from runbook_lib.schema.convert.types import Mapped, Neutral, UserTypes, read_type, write_type

TEXTS = ("text", "varchar", "char", "any", "bytes", "varbytes")


def known(tables: Mapping[str, Table], target: str) -> Known:
    """Where tables, indexes and counters share their names, those that are given by themselves are taken."""
    taken = set[str]()
    for table in tables.values() if dialect_of(target).shared_names else ():
        own = split(table.name)[-1].lower()
        taken |= {own, f"{own}_pkey", *(f"{own}_{c.name.lower()}_seq" for c in table.columns if c.identity)}
    return Known({table.name: subject for subject, table in tables.items()}, frozenset(taken))


def translate(
    tables: Mapping[str, Table],
    source: str,
    target: str,
    policies: Policies = Policies(),  # noqa: B008  frozen
    user: UserTypes = UserTypes(),  # noqa: B008  frozen
) -> Translation:
    """Translate tables (by name, as `Database.catalog` gives them) from one dialect to another."""
    tables = with_domains(tables, user)
    job = _Job(source, target, tables, policies, user, known(tables, target))
    dialect = dialect_of(target)
    before, after, references = list[str](), list[str](), list[str]()
    for subject, table in tables.items():
        collisions(job, subject, table)
        foreign = _references(job, subject, table)
        inline = [] if dialect.alters_constraints else foreign
        before.append(_create(job, subject, table, inline))
        after += [*_late_key(job, subject, table), *_indexes(job, subject, table)]
        own = job.table(table.name)
        if dialect.alters_constraints:
            references += [f"ALTER TABLE {own} ADD {each};" for each in foreign]
        left_out(job, subject, table)
        if table.comment and (said := dialect.comment_on(own, table.comment)):
            after.append(said)
    values(job)
    unique = tuple(dict.fromkeys(job.decisions))
    before, after, references = (list(map(dialect.marked, part)) for part in (before, after, references))
    return Translation(_script(before), _script(after), _script(references), unique, dict(job.renamed))


def _script(statements: Sequence[str]) -> str:
    return "\n".join(statements) + "\n" if statements else ""


def _create(job: _Job, subject: str, table: Table, foreign: Sequence[str]) -> str:
    lines = [_column(job, subject, table, column) for column in table.columns]
    primary = next((c for c in table.constraints if c.kind == "primary"), None)
    dialect = dialect_of(job.target)
    if primary and not dialect.keys_after_load and not any(" PRIMARY KEY" in line for line in lines):
        lines.append(f"PRIMARY KEY ({job.listed(subject, primary.columns)})")
    lines += _checks(job, subject, table)
    lines += foreign
    options = dialect.table_options(table.comment)
    if table.comment and not dialect.table_comments:
        job.decide(subject, "SQLite has no comments on tables", "the comment is left out", lossy=True)
    return f"CREATE TABLE {job.table(table.name)} (\n  " + ",\n  ".join(lines) + f"\n){options};"


def _late_key(job: _Job, subject: str, table: Table) -> list[str]:
    """The primary key where it is made after the load."""
    primary = next((c for c in table.constraints if c.kind == "primary"), None)
    if primary is None or not dialect_of(job.target).keys_after_load:
        return []
    return [f"ALTER TABLE {job.table(table.name)} ADD PRIMARY KEY ({job.listed(subject, primary.columns)});"]


def _column(job: _Job, subject: str, table: Table, column: Column) -> str:
    place = f"{subject}.{column.name}"
    neutral = read_type(column.type, job.source, job.user)
    mapped = _mapped(job, table, column, neutral, place)
    own = job.name(column.name, place)
    line = f"{own} {mapped.type}".rstrip()
    if column.generated:
        return line + generated_clause(job, table, column, place)
    identity = _identity(job, table, column, place)
    if identity.startswith("!"):
        return f"{own} {identity[1:]}"
    if table.key == (column.name,):
        line = f"{own} {dialect_of(job.target).key_type(mapped.type)}".rstrip()
    line += "" if column.nullable else " NOT NULL"
    line += identity
    if column.default and not identity and not re.match(r"(?i)nextval\(", column.default):
        line += default_clause(job, column, neutral, mapped, place)
    if mapped.check:
        line += f" CHECK ({mapped.check.format(column=own)})"
    return line


def _mapped(job: _Job, table: Table, column: Column, neutral: Neutral, place: str) -> Mapped:
    mapped = _alone(job, table, column, neutral, place)
    longest = dialect_of(job.target).longest_row
    if longest and column.name in _to_text(job, table):
        what = f"{mapped.type}: with the other columns more than the {longest:,} bytes of a MySQL row"
        mapped = Mapped("longblob" if mapped.type.startswith("varbinary") else "longtext")
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


def _alone(job: _Job, table: Table, column: Column, neutral: Neutral, place: str) -> Mapped:
    told = job.policies.types
    for asked in (place, f"{table.name}.{column.name}", column.type):
        if asked in told:
            job.decide(place, f"{column.type} by the plan", told[asked])
            return Mapped(told_type(told[asked], job.source)[0])
    if job.policies.nan == "text" and neutral.kind in ("real", "double") and not dialect_of(job.target).keeps_nan:
        job.decide(place, "NaN has no equivalent: kept as text by the plan", "text", lossy=True)
        return Mapped("varchar(30)")
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


def _identity(job: _Job, table: Table, column: Column, place: str) -> str:
    serial = column.identity or (column.default and re.match(r"(?i)nextval\(", column.default))
    if not serial:
        return ""
    own = (column.name,)
    counter, why = dialect_of(job.target).counter(alone=table.key == own, first=table.key[:1] == own)
    if why:
        job.decide(place, why, "no counter: give values", lossy=True)
    return counter


def _checks(job: _Job, subject: str, table: Table) -> list[str]:
    lines = []
    for check in table.constraints:
        if check.kind == "exclusion":
            own = "exclusion constraints are PostgreSQL's own"
            what = (
                own
                if dialect_of(job.source).exclusion_constraints
                else f"{check.definition}: only MariaDB has such a key"
            )
            job.decide(f"{subject} {check.name}", what, "left out", lossy=True)
        if check.kind != "check":
            continue
        found = condition(job, table, inner(check.definition, job.source))
        if found is None:
            what = f"{check.definition} may mean something else there"
            job.decide(f"{subject} {check.name}".strip(), what, "left out", "add it by hand", lossy=True)
            continue
        named = f"CONSTRAINT {job.object(check.name, subject, 'check')} " if check.name else ""
        lines.append(f"{named}CHECK ({found})")
    return lines


def _indexes(job: _Job, subject: str, table: Table) -> list[str]:
    primary = next((c.columns for c in table.constraints if c.kind == "primary"), ())
    made, statements = {primary}, list[str]()
    kinds = {c.name: read_type(c.type, job.source, job.user) for c in table.columns}
    for index in sorted(table.indexes, key=lambda each: not each.unique):
        place = f"{subject} {index.name}"
        lengths = prefixes(index) if dialect_of(job.source).prefix_indexes else {}
        if index.unique and index.columns in made and not index.partial and not lengths:
            continue
        where = _where(job, table, index)
        method = re.match(r"(?:UNIQUE )?(\w+) \(", index.definition)
        if any(column not in kinds for column in index.columns) or where is None:
            what = f"{index.definition or 'an index'}: an expression or condition that may mean something else there"
            job.decide(place, what, "left out", "make it by hand", lossy=index.unique)
            continue
        if method and method[1].lower() not in ("btree", "unique", "hash"):
            job.decide(place, f"access method {method[1]} has no equivalent", "left out", "make it by hand")
            continue
        if index.unique and "NULLS NOT DISTINCT" in index.definition.upper():
            job.decide(place, f"{index.definition}: NULLs may be there more than once", "a weaker rule", lossy=True)
        elif says(index.definition, job.source, "INCLUDE", "COLLATE", "DESC", "NULLS"):
            job.decide(place, f"{index.definition}: columns only, ascending, are carried over", "a plain index")
        if index.unique and not lengths:
            made.add(index.columns)
        parts = ", ".join(
            _prefix(job, subject, name, lengths[name], kinds[name])
            if name in lengths
            else _index_part(job, subject, index, name, kinds[name])
            for name in index.columns
        )
        unique = "UNIQUE " if index.unique else ""
        own = job.object(index.name, subject, "index")
        statements.append(f"CREATE {unique}INDEX {own} ON {job.table(table.name)} ({parts}){where};")
    return statements


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
    return f" WHERE {expression}" if expression else None


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


def _references(job: _Job, subject: str, table: Table) -> list[str]:
    return references(job, subject, table, lambda owner, column: _type_of(job, owner, column))


def _type_of(job: _Job, table: Table, column: Column) -> str:
    place = f"{job.known.subjects.get(table.name, table.name)}.{column.name}"
    return _mapped(job, table, column, read_type(column.type, job.source, job.user), place).type
