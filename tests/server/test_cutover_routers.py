"""The plan's cutover and its return through real routers: where the writes go, and that no client is refused."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from estate_transfer import ORDERS, USERS, an_estate
from estate_transfer import plan as plan_of
from fix_run import SmallEnvironment, start
from router_estate import BLUE, GREEN, READS, WRITES, HaproxyEstate, Pooler, home

from runbook_lib.databases.postgresql import open_database
from runbook_lib.errors import ConfigurationError
from runbook_lib.plan.model import Phase, Service
from runbook_lib.steps.baseline import note_baseline
from runbook_lib.steps.cutover import Cutover
from runbook_lib.verdict import Outcome, Verdict

PHASES = (Phase("data_migration"), Phase("cutover", max_write_pause_s=20.0))
ROUTES = [f"{service.name}.{what}" for service in (USERS, ORDERS) for what in ("reads", "writes")]
TARGETS = {f"{service.name}@target": service.database for service in (USERS, ORDERS)}
TICKET = "order_service.writes"


@dataclass(frozen=True)
class RoutedEnvironment(SmallEnvironment):
    """An estate's databases behind a router."""

    urls: dict[str, str] = field(default_factory=dict)
    password: str = ""
    routing: Any = None
    router_settings: dict[str, str] = field(default_factory=lambda: {"origin": "legacy"})

    def router(self) -> Any:
        return self.routing

    def database(self, name: str) -> Any:
        return open_database(name, self.urls[name], self.password)


@pytest.fixture
def services() -> tuple[Service, ...]:
    """What is moved."""
    return USERS, ORDERS


@pytest.fixture
def shop(
    postgresql_server: Any, tmp_path: Path, services: tuple[Service, ...]
) -> Iterator[tuple[Any, RoutedEnvironment]]:
    """Databases whose tables are complete at the targets, and the environment of a run whose preflight passed."""
    with an_estate(postgresql_server, "ready") as estate:
        urls = {database.name: database.masked_url for database in estate.databases}
        plan = replace(plan_of(*services), path="plans/shop.yaml", digest="p", phases=PHASES)
        journal = f"sqlite:///{tmp_path}/journal.sqlite"
        environment = RoutedEnvironment(tmp_path, plan, journal=journal, urls=urls, password=postgresql_server.password)
        with start(environment) as run:
            run.verdict("backup", Verdict(Outcome.PASS, ""))
            run.gate()
        with start(environment, "data_migration") as run:
            run.verdict("build_indexes", Verdict(Outcome.PASS, ""))
            note_baseline(run)
        yield estate, environment


@contextlib.contextmanager
def moving(environment: RoutedEnvironment, router: Any) -> Iterator[Any]:
    """A run that may carry its cutover out through this router."""
    with start(replace(environment, routing=router), "data_migration", options={"small_enough_keys": 100}) as run:
        run.verdict("rehearse_fence", Verdict(Outcome.PASS, "", {"fence_s": 0.05}))
        yield run


def started(make: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
    """A router; where its program is missing a skip, but not in CI."""
    try:
        return make(*arguments, **more)
    except ConfigurationError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def test_writers_through_pgbouncer_wait_out_the_cutover_and_the_return_and_no_write_is_refused_or_lost(
    shop: tuple[Any, RoutedEnvironment], postgresql_server: Any
) -> None:
    estate, environment = shop
    names = {"legacy": "legacy", **TARGETS}
    for url in environment.urls.values():
        postgresql_server.admin("GRANT ALL ON ALL TABLES IN SCHEMA public TO app", url.rpartition("/")[2])
        postgresql_server.admin("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO app", url.rpartition("/")[2])
    at = {name: environment.urls[database].rpartition("/")[2] for name, database in names.items()}
    targets = {name: f"host=127.0.0.1 port={postgresql_server.port} dbname={dbname}" for name, dbname in at.items()}
    before = len(estate.source.rows("SELECT id FROM tickets"))
    with home() as directory:
        pooler = started(Pooler, directory, targets, dict.fromkeys(ROUTES, "legacy"))
        try:
            statement = "INSERT INTO tickets (what) VALUES ('acknowledged') RETURNING current_database()::text"
            writing = pooler.load(clients=2, routes=[TICKET], statement=statement)
            with moving(environment, pooler.router) as run, writing as load:
                assert "write pause" in Cutover().apply(run).text
                assert pooler.router.routes()[TICKET].weights == {"order_service@target": 100}
                load.wait_for(30)
                assert "write pause" in Cutover().rollback(run).text
                load.wait_for(30)
        finally:
            pooler.stop()
    assert load.failed == []
    written = sum(count for name, count in load.answered.items() if name)
    assert load.answered[at["order_service@target"]] >= 20 and load.answered[at["legacy"]] >= 20
    assert len(estate.source.rows("SELECT id FROM tickets")) == before + written


@pytest.mark.parametrize("services", [(USERS,)])
def test_the_cutover_switches_haproxys_writes_and_after_its_restart_the_return_takes_them_back(
    shop: tuple[Any, RoutedEnvironment],
) -> None:
    _, environment = shop
    with home() as directory:
        estate = started(HaproxyEstate, directory)
        try:
            with moving(replace(environment, router_settings={"origin": BLUE}), estate.router) as run:
                assert "write pause" in Cutover().apply(run).text
                assert estate.homes() == {READS: BLUE, WRITES: GREEN}
                assert (estate.ask(READS), estate.ask(WRITES)) == (BLUE, GREEN)
                estate.kill_and_start()
                assert "write pause" in Cutover().rollback(run).text
                assert (estate.ask(READS), estate.ask(WRITES)) == (BLUE, BLUE)
        finally:
            estate.stop()
