"""Old against new in an environment: the plan's workload, goal and sides, measured until it is clear."""

from __future__ import annotations

from dataclasses import replace

from runbook_lib.config.environment import Environment
from runbook_lib.performance.plans import compare_plans
from runbook_lib.performance.rounds import Performance, RoundListener, measure_until_clear
from runbook_lib.performance.sides import both_sides


def old_against_new(environment: Environment, on_progress: RoundListener = lambda done, of: None) -> Performance:
    """Measure both sides under the plan's workload, then compare the plans of the slowest statements.

    Args:
        on_progress: Told the pairs of rounds that are done, and how many there may be.
    Raises:
        ConfigurationError: the plan has no workload, or a side is not there.
        DatabaseError: a query of the workload is refused.
    """
    with both_sides(environment) as both:
        found = measure_until_clear(both.sides, both.workload, environment.plan.performance, on_progress)
        if both.source is None:
            return found
        return replace(found, plans=compare_plans(both.sampled, found.by_name, both.source, both.targets))
