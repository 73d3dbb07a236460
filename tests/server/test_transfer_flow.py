"""What flows where: the plan's mappings as links, forwards and back, on real catalogs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from estate_transfer import MONOLITH, ORDERS, PREFERENCES, USERS, Estate, an_estate, plan, texts

from runbook_lib.errors import PlanError
from runbook_lib.plan.model import Service, TableMapping
from runbook_lib.schema.create_target import build_indexes, create_tables
from runbook_lib.transfer.build_links import forward_links, reverse_links
from runbook_lib.transfer.bulk_copy import copy_link
from runbook_lib.transfer.capture import enable_capture
from runbook_lib.transfer.links import Flow, Link
from runbook_lib.transfer.sync import drain


@pytest.fixture
def estate(postgresql_server: Any) -> Iterator[Estate]:
    with an_estate(postgresql_server, "copied") as made:
        yield made


@pytest.fixture
def filled(postgresql_server: Any) -> Iterator[Estate]:
    with an_estate(postgresql_server, "filled") as made:
        yield made


def flow(link: Link, table: str) -> Flow:
    return next(flow for flow in link.flows if flow.table == table)


def read(link: Link, table: str, *keys: int) -> list[dict[str, str | None]]:
    """Current rows as the sync would read them."""
    found = flow(link, table)
    rows = link.reader.read_rows(found.reading, [(key,) for key in keys])
    return [dict(zip(found.columns, row, strict=True)) for row in rows]


def test_except_leaves_the_column_and_generated_columns_behind(estate: Estate) -> None:
    columns = flow(estate.forward[0], "users").columns
    assert "legacy_flag" not in columns and "loud" not in columns and "theme" in columns


def test_a_derived_row_is_the_plans_expressions_cast_to_the_targets_types(estate: Estate) -> None:
    link = estate.forward[0]
    assert read(link, "preferences", 5, 7) == [
        {"user_id": "5", "theme": "light", "notifications": "t"},
        {"user_id": "7", "theme": "light", "notifications": "f"},
    ]
    assert flow(link, "preferences").feeds[0].table == "users"
    assert link.captured == {"users": ("id",), "profiles": ("user_id",)}


def test_a_filter_keeps_rows_behind_and_they_are_never_read(estate: Estate) -> None:
    assert [row["id"] for row in read(estate.forward[1], "events", 1, 2, 3, 4)] == ["1", "2", "4"]


def test_back_a_source_row_is_joined_from_its_tables_and_no_column_is_written_twice(estate: Estate) -> None:
    back = estate.back[0]
    users = flow(back, "users")
    assert sorted(users.columns) == sorted(set(users.columns))
    assert {"theme", "notify", "email"} <= set(users.columns) and "legacy_flag" not in users.columns
    assert back.captured == {"users": ("id",), "preferences": ("user_id",), "bios": ("user_id",)}
    # the short form has `theme` too; the derived table is the one that gives it back
    estate.users.execute(
        "UPDATE preferences SET theme = 'green', notifications = false WHERE user_id = 5",
        "UPDATE users SET theme = 'ignored' WHERE id = 5",
    )
    [row] = read(back, "users", 5)
    assert (row["theme"], row["notify"], row["email"]) == ("green", "f", "user5@example.org")


def test_back_a_missing_derived_row_takes_the_sources_defaults(estate: Estate) -> None:
    estate.users.execute("DELETE FROM preferences WHERE user_id = 5")
    [row] = read(estate.back[0], "users", 5)
    assert (row["theme"], row["notify"]) == ("light", None)


def test_back_a_renamed_table_finds_its_way(estate: Estate) -> None:
    back = estate.back[0]
    assert flow(back, "profiles").relation == '"bios" AS m'
    assert read(back, "profiles", 4) == [{"user_id": "4", "bio": "bio 4"}]


def test_back_a_composite_derived_key_is_logged_in_the_sources_order(new_database: Callable[..., Any]) -> None:
    source, target = new_database("legacy"), new_database("shop_db")
    source.run_script("CREATE TABLE t (a int, b int, v text, PRIMARY KEY (a, b)); INSERT INTO t VALUES (1, 2, 'x');")
    service = Service(
        "shop",
        "shop_db",
        tables=(
            TableMapping("t", "t", omit=("v",)),
            TableMapping("d", "t", key={"second": "b", "first": "a"}, columns={"w": "v"}, reverse={"v": "w"}),
        ),
    )
    create_tables(service, source, target)
    copy_link(forward_links(plan(service), source, {"shop_db": target})[0])
    build_indexes(service, target)
    [back] = reverse_links(plan(service), source, {"shop_db": target})
    enable_capture(back)
    target.execute("UPDATE d SET w = 'changed'")
    drain([back])
    assert texts(source, "t") == ["(1,2,changed)"]


def test_a_derived_table_that_cannot_find_its_way_back_is_refused(new_database: Callable[..., Any]) -> None:
    source, target = new_database("legacy"), new_database("users_db")
    source.run_script(MONOLITH)
    whole = replace(PREFERENCES, key={"mail": "email"})
    for tables, text in (
        ((USERS.tables[0], whole), "its key is taken from .email.; expected users's own key .id."),
        ((PREFERENCES,), "no table of the service carries whole rows of users"),
    ):
        service = replace(USERS, tables=tables)
        create_tables(service, source, target)
        with pytest.raises(PlanError, match=text):
            reverse_links(plan(service), source, {"users_db": target})
        for mapping in tables:
            target.drop_tables([mapping.target])


def test_back_a_truncate_of_a_filtered_table_leaves_the_rows_that_never_moved(estate: Estate) -> None:
    back = estate.back[1]
    enable_capture(back)
    estate.orders.execute("TRUNCATE events")
    drain([back])
    assert estate.source.rows("SELECT kind, count(*) FROM events GROUP BY kind") == [("noise", 20)]
    assert estate.compare([back]).passed


def test_back_a_truncate_of_a_derived_table_gives_every_row_its_default(estate: Estate) -> None:
    back = estate.back[0]
    enable_capture(back)
    estate.users.execute("TRUNCATE preferences")
    drain([back])
    assert estate.source.rows("SELECT DISTINCT theme, notify FROM users") == [("light", None)]
    assert len(texts(estate.source, "users")) == 30


def test_tables_of_two_services_in_one_database_do_not_mix(filled: Estate) -> None:
    both = tuple(replace(service, database="users_db") for service in (USERS, ORDERS))
    shared = replace(filled, services=both).copied()
    assert shared.compare().passed
    assert [link.channel for link in shared.forward] == ["user_service", "order_service"]
