"""Target tables out of the source's catalog: equal to it, but for what the plan says, and gone without trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from estate_transfer import ORDERS, USERS, Estate, an_estate, plan

from runbook_lib import steps
from runbook_lib.config.options import Options
from runbook_lib.databases.postgresql import open_database
from runbook_lib.errors import TransferError
from runbook_lib.plan.model import Service, TableMapping
from runbook_lib.schema.create_target import build_indexes, create_tables, drop_tables
from runbook_lib.schema.extraction_views import create_views, drop_views
from runbook_lib.transfer.bulk_copy import copy_link
from runbook_lib.validation import validate

OBJECTS = """
SELECT 'relation ' || relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
UNION ALL SELECT 'type ' || typname FROM pg_type WHERE typnamespace = 'public'::regnamespace
UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1
"""


@pytest.fixture
def estate(postgresql_server: Any) -> Iterator[Estate]:
    with an_estate(postgresql_server, "filled") as made:
        yield made


def test_made_tables_equal_the_source_by_all_six_checks_after_indexes(estate: Estate) -> None:
    estate.make_targets()
    for link in estate.forward:
        copy_link(link, chunk_rows=10)
    estate.index_targets()
    report = validate(estate.forward, under_writes=False)
    assert report.passed, report.text
    users = estate.users.catalog(["users", "preferences"])
    assert "legacy_flag" not in [column.name for column in users["users"].columns]
    assert not [index for index in users["users"].indexes if "legacy_flag" in index.columns]
    assert [trigger.split()[0] for trigger in users["users"].triggers] == ["touch"]


def test_tables_have_no_index_or_constraint_before_the_load(estate: Estate) -> None:
    assert create_tables(ORDERS, estate.source, estate.orders) == ("orders", "lines", "tickets", "events")
    for table in estate.orders.catalog().values():
        assert not table.indexes and {c.kind for c in table.constraints} <= {"not_null", "check"}, table.name


def test_a_derived_table_has_its_types_its_key_and_a_foreign_key_to_its_origin(estate: Estate) -> None:
    create_tables(USERS, estate.source, estate.users)
    estate_index(estate, USERS)
    preferences = estate.users.catalog(["preferences"])["preferences"]
    assert [(c.name, c.type) for c in preferences.columns] == [
        ("user_id", "bigint"),
        ("theme", "character varying"),
        ("notifications", "boolean"),
    ]
    assert preferences.key == ("user_id",)
    [foreign] = [c for c in preferences.constraints if c.kind == "foreign"]
    assert foreign.referenced_table == "users" and "CASCADE" in foreign.definition


def estate_index(estate: Estate, service: Service) -> None:
    replace(estate, services=(service,)).index_targets()


def test_making_tables_and_indexes_twice_does_nothing_the_second_time(estate: Estate) -> None:
    assert create_tables(USERS, estate.source, estate.users)
    assert create_tables(USERS, estate.source, estate.users) == ()
    estate_index(estate, USERS)
    before = estate.users.fingerprint(["users", "bios", "preferences"])
    estate_index(estate, USERS)
    assert create_tables(USERS, estate.source, estate.users) == ()
    assert estate.users.fingerprint(["users", "bios", "preferences"]) == before


def test_dropping_leaves_the_target_as_it_was(estate: Estate) -> None:
    estate.users.run_script("CREATE TABLE theirs (id int PRIMARY KEY); CREATE TYPE theirs_too AS ENUM ('x')")
    before = estate.users.rows(OBJECTS)
    create_tables(USERS, estate.source, estate.users)
    assert estate.users.rows(OBJECTS) != before
    assert set(drop_tables(USERS, estate.users)) == {"users", "bios", "preferences"}
    assert estate.users.rows(OBJECTS) == before
    create_tables(USERS, estate.source, estate.users)
    estate_index(estate, USERS)
    drop_tables(USERS, estate.users)
    assert estate.users.rows(OBJECTS) == before
    assert drop_tables(USERS, estate.users) == ()


def test_dropping_touches_nothing_that_was_there_before(estate: Estate) -> None:
    estate.users.execute("CREATE TABLE bios (id int PRIMARY KEY)")
    with pytest.raises(TransferError, match=r"users_db: bios: already there, and not made by this run; .*nothing was"):
        create_tables(USERS, estate.source, estate.users)
    assert drop_tables(USERS, estate.users) == ()
    assert list(estate.users.catalog()) == ["bios"]


def test_a_failure_in_the_middle_leaves_nothing_and_the_next_attempt_succeeds(estate: Estate) -> None:
    before = estate.users.rows(OBJECTS)
    broken = replace(USERS, tables=(*USERS.tables, TableMapping("x", "users", key={"a": "id"}, columns={"b": "nope"})))
    with pytest.raises(Exception, match="nope"):
        create_tables(broken, estate.source, estate.users)
    assert estate.users.rows(OBJECTS) == before
    assert create_tables(USERS, estate.source, estate.users)
    assert build_indexes(USERS, estate.users)


def a_run(estate: Estate, folder: Path) -> Any:
    """What these two steps ask of a run."""
    environment = SimpleNamespace(quarantine=folder)
    return SimpleNamespace(
        plan=plan(),
        source=estate.source,
        databases=estate.targets,
        options=Options(),
        environment=environment,
        write=lambda *what, **more: None,
    )


def test_an_object_that_a_target_refuses_is_named_before_the_first_table_of_any_service_is_made(
    estate: Estate, tmp_path: Path
) -> None:
    run, before = a_run(estate, tmp_path), estate.users.rows(OBJECTS)
    estate.orders.execute("CREATE SEQUENCE orders_slot_key")
    with pytest.raises(
        TransferError, match=r'orders_db: orders: .*"orders_slot_key" already exists .*nothing was made'
    ):
        steps.CreateTargetSchemas().apply(run)
    assert estate.users.rows(OBJECTS) == before and estate.orders.tables() == []
    estate.orders.execute("DROP SEQUENCE orders_slot_key")
    assert steps.CreateTargetSchemas().apply(run).text == "7 tables in 2 databases"
    assert steps.CreateTargetSchemas().apply(run).text == "0 tables in 2 databases"


def test_build_indexes_names_every_object_that_is_refused_makes_all_others_and_then_only_these(
    estate: Estate, tmp_path: Path
) -> None:
    run = a_run(estate, tmp_path)
    steps.CreateTargetSchemas().apply(run)
    for link in estate.captures().forward:
        copy_link(link)
    estate.users.execute("CREATE TABLE users_seen_idx (id int)")  # since the trial
    estate.orders.execute("CREATE SEQUENCE orders_slot_key")
    with pytest.raises(TransferError) as refused:
        steps.BuildIndexes().apply(run)
    for name in ("index users_seen_idx of users", "orders_slot_key of orders"):
        assert f'{name}: relation "{name.split()[-3]}" already exists' in str(refused.value), str(refused.value)
    assert "2 objects were refused" in str(refused.value) and "everything else is made" in str(refused.value)
    assert estate.users.catalog(["preferences"])["preferences"].key == ("user_id",)
    estate.users.execute("DROP TABLE users_seen_idx")
    estate.orders.execute("DROP SEQUENCE orders_slot_key")
    steps.BuildIndexes().apply(run)
    assert steps.BuildIndexes().verify(run).passed
    report = validate(estate.forward, checks=("indexes", "constraints"), under_writes=False)
    assert report.passed, report.text


def test_two_services_may_share_a_database_and_be_dropped_one_by_one(estate: Estate) -> None:
    for service in (USERS, ORDERS):
        create_tables(service, estate.source, estate.users)
    drop_tables(USERS, estate.users)
    assert sorted(estate.users.catalog()) == ["events", "lines", "orders", "tickets"]


def test_tables_of_another_schema_are_made_there(new_database: Callable[..., Any]) -> None:
    source, target = new_database("legacy"), new_database("sales_db")
    source.run_script("CREATE SCHEMA sales; CREATE TABLE sales.orders (id int PRIMARY KEY, what text NOT NULL);")
    source.run_script("INSERT INTO sales.orders VALUES (1, 'a'), (2, 'b')")
    service = Service("sales_service", "sales_db", tables=(TableMapping("sales.orders", "sales.orders"),))
    create_tables(service, source, target)
    build_indexes(service, target)
    assert [table.key for table in target.catalog(["sales.orders"]).values()] == [("id",)]
    assert create_views(service, source) == ("sales_service.orders",)
    assert source.rows("SELECT what FROM sales_service.orders ORDER BY 1") == [("a",), ("b",)]
    drop_views(service, source)
    drop_tables(service, target)
    assert target.catalog() == {}


def test_views_show_the_future_tables_to_whoever_may_read_the_present_ones(
    estate: Estate, postgresql_server: Any
) -> None:
    estate.source.execute("GRANT SELECT ON users TO app", "GRANT SELECT ON profiles TO PUBLIC")
    for _ in range(2):
        create_views(USERS, estate.source)
    grants = estate.source.rows(
        "SELECT table_name, grantee FROM information_schema.role_table_grants"
        " WHERE table_schema = 'user_service' AND grantee <> 'migrator' ORDER BY 1, 2"
    )
    assert grants == [("bios", "PUBLIC"), ("preferences", "app"), ("users", "app")]
    app = open_database("legacy", postgresql_server.url(estate.source.masked_url.rpartition("/")[2], "app"), "app")
    try:
        assert app.rows("SELECT theme, notifications FROM user_service.preferences WHERE user_id = 5") == [
            ("light", True)
        ]
    finally:
        app.close()
    for _ in range(2):
        drop_views(USERS, estate.source)
    assert not estate.source.rows("SELECT 1 FROM pg_namespace WHERE nspname = 'user_service'")


def test_the_planner_has_statistics_once_the_indexes_are_built(estate: Estate, tmp_path: Path) -> None:
    steps.CreateTargetSchemas().apply(a_run(estate, tmp_path))
    copy_link(estate.captures().forward[0])
    known = "SELECT count(*) FROM pg_stats WHERE schemaname = 'public' AND tablename = 'users'"
    assert estate.users.rows(known) == [(0,)]
    assert build_indexes(USERS, estate.users)
    assert estate.users.rows(known)[0][0] > 0
