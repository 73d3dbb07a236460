"""What a plan needs of its router: a plan that needs what the router cannot do is refused before anything begins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runbook_lib.errors import PlanError
from runbook_lib.plan.model import Plan
from runbook_lib.traffic.capabilities import another, lacking

STAGES, ERRORS, FEATURES = "gradual_extraction", "error_rate", "critical_feature_failure"


def check_router(plan: Plan, router: Mapping[str, Any]) -> None:
    """Compare the plan's stages and triggers with what this kind of router can do.

    Args:
        router: The inventory's, read by `config.router_settings`.
    Raises:
        PlanError: the first need that is not met, at its line of the plan: what was found, and what is needed.
    """
    kind = str(router["kind"])
    for name, needed, line in _needs(plan):
        if text := lacking(kind, name, needed):
            raise PlanError(f"{plan.path}:{line}", f"router {kind}: {text}", action=f"{another(name)}, or plan without")
    for trigger in plan.triggers:
        if trigger.metric == FEATURES and not router["url"]:
            observed = f"trigger {FEATURES} asks through the router, and the inventory's router has no url"
            raise PlanError(f"{plan.path}:{trigger.line}", observed, action="add `url:`, what clients talk to")


def _needs(plan: Plan) -> Iterator[tuple[str, str, int]]:
    """Capability, what for, and the line that asks for it."""
    stages = plan.phase(STAGES)
    if parts := [f"{share} %" for share in stages.traffic if share != 100]:
        yield "weights", f"{stages.name}, which sends {', '.join(parts)} of reads", stages.line
    for trigger in plan.triggers:
        if trigger.metric == ERRORS:
            yield "errors", f"the trigger {ERRORS}", trigger.line
