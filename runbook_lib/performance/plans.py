"""How both sides answer the slowest statements: their plans beside each other, matched by normalized text.

The statements are the workload's, and what the servers counted as slowest where they count. Of the workload's the
plans are read with parameters of it; of the others, whose parameters nobody knows, only the times are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from runbook_lib.databases import sql_text
from runbook_lib.databases.port import Database
from runbook_lib.databases.query_plan import PlanNode, QueryPlan
from runbook_lib.databases.sql_text import NAME, NUMBER, STRING, WORD
from runbook_lib.display.html_table import html_table
from runbook_lib.errors import RunbookError
from runbook_lib.performance.statements import Statement
from runbook_lib.verdict import Outcome

SLOWEST = 5  # statements whose plans are compared (count)
FAR = 10.0  # an estimate off by more is named


@dataclass(frozen=True)
class StatementComparison:
    """One statement on both sides.

    Attributes:
        name: As the workload calls it; of one that only the servers know, its normalized text.
        before_ms, now_ms: Median of the workload's, or mean of the server's (milliseconds).
        before, now: Its plans; None where there is none.
        differences: What is not alike, in words.
    """

    name: str
    text: str
    before_ms: float | None
    now_ms: float | None
    before: QueryPlan | None = None
    now: QueryPlan | None = None
    differences: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON for the journal."""
        return asdict(self)


@dataclass(frozen=True)
class PlanComparison:
    """The slowest statements, the slowest first; `missing` says what could not be seen, and why."""

    statements: tuple[StatementComparison, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON for the journal."""
        return {"statements": [one.as_dict() for one in self.statements], "missing": dict(self.missing)}

    def _repr_html_(self) -> str:
        changed = sum(bool(one.differences) for one in self.statements)
        title = f"{changed} of {len(self.statements)} slowest statements are answered otherwise"
        columns = ("statement", "before (ms)", "now (ms)", "what differs")
        rows = [(one.name, _ms(one.before_ms), _ms(one.now_ms), "; ".join(one.differences)) for one in self.statements]
        rows += [(what, "–", "–", f"not seen: {why}") for what, why in self.missing.items()]
        return html_table(title, Outcome.PASS, columns, rows)


def normalized(text: str, dialect: str) -> str:
    """A statement without its literals, quotes, comments and layout: what is alike on two servers."""
    return " ".join(_words(sql_text.code(text, dialect)))


def _words(found: Sequence[sql_text.Token]) -> Iterable[str]:
    skipped = False
    for token, after in zip(found, [*found[1:], None], strict=True):
        if skipped:  # the name of a parameter
            skipped = False
        elif token.kind in (STRING, NUMBER) or token.text == "?":
            yield "?"
        elif token.text in (":", "$", "%") and after is not None and after.start == token.end:
            skipped = True
            yield "?"
        elif token.kind == NAME:
            yield sql_text.unquoted(token).lower()
        else:
            yield token.text.lower() if token.kind == WORD else token.text


def compare_plans(
    sampled: Sequence[Statement],
    times_ms: Mapping[str, tuple[float | None, float | None]],
    source: Database,
    target_of: Mapping[str, Database],
) -> PlanComparison:
    """Read and compare the plans of the slowest statements.

    Args:
        sampled: One of each of the workload's statements, with its parameters.
        times_ms: Its name → the medians of both sides (milliseconds).
        source: The old side.
        target_of: Service → the new one.
    """
    slowest = sorted(sampled, key=lambda one: -max(filter(None, times_ms.get(one.name, (0, 0))), default=0))
    missing: dict[str, str] = {}
    found = [
        _statement(one, times_ms.get(one.name, (None, None)), source, target_of[one.service], missing)
        for one in slowest[:SLOWEST]
    ]
    seen = {normalized(one.sql, source.dialect) for one in sampled}
    found += _counted(source, list(dict.fromkeys(target_of.values())), seen, missing)
    return PlanComparison(tuple(found), missing)


def _statement(
    one: Statement,
    times_ms: tuple[float | None, float | None],
    source: Database,
    target: Database,
    missing: dict[str, str],
) -> StatementComparison:
    plans: list[QueryPlan | None] = []
    for database, text in ((source, one.sql), (target, one.target)):
        try:
            plans.append(database.query_plan(text, one.params))
        except RunbookError as error:
            plans.append(None)
            missing[f"plan of {one.name} at {database.name}"] = str(error.observed)
    before, now = plans
    alike = source.dialect == target.dialect
    told = differences(before, now, alike=alike) if before and now else ()
    return StatementComparison(one.name, normalized(one.sql, source.dialect), *times_ms, before, now, told)


def _counted(
    source: Database, targets: Sequence[Database], seen: set[str], missing: dict[str, str]
) -> list[StatementComparison]:
    """What the servers counted as slowest and the workload has not, where both sides know it."""
    sides: list[dict[str, float]] = []
    for databases in ([source], targets):
        times: dict[str, float] = {}
        for database in databases:
            counted = database.slowest_statements(SLOWEST * 10)
            if counted.missing:
                missing[f"slowest statements of {database.name}"] = counted.missing
            for text, mean_ms in counted.mean_ms.items():
                name = normalized(text, database.dialect)
                times[name] = max(mean_ms, times.get(name, 0.0))
        sides.append(times)
    before, now = sides
    both = sorted((before.keys() & now.keys()) - seen, key=lambda name: -max(before[name], now[name]))
    return [StatementComparison(name, name, before[name], now[name]) for name in both[:SLOWEST]]


def differences(before: QueryPlan, now: QueryPlan, *, alike: bool = True) -> tuple[str, ...]:
    """What two plans of one statement do not share, in words.

    Args:
        alike: Both are of one engine: the kinds of operations have the same names.
    """
    told = []
    for what, found in (("operation", _kinds), ("index", _indexes)):
        old, new = found(before), found(now)
        if what == "operation" and not alike:
            continue
        told += [f"{what} {name} only before" for name in old if name not in new]
        told += [f"{what} {name} only now" for name in new if name not in old]
    told += [f"now: {text}" for text in _misjudged(now) if text not in set(_misjudged(before))]
    return tuple(told)


def _kinds(plan: QueryPlan) -> list[str]:
    return list(dict.fromkeys(f"{node.kind} of {node.table}" if node.table else node.kind for node in plan.nodes))


def _indexes(plan: QueryPlan) -> list[str]:
    return list(dict.fromkeys(node.index for node in plan.nodes if node.index))


def _misjudged(plan: QueryPlan) -> list[str]:
    return [f"{node.kind} of {node.table or 'others'} expects {node.estimated:g} rows and finds {node.actual:g}"
            for node in plan.nodes if _far(node)]  # fmt: skip


def _far(node: PlanNode) -> bool:
    if node.estimated is None or node.actual is None:
        return False
    least, most = sorted((max(node.estimated, 1.0), max(node.actual, 1.0)))
    return most / least > FAR


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
