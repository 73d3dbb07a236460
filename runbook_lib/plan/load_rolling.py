"""The fleets of a rolling upgrade, read from the plan; what such a plan may not have beside them."""

from __future__ import annotations

from runbook_lib.errors import PlanError
from runbook_lib.plan import keys
from runbook_lib.plan.key import Given
from runbook_lib.plan.model import Plan, RollingGoal
from runbook_lib.plan.yaml_value import Entry, Value

ROLLING = "rolling"
# What the notebook, or one that stands aside, reads of such a plan.
_READ = (
    *(keys.MIGRATION, keys.STRATEGY, keys.SOURCE, keys.ROLLING),
    *(keys.ROLLBACK_TRIGGERS, keys.PERFORMANCE, keys.NOTIFY),
)


def read_rolling(value: Value) -> tuple[RollingGoal, ...]:
    """The fleets, in the order in which they are upgraded."""
    found = tuple(_goal(entry) for entry in value.entries("rolling"))
    if not found:
        raise value.error("`rolling` names no fleet", action="add a service of the inventory that has `instances:`")
    return found


def _goal(entry: Entry) -> RollingGoal:
    what = f"rolling {entry.name}"
    settings = keys.ROLLING_KEYS.complete(entry.value, what, f"the fleet {entry.name}", entry.at)
    lines = {name: at.line for name, at in entry.value.fields(what, [k.name for k in keys.ROLLING_KEYS.keys]).items()}
    return RollingGoal(entry.name, **settings, line=entry.at.line, lines=lines)


def check_strategy(document: Value, given: Given, strategy: str) -> None:
    """Refuse `rolling` without its strategy, the strategy without it, and what such a plan has no use for."""
    if strategy != ROLLING:
        if keys.ROLLING in given:
            raise given[keys.ROLLING].error(f"`rolling` in a plan whose strategy is {strategy}", action=_WRITE)
        return
    for key, value in given.items():
        if key not in _READ:
            expected = ", ".join(one.name for one in _READ)
            raise value.error(f"`{key.name}` in a plan whose strategy is rolling", expected=f"only {expected}")
    if keys.ROLLING not in given:
        raise document.error("the plan upgrades no fleet", action="add `rolling:` with a service of the inventory")


_WRITE = "write `strategy: rolling`"


def check_triggers(plan: Plan) -> None:
    """Refuse a trigger that nothing of a rolling upgrade can answer."""
    for trigger in plan.triggers:
        where = f"{plan.path}:{trigger.line}"
        if trigger.metric == "data_inconsistency":
            text = "data_inconsistency compares two databases, and a fleet has one"
            raise PlanError(where, text, action="drop it, or measure it with `source: sql` under another name")
        if trigger.metric == "critical_feature_failure" and not plan.performance.workload:
            text = "critical_feature_failure sends the workload's smoke requests, and the plan has no workload"
            raise PlanError(where, text, action="add `performance: {workload: plans/workload.yaml}`")
