"""Run a plan's notebooks one after the other, unattended, and seal the evidence of each.

What a person does in JupyterLab, this does with papermill: the same notebooks, the same journal, the same gates.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from runbook_lib.config.environment import Environment
from runbook_lib.display.terminal import progress_in_terminal
from runbook_lib.errors import ConfigurationError, RunbookError
from runbook_lib.evidence.bundle import Facts, closed, finish, phase_folder, seal_phase, sealed_pass, unsealed
from runbook_lib.evidence.keys import SigningKey, demo_key, load_key
from runbook_lib.journal import History, Journal, RunRow
from runbook_lib.journal.kinds import Alarm, PhaseStarted
from runbook_lib.monitoring.announce import announce
from runbook_lib.plan.phase_order import ASIDE, PHASES, ROLLBACK, every_phase, folder_of, notebook_of
from runbook_lib.plan.vocabulary import BLUE_GREEN
from runbook_lib.plan.yaml_value import shown
from runbook_lib.run.context import acting_person
from runbook_lib.run.find_run import find_run, replayed_gate, require_order
from runbook_lib.runner.execute import Ending, Executed, execute
from runbook_lib.runner.kernel import Kernel, start_kernel
from runbook_lib.verdict import words_of

Show = Callable[[str], None]
_PHASE_OF = {folder_of(phase): phase for phase in (*PHASES, *BLUE_GREEN, ROLLBACK, *ASIDE)}


@dataclass(frozen=True)
class Finished:
    """How the phases ended; `exit_status` is 0, 1 (a gate or check failed) or 2 (could not run)."""

    run_id: str
    bundle: Path
    executed: tuple[Executed, ...]

    @property
    def exit_status(self) -> int:
        return max((one.exit_status for one in self.executed), default=2)

    @property
    def rolled_back(self) -> bool:
        return bool(self.executed) and self.executed[-1].phase == ROLLBACK


class Runner:
    """One environment's run, from its journal's point of view.

    Args:
        environment: Loaded with its plan and inventory.
        show: Gets one line for each thing worth telling.
        run_id: Empty: the unfinished run of this plan, or a new one.
    """

    def __init__(self, environment: Environment, show: Show, *, run_id: str = "") -> None:
        self.environment, self.show = environment, show
        self.secrets = environment.secrets()
        self.journal = Journal(environment.journal_url, secrets=self.secrets)
        self._asked = run_id
        self.run_id = run_id
        self._ahead: Kernel | None = None  # for the next phase: it starts while this one is sealed

    def carry_out(self, phases: Sequence[str], options: Mapping[str, Any] | None = None) -> Finished:
        """Run these phases in order; the first that does not pass ends it, and goes back if the policy says so.

        Args:
            phases: Of the plan's strategy, or `rollback`.
            options: Tunables that win over the parameter file's.
        """
        executed: list[Executed] = []
        try:
            for number, phase in enumerate(phases, start=1):
                executed.append(self._phase(phase, options or {}, more=number < len(phases)))
                if not executed[-1].passed:
                    if phase != ROLLBACK and self._alarmed(phase):
                        executed += self.answer_alarm(options or {})
                    break
        finally:
            if kernel := self._taken():
                kernel.end()
        return Finished(self.run_id, self.bundle, tuple(executed))

    def finish(self, *, ledger: Mapping[str, Any] | None = None, charts: Mapping[str, str] | None = None) -> Path:
        """Write and sign the run's summary and index; the index's path. A phase that a kill left unsealed is sealed."""
        for folder in unsealed(self.bundle):
            self._seal(folder, _PHASE_OF.get(folder.name, folder.name))
        return finish(
            self.bundle,
            journal=self.journal,
            run_id=self.run_id,
            key=self._key(),
            secrets=self.secrets,
            ledger=ledger,
            charts=charts,
            title=self.environment.plan.migration,
            facts=self._facts(),
        )

    def close_ended(self) -> str:
        """Seal and close the environment's last run where a kill came between its end and its evidence.

        Returns:
            str: that run's state, `done` or `rolled_back`; empty when there was nothing to close.
        """
        unfinished = self.journal.latest_run(self.environment.name, states=("open", "rolling_back"))
        row = self.journal.latest_run(self.environment.name, states=("done", "rolled_back"))
        if unfinished is not None or row is None or row.plan_digest != self.environment.plan.digest:
            return ""
        self.run_id = row.run_id
        begun = any(self.bundle.glob("*/notebook.ipynb"))  # else it was run by hand, and nobody asked for evidence
        missing = begun and not closed(self.bundle)
        if missing:
            words = "had ended" if row.state == "done" else "was rolled back"
            self.show(f"run {row.run_id} {words} and its evidence was not closed; it is now: {self.finish()}")
        self.run_id = ""
        return row.state if missing else ""

    def close(self) -> None:
        self.journal.close()

    @property
    def bundle(self) -> Path:
        return self.environment.evidence_root / self.environment.name / self.run_id

    def _taken(self) -> Kernel | None:
        kernel, self._ahead = self._ahead, None
        return kernel

    def _phase(self, phase: str, options: Mapping[str, Any], *, more: bool = False) -> Executed:
        environment = self.environment
        row = find_run(self.journal, environment, phase, self.run_id, acting_person())
        self.run_id = row.run_id
        history = self._require_turn(row, phase)
        self._tell_start(history, phase)
        notebook, name = environment.parameters_dir.parent / notebook_of(phase), folder_of(phase)
        replayed = replayed_gate(history, row, phase) is not None and self._has_evidence(name, phase)
        folder = self._aside if replayed else phase_folder(self.bundle, name)
        values = {
            "environment": environment.name,
            "plan": str(environment.plan_path),
            "inventory": str(environment.inventory_path),
            "run_id": self.run_id,
            "options": {**environment.options, **options},
            **({"phase": phase} if phase in BLUE_GREEN else {}),
        }
        with progress_in_terminal(self.journal, self.run_id):
            done = execute(
                notebook,
                folder / (notebook.name if replayed else "notebook.ipynb"),
                values,
                journal=self.journal,
                run_id=self.run_id,
                phase=phase,
                root=environment.parameters_dir.parent,
                secrets=self.secrets,
                kernel=self._taken(),
                parameter_file=environment.parameter_file,
            )
        goes_back = environment.policy.triggers == "act" and self._alarm(phase) is not None and self._open()
        if (more and done.passed) or (goes_back and not done.passed and phase != ROLLBACK):
            # Nothing may keep this phase from its seal; the next one starts its own kernel, or says why.
            with suppress(Exception):
                self._ahead = start_kernel(environment.parameters_dir.parent, environment.parameter_file)
        words = "passed" if done.passed else f"{done.ending}: {done.text}"
        if not replayed:
            self._seal(folder, phase)
        if not (replayed and done.passed):
            ending = "waits" if done.ending is Ending.WAITS else "passed" if done.passed else "failed"
            self._tell(f"phase_{ending}", words, phase)
            self._tell_end()
        words = "passed before, shown as recorded" if replayed and done.passed else words
        self.show(f"{name}: {words} ({done.elapsed_s:.1f} s, {done.overhead_s:.1f} s of it kernel)")
        return done

    @property
    def _aside(self) -> Path:
        """Where the notebooks of phases that have passed go when a run goes through them again: beside the evidence."""
        return self.environment.root / ".runbook" / "replays" / self.run_id

    def _has_evidence(self, stem: str, phase: str) -> bool:
        """Whether the evidence of a phase that has passed is there; what a kill kept from its seal is sealed now."""
        folder = self.bundle / stem
        if folder in unsealed(self.bundle):
            self._seal(folder, phase)
        return sealed_pass(folder)

    def _seal(self, folder: Path, phase: str) -> None:
        seal_phase(
            folder,
            journal=self.journal,
            run_id=self.run_id,
            phase=phase,
            key=self._key(),
            secrets=self.secrets,
            facts=self._facts(),
        )

    def _require_turn(self, row: RunRow, phase: str) -> History:
        """Refuse before a notebook starts: its folder belongs to whoever acts on the run, and to a phase in its turn.

        Raises:
            LeaseHeld: somebody else acts on the run.
            OutOfOrder: a phase before this one has not passed.
        """
        with self.journal.lease(row.run_id, acting_person()):
            history = History(self.journal.entries(row.run_id))
        require_order(history, row, phase, self.environment.plan)
        return history

    def _tell(self, event: str, text: str, phase: str = "") -> None:
        announce(self.environment, self.journal, self.run_id, event, text, phase=phase, show=self.show)

    def _tell_start(self, history: History, phase: str) -> None:
        if not any(isinstance(entry.content, PhaseStarted) for entry in history.entries):
            self._tell("run_started", f"{self.environment.plan.migration}: {words_of(phase)} begins", phase)

    def _tell_end(self) -> None:
        state = self.journal.run(self.run_id).state
        if state in ("done", "rolled_back"):
            self._tell("run_ended", f"{self.environment.plan.migration}: {words_of(state)}")

    def _alarmed(self, phase: str) -> bool:
        """Whether a rollback trigger fired in this attempt, which has not gone back itself; people are told."""
        if (alarm := self._alarm(phase)) is None:
            return False
        self._tell("rollback_trigger", alarm.text, phase)
        return self._open()

    def _open(self) -> bool:
        return self.journal.run(self.run_id).state == "open"

    def _alarm(self, phase: str) -> Alarm | None:
        entries = self.journal.entries(self.run_id, PhaseStarted, Alarm, phase=phase)
        last = entries[-1].content if entries else None
        return last if isinstance(last, Alarm) else None

    def answer_alarm(self, options: Mapping[str, Any]) -> list[Executed]:
        """What the policy says about a trigger that fired: act, ask or report."""
        policy = self.environment.policy.triggers
        if policy == "act":
            self.show("a rollback trigger fired and the policy says act: going back")
            return [self._phase(ROLLBACK, options)]
        if policy == "ask":
            file = shown(self.environment.parameter_file)
            self.show(f"a rollback trigger fired; to go back: runbook rollback -f {file} --run-id {self.run_id}")
        return []

    def _key(self) -> SigningKey:
        reference = os.environ.get("RUNBOOK_SIGNING_KEY", "")
        return load_key(reference, self.environment.root) if reference else demo_key(self.environment.root)

    def _facts(self) -> Facts:
        """Versions and schema fingerprints as they are now; a database that does not answer is said not to."""
        plan = self.environment.plan
        tables = {plan.source: sorted({m.source for s in plan.services for m in s.tables})}
        tables |= {s.database: sorted(m.target for m in s.tables) for s in plan.services}
        engines, schemas = {}, {}
        for name, wanted in tables.items():
            database = self.environment.database(name)
            try:
                engines[name] = database.facts().version_text
                present = database.catalog()
                schemas[name] = database.fingerprint([table for table in wanted if table in present])
            except RunbookError as error:
                engines[name] = f"did not answer: {error.observed}"
            finally:
                database.close()
        return Facts(engines, schemas)


def phases_between(only: str, first: str, last: str, strategy: str) -> tuple[str, ...]:
    """The phases that a command line asks for, of those that the plan's strategy has.

    Raises:
        ConfigurationError: no such phase, or first after last.
    """
    if only and (first or last):
        raise ConfigurationError(
            f"phase {only}", "given together with a range", action="give --phase, or --from and --to"
        )
    every = every_phase(strategy)
    for name, known in ((only, (*every, ROLLBACK)), (first, every), (last, every)):
        if name and name not in known:
            near = get_close_matches(name, known, 1)
            action = f"did you mean `{near[0]}`?" if near else ""
            raise ConfigurationError(f"phase {name}", "unknown", expected=f"one of {', '.join(known)}", action=action)
    if only:
        return (only,)
    start = every.index(first) if first else 0
    end = every.index(last) if last else len(every) - 1
    if start > end:
        raise ConfigurationError(f"phases {first} to {last}", "the first comes after the last")
    return every[start : end + 1]
