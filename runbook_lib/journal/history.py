"""What the entries mean: which steps are done, interrupted or undone, which phases passed, what is asked for.

A pure reading of entries. A *unit* is one step with one set of inputs, whatever the number of attempts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runbook_lib.journal.chain import Entry, digest_of
from runbook_lib.journal.content import Unknown
from runbook_lib.journal.kinds import (
    Alarm,
    ApplyDdlDone,
    Approval,
    ApprovalRequested,
    Gate,
    Intent,
    Result,
    RollbackResult,
    SchemaChanged,
    Signoff,
    SignoffRequested,
    StandaloneVerdict,
)
from runbook_lib.journal.renamed_steps import name_today, spec_today


@dataclass
class Unit:
    """One step with one set of inputs.

    Attributes:
        intent: The last attempt's intent.
        result: The last attempt's result; None when it was interrupted.
        touched: Something may be in place that a rollback has to undo.
        undone: A rollback has proven it gone, after the last attempt.
    """

    name: str
    inputs: str
    intent: Entry
    result: Entry | None = None
    touched: bool = True
    undone: bool = False

    @property
    def phase(self) -> str:
        return self.intent.phase

    @property
    def outcome(self) -> str:
        """pass, fail, could_not_run, interrupted or undone."""
        if self.undone:
            return "undone"
        return "interrupted" if self.result is None else self.result.read(Result).outcome

    @property
    def passed(self) -> bool:
        return self.outcome == "pass"


@dataclass(frozen=True)
class Ask:
    """Somebody is asked for an approval (bound to `subject`) or a sign-off, in words."""

    answer: type[Approval | Signoff]
    name: str
    phase: str
    subject: str


class History:
    """The state of a run, read from its entries.

    Args:
        entries: All entries of one run, in order.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = list(entries)
        self.units: dict[tuple[str, str], Unit] = {}
        self.verdicts: dict[tuple[str, str], Entry] = {}  # (phase, name): the last one counts
        self.gates: dict[str, Entry] = {}
        self._passes: dict[str, Entry] = {}  # the last gate of each phase that passed
        self.asks: list[Ask] = []
        self.alarms: list[Entry] = []  # triggers that fired in a step that was not undone since
        self._renamed: dict[str, str] = {}  # digest of inputs as recorded: as today's code works it out
        self._undone_at: dict[str, int] = {}  # phase: when one of its steps was last undone
        for entry in self.entries:
            match entry.content:
                case Intent() as intent:
                    self._intent(entry, intent)
                case Result() as result:
                    self._result(entry, result)
                case StandaloneVerdict():
                    self.verdicts[entry.phase, name_today(entry.step)] = entry
                case RollbackResult() as result:
                    self._rollback_result(entry, result)
                case Gate(passed=passed):
                    self.gates[entry.phase] = entry
                    self._passes |= {entry.phase: entry} if passed else {}
                case Alarm():
                    self.alarms.append(entry)
                case ApprovalRequested(subject=subject):
                    self._ask(Ask(Approval, entry.step, entry.phase, subject))
                case SignoffRequested():
                    self._ask(Ask(Signoff, entry.step, entry.phase, ""))

    def _intent(self, entry: Entry, intent: Intent) -> None:
        key = (name_today(entry.step), self._inputs_today(entry, intent))
        before = self.units.pop(key, None)  # the order of units is that of their last attempts
        self.units[key] = Unit(*key, entry, touched=before.touched if before else False)
        if before and before.outcome == "interrupted":
            self.units[key].touched = True

    def _inputs_today(self, entry: Entry, intent: Intent) -> str:
        """The digest of a step's inputs, as if today's step had recorded them."""
        if (today := spec_today(intent.spec)) != intent.spec:
            self._renamed[intent.inputs] = digest_of({**today, "phase": entry.phase})
        return self._renamed.get(intent.inputs, intent.inputs)

    def _unit_of(self, entry: Entry, inputs: str) -> Unit:
        return self.units[name_today(entry.step), self._renamed.get(inputs, inputs)]

    def _result(self, entry: Entry, result: Result) -> None:
        unit = self._unit_of(entry, result.inputs)
        unit.result = entry
        unit.touched = unit.touched or result.applied

    def _rollback_result(self, entry: Entry, result: RollbackResult) -> None:
        unit = self._unit_of(entry, result.inputs)
        self._undone_at[unit.phase] = entry.seq
        if result.outcome == "pass":
            unit.undone, unit.touched = True, False
            self.alarms = [alarm for alarm in self.alarms if name_today(alarm.step) != unit.name]

    def _ask(self, ask: Ask) -> None:
        self.asks = [known for known in self.asks if (known.answer, known.name) != (ask.answer, ask.name)] + [ask]

    @property
    def waiting(self) -> list[Ask]:
        """What is asked for, and not given yet."""
        return [ask for ask in self.asks if self.granted(ask.answer, ask.name, ask.subject) is None]

    @property
    def unknown(self) -> list[Entry]:
        """What a newer version of this library recorded, and this one cannot read."""
        return [entry for entry in self.entries if isinstance(entry.content, Unknown)]

    def unit(self, name: str, inputs: str = "") -> Unit | None:
        """The step with these inputs, or with its latest ones; None when it was never tried."""
        name = name_today(name)
        if inputs:
            return self.units.get((name, inputs))
        return next((unit for unit in reversed(self.units.values()) if unit.name == name), None)

    @property
    def schema_changes(self) -> list[str]:
        """Changes of a schema that a sync has named, and that nobody has carried over or accepted since."""
        found: dict[str, None] = {}
        for entry in self.entries:
            match entry.content:
                case ApplyDdlDone():
                    found.clear()
                case SchemaChanged(text=text):
                    found[text] = None
        return list(found)

    def latest(self, phase: str = "") -> list[Unit]:
        """Each step (of one phase, or all) once, with its latest inputs, in order."""
        newest = {unit.name: unit for unit in self.units.values()}
        return [unit for unit in newest.values() if phase in ("", unit.phase)]

    def step_passed(self, name: str) -> bool:
        """Whether a step of this name passed; `copy` also stands for all of `copy:users`, `copy:orders` …"""
        name = name_today(name)
        exact = self.unit(name)
        family = [exact] if exact else [unit for unit in self.latest() if unit.name.partition(":")[0] == name]
        free = [entry for (_, known), entry in self.verdicts.items() if known == name]
        passed = [unit.passed for unit in family] + [one.read(StandaloneVerdict).outcome == "pass" for one in free]
        return bool(passed) and all(passed)

    def phase_passed(self, phase: str) -> bool:
        """Whether the phase's last gate passed and none of its steps was undone since."""
        gate = self.gates.get(phase)
        return gate is not None and gate.read(Gate).passed and self._undone_at.get(phase, 0) < gate.seq

    def passed_by(self, phase: str) -> Entry | None:
        """The gate that the phase passed, unless a step of it was undone since.

        A later gate that did not pass takes nothing away: it is of a version that judged again what had passed.
        """
        gate = self._passes.get(phase)
        return gate if gate is not None and self._undone_at.get(phase, 0) < gate.seq else None

    def verdict_by(self, gate: Entry, name: str) -> Entry | None:
        """The standalone verdict that this gate counted."""
        found = [entry for entry in self.entries[: gate.seq] if isinstance(entry.content, StandaloneVerdict)]
        wanted = [one for one in found if (one.phase, name_today(one.step)) == (gate.phase, name_today(name))]
        return wanted[-1] if wanted else None

    def to_undo(self, phases: Iterable[str] | None = None) -> list[Unit]:
        """What a rollback has to undo (of these phases, or all but rollback's own), the last one first."""
        wanted = None if phases is None else set(phases)
        return [
            unit
            for unit in sorted(self.units.values(), key=lambda unit: unit.intent.seq, reverse=True)
            if (unit.touched or unit.outcome == "interrupted")
            and unit.phase != "rollback"
            and (wanted is None or unit.phase in wanted)
        ]

    def granted(self, answer: type[Approval | Signoff], name: str, subject: str = "") -> Entry | None:
        """The approval of exactly this subject (empty: of any), or the sign-off of these words."""
        for entry in reversed(self.entries):
            given = entry.content if entry.step == name else None
            if isinstance(given, answer) and (isinstance(given, Signoff) or subject in ("", given.subject)):
                return entry
        return None
