"""Old against new, as a look that changes nothing: recorded as a verdict that the gate demands."""

from __future__ import annotations

from runbook_lib.performance.against import old_against_new
from runbook_lib.performance.rounds import Performance
from runbook_lib.run.context import RunContext


def compare_performance(run: RunContext) -> Performance:
    """Send both sides the plan's workload until each metric is degraded or fine, or the last look is over.

    Returns:
        Performance: shows itself; the charts take it.
    """
    found = old_against_new(run.environment, lambda done, of: run.progress(done, of, "pairs of rounds"))
    run.verdict("performance_compared", found.verdict())
    return found
