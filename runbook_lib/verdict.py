"""What a check and a step answer: outcome, verdict, result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """Data that is wrong and a check that could not run are different outcomes."""

    PASS = "pass"  # noqa: S105  a verdict, not a password
    FAIL = "fail"
    COULD_NOT_RUN = "could_not_run"

    @property
    def exit_status(self) -> int:
        """The one rule of the command line: 0 yes, 1 it ran and the answer is no, 2 it could not run."""
        return {Outcome.PASS: 0, Outcome.FAIL: 1}.get(self, 2)


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
