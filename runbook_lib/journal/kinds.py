"""The kinds of entries, a class each: writers construct it, readers match on it (content.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from runbook_lib.journal.content import Content
from runbook_lib.verdict import Verdict

Shapes = Mapping[str, Mapping[str, Sequence[str] | None]]  # database: what is new of each table; None: it is gone


# -- runs, phases, steps ---


@dataclass(frozen=True)
class RunOpened(Content):
    """Everything of a run that never changes; the first entry."""

    run_id: str
    environment: str
    plan_digest: str
    plan_path: str
    inventory_digest: str
    actor: str
    host: str
    created_at: str


@dataclass(frozen=True)
class PhaseStarted(Content):
    """`databases`: where each one is, without a secret; `strategy`: the plan's, where it is not dual_write or move."""

    databases: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    inventory: str = ""
    pid: int = 0
    strategy: str = ""


@dataclass(frozen=True)
class Intent(Content):
    """A step is about to be carried out: its class and fields, from which it is rebuilt, and the digest of both.

    Attributes:
        reshapes: Databases whose schema it changes.
    """

    class_: str
    fields: Mapping[str, Any]
    inputs: str
    reversible: bool
    resumed: bool = False
    reshapes: tuple[str, ...] = ()

    @property
    def spec(self) -> Mapping[str, Any]:
        """The step as data (`step_spec.describe`)."""
        return {"class": self.class_, "fields": self.fields}


@dataclass(frozen=True)
class Result(Content):
    """How a step ended; `applied`: something may be in place. `duration_s`: since its intent (seconds)."""

    inputs: str
    outcome: str
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)
    applied: bool = False
    resumed: bool = False
    duration_s: float = 0.0
    verdict: Verdict | None = None
    health: Verdict | None = None
    problems: Sequence[Any] = ()
    shapes: Shapes = field(default_factory=dict)


@dataclass(frozen=True)
class StandaloneVerdict(Content):
    """A check that belongs to no step; the entry's step is its name."""

    outcome: str
    text: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Item:
    """One thing that a gate or a rollback is about. `waived`: it passes by the policy, nobody saw to it."""

    name: str
    outcome: str
    text: str = ""
    waived: bool = False

    @property
    def passed(self) -> bool:
        return self.outcome == "pass"

    @property
    def word(self) -> str:
        """What is shown: a waiver is no pass to the eye."""
        return "waived" if self.waived else self.outcome


@dataclass(frozen=True)
class Gate(Content):
    """The end of a phase; `subject`: digest of what its approval is bound to."""

    passed: bool
    items: tuple[Item, ...] = ()
    subject: str = ""
    approval: str = ""


@dataclass(frozen=True)
class RollbackIntent(Content):
    """A step of this phase is about to be undone."""

    inputs: str
    phase: str = ""


@dataclass(frozen=True)
class RollbackResult(Content):
    """How the undoing of a step ended."""

    inputs: str
    outcome: str
    text: str = ""
    phase: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    verdict: Verdict | None = None
    shapes: Shapes = field(default_factory=dict)


@dataclass(frozen=True)
class Alarm(Content):
    """A rollback trigger fired."""

    text: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Note(Content, aside=True):
    """Something worth knowing, for people: nothing reads it."""

    text: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunSuperseded(Content, aside=True):
    """Another run takes this one's place."""

    reason: str


# -- watches of days ---


@dataclass(frozen=True)
class WatchOpened(Content, aside=True):
    """A step waits until its triggers were measured, and none fired, for so long (milliseconds); a later one counts."""

    period_ms: int


@dataclass(frozen=True)
class WatchSeen(Content, aside=True):
    """What a watcher saw, condensed.

    Attributes:
        since, until: Seconds since the epoch.
        measured_ms: Time in which every trigger was judged, and fine (milliseconds).
        unjudged_ms: Time in which one was not: it could not be measured, or was above its limit (milliseconds).
        errors: None: the router does not count them.
        worst: Metric → its highest value, in the trigger's own unit.
        reason: Why one was not judged last; empty where all were.
    """

    since: float
    until: float
    measured_ms: int
    unjudged_ms: int = 0
    requests: int = 0
    errors: int | None = None
    worst: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""


# -- people: the entry's step is what is asked for, in words ---


@dataclass(frozen=True)
class ApprovalRequested(Content, aside=True):
    """`subject`: digest of what the approval is to be bound to."""

    subject: str


@dataclass(frozen=True)
class SignoffRequested(Content, aside=True):
    """A person's task is to be signed off."""


@dataclass(frozen=True)
class Approval(Content):
    """`waived`: by which policy, where nobody gave it."""

    subject: str
    comment: str = ""
    waived: str = ""
    word: ClassVar[str] = "approval"


@dataclass(frozen=True)
class Signoff(Content):
    """`waived`: by which policy, where nobody signed."""

    comment: str = ""
    waived: str = ""
    word: ClassVar[str] = "sign-off"


# -- schemas ---


@dataclass(frozen=True)
class SchemaApproved(Content, aside=True):
    """A gate passed with the schemas as they are."""

    shapes: Shapes


@dataclass(frozen=True)
class SchemaBaseline(Content, aside=True):
    """What both sides had when the tables were complete; of the source, which all services share, once."""

    source: Mapping[str, Any]
    services: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class SchemaMigrationOpened(Content, aside=True):
    """A path of revisions is begun; the entry's number names it."""

    database: str
    folder: str
    current: str
    wanted: str
    text: str = ""


@dataclass(frozen=True)
class SchemaMigrationUndoing(Content, aside=True):
    """The migration that was opened last is given up, and why."""

    reason: str
    text: str = ""


@dataclass(frozen=True)
class SchemaMigrationEnded(Content, aside=True):
    """The migration of this number has ended: it is at the wanted version, or back."""

    number: int
    text: str = ""


# -- sync, and changes of the schema meanwhile ---


@dataclass(frozen=True)
class SyncStarted(Content, aside=True):
    """A process took the links of this direction."""

    direction: str
    pid: int


@dataclass(frozen=True)
class SyncStopRequested(Content, aside=True):
    """The sync of this direction is to end."""

    direction: str


@dataclass(frozen=True)
class SyncEnded(Content, aside=True):
    """`applied`: keys (count)."""

    direction: str
    applied: int


@dataclass(frozen=True)
class SchemaChanged(Content, aside=True):
    """The sync found a change of the schema, which somebody has to answer."""

    text: str
    direction: str


@dataclass(frozen=True)
class ApplyDdlStatement(Content, aside=True):
    """A statement is about to run at the side with the writers: its digest, and that of the schema before it."""

    statement: str
    marks: str


@dataclass(frozen=True)
class ActBegun(Content, aside=True):
    """A system step is about to act, for what it verifies was not so: what is there from now on is its own."""


@dataclass(frozen=True)
class InstanceChanged(Content, aside=True):
    """What a rolling upgrade has done with an instance of a fleet.

    Attributes:
        act: `taken_out` (before it leaves the rotation), `backed_up`, `upgraded`, or `rolled_back`.
        version: The release that runs afterwards; empty: nobody can say.
        reference: Of the backup.
    """

    instance: str
    act: str
    version: str = ""
    reference: str = ""


@dataclass(frozen=True)
class RolloutGivenUp(Content, aside=True):
    """A rolling upgrade failed, and is undone: nothing of it goes forward any more."""

    reason: str


@dataclass(frozen=True)
class ApplyDdlBegun(Content, aside=True):
    """Changes are carried over; `tables`: those whose rows are compared afterwards."""

    tables: tuple[str, ...]


@dataclass(frozen=True)
class ApplyDdlDone(Content, aside=True):
    """Every change that was named is carried over, or taken as it is."""


# -- copies that are followed ---


@dataclass(frozen=True)
class CopyOpened(Content, aside=True):
    """A copy is followed.

    Attributes:
        source, target: Addresses, without a secret.
        tables: The choice of tables; none: all.
        how: Further arguments that make the pair again.
        service: Its name; older entries have none, the run's environment is the same.
        followed: Tables of the source; None: of an older entry.
        baseline: What both sides had then.
        gone: Tables that were followed, and left: the source, or whoever had the writers, had them no more.
    """

    source: str
    target: str
    tables: tuple[str, ...]
    how: Mapping[str, Any]
    service: str = ""
    followed: tuple[str, ...] | None = None
    baseline: Mapping[str, Any] = field(default_factory=dict)
    gone: tuple[str, ...] = ()


@dataclass(frozen=True)
class CopyChanged(Content, aside=True):
    """What is followed now, what is so no more, and what both sides have now."""

    followed: tuple[str, ...]
    baseline: Mapping[str, Any]
    gone: tuple[str, ...] = ()


@dataclass(frozen=True)
class WritersMoved(Content, aside=True):
    """`to`: the side that has the writers now; `data`: the cutover's figures."""

    to: str
    data: Mapping[str, Any]
