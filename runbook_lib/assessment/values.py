"""Values that the target has not, in one pass over each table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from runbook_lib.assessment.findings import Finding
from runbook_lib.assessment.table_pairs import Subject
from runbook_lib.assessment.value_scan import Bounds, ScannedValues, example, look
from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Column, Database
from runbook_lib.databases.values import NO_VALUE
from runbook_lib.plan.model import Plan
from runbook_lib.schema.convert.decisions import Policies
from runbook_lib.schema.convert.type_overrides import override_of, reading
from runbook_lib.schema.convert.value_limits import limits_of
from runbook_lib.schema.convert.value_policies import rules_of

# Rules of `schema.policies` by the kind of finding; the two that the plan decides by a policy of their own.
_KINDS = {
    "zero dates": "zero_dates",
    "NUL characters": "nul",
    "NaN or infinity": "nan",
    "fractions of a second": "fractions",
    "negative zeros": "negative_zeros",
    "times outside of a day": "times",
    "dates with a month or day of 0": "dates",
    "dates that the target has not": "dates",
}
_POLICIES = {"zero_dates": 'zero_dates: "null"', "nul": "nul: strip"}
QUARANTINE = "on_bad_row: quarantine"


@dataclass(frozen=True)
class _Sought:
    """One condition over one column. `changed`: the flow changes the value, so nothing is refused."""

    column: Column
    written: Column
    kind: str
    name: str
    found: str
    changed: bool = False
    refused: bool = True
    note: bool = False


def value_findings(
    plan: Plan, subject: Subject, source: Database, encoding: str, bounds: Bounds
) -> tuple[list[Finding], ScannedValues | None]:
    """The findings of one table, and what was checked; None: there was nothing to look for.

    Args:
        encoding: The source database's.
    """
    sought = list(_sought(plan, subject, source, encoding))
    if subject.mapping.derived or not sought:
        return [], None
    looked = look(source, subject, [each.found for each in sought], bounds)
    return [
        _finding(plan, subject, each, count, example(source, subject, each.found, place))
        for each, count, place in zip(sought, looked.counts, looked.places, strict=True)
        if count
    ], looked


def _sought(plan: Plan, subject: Subject, source: Database, encoding: str) -> Iterator[_Sought]:
    policies, dialects = Policies.from_plan(plan.types), (source.dialect, subject.dialect)
    written = {column.name: column for column in subject.written.columns}
    for column in subject.read.columns:
        there = written.get(column.name)
        if there is None or there.generated or column.generated or column.name in subject.mapping.omit:
            continue
        sql, key = source.ident(column.name), column.name in subject.read.key
        loose = dialect_of(source.dialect).loose_types
        told = override_of(plan.types, subject.read.name, column.name, column.type) if loose else ""
        if (as_told := reading(sql, there.type, told, source.dialect)) != sql and dialects[0] != dialects[1]:
            sql, column = as_told, replace(column, type=there.type)
        for rule in rules_of(column.name, sql, column.type, there.type, dialects, policies, key=key):
            kind = _KINDS.get(rule.name, "other_types" if rule.name.startswith(NO_VALUE) else "numbers")
            yield _Sought(column, there, kind, rule.name, rule.found, bool(rule.instead), not rule.instead)
        for limit in limits_of(sql, column.type, there.type, dialects, encoding=encoding, collation=column.collation):
            if limit.name != "NUL characters" or policies.nul == "error":
                yield _Sought(column, there, limit.kind, limit.name, limit.found, False, limit.refused, limit.goes_over)
        if column.nullable and not there.nullable:
            yield _Sought(column, there, "nulls", "NULLs where the target takes none", f"{sql} IS NULL")


def _finding(plan: Plan, subject: Subject, each: _Sought, count: int, shown: str) -> Finding:
    place = f"{subject.mapping.target}.{each.column.name}"
    told = next((name for name in (place, each.column.type) if name in plan.types), "")
    declared = QUARANTINE if each.refused and plan.on_bad_row == "quarantine" else ""
    if each.changed and each.kind in _POLICIES:
        declared = f"types: {{{each.kind}: {plan.types[each.kind]}}}"
    elif each.kind in ("fractions", "digits") and told:
        declared = f"types: {{{told}: {plan.types[told]}}}"
    severity = "note" if each.note or each.kind == "negative_zeros" else "blocks" if each.refused else "loses"
    return Finding(
        each.kind,
        severity,
        f"{subject.label}.{each.column.name}",
        f"{count:,} {each.name}" + (", changed as they are copied" if each.changed else ""),
        count,
        shown,
        tuple(_declare(subject, each, place)),
        "correct them at the source" if not subject.there else f"correct them at the source, or {_alter(each)}",
        declared,
        subject.mapping.source,
    )


def _alter(each: _Sought) -> str:
    return f"give the target's column another type than {each.written.type}"


def _declare(subject: Subject, each: _Sought, place: str) -> Iterator[str]:
    dialect = dialect_of(subject.dialect)
    if each.kind in _POLICIES and each.column.name not in subject.read.key and "JSON" not in each.name:
        yield f"types: {{{_POLICIES[each.kind]}}}"
    unkept = each.kind == "nan" and not (dialect.keeps_nan or dialect.loose_types)
    if unkept and not subject.there and "numeric" not in each.column.type:
        yield "types: {nan: text}"
    keyed = any(each.column.name in c.columns for c in subject.read.constraints if c.kind in ("primary", "unique"))
    if not subject.there and each.kind in ("lengths", "numbers", "digits"):
        text = dialect.widest_number and dialect.long_text.lower()
        wider = text if each.kind == "lengths" else dialect.widest_number
        if wider and wider != each.written.type and not (keyed and wider == "longtext"):
            yield f"types: {{{place}: {_yaml(wider)}}}"
    if each.kind == "other_types" and not subject.there and "timestamp" in each.written.type:
        yield f'types: {{{place}: "timestamp from milliseconds"}} (or seconds, ticks; timestamp alone: other forms)'
    if each.refused:
        yield QUARANTINE


def _yaml(text: str) -> str:
    return f'"{text}"' if set(text) & set(",{}[]") else text
