"""Values that the target has not: how to find them at the source, and what the plan makes of them.

What is made of a value is an expression of the source, part of the flow: copy, sync and checksums read through it, so
all three see the same. A value without a policy is left as it is, and the target refuses its row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from runbook_lib.schema.convert.decisions import Policies
from runbook_lib.schema.convert.types import Neutral, read_type

_MOMENTS = ("date", "timestamp", "timestamptz")
_TEXTS = ("text", "varchar", "char")
_FLOATS = ("real", "double")
_LAST_BIGINT = 2**63 - 1
NO_VALUE = "values that are no "
FINEST = 6  # digits of a second


@dataclass(frozen=True)
class Rule:
    """Values of one column that the target has not.

    Attributes:
        name: What they are, in the plural.
        found: SQL condition of the source that finds them.
        instead: SQL of the source that replaces them in the column's expression; "": the target refuses them.
    """

    column: str
    name: str
    found: str
    instead: str = ""


def rules_of(
    column: str, sql: str, read: str, written: str, dialects: tuple[str, str], policies: Policies, *, key: bool
) -> list[Rule]:
    """The rules of a column between two engines, in the order in which they are applied.

    Args:
        column: The written column.
        sql: The column at the source, quoted.
        read: Its type there.
        written: Its type at the target.
        dialects: The source's and the target's.
        key: Part of the key: its values are never changed.
    """
    source, target = dialects
    if source == target:
        return []
    here, there = read_type(read, source), read_type(written, target)
    make = {"mysql": _mysql, "postgresql": _postgresql, "sqlite": _sqlite}[source]
    found = [Rule(column, *parts) for parts in make(sql, here, there, target, policies)]
    found += [Rule(column, *parts) for parts in _fraction(sql, here, there, source)]
    # An expression of MySQL is never a TIMESTAMP: it would go to SQLite without its zone.
    fixed = key or (source == "mysql" and target == "sqlite" and here.kind == "timestamptz")
    return [Rule(rule.column, rule.name, rule.found) if fixed else rule for rule in found]


def plain_form(sql: str, read: str, written: str, dialects: tuple[str, str]) -> str:
    """The column before any rule: a MySQL tinyint(1) that goes into a number is read as one."""
    here, there = read_type(read, dialects[0]), read_type(written, dialects[1])
    counted = dialects[0] == "mysql" and here.kind == "boolean" and there.kind != "boolean"
    return f"({sql} + 0)" if counted and dialects[0] != dialects[1] else sql


def applied(sql: str, plain: str, rules: Sequence[Rule]) -> str:
    """The column's expression with every rule that replaces something.

    Args:
        sql: The column as the rules name it.
        plain: From `plain_form`.
    """
    for rule in rules:
        if rule.instead:
            plain = rule.instead.replace(sql, plain)
    return plain


Parts = Iterator[tuple[str, str] | tuple[str, str, str]]


def _mysql(sql: str, here: Neutral, there: Neutral, target: str, policies: Policies) -> Parts:
    if there.kind in _TEXTS and policies.zero_dates == "error" and here.kind in (*_MOMENTS, "time"):
        return  # declared as text: it takes whatever the source has
    if here.kind in _MOMENTS:
        yield "zero dates", f"{sql} = 0", _instead_of_zero(sql, here, policies)
        if there.kind not in _TEXTS:
            yield "dates with a month or day of 0", f"{sql} <> 0 AND (MONTH({sql}) = 0 OR DAYOFMONTH({sql}) = 0)"
    elif here.kind == "time" and there.kind == "time":
        yield "times outside of a day", f"{sql} < '00:00:00' OR {sql} > '24:00:00'"
    elif here.kind == "boolean" and there.kind == "boolean":
        yield "numbers that are neither 0 nor 1", f"{sql} NOT IN (0, 1)"
    elif here.kind == "bigint" and here.unsigned and there.kind == "bigint":
        yield "numbers beyond bigint", f"{sql} > {_LAST_BIGINT}"
    elif here.kind in _TEXTS and target == "postgresql" and policies.nul == "strip":
        found = f"INSTR(CAST({sql} AS BINARY), x'00') > 0"
        yield "NUL characters", found, f"REPLACE({sql}, CHAR(0 USING utf8mb4), '')"


def _instead_of_zero(sql: str, here: Neutral, policies: Policies) -> str:
    if policies.zero_dates == "error":
        return ""
    if policies.zero_dates == "null":
        return f"NULLIF({sql}, 0)"
    day = "DATE'{}'" if here.kind == "date" else "TIMESTAMP'{} 00:00:00'"
    return f"IF({sql} = 0, {day.format(policies.zero_dates)}, {sql})"  # a NULL stays one


def _postgresql(sql: str, here: Neutral, there: Neutral, target: str, policies: Policies) -> Parts:
    del policies  # what PostgreSQL has and others have not is refused, or kept as text by the column's type
    if here.kind in (*_FLOATS, "numeric") and there.kind in (*_FLOATS, "numeric"):
        kept = target == "sqlite" and (here.kind != "numeric" or there.text.lower().startswith("decimal text"))
        odd = "('NaN')" if kept else "('NaN', 'Infinity', '-Infinity')"
        if not (kept and here.kind == "numeric"):
            yield "NaN or infinity", f"{sql} IN {odd}"
        if here.kind in _FLOATS:
            yield (
                "negative zeros",
                f"{sql} = 0 AND CAST({sql} AS text) = '-0'",
                f"CASE WHEN {sql} = 0 THEN '0' ELSE {sql} END",
            )
    if here.kind in _MOMENTS and there.kind in _MOMENTS and target == "mysql":
        outside = f"NOT isfinite({sql}) OR {sql} < '0001-01-01' OR {sql} >= '10000-01-01'"
        if there.kind == "timestamptz":  # MySQL's TIMESTAMP: 32 bits of seconds
            outside += f" OR {sql} < '1970-01-01 00:00:01' OR {sql} >= '2038-01-19 03:14:08'"
        yield "dates that the target has not", outside


def _sqlite(sql: str, here: Neutral, there: Neutral, target: str, policies: Policies) -> Parts:
    if here.kind in _TEXTS and target == "postgresql" and policies.nul == "strip":
        yield (
            "NUL characters",
            f"instr({sql}, char(0)) > 0",
            f"CAST(runbook_without_nul({sql}) AS {here.text or 'TEXT'})",
        )
    if here.kind in _FLOATS and there.kind in _FLOATS and target == "mysql":
        yield "NaN or infinity", f"{sql} IN (9e999, -9e999)"
    if here.kind in _MOMENTS and "'" not in here.text:
        yield f"{NO_VALUE}{here.text or here.kind}", _no_moment(sql, here.text or here.kind)
    if here.kind in _MOMENTS and target == "mysql":
        outside = f"{sql} LIKE '%BC' OR {sql} LIKE '%infinity' OR instr({sql}, '-') > 5"
        yield "dates that the target has not", outside


def _no_moment(sql: str, kind: str) -> str:
    """Condition for values of SQLite that are not what their type says; what SQLite gives back unchanged is."""
    same = f"{'date' if kind == 'date' else 'datetime'}({sql}, '+0 days') IS {sql}"
    return f"{sql} IS NOT NULL AND CASE WHEN {same} THEN 0 ELSE runbook_misfit({sql}, '{kind}') END"


def _fraction(sql: str, here: Neutral, there: Neutral, source: str) -> Parts:
    """Digits of a second that the written type has not, rounded as the source rounds."""
    timed = ("time", "timestamp", "timestamptz")
    if here.kind not in timed or there.kind not in timed or source == "sqlite":
        return
    digits = there.modifiers[0] if there.modifiers else FINEST
    if digits >= (here.modifiers[0] if here.modifiers else FINEST):
        return
    name = {"time": "time", "timestamp": "timestamp", "timestamptz": "timestamp"}[here.kind]
    if source == "mysql":
        name = "time" if here.kind == "time" else "datetime"
    zone = " with time zone" if source == "postgresql" and here.kind == "timestamptz" else ""
    shorter = f"CAST({sql} AS {name}({digits}){zone})"
    yield "fractions of a second", f"{sql} <> {shorter}", shorter
