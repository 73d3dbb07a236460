"""What steps, gates and rollback are given: environment, databases, journal, health, records of a phase."""

from __future__ import annotations

import atexit
import getpass
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from runbook_lib.config.environment import Environment
from runbook_lib.config.options import Options, carried_out
from runbook_lib.databases.port import Database
from runbook_lib.display.progress import notebook_listener
from runbook_lib.display.render import render
from runbook_lib.errors import OutOfOrder, RunbookError
from runbook_lib.journal import Entry, History, Journal, Lease, RunRow, Sample
from runbook_lib.journal.content import Content
from runbook_lib.journal.kinds import Alarm, Note, StandaloneVerdict
from runbook_lib.journal.progress import Progress
from runbook_lib.journal.renamed_steps import name_today
from runbook_lib.plan.model import Phase
from runbook_lib.plan.units import duration
from runbook_lib.run.find_run import replayed_gate, require_order
from runbook_lib.run.records import StepRecord, record_of, record_of_unit
from runbook_lib.verdict import Outcome, StepResult, Verdict

if TYPE_CHECKING:
    from runbook_lib.services.port import ServiceController
    from runbook_lib.traffic.port import Router


def acting_person() -> str:
    """Who acts: RUNBOOK_ACTOR, the CI's user, or the login name."""
    for name in ("RUNBOOK_ACTOR", "GITHUB_ACTOR", "GITLAB_USER_LOGIN"):
        if os.environ.get(name):
            return os.environ[name]
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}"


class Databases(Mapping[str, Database]):
    """The databases by name, each connected when it is first used; iterating gives the plan's."""

    def __init__(self, names: Iterator[str], connect: Callable[[str], Database]) -> None:
        self._names, self._connect = tuple(dict.fromkeys(names)), connect
        self.opened: dict[str, Database] = {}

    def __getitem__(self, name: str) -> Database:
        if name not in self.opened:
            self.opened[name] = self._connect(name)
        return self.opened[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class RunContext:
    """One phase of one run, being carried out: what it acts with, and what it records.

    Attributes:
        run_id: Names the run, e.g. `20261122-2359-demo-3fa2`.
        databases: By their names in the inventory, connected on first use.
        current: Name of the step under way, or empty.
        ended: Set when the phase is over: what looks on beside the steps stops.
        just_applied: Results of this process's steps, before they are recorded.
    """

    def __init__(self, environment: Environment, phase: str, run_id: str, journal: Journal, options: Options) -> None:
        self.environment, self.phase, self.run_id = environment, phase, run_id
        self.journal, self.options = journal, options
        self.plan, self.policy, self.actor = environment.plan, environment.policy, acting_person()
        self.step_packages: tuple[str, ...] = tuple(getattr(environment, "step_packages", ()))
        names = (self.plan.source, *(service.database for service in self.plan.services))
        self.databases = Databases(iter(names), environment.database)
        self.current = ""
        self.ended = threading.Event()
        self.just_applied: dict[str, StepResult] = {}
        self._lease: Lease = journal.lease(run_id, self.actor, options.lease_ttl_s)
        self._router: Router | None = None
        self._services: dict[str, ServiceController] = {}
        self._progress = Progress(lambda row: journal.set_progress(run_id, row))
        if (listener := notebook_listener()) is not None:
            self._progress.listeners.append(listener)

    def _require_order(self) -> RunRow:
        row = self.journal.run(self.run_id)
        require_order(self.history(), row, self.phase, self.plan)
        return row

    def release(self) -> None:
        """Let others act on the run; the next act here takes the lease again."""
        self.ended.set()
        self._lease.release()
        atexit.unregister(self._lease.release)

    def close(self) -> None:
        """Give the lease back and close every connection. Idempotent."""
        self.release()
        for database in self.databases.opened.values():
            database.close()
        self.databases.opened.clear()
        self.journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.run_id}, {self.phase}, {self.environment.name})"

    def _repr_html_(self) -> str:
        words = f"{self.plan.migration} · {self.phase.replace('_', ' ')} · {self.environment.name}"
        if planned_s := self.plan.phase(self.phase).duration_s:
            words += f" · planned for {duration(planned_s)}"
        identity = f"run {self.run_id} · plan {self.plan.digest[:12]} · {self.actor}"
        return render("text", title=words, lines=[identity], command="")

    @property
    def source(self) -> Database:
        """The database that is migrated."""
        return self.databases[self.plan.source]

    @property
    def router(self) -> Router:
        """The router of the inventory. Raises ConfigurationError when there is none."""
        if self._router is None:
            self._router = self.environment.router()
        return self._router

    def service(self, name: str) -> ServiceController:
        """The controller of a service of the inventory."""
        if name not in self._services:
            self._services[name] = self.environment.service(name)
        return self._services[name]

    @property
    def evidence_dir(self) -> Path:
        """Where this run's evidence goes; made when missing."""
        path = self.environment.evidence_root / self.environment.name / self.run_id
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def backup_dir(self) -> Path:
        """Where this run's backups go: beside the evidence, for they are data and not evidence."""
        return self.environment.root / ".runbook" / "backups" / self.run_id

    @property
    def archive_dir(self) -> Path:
        """Where the archive of the source goes."""
        return self.environment.root / ".runbook" / "archive" / self.run_id

    @property
    def log_dir(self) -> Path:
        """Where the output of this run's processes goes."""
        return self.environment.root / ".runbook" / "logs" / self.run_id

    def effective(self, phase: str) -> Phase:
        """A phase of the plan as it is carried out: an option that is given wins over what the plan says."""
        return carried_out(self.plan.phase(phase), self.options)

    def health(self) -> Verdict:
        """Whether the source, the other databases in use, and the router in use answer."""
        silent = []
        for name in dict.fromkeys([self.plan.source, *self.databases.opened]):
            try:
                self.databases[name].rows("SELECT 1")
            except RunbookError as error:
                silent.append(str(error))
        if self._router is not None:
            try:
                late = [route for route, state in self._router.routes().items() if not state.acknowledged]
                silent += [f"the router does not yet run what was asked of it for {route}" for route in late]
            except RunbookError as error:
                silent.append(str(error))
        count = len(self.databases.opened) + (self._router is not None)
        return Verdict(Outcome.FAIL if silent else Outcome.PASS, "; ".join(silent) or f"{count} answer")

    def write(self, content: Content, *, step: str = "") -> Entry:
        """Append an entry of this phase, as the one who holds the lease."""
        self._lease.acquire()
        token = self._lease.token
        return self.journal.append(self.run_id, content, phase=self.phase, step=step, actor=self.actor, token=token)

    def history(self) -> History:
        """The state of the run, read from the journal."""
        return History(self.journal.entries(self.run_id))

    def note(self, text: str, **data: Any) -> None:
        """Record something worth knowing."""
        self.write(Note(text, data), step=self.current)

    def alarm(self, text: str, **data: Any) -> None:
        """Record that a rollback trigger fired."""
        self.write(Alarm(text, data), step=self.current)

    def sample(self, series: str, value: float, /, **labels: str) -> None:
        """Record one point of a time series."""
        self.journal.sample(self.run_id, series, value, **labels)

    def progress(self, done: float, total: float | None, unit: str = "rows", reason: str = "") -> None:
        """Say how far the step under way is; call it as often as you like, from any thread."""
        self._progress.report(self.phase, self.current or self.phase, done, total, unit, reason)

    def record(self, name: str) -> StepRecord:
        """The recorded result of a step of this run, or of a verdict.

        Raises:
            OutOfOrder: there is none yet.
        """
        found = [record for record in self.results() if record.name == name_today(name)]
        if not found:
            raise OutOfOrder(f"step {name}", f"has no result in run {self.run_id}", action="run its cell first")
        return found[-1]

    def results(self, phase: str | None = None) -> list[StepRecord]:
        """Each step and verdict of the run (or of one phase) with its last result, in order."""
        history = self.history()
        records = [record_of_unit(unit) for unit in history.latest(phase or "")]
        records += [record_of(entry) for (where, _), entry in history.verdicts.items() if phase in (None, "", where)]
        return sorted(records, key=lambda record: record.at)

    def applied(self, name: str) -> StepResult:
        """What the step's `apply` returned in this process, for its `verify`; else what was recorded."""
        if name in self.just_applied:
            return self.just_applied[name]
        record = self.record(name)
        return StepResult(record.text, record.data)

    def samples(self, *series: str, **labels: str) -> list[Sample]:
        """Points of these time series (with these labels), for the charts."""
        found = [point for name in series for point in self.journal.samples(self.run_id, name)]
        return [p for p in found if all(p.labels.get(key) == value for key, value in labels.items())]

    def verdict(self, name: str, verdict: Verdict) -> StepRecord:
        """Record a check that belongs to no step; the gate demands that its last outcome is a pass.

        Of a phase that has passed, what its gate counted is returned instead.
        """
        if (known := self.recorded(name)) is not None:
            return record_of(known, repeated=True)
        return record_of(self.write(StandaloneVerdict(verdict.outcome, verdict.text, verdict.data), step=name))

    @property
    def replayed(self) -> Entry | None:
        """The gate that this phase has passed already: what was recorded is shown, nothing is judged again."""
        return replayed_gate(self.history(), self.journal.run(self.run_id), self.phase)

    def recorded(self, name: str) -> Entry | None:
        """The verdict of a phase that has passed already; None where one has to be found."""
        gate = self.replayed
        return self.history().verdict_by(gate, name) if gate is not None else None
