"""Migration runbooks that are notebooks: one plan, carried out phase by phase, kept as signed evidence.

A notebook needs three names: `open_run`, `steps` and `charts`. Everything is imported when it is first used: importing
this package costs a few milliseconds.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.2.0"

_HOMES = {
    "Environment": "runbook_lib.environment",
    "Journal": "runbook_lib.journal",
    "Options": "runbook_lib.options",
    "Outcome": "runbook_lib.step",
    "Plan": "runbook_lib.plan.model",
    "Report": "runbook_lib.validation",
    "Run": "runbook_lib.run",
    "RunbookError": "runbook_lib.errors",
    "Step": "runbook_lib.step",
    "StepResult": "runbook_lib.step",
    "Verdict": "runbook_lib.step",
    "charts": "",
    "load_environment": "runbook_lib.environment",
    "load_plan": "runbook_lib.plan.load",
    "open_run": "runbook_lib.run",
    "steps": "",
    "validate": "runbook_lib.validation",
    "verify_bundle": "runbook_lib.evidence.verify",
    "widgets": "",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not _HOMES[name]:
        return importlib.import_module(f"{__name__}.{name}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
