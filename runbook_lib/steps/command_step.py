"""Run commands of the plan: check, apply, verify, rollback."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.errors import StepFailed
from runbook_lib.run.context import RunContext
from runbook_lib.steps.acting import act, filled, take_back, undone, unmet
from runbook_lib.util import command
from runbook_lib.util.redact import mask
from runbook_lib.verdict import Outcome, StepResult, Verdict

_COULD_NOT_ASK = 126  # the shell's "not executable", "not found", "ended by a signal"; ssh's 255: nobody answered


@dataclass(frozen=True)
class CommandStep:
    """A command of the plan, in its own process group, never through a shell.

    Attributes:
        title: Distinguishes the commands of a plan.
        acts: What `apply` runs; not where `proof` says yes already.
        proof: Exit status 0: it is so; 1 to 125: it is not; else it could not be asked.
        condition: Exit status 0: nothing stands in the way.
        undo: What `rollback` runs; without it the step is irreversible.
        on: A service of the inventory, for the placeholders `{name}` and `{url}`.
        timeout_s: Of each command (seconds).
    """

    title: str
    acts: tuple[str, ...]
    proof: tuple[str, ...]
    condition: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    on: str = ""
    timeout_s: float = 60.0
    requires: Sequence[str] = ()

    @property
    def name(self) -> str:
        return f"command_step:{self.title}"

    @property
    def reversible(self) -> bool:
        return bool(self.undo)

    def check(self, run: RunContext) -> list[Problem]:
        return unmet(run, self, lambda: self._ask(run, self.condition)) if self.condition else []

    def apply(self, run: RunContext) -> StepResult:
        return act(run, self, lambda: self._do(run, self.acts))

    def verify(self, run: RunContext) -> Verdict:
        return self._ask(run, self.proof)

    def rollback(self, run: RunContext) -> StepResult:
        return take_back(run, self, lambda: self._do(run, self.undo))

    def undone(self, run: RunContext) -> Verdict:
        return undone(run, self)

    def _ended(self, run: RunContext, parts: Sequence[str]) -> command.CommandResult:
        values = filled(run, self.on)
        arguments = [part.format_map(values) for part in parts]
        return command.run(arguments, run.environment.root, self.timeout_s, dies_with_us=True)

    def _ask(self, run: RunContext, parts: Sequence[str]) -> Verdict:
        ended = self._ended(run, parts)
        if ended.passed:
            return Verdict(Outcome.PASS, _last(ended) or f"{parts[0]} says yes")
        unknown = ended.problem or not 0 < ended.status < _COULD_NOT_ASK
        return Verdict(Outcome.COULD_NOT_RUN if unknown else Outcome.FAIL, ended.said())

    def _do(self, run: RunContext, parts: Sequence[str]) -> str:
        ended = self._ended(run, parts)
        if not ended.passed:
            action = "read what it says, put it right and run the cell again: its `verify` is asked first"
            raise StepFailed(self.name, ended.said(), state="it may have acted in part", action=action)
        return _last(ended) or f"{parts[0]} ended with exit status 0"


def _last(ended: command.CommandResult) -> str:
    return " | ".join(mask(ended.output).strip().splitlines()[-3:])[-400:]
