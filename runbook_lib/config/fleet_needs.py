"""What a rolling upgrade needs of its inventory: what is missing is refused before anything begins."""

from __future__ import annotations

from runbook_lib.config.fleets import Fleet
from runbook_lib.config.inventory import Inventory
from runbook_lib.errors import PlanError
from runbook_lib.plan.model import Plan, RollingGoal
from runbook_lib.plan.rollout import contradiction
from runbook_lib.plan.yaml_value import nearest
from runbook_lib.traffic.capabilities import another, lacking

_NEEDED = ("backup", "upgrade")  # of the commands, beside one that goes back
_BACK = ("rollback", "restore")


def check_fleets(plan: Plan, inventory: Inventory) -> None:
    """Compare each fleet of the plan with the inventory's: instances, spares, commands, router.

    Raises:
        PlanError: the first that does not fit, at its line of the plan.
    """
    for goal in plan.rolling:
        where = f"{plan.path}:{goal.line}"
        fleet = inventory.fleets.get(goal.service)
        if fleet is None:
            raise _no_fleet(where, goal, inventory)
        _check_commands(where, goal, fleet, inventory.file)
        key, text, action = contradiction(goal, len(fleet.instances), len(fleet.spares))
        if key:
            raise PlanError(f"{plan.path}:{goal.lines.get(key, goal.line)}", text, action=action)
        _check_router(where, goal, inventory)


def _no_fleet(where: str, goal: RollingGoal, inventory: Inventory) -> PlanError:
    if goal.service in inventory.services:
        text = f"{goal.service} of {inventory.file} is one service, not a fleet"
        return PlanError(where, text, action="write `instances:` below it, docs/rolling.md")
    expected = "one of " + ", ".join(inventory.fleets) if inventory.fleets else "a service with `instances:`"
    text = f"{inventory.file} has no fleet `{goal.service}`"
    return PlanError(where, text, expected=expected, action=nearest(goal.service, inventory.fleets))


def _check_commands(where: str, goal: RollingGoal, fleet: Fleet, file: str) -> None:
    missing = [name for name in _NEEDED if name not in fleet.commands]
    if not fleet.commands & {*_BACK}:
        missing.append(" or ".join(_BACK))
    # `start` ends a drain that is given up
    others = {"start": goal.surge or "drain" in fleet.commands, "stop": goal.surge}
    missing += [name for name, needed in others.items() if needed and name not in fleet.commands]
    if missing:
        text = f"{file} has no command {', '.join(missing)} for {goal.service}"
        raise PlanError(where, text, action=f"add it to services.{goal.service}")


def _check_router(where: str, goal: RollingGoal, inventory: Inventory) -> None:
    if not inventory.router:
        action = f"add `router:` to {inventory.file}"
        raise PlanError(where, f"{goal.service} is taken out of rotation by a router, and there is none", action=action)
    kind = str(inventory.router["kind"])
    if text := lacking(kind, "weights", f"the shares of {goal.service}'s instances"):
        raise PlanError(where, f"router {kind}: {text}", action=another("weights"))
