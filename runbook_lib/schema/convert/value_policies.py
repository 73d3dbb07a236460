"""Values that the target has not: how to find them at the source, and what the plan makes of them.

What is made of a value is an expression of the source, part of the flow: copy, sync and checksums read through it, so
all three see the same. A value without a policy is left as it is, and the target refuses its row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from runbook_lib.databases.dialect import Dialect, dialect_of
from runbook_lib.databases.neutral_type import TEXTS
from runbook_lib.databases.values import UnsupportedValues
from runbook_lib.schema.convert.decisions import Policies
from runbook_lib.schema.convert.types import Neutral, read_type

_TIMED = ("time", "timestamp", "timestamptz")
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
    if dialects[0] == dialects[1]:
        return []
    source, target = map(dialect_of, dialects)
    here, there = read_type(read, source.name), read_type(written, target.name)
    found = [Rule(column, *each) for each in _foreign(sql, here, there, (source, target), policies)]
    # It would go as a text, and without its zone.
    fixed = key or (source.zone_in_columns_only and target.loose_types and here.kind == "timestamptz")
    return [Rule(rule.column, rule.name, rule.found) if fixed else rule for rule in found]


def plain_form(sql: str, read: str, written: str, dialects: tuple[str, str]) -> str:
    """The column before any rule: a boolean that is a number (tinyint(1)) and goes into a number is read as one."""
    here, there = read_type(read, dialects[0]), read_type(written, dialects[1])
    counted = dialect_of(dialects[0]).boolean_is_number and here.kind == "boolean" and there.kind != "boolean"
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


def _foreign(
    sql: str, here: Neutral, there: Neutral, dialects: tuple[Dialect, Dialect], policies: Policies
) -> Iterator[UnsupportedValues]:
    source, target = dialects
    if here.kind in TEXTS and source.keeps_nul and not target.keeps_nul and policies.nul == "strip":
        yield UnsupportedValues("NUL characters", source.has_nul(sql), source.without_nul(sql, here))
    yield from source.foreign(sql, here, there, target, policies.zero_dates)
    if here.kind in _TIMED and there.kind in _TIMED:  # digits that the written type has not
        digits, own = (kind.modifiers[0] if kind.modifiers else FINEST for kind in (there, here))
        shorter = source.shortened(sql, here.kind, digits)
        if shorter and digits < own:
            yield UnsupportedValues("fractions of a second", f"{sql} <> {shorter}", shorter)
