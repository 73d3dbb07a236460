"""In which batches a fleet is upgraded, and whether the plan's minimum of healthy instances can be kept. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from runbook_lib.plan.model import RollingGoal


def batches(instances: Sequence[str], goal: RollingGoal) -> tuple[tuple[str, ...], ...]:
    """The canaries one at a time, then the others in batches, in the inventory's order."""
    canaries, others = instances[: goal.canary], instances[goal.canary :]
    size = goal.batch.at_most(len(instances))
    rest = (tuple(others[first : first + size]) for first in range(0, len(others), size))
    return (*((name,) for name in canaries), *rest)


def minimum(goal: RollingGoal, size: int) -> int:
    """Instances of a fleet of this size that have to be healthy and in rotation, spares among them (count)."""
    if goal.min_healthy is not None:
        return goal.min_healthy.at_least(size)
    return max(1, size + goal.surge - goal.batch.at_most(size))


def contradiction(goal: RollingGoal, size: int, spares: int) -> tuple[str, str, str]:
    """What of the goal a fleet of this size cannot do: the key, what is wrong, what to do; the key is empty: nothing.

    Args:
        size: Instances of the fleet (count).
        spares: Spares that the inventory has beside them (count).
    """
    batch, least = goal.batch.at_most(size), minimum(goal, size)
    if goal.canary > size:
        return "canary", f"canary is {goal.canary}, and {goal.service} has {size} instances", f"write at most {size}"
    if goal.surge > spares:
        return "surge", f"surge is {goal.surge}, and {goal.service} has {spares} spares", "add `spares:` to it"
    if batch > size:
        return "batch", f"batch is {batch}, and {goal.service} has {size} instances", f"write at most {size}"
    if (left := size + goal.surge - batch) < least:
        key = "min_healthy" if goal.min_healthy is not None else "batch"
        beside = f" and {goal.surge} spares" if goal.surge else ""
        text = f"{least} healthy instances cannot be kept: of {size}{beside} {left} are left while {batch} is out"
        return key, text, "a smaller batch or minimum, or `surge:` with spares of the inventory"
    return "", "", ""
