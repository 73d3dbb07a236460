"""See that a fleet is as a rolling upgrade needs it, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.errors import RunbookError
from runbook_lib.run.context import RunContext
from runbook_lib.services.streak import ANSWERS, Streak
from runbook_lib.steps.fleet import FleetControl
from runbook_lib.steps.routes_and_links import verdict
from runbook_lib.traffic.port import WRITES
from runbook_lib.verdict import StepResult, Verdict


@dataclass(frozen=True)
class VerifyFleet:
    """Every instance answers and is in rotation, nobody else shares its routes; afterwards, of one release.

    Attributes:
        service: The fleet's name.
        when: "before" or "after" its upgrade.
        version: The release that all have by then; empty: any.
    """

    service: str
    when: str
    version: str = ""
    requires: Sequence[str] = ()
    reversible: bool = True

    @property
    def name(self) -> str:
        return f"verify_fleet:{self.service}:{self.when}"

    def check(self, run: RunContext) -> list[Problem]:
        return []

    def apply(self, run: RunContext) -> StepResult:
        control = FleetControl(run, self.service)
        if self.when == "after":  # one that died by itself may be coming back
            control.wait_healthy(control.fleet.instances, self.name)
        rows = fleet_rows(run, self.service)
        return StepResult(f"{len(rows)} instances, {control.least} of them always healthy", {"rows": rows})

    def verify(self, run: RunContext) -> Verdict:
        rows = run.applied(self.name).data["rows"]
        wrong = [f"{name}: {text}" for name, text, share, _ in rows if text != ANSWERS]
        wrong += [f"{name}: gets no requests" for name, _, share, _ in rows if not share]
        if self.version:
            wrong += [f"{row[0]}: runs {row[3]}" for row in rows if row[3] not in (self.version, "")]
        wrong += _strangers(run, self.service)
        return verdict(not wrong, "; ".join(wrong) or "all answer and are in rotation")

    def rollback(self, run: RunContext) -> StepResult:
        return StepResult("looking changed nothing")

    def undone(self, run: RunContext) -> Verdict:
        return verdict(True, "nothing to undo")


def fleet_rows(run: RunContext, service: str) -> list[tuple[str, str, int, str]]:
    """Each instance: its name, what it says, its percent of what is shared, its release (empty: nobody can say)."""
    control = FleetControl(run, service)
    states = control.states()
    weights = [states[name].weights for name in sorted(states, key=lambda name: name.endswith(WRITES))]
    rows = []
    for name in control.fleet.instances:
        streak = Streak()
        streak.add(run.service(name).health())
        try:
            version = run.service(name).version() if streak.good else ""
        except RunbookError as error:
            version = f"cannot be asked: {error.observed}"
        rows.append((name, str(streak), next((each[name] for each in weights if each.get(name)), 0), version))
    return rows


def _strangers(run: RunContext, service: str) -> list[str]:
    """Backends that share the fleet's routes, and are none of its instances."""
    control = FleetControl(run, service)
    known = {*control.fleet.instances, *control.fleet.spares}
    return [
        f"{route} sends {weight} % to {name}, which is not of the fleet"
        for route, state in control.states().items()
        for name, weight in state.weights.items()
        if weight and name not in known
    ]
