"""Migration runbooks that are notebooks: one plan, carried out phase by phase, kept as signed evidence.

A notebook needs three names: `open_run`, `steps` and `charts`. Everything is imported when it is first used: importing
this package costs a few milliseconds.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.2.0"

_HOMES = {  # with a colon: the module itself
    "Environment": "runbook_lib.config.environment",
    "Journal": "runbook_lib.journal",
    "Options": "runbook_lib.config.options",
    "Outcome": "runbook_lib.verdict",
    "Plan": "runbook_lib.plan.model",
    "Report": "runbook_lib.validation",
    "Run": "runbook_lib.run.run",
    "RunbookError": "runbook_lib.errors",
    "Step": "runbook_lib.run.step",
    "StepResult": "runbook_lib.verdict",
    "Verdict": "runbook_lib.verdict",
    "charts": "runbook_lib.charts:",
    "load_environment": "runbook_lib.config.environment",
    "load_plan": "runbook_lib.plan.load",
    "open_run": "runbook_lib.run.run",
    "steps": "runbook_lib.steps:",
    "validate": "runbook_lib.validation",
    "verify_bundle": "runbook_lib.evidence.verify",
    "widgets": "runbook_lib.runner.widgets:",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(_HOMES[name].rstrip(":"))
    return module if _HOMES[name].endswith(":") else getattr(module, name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
