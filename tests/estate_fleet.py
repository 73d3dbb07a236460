"""A fleet without processes: a router that shares, instances that can die, flap and refuse, and a log of it all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fix_run import SmallEnvironment, SmallPolicy
from sqlalchemy import make_url

from runbook_lib.config.fleets import Fleet
from runbook_lib.config.inventory import DatabaseEntry
from runbook_lib.errors import ConfigurationError
from runbook_lib.plan.amounts import Amount
from runbook_lib.plan.model import Plan, RollingGoal, Trigger
from runbook_lib.services.port import Health
from runbook_lib.traffic.port import RouteState, Switch

ROUTES = ("shop.reads", "shop.writes")


@dataclass
class FakeInstance:
    """`answers`: what its health says, asked each time; `refuses`: commands that fail."""

    name: str
    log: list[str]
    url: str = ""
    release: str = "1"
    up: bool = True
    answers: Callable[[], bool] = lambda: True
    refuses: set[str] = field(default_factory=set)
    meanwhile: Callable[[], object] = lambda: None  # while it is upgraded

    def _called(self, what: str) -> None:
        self.log.append(f"{what} {self.name}")
        if what in self.refuses:
            raise ConfigurationError(f"{self.name}: {what}", "exit status 3: no space left")

    def health(self) -> Health:
        ok = self.up and self.answers()
        return Health(ok, 1.0, "" if ok else "connection refused")

    def running(self) -> bool:
        return self.up

    def start(self) -> None:
        self._called("start")
        self.up = True

    def stop(self) -> None:
        self._called("stop")
        self.up = False

    def drain(self) -> None:
        self._called("drain")
        self.up = False  # it says that it is draining

    def backup(self) -> str:
        self._called("backup")
        return f"{self.name} at {self.release}"

    def upgrade(self, version: str) -> None:
        self._called("upgrade")
        self.meanwhile()
        self.release, self.up = version, True

    def roll_back(self, reference: str, version: str) -> None:
        self._called("roll_back")
        assert reference == f"{self.name} at {version}"
        self.release, self.up = version, True

    def version(self) -> str:
        return self.release


@dataclass
class FakeRouter:
    """Remembers the least number of healthy instances that were in rotation after any change."""

    instances: Mapping[str, FakeInstance]
    weights: dict[str, dict[str, int]]
    log: list[str]
    drained: set[str] = field(default_factory=set)
    fewest: int = 99

    def routes(self) -> dict[str, RouteState]:
        return {name: RouteState(name, dict(weights)) for name, weights in self.weights.items()}

    def set_weights(self, changes: Mapping[str, Mapping[str, int]]) -> Switch:
        for route, weights in changes.items():
            assert sum(weights.values()) == 100 and (route == ROUTES[0] or len(weights) == 1)
            self.weights[route] = dict(weights)
        inside = self.weights[ROUTES[0]]
        self.log.append(f"rotation {' '.join(name[-1] for name in inside)}")
        self.drained -= set(inside)
        self.fewest = min(self.fewest, sum(self.instances[name].up for name in inside))
        return Switch("1", 0.0)

    def drain(self, backend: str) -> Switch:
        assert not any(weights.get(backend) for weights in self.weights.values()), "it still gets requests"
        self.drained.add(backend)
        return Switch("1", 0.0)


@dataclass(frozen=True)
class FleetEnvironment(SmallEnvironment):
    """Four instances and a spare."""

    instances: Mapping[str, FakeInstance] = field(default_factory=dict)
    fake_router: Any = None

    @property
    def inventory(self) -> Any:
        names = list(self.instances)
        fleet = Fleet("shop", tuple(names[:4]), tuple(names[4:]), ROUTES, timeout_s=0.4)
        entry = DatabaseEntry("legacy", make_url(f"sqlite:///{self.root}/legacy.db"))
        return SimpleNamespace(fleets={"shop": fleet}, databases={"legacy": entry}, file="inventory.yaml")

    def router(self) -> Any:
        return self.fake_router

    def service(self, name: str) -> Any:
        return self.instances[name]


def fleet(root: Path, *, policy: str = "act", triggers: Sequence[Trigger] = (), **goal: Any) -> FleetEnvironment:
    """An environment with a fleet of four at release 1, and a plan that takes it to 2.

    Args:
        goal: Fields of the plan's goal.
    """
    (root / "legacy.db").touch()
    log: list[str] = []
    instances = {f"shop-{number}": FakeInstance(f"shop-{number}", log) for number in range(1, 6)}
    instances["shop-5"].up = False
    shares = {f"shop-{number}": 25 for number in range(1, 5)}
    router = FakeRouter(instances, {ROUTES[0]: shares, ROUTES[1]: {"shop-1": 100}}, log)
    wanted = RollingGoal("shop", "2", **{"monitor_s": 0.0, **goal})
    plan = Plan("Release 2", "rolling", "legacy", (), (), path="plan.yaml", digest="plan-1", rolling=(wanted,))
    plan = replace(plan, triggers=tuple(triggers))
    return FleetEnvironment(root, plan, policy=SmallPolicy(triggers=policy), instances=instances, fake_router=router)


def releases(environment: FleetEnvironment) -> str:
    """The releases of the four, in order."""
    return " ".join(one.release for one in list(environment.instances.values())[:4])


def done(environment: FleetEnvironment, what: str) -> str:
    """Who was told that, in order."""
    log = environment.fake_router.log
    return " ".join(line[-1] for line in log if line.startswith(f"{what} "))


def one_at_a_time(least: int) -> dict[str, Any]:
    """A goal that keeps this many healthy."""
    return {"batch": Amount(1), "min_healthy": Amount(least)}
