"""What the entries mean: which steps are done, interrupted or undone, which phases passed, what is asked for.

A pure reading of entries. A *unit* is one step with one set of inputs, whatever the number of attempts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from runbook_lib.journal.chain import Entry, digest_of
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
        return "interrupted" if self.result is None else str(self.result.payload["outcome"])

    @property
    def passed(self) -> bool:
        return self.outcome == "pass"


SCHEMA_CHANGED, CARRIED_OVER = "schema_changed", "apply_ddl_done"  # notes: of a sync, and of who answered it


@dataclass(frozen=True)
class Ask:
    """Somebody is asked for an approval (bound to `subject`) or a sign-off, in words."""

    kind: str  # approval | signoff
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
        self._renamed: dict[str, str] = {}  # digest of inputs as recorded: as today's code works it out
        self._undone_at: dict[str, int] = {}  # phase: when one of its steps was last undone
        readers = {
            "intent": self._intent,
            "result": self._result,
            "rollback_result": self._rollback_result,
            "gate": self._gate,
            "note": self._note,
        }
        for entry in self.entries:
            if entry.kind in readers:
                readers[entry.kind](entry, entry.payload)

    def _intent(self, entry: Entry, payload: Mapping[str, Any]) -> None:
        key = (name_today(entry.step), self._inputs_today(entry, payload))
        before = self.units.pop(key, None)  # the order of units is that of their last attempts
        self.units[key] = Unit(*key, entry, touched=before.touched if before else False)
        if before and before.outcome == "interrupted":
            self.units[key].touched = True

    def _inputs_today(self, entry: Entry, payload: Mapping[str, Any]) -> str:
        """The digest of a step's inputs, as if today's step had recorded them."""
        inputs = str(payload["inputs"])
        spec = {name: payload[name] for name in ("class", "fields") if name in payload}
        if spec and (today := spec_today(spec)) != spec:
            self._renamed[inputs] = digest_of({**today, "phase": entry.phase})
        return self._renamed.get(inputs, inputs)

    def _result(self, entry: Entry, payload: Mapping[str, Any]) -> None:
        name, inputs = name_today(entry.step), str(payload.get("inputs", ""))
        unit = self.units.get((name, self._renamed.get(inputs, inputs)))
        if unit is None:
            self.verdicts[entry.phase, name] = entry
            return
        unit.result = entry
        unit.touched = unit.touched or bool(payload.get("applied"))

    def _rollback_result(self, entry: Entry, payload: Mapping[str, Any]) -> None:
        inputs = str(payload["inputs"])
        unit = self.units[name_today(entry.step), self._renamed.get(inputs, inputs)]
        self._undone_at[unit.phase] = entry.seq
        if payload["outcome"] == "pass":
            unit.undone, unit.touched = True, False

    def _gate(self, entry: Entry, payload: Mapping[str, Any]) -> None:
        self.gates[entry.phase] = entry
        if payload["passed"]:
            self._passes[entry.phase] = entry

    def _note(self, entry: Entry, payload: Mapping[str, Any]) -> None:
        if kind := payload.get("asked"):
            ask = Ask(str(kind), entry.step, entry.phase, str(payload.get("subject", "")))
            self.asks = [known for known in self.asks if (known.kind, known.name) != (ask.kind, ask.name)] + [ask]

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
            if entry.kind == "note" and entry.step == CARRIED_OVER:
                found.clear()
            elif entry.kind == "note" and entry.step == SCHEMA_CHANGED:
                found[str(entry.payload["text"])] = None
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
        passed = [unit.passed for unit in family] + [entry.payload["outcome"] == "pass" for entry in free]
        return bool(passed) and all(passed)

    def phase_passed(self, phase: str) -> bool:
        """Whether the phase's last gate passed and none of its steps was undone since."""
        gate = self.gates.get(phase)
        return gate is not None and bool(gate.payload["passed"]) and self._undone_at.get(phase, 0) < gate.seq

    def passed_by(self, phase: str) -> Entry | None:
        """The gate that the phase passed, unless a step of it was undone since.

        A later gate that did not pass takes nothing away: it is of a version that judged again what had passed.
        """
        gate = self._passes.get(phase)
        return gate if gate is not None and self._undone_at.get(phase, 0) < gate.seq else None

    def verdict_by(self, gate: Entry, name: str) -> Entry | None:
        """The free-standing verdict that this gate counted."""
        of_phase = [entry for entry in self.entries if entry.kind == "result" and entry.phase == gate.phase]
        wanted = [entry for entry in of_phase if name_today(entry.step) == name_today(name)]
        return next((e for e in reversed(wanted) if e.seq < gate.seq and "inputs" not in e.payload), None)

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

    def granted(self, kind: str, name: str, subject: str = "") -> Entry | None:
        """The approval of exactly this subject, or the sign-off of these words."""
        for entry in reversed(self.entries):
            if entry.kind == kind and entry.step == name and (not subject or entry.payload.get("subject") == subject):
                return entry
        return None
