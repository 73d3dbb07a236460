"""Carry an approved change of the schema to both sides while a run's sync keeps the targets current."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from runbook_lib.databases.port import Problem
from runbook_lib.journal import Unit, digest_of
from runbook_lib.journal.kinds import ApplyDdlBegun, ApplyDdlDone, Intent
from runbook_lib.operations.agreement import read_once
from runbook_lib.operations.apply_ddl import Work, carry, carrying, run_at_origin, undone, work_of
from runbook_lib.operations.pair import Pair
from runbook_lib.plan.model import TableMapping
from runbook_lib.run.approvals import require_approval
from runbook_lib.run.context import RunContext
from runbook_lib.steps.baseline import known_baseline, note_baseline, pairs
from runbook_lib.steps.routes_and_links import BACK, FORWARD, links, verdict
from runbook_lib.steps.start_sync import StartSync
from runbook_lib.transfer.sync_process import stop_sync
from runbook_lib.transfer.writers import Side
from runbook_lib.verdict import StepResult, Verdict

_MOVED = "statements are run at the source, and the services have the writes"


@dataclass(frozen=True)
class ApplyDdl:
    """Statements at the source first; then, per service, what the comparison finds: DDL, rows of changed tables.

    What was changed at the source by hand is drift: a person approves exactly that before this step begins. What is to
    be carried over is found by comparing, so that a step that was killed anywhere does what is left.

    Attributes:
        number: Which change of the run it is.
        statements: SQL for the source, in order; approved by themselves.
    """

    number: int = 1
    statements: tuple[str, ...] = ()
    reversible: bool = True
    requires: Sequence[str] = ("build_indexes",)
    reshapes: Sequence[str] = ("source", "targets")

    @property
    def name(self) -> str:
        return f"apply_ddl:{self.number}"

    def check(self, run: RunContext) -> list[Problem]:
        if self.statements and not forward(run):
            return [Problem("apply_ddl", _MOVED, "change the service's database, then apply_ddl without statements")]
        if self.statements:
            require_approval(run, run.history(), approval_of(self.number), digest_of(list(self.statements)))
        return [
            Problem(pair.service.name, f"{text}: is taken as it is", "", blocking=False)
            for pair, work in works(run)
            for text in work.left
        ]

    def apply(self, run: RunContext) -> StepResult:
        told: list[str] = []
        journal, run_id, ahead = run.journal, run.run_id, forward(run)
        direction = FORWARD if ahead else BACK
        for statement in self.statements:
            run_at_origin(run.source, statement, journal, run_id, told.append)
        stop_sync(links(run, direction), journal, run_id, direction)
        for pair, work in works(run):
            begin = partial(run.write, ApplyDdlBegun(work.tables))
            carry(pair, work, told.append, forward=ahead, begin=begin)
            told += [f"{pair.service.name}: taken as it is: {text}" for text in work.left]
        note_baseline(run)
        run.write(ApplyDdlDone())
        if run.history().step_passed(StartSync(direction).name):
            StartSync(direction).apply(run)
        return StepResult("; ".join(told) or "nothing was to be carried over", {"did": told})

    def verify(self, run: RunContext) -> Verdict:
        left = [f"{pair.service.name}: {text}" for pair, work in works(run) for text in _words(work)]
        return verdict(not left, "; ".join(left) or "both sides are as the next cutover expects them")

    def rollback(self, run: RunContext) -> StepResult:
        """The targets' tables go with the undo of create_target_schemas; the source keeps what its clients use."""
        return StepResult("what was changed at the source stays: its writers may use it")

    def undone(self, run: RunContext) -> Verdict:
        return verdict(True, "nothing of its own to undo")


def schema_changes(run: RunContext, statements: Sequence[str] = ()) -> list[ApplyDdl]:
    """The step that carries over what differs now (or these statements); none where nothing differs.

    One that was interrupted resumes under its own number. While a cutover is interrupted nobody may have the writers:
    it restores that itself, and is what runs next.
    """
    if not run.history().step_passed("build_indexes") or _cutover_interrupted(run):
        return []
    units = [unit for unit in run.history().latest() if unit.name.startswith("apply_ddl:") and not unit.undone]
    if units and units[-1].outcome == "interrupted":
        said = units[-1].intent.read(Intent).fields
        return [ApplyDdl(int(said["number"]), tuple(said["statements"]))]
    if run.replayed is not None:
        return []
    done = [unit for unit in units if unit.passed]
    told = tuple(statements) or _planned(run, done)
    if told or _listed(run, done) or any(_words(work) for _, work in works(run)):
        return [ApplyDdl(len(done) + 1, told)]
    return []


def _cutover_interrupted(run: RunContext) -> bool:
    unit = run.history().unit("cutover")
    return unit is not None and not unit.undone and unit.outcome == "interrupted"


def forward(run: RunContext) -> bool:
    """Whether the source has the writes, as far as the run has come."""
    return not run.history().step_passed("cutover")


def _planned(run: RunContext, done: Sequence[Unit]) -> tuple[str, ...]:
    """Statements that the plan has for this phase, and that were not carried out yet."""
    said = tuple(sql for task in run.plan.phase(run.phase).tasks if task.step == "apply_ddl" for sql in task.statements)
    here = [unit.intent.read(Intent).fields for unit in done if unit.phase == run.phase]
    known = {sql for fields in here for sql in fields["statements"]}
    return tuple(sql for sql in said if sql not in known)


def _listed(run: RunContext, done: Sequence[Unit]) -> bool:
    """Whether the plan wants the step in this phase, whatever differs, and it has not run there."""
    described = run.plan.phase(run.phase)
    wanted = "apply_ddl" in (*described.steps, *(task.step for task in described.tasks))
    return wanted and not any(unit.phase == run.phase for unit in done)


def approval_of(number: int) -> str:
    """What a person approves, in words."""
    return f"change of the schema {number}"


def works(run: RunContext) -> Iterator[tuple[Pair, Work]]:
    """What is to be carried over now, service by service."""
    known, read, left, ahead = known_baseline(run), read_once(), undone(run.journal, run.run_id), forward(run)
    said_of = set[str]()
    for pair in pairs(run):
        there = carrying(pair, Side.SOURCE if ahead or not _plain(pair) else Side.TARGET)
        said = known.get(pair.service.name)
        work = work_of(pair, there, said or {}, undone=left, read=read)
        if said is None:  # what is new beside the tables is not known
            work = Work(work.statements, work.after, work.tables, replaced=work.replaced)
        if not (ahead or _plain(pair)):
            work = Work(left=tuple(_words(work)))
        yield pair, replace(work, left=tuple(text for text in work.left if text not in said_of))
        said_of |= {*work.left}  # of what the services share once


def _plain(pair: Pair) -> bool:
    """Whether the tables are the same on both sides, so that a change can be carried back."""
    return all(
        mapping == TableMapping(mapping.source, mapping.source, line=mapping.line) for mapping in pair.service.tables
    )


def _words(work: Work) -> list[str]:
    return [*work.statements, *work.after, *work.replaced, *work.left, *(f"rows of {table}" for table in work.tables)]
