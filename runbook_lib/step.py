"""A step: the unit that is checked, applied, verified and rolled back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from runbook_lib.databases.port import Problem

if TYPE_CHECKING:
    from runbook_lib.run import Run


class Outcome(StrEnum):
    """Data that is wrong and a check that could not run are different outcomes."""

    PASS = "pass"  # noqa: S105  a verdict, not a password
    FAIL = "fail"
    COULD_NOT_RUN = "could_not_run"


@dataclass(frozen=True)
class Verdict:
    """The answer of a verification: `text` says in one line what was seen; `data` is JSON for the journal."""

    outcome: Outcome
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.PASS


def words_of(name: str) -> str:
    """A step's name for people: that of `apply_revision:0001_country` is "apply revision 0001_country"."""
    kind, _, what = name.partition(":")
    return f"{kind.replace('_', ' ')} {what}".rstrip()


@dataclass(frozen=True)
class StepResult:
    """What a step did: one line for people, JSON for the journal, the charts and the summary."""

    text: str
    data: Mapping[str, Any] = field(default_factory=dict)


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

    def check(self, run: Run) -> list[Problem]:
        """Read only: what stands in the way."""
        ...

    def apply(self, run: Run) -> StepResult:
        """Do it. Idempotent: applying twice, or after a kill anywhere, leads to the same state."""
        ...

    def verify(self, run: Run) -> Verdict:
        """Read only: is the state reached?"""
        ...

    def rollback(self, run: Run) -> StepResult:
        """Undo it, a partial apply too. Idempotent."""
        ...
