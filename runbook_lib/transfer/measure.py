"""Values that the target has not, counted at the source: before the copy, and for its result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runbook_lib.databases.port import Problem
from runbook_lib.executor import run_all
from runbook_lib.schema.policies import Rule
from runbook_lib.transfer.flow import Flow, Link

NAMED_ROWS = 3


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
    found = dict(
        run_all(lambda n: _in_table(link, *asked[n]), [n for n, (_, rules) in enumerate(asked) if rules], jobs=2)
    )
    return [each for n in sorted(found) for each in found[n]]


def problems(link: Link, *, quarantine: bool) -> list[Problem]:
    """The same for a step's check: what will be refused blocks, unless refused rows are set aside."""
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
    keys = ", ".join(f"({', '.join(map(str, key))})" for key in each.keys)
    return f": the target will refuse the rows {keys}" + (", …" if each.rows > len(each.keys) else "")


def _in_table(link: Link, flow: Flow, rules: Sequence[Rule]) -> list[Measured]:
    where = f" WHERE {flow.where}" if flow.where else ""
    sums = ", ".join(f"SUM(CASE WHEN {rule.found} THEN 1 ELSE 0 END)" for rule in rules)
    [counts] = link.reader.rows(f"SELECT {sums} FROM {flow.relation}{where}")
    return [
        Measured(flow.table, r.column, r.name, int(n), bool(r.instead), () if r.instead else _keys(link, flow, r))
        for r, n in zip(rules, counts, strict=True)
        if n
    ]


def _keys(link: Link, flow: Flow, rule: Rule) -> tuple[tuple[Any, ...], ...]:
    if not flow.key:
        return ()
    where = f"({flow.where}) AND ({rule.found})" if flow.where else rule.found
    listed = ", ".join(flow.reading.key)
    return tuple(link.reader.rows(f"SELECT {listed} FROM {flow.relation} WHERE {where} LIMIT {NAMED_ROWS}"))
