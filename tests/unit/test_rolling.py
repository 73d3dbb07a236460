"""A rolling upgrade on a fleet without processes: the order, the minimum, the way it goes back, and after a kill."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from estate_fleet import FleetEnvironment, done, fleet, one_at_a_time, releases
from fix_run import start

from runbook_lib.errors import GateFailed, StepFailed
from runbook_lib.journal import Journal
from runbook_lib.journal.content import AnyContent
from runbook_lib.journal.kinds import InstanceChanged, Note
from runbook_lib.monitoring.watch import Alarm, WatchResult
from runbook_lib.plan.amounts import Amount
from runbook_lib.plan.model import Trigger
from runbook_lib.steps import fleet as fleet_module
from runbook_lib.steps import fleet_watch, roll_out
from runbook_lib.util import points
from runbook_lib.verdict import Outcome

FORWARD = (
    *("rolling:recorded-out", "rolling:drained", "rolling:backed-up", "rolling:recorded-backup"),
    *("rolling:upgraded", "rolling:recorded-upgraded", "rolling:in"),
)
BACK = ("rolling:back-out", "rolling:back-done", "rolling:back-in")


class Killed(BaseException):
    """What a kill leaves: nothing is recorded, nothing is undone."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_module, "POLL_S", 0.001)
    monkeypatch.setattr(fleet_watch, "POLL_S", 0.001)


@pytest.fixture
def kill() -> Iterator[Any]:
    """Kill at the n-th time that a point is passed."""
    added: list[Any] = []

    def at(point: str, time: int = 1) -> None:
        seen = iter(range(1, 100))

        def observer(name: str) -> None:
            if name == point and next(seen) == time:
                raise Killed

        points.observers.append(observer)
        added.append(observer)

    yield at
    for observer in added:
        points.observers.remove(observer)


def rolled(environment: FleetEnvironment) -> None:
    with start(environment, "rolling") as run:
        roll_out(run)
        run.gate()


def recorded(environment: FleetEnvironment, kind: type[AnyContent]) -> list[AnyContent]:
    """What the environment's only run has recorded of a kind."""
    with closing(Journal(environment.journal_url)) as journal:
        [run] = journal.runs()
        return [entry.read(kind) for entry in journal.entries(run.run_id, kind)]


def refused(environment: FleetEnvironment) -> StepFailed:
    with start(environment, "rolling") as run, pytest.raises(StepFailed) as found:
        roll_out(run)
    return found.value


def test_canary_then_batches_each_drained_and_backed_up_before_its_upgrade_and_the_minimum_kept(tmp_path: Path) -> None:
    environment = fleet(tmp_path, canary=1, batch=Amount(2), surge=1, min_healthy=Amount(3))
    rolled(environment)
    router = environment.fake_router
    assert releases(environment) == "2 2 2 2" and router.fewest >= 3
    moves = [line for line in router.log if line.startswith("rotation")]
    assert moves == [f"rotation {who}" for who in ("1 2 3 4 5", "2 3 4 5", "1 2 3 4 5", "1 4 5", "1 2 3 4 5",
                                                   "1 2 3 5", "1 2 3 4 5", "1 2 3 4")]  # fmt: skip
    acts = [line for line in router.log if line.endswith("shop-1")]
    assert acts == ["drain shop-1", "backup shop-1", "upgrade shop-1"]
    assert not environment.instances["shop-5"].up and router.drained == {"shop-5"}
    assert router.weights["shop.reads"] == {f"shop-{n}": 25 for n in range(1, 5)}


def test_a_failure_restores_that_instance_and_rolls_back_those_before_in_reverse_each_verified(tmp_path: Path) -> None:
    environment = fleet(tmp_path, **one_at_a_time(3))
    environment.instances["shop-3"].refuses = {"upgrade"}
    error = refused(environment)
    assert done(environment, "roll_back") == "3 2 1"
    assert releases(environment) == "1 1 1 1" and environment.fake_router.fewest >= 3
    assert "shop-3: upgrade: exit status 3: no space left" in str(error)
    assert "rolled back and verified, in this order: shop-3, shop-2, shop-1" in str(error)
    assert "shop-4: the old release, in rotation" in str(error)
    with start(environment, "rolling") as again:  # the run is closed: this is another one
        assert again.journal.runs()[-1].state == "open" and len(again.journal.runs()) == 2


def test_a_service_that_cannot_be_restored_stops_the_rollback_there_and_where_all_are_is_said(tmp_path: Path) -> None:
    environment = fleet(tmp_path, **one_at_a_time(2))
    environment.instances["shop-3"].refuses = {"upgrade"}
    environment.instances["shop-2"].refuses = {"roll_back"}
    error = refused(environment)
    assert "and rolling back failed: shop-2: roll_back: exit status 3" in str(error) and "stopped there" in str(error)
    assert "shop-1: 2, in rotation; shop-2: 2, out of rotation, connection refused" in str(error)
    assert "shop-3: the old release, in rotation" in str(error)
    assert done(environment, "roll_back") == "3 2"
    environment.instances["shop-2"].refuses = set()
    assert "rolled back and verified" in str(refused(environment))  # again: it continues, and does not go forward
    assert done(environment, "roll_back") == "3 2 2 1" and releases(environment) == "1 1 1 1"
    assert done(environment, "upgrade") == "1 2 3"


def test_a_health_check_that_flaps_is_no_healthy_instance(tmp_path: Path) -> None:
    environment = fleet(tmp_path, **one_at_a_time(3))
    flapping, second = cycle([True, True, False]), environment.instances["shop-2"]
    second.answers = lambda: second.release == "1" or next(flapping)
    error = refused(environment)
    assert "shop-2: its health check flaps" in str(error)
    assert releases(environment) == "1 1 1 1" and done(environment, "roll_back") == "2 1"


def test_an_instance_that_becomes_ill_while_it_is_monitored_fails_its_batch(tmp_path: Path) -> None:
    environment = fleet(tmp_path, monitor_s=5.0)
    first = environment.instances["shop-1"]
    first.answers = lambda: first.release == "1" or environment.fake_router.log[-1] != "rotation 1 2 3 4"
    error = refused(environment)
    assert "shop-1, while it was monitored: connection refused" in str(error)
    assert releases(environment) == "1 1 1 1"


def test_while_one_has_died_by_itself_nobody_is_taken_out_and_it_is_said_until_it_is_back(tmp_path: Path) -> None:
    environment = fleet(tmp_path, **one_at_a_time(3))
    first, last = environment.instances["shop-1"], environment.instances["shop-4"]
    asked = iter(range(10**6))
    first.meanwhile = lambda: setattr(last, "up", False)
    last.answers = lambda: True
    second = environment.instances["shop-2"]
    second.answers = lambda: setattr(last, "up", last.up or (first.release == "2" and next(asked) > 15)) or True
    rolled(environment)
    assert releases(environment) == "2 2 2 2"
    log = environment.fake_router.log
    assert log.index("rotation 1 2 3") < log.index("drain shop-2")  # shop-4 was out of it, and came back before
    assert "rotation 1 2 3 4" in log[log.index("rotation 1 2 3") : log.index("drain shop-2")]


def test_one_that_died_and_stays_dead_is_not_upgraded_and_the_others_go_back(tmp_path: Path) -> None:
    environment = fleet(tmp_path, **one_at_a_time(2))
    environment.instances["shop-1"].meanwhile = lambda: setattr(environment.instances["shop-4"], "up", False)
    error = refused(environment)
    assert "not healthy: shop-4: connection refused" in str(error)
    assert done(environment, "roll_back") == "3 2 1" and releases(environment) == "1 1 1 1"
    assert done(environment, "upgrade") == "1 2 3" and environment.fake_router.fewest >= 2
    notes = [one.text for one in recorded(environment, Note)]
    assert any("shop-4 was taken out of rotation: it does not answer by itself" in text for text in notes)


def test_a_minimum_that_cannot_be_kept_any_more_stops_the_rollback_too_instead_of_breaking_it(tmp_path: Path) -> None:
    environment = fleet(tmp_path, **one_at_a_time(3))
    environment.instances["shop-1"].meanwhile = lambda: setattr(environment.instances["shop-4"], "up", False)
    error = refused(environment)
    assert "2 healthy instances would be left, the plan's minimum is 3 (shop-4: connection refused)" in str(error)
    assert "shop-1: 2, in rotation" in str(error) and releases(environment) == "2 1 1 1"


@pytest.mark.parametrize("point", FORWARD)
def test_killed_anywhere_it_is_taken_on_with_one_backup_for_each_instance(
    tmp_path: Path, kill: Any, point: str
) -> None:
    environment = fleet(tmp_path, batch=Amount(2), min_healthy=Amount(2))
    kill(point, 2)
    with start(environment, "rolling") as run, pytest.raises(Killed):
        roll_out(run)
    rolled(environment)
    assert releases(environment) == "2 2 2 2" and environment.fake_router.fewest >= 2
    backups = [one.reference for one in recorded(environment, InstanceChanged) if one.act == "backed_up"]
    assert sorted(backups) == [f"shop-{n} at 1" for n in range(1, 5)]


@pytest.mark.parametrize("point", (*FORWARD[:-1], *BACK))
def test_killed_anywhere_and_then_failing_everything_goes_back(tmp_path: Path, kill: Any, point: str) -> None:
    environment = fleet(tmp_path, **one_at_a_time(3))
    environment.instances["shop-3"].refuses = {"upgrade"}
    kill(point, 2)
    with start(environment, "rolling") as run, pytest.raises(Killed):
        roll_out(run)
    error = refused(environment)
    assert "rolled back and verified" in str(error)
    assert releases(environment) == "1 1 1 1" and environment.fake_router.fewest >= 3
    assert set(environment.fake_router.weights["shop.reads"]) == {f"shop-{n}" for n in range(1, 5)}


def test_a_trigger_that_fires_is_answered_by_the_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fired = (Alarm("errors_elsewhere", 1.0, 0.05, 0.01, "errors_elsewhere: 5 of 100 requests failed"),)
    result = WatchResult(fired, (), (), (), Outcome.FAIL, "rollback trigger fired: errors_elsewhere", 1.0)
    monkeypatch.setattr(fleet_watch, "watch", lambda *_, **__: result)
    trigger = Trigger("errors_elsewhere", 0.01, source="http", url="http://127.0.0.1:1", value="rate")
    for policy, after in (("act", "1 1 1 1"), ("ask", "2 1 1 1")):
        (tmp_path / policy).mkdir()
        environment = fleet(tmp_path / policy, policy=policy, triggers=[trigger])
        environment.fake_router.metrics = list
        assert "rollback trigger fired" in str(refused(environment))
        assert releases(environment) == after
    with start(environment, "rolling") as run, pytest.raises(GateFailed, match="go on after errors_elsewhere"):
        roll_out(run)
    assert releases(environment) == "2 1 1 1"


def test_after_it_has_passed_the_whole_fleet_goes_back_in_reverse_with_its_spare_in_rotation(tmp_path: Path) -> None:
    environment = fleet(tmp_path, surge=1, min_healthy=Amount(4))
    rolled(environment)
    with start(environment, "rollback") as run:
        run.rollback()
    assert done(environment, "roll_back") == "4 3 2 1" and releases(environment) == "1 1 1 1"
    assert environment.fake_router.fewest >= 4 and not environment.instances["shop-5"].up
