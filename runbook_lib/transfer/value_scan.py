"""Values that the target has not, counted at the source: before the copy, and for its result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import KeyRange, Problem
from runbook_lib.schema.convert.value_policies import Rule
from runbook_lib.transfer.links import Flow, Link
from runbook_lib.util.thread_pool import run_all

NAMED_ROWS = 3
PART_ROWS = 500_000  # a statement: no long transaction on a live source, and no core waits for the largest table


@dataclass(frozen=True)
class Measured:
    """Values of one column: what they are, in how many rows (count), and whether the flow changes them.

    `keys`: some of the rows, where the target will refuse them.
    """

    table: str
    column: str
    name: str
    rows: int
    changed: bool
    keys: tuple[tuple[Any, ...], ...] = ()


def measure(link: Link, *, changed_only: bool = False) -> list[Measured]:
    """Count them, one pass over each table that may have some; nothing is asked between databases of one engine.

    Args:
        changed_only: Only what the flow changes.
    """
    asked = [(flow, [rule for rule in flow.rules if rule.instead or not changed_only]) for flow in link.flows]
    parts = [
        (n, part)
        for n, (flow, rules) in enumerate(asked)
        if rules
        for part in link.reader.ranges(flow.reading, PART_ROWS)
    ]
    counted = dict(run_all(lambda at: _in_part(link, *asked[parts[at][0]], parts[at][1]), range(len(parts)), jobs=2))
    found: dict[tuple[int, int], Measured] = {}
    for at in sorted(counted):
        for number, each in counted[at].items():
            before = found.get(place := (parts[at][0], number))
            found[place] = _together(before, each) if before else each
    return [found[place] for place in sorted(found)]


def problems(link: Link, *, quarantine: bool) -> list[Problem]:
    """The same for a step's check: what will be refused blocks, unless refused rows are quarantined."""
    return [
        Problem(
            f"{link.service}.{each.table}.{each.column}",
            f"{each.rows:,} {each.name}" + (" are changed, as the plan says" if each.changed else _named(each)),
            "" if each.changed else "correct them at the source, or decide in the plan: types, on_bad_row",
            blocking=not each.changed and not quarantine,
            count=each.rows,
        )
        for each in measure(link)
    ]


def _named(each: Measured) -> str:
    if not each.keys:  # a table without a key
        return ": the target will refuse them"
    keys = ", ".join(f"({', '.join(map(str, key))})" for key in each.keys)
    return f": the target will refuse the rows {keys}" + (", …" if each.rows > len(each.keys) else "")


def _in_part(link: Link, flow: Flow, rules: Sequence[Rule], part: KeyRange) -> dict[int, Measured]:
    """Of each rule, by its number, the rows of one range; where there are none, nothing."""
    within = link.reader.condition(flow.reading, part)
    sums = ", ".join(f"SUM(CASE WHEN {rule.found} THEN 1 ELSE 0 END)" for rule in rules)
    [counts] = link.reader.rows(f"SELECT {sums} FROM {flow.relation} WHERE {within}")
    return {
        n: Measured(flow.table, r.column, r.name, int(count), bool(r.instead), _keys(link, flow, r, within))
        for n, (r, count) in enumerate(zip(rules, counts, strict=True))
        if count
    }


def _keys(link: Link, flow: Flow, rule: Rule, within: str) -> tuple[tuple[Any, ...], ...]:
    """Some of the rows that the target will refuse."""
    if rule.instead or not flow.key:
        return ()
    listed = ", ".join(dialect_of(link.reader.dialect).shown(column) for column in flow.reading.key)
    where = f"({within}) AND ({rule.found})"
    return tuple(link.reader.rows(f"SELECT {listed} FROM {flow.relation} WHERE {where} LIMIT {NAMED_ROWS}"))


def _together(one: Measured, other: Measured) -> Measured:
    return replace(one, rows=one.rows + other.rows, keys=(one.keys + other.keys)[:NAMED_ROWS])
