"""The phases of each strategy, in order, and the notebook of each."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import PurePath
from typing import TYPE_CHECKING

from runbook_lib.errors import OutOfOrder
from runbook_lib.plan.vocabulary import BLUE_GREEN
from runbook_lib.plan.vocabulary import PHASES as SEQUENCES

if TYPE_CHECKING:
    from runbook_lib.plan.model import Plan


PHASES = ("preflight", "preparation", "gradual_extraction", "data_migration", "cutover", "cleanup")


ROLLBACK = "rollback"


SCHEMA = "schema_migration"


VALIDATION = "validation"


PERFORMANCE = "performance"


ROLLING = "rolling"


ASIDE = (VALIDATION, PERFORMANCE, SCHEMA, ROLLING)


LOOKS = (VALIDATION, PERFORMANCE, SCHEMA)  # a rollback trigger that fired does not stop these


def notebook_of(phase: str) -> str:
    """The notebook that carries a phase out, for messages."""
    if phase in BLUE_GREEN:
        return "notebooks/patterns/blue_green.ipynb"
    if phase in PHASES:
        return f"notebooks/{PHASES.index(phase):02d}_{phase}.ipynb"
    if phase in (VALIDATION, PERFORMANCE):
        return f"notebooks/checks/{phase}.ipynb"
    if phase in (SCHEMA, ROLLING):
        return f"notebooks/patterns/{phase}.ipynb"
    return "notebooks/90_rollback.ipynb" if phase == ROLLBACK else f"the notebook of {phase}"


def only_notebook(plan: Plan) -> str:
    """The notebook of a plan without phases: it is all of it."""
    return ROLLING if plan.rolling else SCHEMA


def folder_of(phase: str) -> str:
    """The name of a phase's folder in the evidence: its notebook's, or its own where a notebook has several."""
    if phase in BLUE_GREEN:
        return f"{BLUE_GREEN.index(phase) + 1:02d}_{phase}"
    return PurePath(notebook_of(phase)).stem


def every_phase(strategy: str) -> tuple[str, ...]:
    """Pre-flight, then the phases that a plan of this strategy may describe."""
    return ("preflight", *SEQUENCES[strategy])


def phases_of(plan: Plan) -> tuple[str, ...]:
    """Pre-flight, then the plan's phases in the plan's order."""
    return ("preflight", *(phase.name for phase in plan.phases if phase.name != "preflight"))


def phases_before(phase: str, plan: Plan) -> tuple[str, ...]:
    """The phases that must have passed before this one starts; none for rollback and for what stands aside.

    Raises:
        OutOfOrder: there is no such phase.
    """
    order = phases_of(plan)
    if phase in order:
        return order[: order.index(phase)]
    if phase in (every := every_phase(plan.strategy)):  # one that the plan says nothing about keeps its place
        return tuple(name for name in every[: every.index(phase)] if name in order)
    if phase == ROLLBACK or phase in ASIDE:
        return ()
    near = get_close_matches(phase, [*order, *every, ROLLBACK, *ASIDE], 1)
    action = f"did you mean `{near[0]}`?" if near else f"the plan's phases are {', '.join(order)}"
    raise OutOfOrder(f"phase {phase}", "unknown", state="nothing was started", action=action)
