"""The phases of a blue-green release as data: the steps of each, the same ones that a move to services is made of.

Blue is the plan's source with the router's origin in front of it; green are the plan's services, each on its own
database. The clean-up is the notebook of every strategy: notebooks/05_cleanup.ipynb.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace

from runbook_lib.run.context import RunContext
from runbook_lib.run.step import Step
from runbook_lib.steps.build_indexes import BuildIndexes
from runbook_lib.steps.check_table import Findings
from runbook_lib.steps.copy_history import CopyHistory
from runbook_lib.steps.create_target_schemas import CreateTargetSchemas
from runbook_lib.steps.cutover import Cutover
from runbook_lib.steps.measure_performance import MeasurePerformance
from runbook_lib.steps.record_baseline import RecordBaseline
from runbook_lib.steps.rehearse_fence import RehearseFence
from runbook_lib.steps.run_tests import RunTests
from runbook_lib.steps.shift_reads import read_shifts
from runbook_lib.steps.smoke_test import SmokeTest
from runbook_lib.steps.start_capture import StartCapture
from runbook_lib.steps.start_reverse_capture import StartReverseCapture
from runbook_lib.steps.start_services import StartServices
from runbook_lib.steps.start_sync import StartSync
from runbook_lib.steps.verify_data import VerifyData
from runbook_lib.steps.verify_reverse_mapping import VerifyReverseMapping
from runbook_lib.steps.watch_traffic import WatchTraffic
from runbook_lib.verdict import Outcome, Verdict


def _prepare(run: RunContext) -> list[Step]:
    """Green gets the schema, the data, every write from now on, and its services."""
    del run
    data: list[Step] = [CreateTargetSchemas(), RecordBaseline(), StartCapture(), CopyHistory(), BuildIndexes()]
    return [*data, StartSync("forward"), StartServices("target"), SmokeTest("target")]


def _validate(run: RunContext) -> list[Step]:
    """Everything that can be known of green before it gets a request of a client."""
    tests: list[Step] = [RunTests()] if run.plan.phase("validate").tests else []
    measured: list[Step] = [MeasurePerformance()] if run.plan.performance.workload else []
    return [*tests, VerifyData("before_reads"), VerifyReverseMapping(), *measured]


def _switch(run: RunContext) -> list[Step]:
    """The reads in the plan's stages or at once, service by service; then the writes of all, under one fence."""
    judged = [step.name for step in _validate(run)]
    shifts = [replace(shift, requires=(*shift.requires, *judged)) for shift in read_shifts(run, "target")]
    fence: list[Step] = [RehearseFence(), StartReverseCapture()]
    moved: list[Step] = [VerifyData("before_cutover"), Cutover(), StartSync("back"), SmokeTest("target", "cutover")]
    return [StartSync("forward"), *shifts, *fence, *moved]


def _watch(run: RunContext) -> list[Step]:
    """Green has the clients; blue is kept in step, so that going back loses no write."""
    del run
    return [StartSync("back"), WatchTraffic("cutover"), VerifyData("after_cutover")]


PHASES: dict[str, Callable[[RunContext], list[Step]]] = {
    "prepare": _prepare,
    "validate": _validate,
    "switch": _switch,
    "watch": _watch,
}


def phase_steps(run: RunContext) -> list[Step]:
    """The steps of the run's phase, in order."""
    return PHASES[run.phase](run)


def phase_steps_table(run: RunContext) -> Findings:
    """What the phase will do, step by step, and whether it can be undone. It changes nothing, and judges nothing."""
    every = phase_steps(run)
    rows = [(step.name, _words(step), "yes" if step.reversible else "no") for step in every]
    text = f"{len(every)} steps. {inspect.getdoc(PHASES[run.phase])}"
    return Findings(
        run.phase.capitalize(), ("step", "what it does", "can be undone"), tuple(rows), Verdict(Outcome.PASS, text)
    )


def _words(step: Step) -> str:
    """The first sentence about the step."""
    return (inspect.getdoc(type(step)) or "").splitlines()[0]
