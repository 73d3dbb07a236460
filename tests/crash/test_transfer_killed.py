"""SIGKILL in the middle of making tables, of a copy and of a sync; run again: the same end state, each range once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import estate_killed
import pytest
from estate_transfer import Estate, an_estate
from fix_sandbox import wait_for

from runbook_lib.databases.postgresql import copy_socket_relay, open_database
from runbook_lib.schema.create_target import create_tables, drop_tables
from runbook_lib.transfer.bulk_copy import copy_link
from runbook_lib.transfer.capture import enable_capture, pending
from runbook_lib.transfer.chunk_store import stored
from runbook_lib.transfer.sync import drain

Kill = Callable[[Estate, str, str, str, int], None]


def act(what: str, estate: Estate) -> None:
    """What is killed: the same calls that a phase makes."""
    if what == "make":
        estate.make_targets()
    elif what == "copy":
        for link in estate.forward:
            copy_link(link, chunk_rows=20, jobs=1)
    else:
        drain(estate.forward, batch_keys=5)


def carry_out(order: dict[str, Any]) -> None:
    """In the forked process: open the databases again, arm one of them, act."""
    opened = [open_database(name, url, order["password"]) for name, url in order["databases"]]
    for database in opened:
        if database.name == order["armed"]:
            armed = copy_socket_relay if order["method"] == "_pass_on" else database
            estate_killed.arm(armed, order["method"], order["moment"], order["number"])
    act(order["what"], Estate(*opened))


@pytest.fixture(scope="module")
def killer() -> Iterator[Any]:
    """Its children are the ones to be killed."""
    with estate_killed.killer("test_transfer_killed") as process:
        yield process


@pytest.fixture
def filled(postgresql_server: Any) -> Iterator[Estate]:
    with an_estate(postgresql_server, "filled") as ready:
        yield ready


@pytest.fixture
def made(postgresql_server: Any) -> Iterator[Estate]:
    with an_estate(postgresql_server, "made") as ready:
        yield ready


@pytest.fixture
def copied(postgresql_server: Any) -> Iterator[Estate]:
    with an_estate(postgresql_server, "copied") as ready:
        yield ready


@pytest.fixture
def killed(killer: Any, postgresql_server: Any) -> Kill:
    def kill(estate: Estate, what: str, armed: str, point: str, number: int) -> None:
        method, moment = point.split(":")
        databases = [
            (database.name, postgresql_server.url(database.masked_url.rpartition("/")[2]))
            for database in (estate.source, estate.users, estate.orders)
        ]
        order = {
            "databases": databases,
            "password": postgresql_server.password,
            "what": what,
            "armed": armed,
            "method": method,
            "moment": moment,
            "number": number,
        }
        estate_killed.carry_out_and_die(killer, order)
        wait_for(lambda: not sessions(estate), "the server noticing that the process is gone")

    def sessions(estate: Estate) -> int:
        names = [d.masked_url.rpartition("/")[2] for d in (estate.source, estate.users, estate.orders)]
        mine = ", ".join(f"'{name}'" for name in names)
        for database in (estate.source, estate.users, estate.orders):
            database.engine.dispose()
        # Only this one connection is ours.
        sql = f"SELECT count(*) FROM pg_stat_activity WHERE datname IN ({mine}) AND pid <> pg_backend_pid()"
        return int(estate.source.rows(sql)[0][0])

    return kill


@pytest.mark.parametrize(
    ("point", "number"),
    [
        ("dump_schema:before", 1),
        ("run_script:after", 1),
        ("execute:after", 2),
        ("run_script:after", 2),
        ("run_script:before", 3),
        ("run_script:after", 3),
    ],
)
def test_tables_whose_making_was_killed_are_made_again_or_dropped_without_trace(
    filled: Estate, killed: Kill, point: str, number: int
) -> None:
    objects = (
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " UNION ALL SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace"
        " UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    )
    killed(filled, "make", "users_db", point, number)
    drop_tables(filled.services[0], filled.users)
    assert filled.users.rows(objects) == []
    killed(filled, "make", "users_db", point, number)
    create_tables(filled.services[0], filled.source, filled.users)
    assert set(filled.users.catalog()) == {"users", "bios", "preferences"}
    drop_tables(filled.services[0], filled.users)
    assert filled.users.rows(objects) == []


@pytest.mark.parametrize(
    ("point", "number"),
    [
        ("copy_across:before", 1),
        ("copy_across:after", 1),
        ("_pass_on:after", 3),
        ("copy_across:after", 4),
        ("copy_across:before", 5),
    ],
)
def test_a_copy_killed_anywhere_is_resumed_and_every_range_is_there_once(
    made: Estate, killed: Kill, point: str, number: int
) -> None:
    killed(made, "copy", "users_db", point, number)
    users, orders = made.forward
    done = {flow.table: sum(chunk.rows_done or 0 for chunk in stored(users, flow)) for flow in users.flows}
    for table, rows in done.items():
        assert made.users.rows(f"SELECT count(*) FROM {table}") == [(rows,)]
    ended = number if point == "copy_across:after" else number - 1
    assert sum(c.rows_done is not None for flow in users.flows for c in stored(users, flow)) == ended
    again = [copy_link(link, chunk_rows=20) for link in (users, orders)]
    assert again[0].rows == sum(done.values()) + again[0].rows_now == 30 + 15 + 30
    made.index_targets()
    report = made.compare()
    assert report.passed, report.text


@pytest.mark.parametrize(
    ("armed", "point", "number"),
    [
        ("users_db", "apply_rows:after", 1),
        ("legacy", "forget_changes:before", 1),
        ("legacy", "forget_changes:after", 1),
        ("orders_db", "apply_rows:after", 2),
        ("legacy", "forget_changes:before", 5),
    ],
)
def test_a_sync_killed_anywhere_goes_on_and_repeats_nothing_that_matters(
    copied: Estate, killed: Kill, armed: str, point: str, number: int
) -> None:
    copied.source.execute(
        "UPDATE users SET note = 'changed', theme = 'dark' WHERE id < 12",
        "UPDATE profiles SET user_id = 1 WHERE user_id = 2",
        "DELETE FROM order_items WHERE order_id < 4",
        "UPDATE orders SET total = 7 WHERE id < 9",
        "INSERT INTO tickets (what) VALUES ('one more')",
        "UPDATE events SET kind = 'noise' WHERE id < 5",
    )
    killed(copied, "sync", armed, point, number)
    assert pending(copied.forward).keys > 0
    drain(copied.forward)
    assert pending(copied.forward).keys == 0
    report = copied.compare()
    assert report.passed, report.text


def test_a_killed_capture_is_completed(made: Estate) -> None:
    link = made.forward[0]
    first = dict(list(link.captured.items())[:1])
    made.source.install_capture(link.channel, first)  # as far as it came
    made.source.execute("UPDATE users SET note = 'kept' WHERE id = 1")
    enable_capture(link)
    assert pending([link]).keys == 1
