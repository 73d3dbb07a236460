"""A run: the object that every notebook holds. All its state is in the journal and the databases.

from runbook_lib import open_run
run = open_run("preparation", environment="demo")
run.step(CreateTargetSchemas())
run.gate()
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from runbook_lib.config.environment import Environment
from runbook_lib.config.options import read_options
from runbook_lib.config.parameter_file import notebooks_environment
from runbook_lib.display.error_box import forget_run, show_short_errors
from runbook_lib.display.progress import notebook_listener
from runbook_lib.errors import GateFailed, RunbookError
from runbook_lib.journal import Entry, Journal
from runbook_lib.journal.kinds import Item, PhaseStarted
from runbook_lib.plan.phase_order import ROLLBACK
from runbook_lib.run.approvals import approve, signoff
from runbook_lib.run.context import RunContext, acting_person
from runbook_lib.run.execute_step import execute
from runbook_lib.run.find_run import find_run
from runbook_lib.run.gate import gate
from runbook_lib.run.records import GateRecord, RollbackRecord, StepRecord, StepRecords
from runbook_lib.run.rollback import rollback
from runbook_lib.run.same_databases import addresses, require_same_databases
from runbook_lib.run.step import Step


def open_run(
    phase: str,
    *,
    environment: str = "demo",
    plan: str = "",
    inventory: str = "",
    run_id: str = "",
    options: Mapping[str, Any] | None = None,
) -> Run:
    """Begin, or continue, one phase of a run; the arguments are the notebooks' parameters.

    Args:
        phase: preflight, preparation, gradual_extraction, data_migration, cutover, cleanup, rollback, …
        run_id: Empty: the environment's unfinished run of this plan, or a new one.
        options: Tunables (see `Options`); they win over those of the parameter file.
    Returns:
        Run: holds the run's lease until its gate, `close()`, or the end of the process.
    Raises:
        PlanError, ConfigurationError: plan, inventory, parameter file or an option is wrong.
        OutOfOrder: a phase before this one has not passed for this plan, or another plan's run is unfinished.
        LeaseHeld: another operator acts on this run.
    """
    show_short_errors()
    try:
        return begin(notebooks_environment(environment, plan, inventory), phase, run_id=run_id, options=options)
    except RunbookError:
        forget_run()
        raise


def begin(environment: Environment, phase: str, *, run_id: str = "", options: Mapping[str, Any] | None = None) -> Run:
    """`open_run` for an environment that is loaded already."""
    chosen = read_options({**environment.options, **(options or {})})
    journal = Journal(environment.journal_url, secrets=environment.secrets())
    try:
        row = find_run(journal, environment, phase, run_id, acting_person())
        journal.verify_chain(row.run_id)
        run = Run(environment, phase, row.run_id, journal, chosen)
        run.start()
    except RunbookError:
        journal.close()
        raise
    return run


class Run(RunContext):
    """One phase of one run: its context, and the acts of whoever carries it out."""

    def start(self) -> None:
        """Take the lease, see that it is this phase's turn, and record that it begins; nothing when it has passed."""
        self._require_order()  # before the lease: a refusal must not take it from another Run of this kernel
        self._lease.acquire()
        atexit.register(self._lease.release)
        try:
            row = self._require_order()  # another operator may have acted meanwhile
            if self.replayed is not None:
                return
            places = addresses(self.environment) if hasattr(self.environment, "inventory") else {}
            require_same_databases(self, places)
            strategy = "" if self.plan.strategy in ("dual_write", "move") else self.plan.strategy
            about = (places, asdict(self.options), self.environment.inventory_digest, os.getpid(), strategy)
            self.write(PhaseStarted(*about))
            if self.phase == ROLLBACK and row.state in ("open", "done"):
                self.journal.set_state(self.run_id, "rolling_back")
        except BaseException:
            self.release()
            raise

    def step(self, step: Step) -> StepRecord:
        """Carry one step out: check, apply, verify, health; or show its recorded result. See `stepping.execute`."""
        return execute(self, step)

    def steps(self, steps: Iterable[Step]) -> StepRecords:
        """Carry several steps out, one after the other; the first that fails ends it."""
        return StepRecords([self.step(step) for step in steps])

    def signoff(self, text: str) -> Item:
        """A person's task: signed off, waived by the policy, or asked for; the gate demands it."""
        return signoff(self, text)

    def approve(self, what: str, comment: str) -> Entry:
        """Give an approval or a sign-off that this run asks for, as the one who sits at this kernel."""
        return approve(self.journal, self.run_id, what, comment=comment, actor=self.actor)

    def gate(self, approval: str = "") -> GateRecord:
        """End the phase, or raise GateFailed naming everything that is missing. See `gates.gate`."""
        try:
            return gate(self, approval)
        except GateFailed as error:
            _display(getattr(error, "record", None))
            raise
        finally:
            self.release()

    def rollback(self, to_phase: str = "", *, steps: Container[str] | None = None) -> RollbackRecord:
        """Undo the run, the last step first, or back to the end of a phase, or these steps. See `undo.rollback`."""
        return rollback(self, to_phase, steps=steps)


def _display(record: object) -> None:
    """Show a failing gate's table above the error; outside a kernel the error's message says it all."""
    if record is not None and notebook_listener() is not None:
        from IPython.display import display

        display(record)
