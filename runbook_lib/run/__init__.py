"""A run: context, steps, gate, approvals, rollback."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runbook_lib.run.context import RunContext
    from runbook_lib.run.run import Run, open_run

__all__ = ["Run", "RunContext", "open_run"]

_HOME = {"Run": "run", "RunContext": "context", "open_run": "run"}


def __getattr__(name: str) -> Any:
    """What users import from here is loaded when it is asked for: a step's import must not load the whole run."""
    if name in _HOME:
        return getattr(import_module(f"runbook_lib.run.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
