"""Upgrade one batch of a fleet: out of rotation, drained, backed up, upgraded, healthy, in rotation, monitored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.errors import RunbookError, StepFailed
from runbook_lib.journal.kinds import InstanceChanged
from runbook_lib.run.context import RunContext
from runbook_lib.steps.fleet import BACKED_UP, ROLLED_BACK, TAKEN_OUT, UPGRADED, FleetControl, Mark, marks
from runbook_lib.steps.fleet_watch import monitor
from runbook_lib.steps.routes_and_links import verdict
from runbook_lib.util.points import passed
from runbook_lib.verdict import Outcome, StepResult, Verdict


@dataclass(frozen=True)
class UpgradeInstances:
    """One batch; what was killed half-way is found by the journal and the router, and taken on.

    An instance is backed up once in a run: a second backup would be of what the upgrade has half changed.

    Attributes:
        service: The fleet's name.
        instances: Of one batch.
        version: The release that they get.
    """

    service: str
    instances: tuple[str, ...]
    version: str
    requires: Sequence[str] = ()
    reversible: bool = True

    @property
    def name(self) -> str:
        more = f"..{self.instances[-1]}" if len(self.instances) > 1 else ""
        return f"upgrade_instances:{self.instances[0]}{more}"

    def check(self, run: RunContext) -> list[Problem]:
        return []

    def apply(self, run: RunContext) -> StepResult:
        control, known = FleetControl(run, self.service), marks(run)
        inside = control.in_rotation()
        halfway = {name for name in self.instances if name in known and not known[name].upgraded}
        control.out = {name for name in halfway if name not in inside}  # a kill has left them out of it
        if todo := [name for name in self.instances if not self._done(run, name, known.get(name))]:
            self._upgrade(run, control, todo)
        control.out = set()
        control.wait_healthy(self.instances, self.name)
        passed("rolling:in")
        watched = monitor(run, control, self.instances, self.name)
        text = f"{', '.join(self.instances)} {'run' if len(self.instances) > 1 else 'runs'} {self.version}"
        seen = {"outcome": str(watched.outcome), "text": watched.text}
        return StepResult(text, {"instances": len(self.instances), "version": self.version, "watch": seen})

    def verify(self, run: RunContext) -> Verdict:
        wrong = _wrong(run, FleetControl(run, self.service), dict.fromkeys(self.instances, self.version))
        if wrong:
            return Verdict(Outcome.FAIL, "; ".join(wrong))
        watch = run.applied(self.name).data["watch"]
        return Verdict(Outcome(watch["outcome"]), watch["text"])

    def rollback(self, run: RunContext) -> StepResult:
        control, known = FleetControl(run, self.service), marks(run)
        touched = [name for name in reversed(self.instances) if name in known]
        inside = control.in_rotation()
        control.out = {name for name in touched if name not in inside}
        for name in touched:
            self._roll_back(run, control, name, known[name])
        return StepResult(f"{', '.join(touched)} rolled back" if touched else "no instance was touched")

    def undone(self, run: RunContext) -> Verdict:
        """Only what this run has touched: an instance that died by itself meanwhile is not its affair."""
        changes = [entry.read(InstanceChanged) for entry in run.journal.entries(run.run_id, InstanceChanged)]
        # the release that each had before, whether it is rolled back by now or not
        before = {one.instance: one.version for one in changes if one.act == BACKED_UP}
        touched, not_back = {one.instance for one in changes}, marks(run)
        mine = [name for name in self.instances if name in touched]
        wrong = _wrong(run, FleetControl(run, self.service), {name: before.get(name, "") for name in mine})
        wrong += [f"{name} was not rolled back" for name in mine if name in not_back]
        return verdict(not wrong, "; ".join(wrong) or "healthy and in rotation with the release before")

    # -- forward ---

    def _done(self, run: RunContext, name: str, mark: Mark | None) -> bool:
        """Whether there is nothing left to do: this run has upgraded it, or somebody had before the run."""
        if mark is not None:
            return mark.upgraded
        return run.service(name).health().ok and run.service(name).version() == self.version

    def _upgrade(self, run: RunContext, control: FleetControl, todo: list[str]) -> None:
        known = marks(run)
        if fresh := [name for name in todo if name not in known]:
            control.wait_healthy(fresh, self.name)  # who died by itself is not upgraded
            control.wait_for_minimum(fresh, self.name)
            self._record(run, TAKEN_OUT, fresh)
        passed("rolling:recorded-out")
        control.take_out(todo, self.name)
        self._back_up(run, control, [name for name in todo if name not in known or not known[name].reference])
        control.together(todo, lambda name: run.service(name).upgrade(self.version))
        passed("rolling:upgraded")
        control.forget(todo)
        control.wait_healthy(todo, self.name)
        _require_version(run, todo, self.version)
        self._record(run, UPGRADED, todo, dict.fromkeys(todo, self.version))
        passed("rolling:recorded-upgraded")

    def _back_up(self, run: RunContext, control: FleetControl, names: list[str]) -> None:
        versions = control.together(names, lambda name: run.service(name).version())
        references = control.together(names, lambda name: run.service(name).backup())
        passed("rolling:backed-up")
        self._record(run, BACKED_UP, names, versions, references)
        passed("rolling:recorded-backup")

    def _record(
        self,
        run: RunContext,
        act: str,
        names: Sequence[str],
        versions: Mapping[str, str] | None = None,
        references: Mapping[str, str] | None = None,
    ) -> None:
        for name in names:
            told = (versions or {}).get(name, ""), (references or {}).get(name, "")
            run.write(InstanceChanged(name, act, *told), step=self.name)

    # -- back ---

    def _roll_back(self, run: RunContext, control: FleetControl, name: str, mark: Mark) -> None:
        subject = f"roll back {name}"
        if name not in control.out:
            control.take_out([name], subject)
        passed("rolling:back-out")
        try:
            self._go_back(run, control, name, mark)
            control.forget([name])
            control.wait_healthy([name], subject)
            if mark.version:
                _require_version(run, [name], mark.version)
        except RunbookError as error:
            control.look()  # whoever died meanwhile is out of rotation, too, before this is reported
            error.add_note(f"the fleet: {control.state()}")
            raise
        control.out.discard(name)
        control.rotate()
        passed("rolling:back-in")
        self._record(run, ROLLED_BACK, [name], {name: mark.version})

    def _go_back(self, run: RunContext, control: FleetControl, name: str, mark: Mark) -> None:
        service = run.service(name)
        if mark.reference:
            control.together([name], lambda _: service.roll_back(mark.reference, mark.version))
        elif not service.health().ok:
            control.together([name], lambda _: service.start())  # it was drained, and no more
        passed("rolling:back-done")


def _require_version(run: RunContext, names: Sequence[str], version: str) -> None:
    for name in names:
        if (found := run.service(name).version()) not in ("", version):
            raise StepFailed(name, f"runs release {found}", expected=version, state="it is out of rotation")


def _wrong(run: RunContext, control: FleetControl, versions: Mapping[str, str]) -> list[str]:
    """What is not as it should be: health, release (empty: any), rotation."""
    inside, wrong = control.in_rotation(), []
    for name, version in versions.items():
        service = run.service(name)
        health = service.health()
        if not health.ok:
            wrong.append(f"{name}: {health.text}")
        elif version and (found := service.version()) not in ("", version):
            wrong.append(f"{name}: runs {found}, not {version}")
        if name not in inside:
            wrong.append(f"{name}: is out of rotation")
    return wrong
