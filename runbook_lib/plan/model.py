"""The plan as data: what is migrated, independent of the environment.

Everything here is frozen and knows nothing of files; `plan.load` builds it from YAML with file:line errors. A field
that stands for a key has the default of `plan.keys`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runbook_lib.plan import keys
from runbook_lib.plan.amounts import Amount
from runbook_lib.plan.system_tasks import CommandTask, HttpTask, SqlTask
from runbook_lib.plan.vocabulary import SAID_IN
from runbook_lib.plan.window import Window

Name = str


@dataclass(frozen=True)
class TableMapping:
    """How one table of a service comes out of the source, and how it goes back.

    The short form (`- users`) has only `target` and `source`: same name, every column. A *derived* table has
    `columns`: its rows are expressions over another table's rows, and `key` says which row belongs to which.

    Attributes:
        target: Table in the service's database, e.g. `preferences`; `schema.table` is allowed.
        source: Table in the source database, e.g. `users`.
        key: Target key column to source key column; empty means the table's own primary key.
        columns: Target column to an SQL expression of the source; empty means every column, same names.
        reverse: Source column to an SQL expression of the target; what this table gives back in reverse replication.
        omit: Source columns that the target does not get.
        where: SQL condition over the source; rows outside stay behind.
        line: Line in the plan's file, for messages.
    """

    target: Name
    source: Name
    key: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    reverse: Mapping[str, str] = field(default_factory=dict)
    omit: tuple[str, ...] = ()
    where: str = ""
    line: int = 0

    @property
    def derived(self) -> bool:
        return bool(self.columns)


@dataclass(frozen=True)
class Service:
    """One service that leaves the source with its tables and APIs. A plan has them in the order of their `after`."""

    name: Name
    database: Name
    apis: tuple[str, ...] = ()
    tables: tuple[TableMapping, ...] = ()
    after: tuple[str, ...] = ()  # services that are started before it, and stopped after it
    line: int = 0
    lines: Mapping[str, int] = field(default_factory=dict)  # key to its line, for messages


@dataclass(frozen=True)
class Task:
    """A step of the library (`step`), a system step, or a sentence for a person (`text`), who signs it off.

    `statements` are SQL for the step `apply_ddl`.
    """

    text: str = ""
    step: str = ""
    line: int = 0
    statements: tuple[str, ...] = ()
    command: CommandTask | None = None
    http: HttpTask | None = None
    sql: SqlTask | None = None

    @property
    def carried_out_by(self) -> str:
        """Name of the step that carries it out; empty for a person's task."""
        kinds = {"command_step": self.command, "http_step": self.http, "sql_step": self.sql}
        return next((f"{kind}:{task.name}" for kind, task in kinds.items() if task), self.step)


@dataclass(frozen=True)
class Phase:
    """One phase; fields that a phase does not use stay at their defaults. Durations are in seconds."""

    name: Name
    duration_s: float = 0.0
    tasks: tuple[Task, ...] = ()
    traffic: tuple[int, ...] = ()  # percentages of reads, ascending
    steps: tuple[str, ...] = ()
    window: Window | None = None
    max_write_pause_s: float = keys.MAX_WRITE_PAUSE.default
    watch_s: float = 0.0
    after_s: float = 0.0
    archive: str = ""  # "" or "parquet"
    tests: tuple[str, ...] = ()  # the command that tests what is new
    tests_timeout_s: float = keys.TESTS_TIMEOUT.default
    line: int = 0


@dataclass(frozen=True)
class Tolerance:
    """A difference that the plan declares; everything else fails. Empty fields match everything."""

    check: str
    because: str
    service: str = ""
    table: str = ""
    column: str = ""
    name: str = ""
    kind: str = ""
    line: int = 0


@dataclass(frozen=True)
class Acceptance:
    """A finding of the assessment that the plan takes as it is; without a table, of any."""

    finding: str
    because: str
    table: str = ""
    line: int = 0


@dataclass(frozen=True)
class Trigger:
    """A rollback trigger: `metric` above `threshold` (a share for rates, a factor for `x baseline`).

    The fields after `relative_to_baseline` are keys of the plan (`keys.TRIGGER`); 0 for `samples` and `confirm` means
    the default of the metric.
    """

    metric: str  # one of vocabulary.TRIGGERS, or of another source's any name
    threshold: float = 0.0
    relative_to_baseline: bool = False
    text: str = ""
    source: str = "router"
    query: str = ""
    database: str = ""
    url: str = ""
    value: str = ""
    at: str = ""
    window_s: float = 10.0
    samples: int = 0
    confirm: int = 0
    clear: float = 0.8
    baseline: str = "past"
    dry_run: bool = False
    line: int = 0


@dataclass(frozen=True)
class ChecklistItem:
    """One of the ten checklist items: backed by a probe where there is one, by a named sign-off where not."""

    name: str
    title: str
    probe: str = ""
    note: str = ""
    line: int = 0


@dataclass(frozen=True)
class PerformanceGoal:
    """How much slower the new side may be than the old, and how that is measured.

    Attributes:
        tolerance: The tolerated degradation (share, 0.10 = 10 %).
        workload: The workload's file, relative to the parameter folder.
        metrics: Fields of a round's measurement that count.
        rounds: Pairs of rounds (count) at each look; what is not clear at the last one is inconclusive.
    """

    tolerance: float = keys.PERFORMANCE_TOLERANCE.default
    workload: str = ""
    metrics: tuple[str, ...] = keys.METRICS.default
    rounds: tuple[int, ...] = keys.ROUNDS.default


@dataclass(frozen=True)
class LintRule:
    """What the plan says of one kind of hazard in a schema revision, and why."""

    policy: str  # refuse | approve | warn | off
    because: str
    line: int = 0


@dataclass(frozen=True)
class SchemaGoal:
    """The revisions that a database's schema is taken along, and how far.

    Attributes:
        revisions: The folder, relative to the parameter folder.
        to: A version, the beginning of one, or `head`.
    """

    revisions: str = keys.REVISIONS.default
    to: str = keys.TO.default


@dataclass(frozen=True)
class RollingGoal:
    """The release that a fleet of the inventory is upgraded to, and how.

    Attributes:
        service: The fleet's name in the inventory.
        version: The release; `{version}` in the inventory's commands.
        batch: Instances that are out of rotation at a time.
        surge: Spares of the inventory that are started before, and stopped at the end (count).
        min_healthy: Instances that stay healthy and in rotation; None: all but a batch.
        canary: Instances that go first, one at a time (count).
        monitor_s: How long each batch is monitored (seconds).
        lines: Key to its line, for messages.
    """

    service: Name
    version: str
    batch: Amount = keys.BATCH.default
    surge: int = keys.SURGE.default
    min_healthy: Amount | None = keys.MIN_HEALTHY.default
    canary: int = keys.CANARY.default
    monitor_s: float = keys.MONITOR.default
    line: int = 0
    lines: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """One migration. `digest` is the SHA-256 of its canonical form: approvals and passes are bound to it."""

    migration: str
    strategy: str  # dual_write | move | blue_green | rolling
    source: Name
    services: tuple[Service, ...]
    phases: tuple[Phase, ...]
    tolerances: tuple[Tolerance, ...] = ()
    accepted: tuple[Acceptance, ...] = ()
    require: tuple[str, ...] = ()  # what is otherwise only reported: privileges, column_order
    performance: PerformanceGoal = PerformanceGoal()
    triggers: tuple[Trigger, ...] = ()
    checklist: tuple[ChecklistItem, ...] = ()
    success_criteria: tuple[str, ...] = ()
    notify: tuple[str, ...] = ()
    types: Mapping[str, Any] = field(default_factory=dict)
    lint: Mapping[str, LintRule] = field(default_factory=dict)  # by rule; what is not in it: plan.hazard_policy
    on_bad_row: str = keys.ON_BAD_ROW.default  # stop | quarantine
    quarantine_limit: int = keys.QUARANTINE_LIMIT.default  # rows of one service
    schema: SchemaGoal | None = None
    rolling: tuple[RollingGoal, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict)  # top-level key to its line, for messages
    path: str = ""
    digest: str = ""

    def service(self, name: str) -> Service:
        """The service of this name; KeyError when the plan has none."""
        return {service.name: service for service in self.services}[name]

    def phase(self, name: str) -> Phase:
        """The phase of this name, or the one that says the same in the plan's strategy (`vocabulary.SAID_IN`).

        A phase the plan does not describe has only defaults.
        """
        own = SAID_IN.get(self.strategy, {}).get(name, name)
        return next((phase for phase in self.phases if phase.name == own), Phase(own))
