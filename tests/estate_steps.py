"""Carry the phases out on a test's own estate, in this process or in one that may be killed.

`python tests/estate_steps.py INVENTORY cutover|return` does just the act that the crash tests interrupt.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from runbook_lib import steps
from runbook_lib.config.environment import Environment, find_root, load_environment
from runbook_lib.run.run import Run, begin
from runbook_lib.run.step import Step

# A pause that a loaded machine predicts too long is refused before anything: test_demo holds the limit.
FAST = {
    "max_write_pause_s": 10.0,
    "baseline_s": 1.5,
    "step_watch_s": 0.4,
    "watch_s": 1.5,
    "after_s": 1.5,
    "min_requests": 5,
    "floor_ms": 2_000.0,
}


def environment_of(inventory: Path) -> Environment:
    return load_environment("demo", inventory=str(inventory), root=find_root(Path(__file__).parent))


def steps_of(phase: str, run: Run) -> Sequence[Step]:
    """The steps of a phase as its notebook carries them out."""
    listed: dict[str, Callable[[], Sequence[Step]]] = {
        "preflight": lambda: [steps.BackupSource()],
        "preparation": lambda: [steps.CreateTargetSchemas(), steps.RecordBaseline()],
        "gradual_extraction": lambda: [
            steps.CreateExtractionViews(),
            steps.StartServices("source"),
            steps.SmokeTest("source"),
            *(move for move in steps.read_shifts(run, "source") if move.percent == 100),
        ],
        "data_migration": lambda: [
            steps.StartCapture(),
            steps.CopyHistory(),
            steps.BuildIndexes(),
            steps.StartSync("forward"),
            steps.VerifyData("before_reads"),
            steps.VerifyReverseMapping(),
            steps.StartServices("target"),
            steps.SmokeTest("target"),
            *(move for move in steps.read_shifts(run, "target") if move.percent == 100),
            steps.RehearseFence(),
        ],
        "cutover": lambda: [
            steps.StartSync("forward"),
            *steps.schema_changes(run),
            steps.StartReverseCapture(),
            steps.VerifyData("before_cutover"),
            steps.Cutover(),
            steps.StartSync("back"),
            steps.SmokeTest("target", after="cutover"),
            steps.WatchTraffic("cutover"),
            steps.VerifyData("after_cutover"),
        ],
        "cleanup": lambda: [steps.WatchTraffic("stability"), steps.ArchiveSource(), steps.DecommissionSource()],
    }
    return listed[phase]()


def carry_out(environment: Environment, *phases: str) -> None:
    """Each phase up to and including its gate."""
    for phase in phases:
        with begin(environment, phase, options=FAST) as run:
            for step in steps_of(phase, run):
                run.step(step)
            run.gate()


def cut_over(environment: Environment) -> None:
    """The cutover phase up to the cutover itself."""
    with begin(environment, "cutover", options=FAST) as run:
        for step in steps_of("cutover", run):
            run.step(step)
            if step.name == "cutover":
                break


def give_back(environment: Environment) -> None:
    """Undo the cutover phase: the return."""
    with begin(environment, "rollback", options=FAST) as run:
        run.rollback(to_phase="data_migration")


if __name__ == "__main__":
    {"cutover": cut_over, "return": give_back}[sys.argv[2]](environment_of(Path(sys.argv[1])))
