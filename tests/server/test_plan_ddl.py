"""A run's schema changes while its sync keeps the targets current: named, approved, carried to both sides, killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from estate_killed import killed_at
from estate_transfer import Estate, an_estate
from estate_transfer import plan as plan_of
from fix_run import SmallEnvironment, start
from nightly import at_night, short_of

from runbook_lib.databases.postgresql import open_database
from runbook_lib.errors import CutoverAborted, GateFailed, Refused
from runbook_lib.plan.model import Phase
from runbook_lib.plan.window import Window
from runbook_lib.run.approvals import approve
from runbook_lib.run.context import RunContext
from runbook_lib.run.run import Run
from runbook_lib.steps import schema_changes
from runbook_lib.steps.apply_ddl import approval_of
from runbook_lib.steps.baseline import changed_objects, note_baseline
from runbook_lib.steps.cutover import Cutover, _require_agreement
from runbook_lib.steps.predict_run import predict_run
from runbook_lib.steps.routes_and_links import BACK, links
from runbook_lib.transfer.sync import drain
from runbook_lib.validation import validate
from runbook_lib.verdict import Outcome, Verdict

module = sys.modules["runbook_lib.steps.cutover"]  # the package has the step under this name
PLAN = replace(plan_of(), path="plans/shop.yaml", digest="p", phases=(Phase("data_migration"), Phase("cutover")))
CHANGED = (
    "ALTER TYPE mood ADD VALUE 'great' AFTER 'ok'",
    "CREATE TYPE colour AS ENUM ('red', 'green')",
    "ALTER TABLE users ADD COLUMN colour colour DEFAULT 'red'",  # of a table that leaves a column behind
    "ALTER TABLE profiles ADD COLUMN mail text NOT NULL DEFAULT 'none'",  # of one with another name there
    "UPDATE profiles SET mail = user_id || '@example.org' WHERE user_id < 10",
    "CREATE INDEX ON orders (total)",
    "CREATE VIEW late AS SELECT id FROM orders",
    "CREATE TABLE unrelated (id int PRIMARY KEY)",
)
FIRST = "ALTER TABLE order_items ADD COLUMN first int DEFAULT 1"
POINTS = ("at the origin", "drained", "applied", "compared")


class Router:
    """Takes what it is told; what a router does is tested elsewhere."""

    def __init__(self) -> None:
        self.held: list[str] = []
        self.weights = {f"{s.name}.{what}": {"legacy": 100} for s in PLAN.services for what in ("reads", "writes")}

    def routes(self) -> dict[str, Any]:
        return {name: SimpleNamespace(weights=some, acknowledged=True) for name, some in self.weights.items()}

    def set_weights(self, weights: dict[str, dict[str, int]]) -> None:
        self.weights |= weights

    def hold(self, routes: Sequence[str], within_s: float) -> None:
        self.held = list(routes)

    def release(self) -> None:
        self.held = []


@dataclass(frozen=True)
class ServerEnvironment(SmallEnvironment):
    """The same with the databases of an estate."""

    urls: Mapping[str, str] = field(default_factory=dict)
    password: str = ""
    routing: Router = field(default_factory=Router)
    router_settings: Mapping[str, str] = field(default_factory=lambda: {"origin": "legacy"})

    def router(self) -> Any:
        return self.routing

    def database(self, name: str) -> Any:
        return open_database(name, self.urls[name], self.password)


def an_environment(folder: Path, urls: Mapping[str, str], password: str) -> ServerEnvironment:
    return ServerEnvironment(folder, PLAN, urls=urls, password=password, journal=f"sqlite:///{folder}/journal.sqlite")


@pytest.fixture
def estate(postgresql_server: Any) -> Iterator[Estate]:
    with an_estate(postgresql_server, "ready") as made:
        yield made


@pytest.fixture
def environment(estate: Estate, tmp_path: Path, postgresql_server: Any) -> ServerEnvironment:
    """Of a run whose preflight passed, and whose tables are complete at the targets."""
    urls = {database.name: database.masked_url for database in estate.databases}
    made = an_environment(tmp_path, urls, postgresql_server.password)
    with start(made) as run:
        run.verdict("backup", Verdict(Outcome.PASS, ""))
        run.gate()
    with start(made, "data_migration") as run:
        run.verdict("build_indexes", Verdict(Outcome.PASS, ""))
        note_baseline(run)
    return made


def agree(run: Run) -> None:
    """What the cutover asks before its fence."""
    forward, back = links(run), links(run, BACK)
    _require_agreement(run, forward, forward, back)


@at_night
def test_an_approved_change_is_carried_to_every_service_killed_at_each_point_and_the_cutover_may_follow(
    estate: Estate, environment: ServerEnvironment, tmp_path: Path
) -> None:
    with start(environment, "data_migration") as run:
        assert schema_changes(run) == []
        agree(run)
    for statement in CHANGED:
        estate.source.execute(statement)
    with start(environment, "data_migration") as run:
        with pytest.raises(Refused) as refused:
            agree(run)
        for said in ("users: no column colour", "bios: no column mail", "enum public.mood: changed at legacy", "-f "):
            assert said in str(refused.value), str(refused.value)
        assert {"view public.late", "enum public.colour"} <= set(changed_objects(run, forward=True))
        assert "unrelated" not in str(refused.value)
        [step] = schema_changes(run, [FIRST])
        with pytest.raises(GateFailed, match="schema drift in legacy"):
            run.step(step)
        approve(run.journal, run.run_id, "schema drift in legacy", comment="asked for", actor="test")
        with pytest.raises(GateFailed, match="change of the schema 1"):
            run.step(step)
        approve(run.journal, run.run_id, approval_of(1), comment="asked for", actor="test")
    command = [sys.executable, __file__, str(tmp_path), environment.password, *environment.urls.values()]
    for point in POINTS:
        killed = subprocess.run(
            command,
            env=killed_at(f"apply-ddl:{point}"),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert killed.returncode == -signal.SIGKILL, (point, killed.stderr[-2000:])
    with start(environment, "data_migration") as run:
        [step] = schema_changes(run)
        assert step.statements == (FIRST,)
        record = run.step(step)
        assert "carried out before" in record.text and "view public.late" in record.text, record.text
        assert run.step(step).repeated and schema_changes(run) == []
        agree(run)
        drain(estate.forward)
        report = validate(estate.forward, under_writes=False)
        assert report.passed, report.text
        run.gate()
    assert estate.users.rows("SELECT colour::text, mood::text FROM users WHERE id = 1") == [("red", "sad")]
    assert estate.users.rows("SELECT count(*) FROM bios WHERE mail LIKE '%@%'") == [(4,)]
    assert estate.orders.rows("SELECT DISTINCT first FROM lines") == [(1,)]
    assert "great" in str(estate.users.rows("SELECT enum_range(NULL::mood)::text"))


def test_a_statement_that_is_refused_fails_the_step_by_name_and_the_corrected_one_is_carried_out(
    estate: Estate, environment: ServerEnvironment
) -> None:
    wrong, right = "ALTER TABLE orders ADD COLUMN x nosuch", "ALTER TABLE orders ADD COLUMN x int"
    with start(environment, "data_migration", options={}) as run:
        for statement in (wrong, right):
            [step] = schema_changes(run, [statement])
            with pytest.raises(GateFailed):
                run.step(step)
            approve(run.journal, run.run_id, approval_of(1), comment="asked for", actor="test")
            if statement == wrong:
                with pytest.raises(Exception, match='type "nosuch" does not exist'):
                    run.step(step)
            else:
                assert run.step(step).passed
    assert estate.orders.rows("SELECT DISTINCT x FROM orders") == [(None,)]


CHANGES = ["ALTER TABLE orders ADD COLUMN x int", "CREATE FUNCTION x() RETURNS int RETURN 1"]


@at_night
@pytest.mark.parametrize("change", short_of(CHANGES, CHANGES[1:]))
def test_the_plans_cutover_and_its_return_name_a_change_that_came_after_their_comparison_and_nothing_is_moved(
    estate: Estate, environment: ServerEnvironment, change: str
) -> None:
    undo = "DROP FUNCTION x" if "FUNCTION" in change else "ALTER TABLE orders DROP COLUMN x"
    with start(environment, "data_migration", options={"small_enough_keys": 10}) as run:
        run.verdict("rehearse_fence", Verdict(Outcome.PASS, "", {"fence_s": 0.05}))
        sides = ((run.source, Cutover().apply, True), (run.databases["orders_db"], Cutover().rollback, False))
        for origin, act, at_source in sides:
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(origin, "raise_fence", behind(origin, change))
                with pytest.raises(CutoverAborted, match=r"compared: (table orders|function public\.x): "):
                    act(run)
            assert origin.fenced(["orders"]) == frozenset()
            assert all(set(some) == {"legacy"} for some in run.router.weights.values()) == at_source  # type: ignore[attr-defined]
            origin.execute(undo)
            assert "write pause" in act(run).text


def test_a_cutover_outside_the_plans_window_is_refused_before_the_fence_and_one_in_it_or_waived_is_not(
    estate: Estate, environment: ServerEnvironment
) -> None:
    now = datetime.now(UTC)
    elsewhen = Window(((now.weekday() + 3) % 7,), "02:00", "04:00", "UTC", "in three days")
    since, hour = f"{now - timedelta(hours=1):%H:%M}", now + timedelta(hours=1)
    open_now = Window(tuple(range(7)), since, f"{hour:%H:%M}", "UTC", "an hour about now")
    enforced = replace(environment, policy=replace(environment.policy, window="enforce"))

    def within(window: Window, pause_s: float = 8.0) -> ServerEnvironment:
        phases = (Phase("data_migration"), Phase("cutover", window=window, max_write_pause_s=pause_s))
        return replace(enforced, plan=replace(PLAN, phases=phases))

    for closed, why in (
        (within(elsewhen), f"it is {now:%A}.*expected the plan's window, in three days.*nothing was fenced.*from 20"),
        (within(open_now, 7200.0), r"the window closes within the longest write pause \(7200 s\)"),
    ):
        with start(closed, "data_migration", options={"small_enough_keys": 10}) as run:
            run.verdict("rehearse_fence", Verdict(Outcome.PASS, "", {"fence_s": 0.05}))
            with pytest.raises(CutoverAborted, match=why):
                Cutover().apply(run)
            assert run.source.fenced(["orders"]) == frozenset()
    with start(within(open_now), "data_migration", options={"small_enough_keys": 10}) as run:
        with pytest.MonkeyPatch.context() as patched:  # it closes while both sides are compared
            closes = partial(patched.setattr, module, "is_open", lambda *_: False)
            patched.setattr(module, "_require_agreement", lambda *_: closes())
            with pytest.raises(CutoverAborted, match="nothing was fenced"):
                Cutover().apply(run)
        assert "write pause" in Cutover().apply(run).text


def behind(database: Any, change: str) -> Callable[..., float]:
    """The fence of this database, with a change of the schema that comes just before it."""
    original = database.raise_fence

    def call(*args: Any, **more: Any) -> float:
        database.execute(change)
        return float(original(*args, **more))

    return call


def carry_out(folder: Path, password: str, urls: list[str]) -> None:
    """In the process that is killed."""
    made = an_environment(folder, dict(zip(("legacy", "users_db", "orders_db"), urls, strict=True)), password)
    with start(made, "data_migration") as run:
        for step in schema_changes(run, [FIRST]):
            run.step(step)


if __name__ == "__main__":
    carry_out(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])


def test_a_dry_run_of_a_runs_cutover_shows_what_would_be_refused_and_changes_nothing(
    estate: Estate, environment: ServerEnvironment
) -> None:
    with start(environment, "data_migration") as run:
        before = len(run.journal.entries(run.run_id))
        known = RunContext(environment, "cutover", run.run_id, run.journal, run.options)
        seen = predict_run(known)
        assert seen.ready and seen.predicted_s > 0, list(seen.lines())
        estate.source.execute("ALTER TABLE orders ADD COLUMN late int", "UPDATE users SET email = email WHERE id = 1")
        seen = predict_run(known)
        text = "\n".join(seen.lines())
        assert not seen.ready and "late" in text and "Next: runbook follow apply-ddl -f" in text
        assert "cutover of environment" in text and "user_service: postgresql://" in text and seen.keys <= 1
        assert len(run.journal.entries(run.run_id)) == before
        assert not estate.source.fenced(["orders", "users"])
        for database in known.databases.opened.values():
            database.close()
