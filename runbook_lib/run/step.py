"""A step: the unit that is checked, applied, verified and rolled back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from runbook_lib.databases.port import Problem
from runbook_lib.verdict import StepResult, Verdict

if TYPE_CHECKING:
    from runbook_lib.run.context import RunContext


class Step(Protocol):
    """The unit of a runbook. A step is a frozen dataclass in `runbook_lib/steps/<name>.py`.

    Attributes:
        name: Equal to its module's name, followed by `:` and a distinction where a phase has several of a kind.
        reversible: False needs an approval of its own.
        standing: Optional, True: its state can end by itself (a process), so a repetition looks again.
        ended_by: Optional, of a standing step: names of the steps that end its state for good.
        barrier: Optional, True: while it is in force nothing before it may be undone.
        reshapes: Optional: whose schema it changes (`source`, `targets`, or a database's name); else that is drift.
        requires: Names of steps of this run that must have passed before this one.
    """

    @property
    def name(self) -> str: ...
    @property
    def reversible(self) -> bool: ...
    @property
    def requires(self) -> Sequence[str]: ...

    def check(self, run: RunContext) -> list[Problem]:
        """Read only: what stands in the way."""
        ...

    def apply(self, run: RunContext) -> StepResult:
        """Do it. Idempotent: applying twice, or after a kill anywhere, leads to the same state."""
        ...

    def verify(self, run: RunContext) -> Verdict:
        """Read only: is the state reached?"""
        ...

    def rollback(self, run: RunContext) -> StepResult:
        """Undo it, a partial apply too. Idempotent."""
        ...
