"""The system steps that the plan lists for a phase."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from runbook_lib.run.context import RunContext
from runbook_lib.run.step import Step
from runbook_lib.steps.command_step import CommandStep
from runbook_lib.steps.http_step import HttpStep
from runbook_lib.steps.sql_step import SqlStep

# A step's methods have the plan's words: what is told to them has others.
_FIELDS = {"name": "title", "apply": "acts", "verify": "proof", "check": "condition", "rollback": "undo"}


def system_steps(run: RunContext) -> list[Step]:
    """The commands, HTTP requests and SQL among the phase's tasks, in the plan's order; none: no step."""
    found: list[Step] = []
    for task in run.plan.phase(run.phase).tasks:
        if task.command:
            found.append(CommandStep(**_told(task.command)))
        elif task.http:
            found.append(HttpStep(**_told(task.http)))
        elif task.sql:
            found.append(SqlStep(**_told(task.sql)))
    return found


def _told(task: Any) -> dict[str, Any]:
    return {_FIELDS.get(name, name): value for name, value in asdict(task).items()}
