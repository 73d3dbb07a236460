"""A fleet under way: who is in rotation, who is healthy, and that never fewer are than the plan's minimum.

Every look asks all instances for their health and puts the rotation right: one that died by itself goes out, one that
answers again comes back. What is out on purpose (`out`) stays out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from runbook_lib.config.fleets import Fleet
from runbook_lib.errors import ConfigurationError, StepFailed
from runbook_lib.journal import Sample
from runbook_lib.journal.kinds import InstanceChanged
from runbook_lib.plan.model import RollingGoal
from runbook_lib.plan.rollout import minimum
from runbook_lib.run.context import RunContext
from runbook_lib.services.streak import Streak
from runbook_lib.traffic.port import WRITES, RouteState
from runbook_lib.util.points import passed
from runbook_lib.util.text import counted

T = TypeVar("T")
POLL_S = 0.2
_SAMPLE_S = 1.0
TAKEN_OUT, BACKED_UP, UPGRADED, ROLLED_BACK = "taken_out", "backed_up", "upgraded", "rolled_back"


@dataclass(frozen=True)
class Mark:
    """What this run has done with an instance, and not undone.

    Attributes:
        version: The release before; empty: nobody can say, or it is not backed up.
        reference: Of its backup; empty: there is none yet.
    """

    version: str = ""
    reference: str = ""
    upgraded: bool = False


def marks(run: RunContext) -> dict[str, Mark]:
    """The instances that this run has touched, by name."""
    found: dict[str, Mark] = {}
    for entry in run.journal.entries(run.run_id, InstanceChanged):
        changed = entry.read(InstanceChanged)
        if changed.act == TAKEN_OUT:
            found[changed.instance] = Mark()
        elif changed.act == BACKED_UP:
            found[changed.instance] = Mark(changed.version, changed.reference)
        elif changed.act == UPGRADED:
            found[changed.instance] = replace(found[changed.instance], upgraded=True)
        else:
            found.pop(changed.instance, None)
    return found


def even_shares(names: Sequence[str]) -> dict[str, int]:
    """Whole percents that add up to 100; what is left over goes to the first ones."""
    share, rest = divmod(100, len(names))
    return {name: share + (place < rest) for place, name in enumerate(names)}


def changed_weights(
    states: Mapping[str, RouteState], routes: Sequence[str], names: Sequence[str]
) -> dict[str, dict[str, int]]:
    """The routes that have to change for exactly these instances to be in rotation, with their weights."""
    changes = {}
    for route in routes:
        now = {name: weight for name, weight in states[route].weights.items() if weight}
        home = next((name for name in now if name in names), names[0])
        wanted = {home: 100} if route.endswith(WRITES) else even_shares(names)
        if now != wanted:
            changes[route] = wanted
    return changes


class FleetControl:
    """One fleet of the plan, during one step.

    Attributes:
        out: Instances that are kept out of rotation on purpose.
        joining: Spares that are to be in rotation.
    """

    def __init__(self, run: RunContext, service: str) -> None:
        self.run = run
        self.fleet: Fleet = run.environment.inventory.fleets[service]
        self.goal = goal_of(run, service)
        self.least = minimum(self.goal, len(self.fleet.instances))
        self.out: set[str] = set()
        self.joining: set[str] = set()
        self.streaks: dict[str, Streak] = {}
        self._sampled = (0.0, -1)

    # -- the rotation ---

    def states(self) -> dict[str, RouteState]:
        """The fleet's routes as the router runs them. ConfigurationError: it has not all of them."""
        routes = self.run.router.routes()
        for name in self.fleet.routes:
            if name not in routes:
                expected = ", ".join(sorted(routes))
                raise ConfigurationError(name, "the router has no such route", expected=expected, action=_ROUTES)
        return {name: routes[name] for name in self.fleet.routes}

    def in_rotation(self, states: Mapping[str, RouteState] | None = None) -> list[str]:
        """Who gets requests now, in the inventory's order; `states`: asked already."""
        weights = [state.weights for state in (states or self.states()).values()]
        return [name for name in self._members if any(each.get(name) for each in weights)]

    @property
    def _members(self) -> tuple[str, ...]:
        return (*self.fleet.instances, *self.fleet.spares)

    def rotate(self) -> list[str]:
        """Put the rotation right, and return it: all that are healthy, or in it and not ill, but those that are out."""
        states = self.states()
        now = self.in_rotation(states)
        wanted = [name for name in self._members if self._wanted(name, name in now)]
        if not wanted:  # nobody answers: where the requests go then makes no difference, but who is out stays out
            wanted = [name for name in now if name not in self.out] or now
        if changes := changed_weights(states, self.fleet.routes, wanted):
            self.run.router.set_weights(changes)
            self._note_moves(now, wanted)
            self._record_shares(wanted)
        return wanted

    def _wanted(self, name: str, inside: bool) -> bool:
        streak = self.streaks.get(name, Streak())
        may_join = name in self.fleet.instances or name in self.joining
        return name not in self.out and ((inside and not streak.ill) or (may_join and streak.healthy))

    def _note_moves(self, before: Sequence[str], after: Sequence[str]) -> None:
        for name in before:
            if name not in after and name not in self.out:
                self.run.note(f"{name} was taken out of rotation: it does not answer by itself ({self.streaks[name]})")

    def _record_shares(self, names: Sequence[str]) -> None:
        shares, at = even_shares(names), time.time()
        points = [Sample("traffic", shares.get(name, 0), at, {"backend": name}) for name in self._members]
        self.run.journal.sample_many(self.run.run_id, points)

    # -- health ---

    def look(self) -> list[str]:
        """Ask everybody, put the rotation right; those that are healthy and in it."""
        spares = [*self.joining, *(set(self.in_rotation()) & {*self.fleet.spares})] if self.fleet.spares else []
        playing = [name for name in self._members if name in self.fleet.instances or name in spares]
        with ThreadPoolExecutor(max_workers=min(16, len(playing))) as pool:
            answers = list(pool.map(lambda name: self.run.service(name).health(), playing))
        for name, answer in zip(playing, answers, strict=True):
            self.streaks.setdefault(name, Streak()).add(answer)
        healthy = [name for name in self.rotate() if self.streaks[name].good]
        self._sample(len(healthy))
        return healthy

    def _sample(self, count: int) -> None:
        at, before = self._sampled
        if count != before or time.monotonic() - at > _SAMPLE_S:
            self.run.sample("healthy", count, service=self.fleet.name)
            self._sampled = (time.monotonic(), count)

    def forget(self, names: Sequence[str]) -> None:
        """What they answered before a change says nothing about them afterwards."""
        for name in names:
            self.streaks.pop(name, None)

    # -- waiting ---

    def wait(self, missing: Callable[[], str], subject: str) -> None:
        """Look until nothing is missing any more.

        Args:
            missing: What is missing, in words; empty: nothing.
            subject: Who waits, for the message.
        Raises:
            StepFailed: something still is after the inventory's `timeout_s`.
        """
        begun, told = time.monotonic(), False
        while True:
            self.look()
            text = missing()
            if not text:
                return
            waited_s = time.monotonic() - begun
            if waited_s > self.fleet.timeout_s:
                raise StepFailed(subject, f"waited {waited_s:.0f} s: {text}", state=self.state())
            if waited_s > _SAMPLE_S and not told:
                self.run.note(f"{subject} waits: {text}")
                told = True
            if waited_s > _SAMPLE_S:
                self.run.progress(round(waited_s, 1), self.fleet.timeout_s, "s", f"waiting: {text}")
            time.sleep(POLL_S)

    def wait_healthy(self, names: Sequence[str], subject: str) -> None:
        """Wait until each of these has given three good answers in a row."""

        def missing() -> str:
            late = [f"{name}: {self.streaks[name]}" for name in names if not self.streaks[name].healthy]
            return "not healthy: " + "; ".join(late) if late else ""

        self.wait(missing, subject)

    def wait_for_minimum(self, leaving: Sequence[str], subject: str) -> None:
        """Wait until enough others are healthy and in rotation for these to leave; nobody needs to for who is out."""

        def missing() -> str:
            inside = self.in_rotation()
            if not set(leaving) & set(inside):
                return ""
            left = [name for name in inside if name not in leaving and self.streaks[name].healthy]
            if len(left) >= self.least:
                return ""
            ill = [f"{name}: {self.streaks[name]}" for name in self.fleet.instances if not self.streaks[name].healthy]
            because = f" ({'; '.join(ill)})" if ill else ""
            stay = counted(len(left), "healthy instance")
            return f"{stay} would be left, the plan's minimum is {self.least}{because}"

        self.wait(missing, subject)

    def take_out(self, names: Sequence[str], subject: str) -> None:
        """Take these out of rotation when the minimum allows it, and let what is in flight at them end."""
        self.wait_for_minimum(names, subject)
        self.out |= set(names)
        self.rotate()
        for name in names:
            self.run.router.drain(name)
            passed("rolling:drained")
            if self.streaks.get(name, Streak()).good:  # who does not answer has nothing in flight
                self.run.service(name).drain()

    def together(self, names: Sequence[str], act: Callable[[str], T]) -> dict[str, T]:
        """Do it to all of these at a time, and look at the others meanwhile.

        Raises:
            Exception: the first that failed, when all have ended.
        """
        with ThreadPoolExecutor(max_workers=len(names) or 1) as pool:
            begun: dict[str, Future[T]] = {name: pool.submit(act, name) for name in names}
            while not all(one.done() for one in begun.values()):
                self.look()
                time.sleep(POLL_S)
        return {name: one.result() for name, one in begun.items()}

    # -- words ---

    def state(self) -> str:
        """Where every instance is, for messages."""
        try:
            inside = self.in_rotation()
        except ConfigurationError as error:
            return f"the rotation cannot be asked: {error.observed}"
        known = marks(self.run)
        return "; ".join(self._state_of(name, name in inside, known.get(name)) for name in self.fleet.instances)

    def _state_of(self, name: str, inside: bool, mark: Mark | None) -> str:
        halfway = "half upgraded" if mark and mark.reference else "the old release"
        release = self.goal.version if mark and mark.upgraded else halfway
        streak = self.streaks.get(name, Streak(good=1))
        ill = "" if streak.good else f", {streak}"
        return f"{name}: {release}, {'in' if inside else 'out of'} rotation{ill}"


_ROUTES = "add it to the router, or name the fleet's routes in the inventory (`routes:`)"


def goal_of(run: RunContext, service: str) -> RollingGoal:
    """The plan's goal for this fleet, as it is carried out: an option wins."""
    goal = next(one for one in run.plan.rolling if one.service == service)
    monitor_s = run.options.monitor_s
    return goal if monitor_s is None else replace(goal, monitor_s=monitor_s)
