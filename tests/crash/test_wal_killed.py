"""SIGKILL at each step of bringing changes from a slot into the logs, and of making the slot: no change is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import estate_killed
import pytest
from fix_sandbox import wait_for

from runbook_lib.databases.postgresql import open_database
from runbook_lib.databases.postgresql.wal import changed_keys, replication_slot, slot_reader

PLACES = {"slots": replication_slot, "spool": slot_reader, "Keys": changed_keys.Keys}


def carry_out(order: dict[str, Any]) -> None:
    """In the forked process: open the database again, arm a step, act."""
    database = open_database("source", order["url"], order["password"], {"capture": "wal"})
    place, method, moment = order["point"].split(":")
    estate_killed.arm(PLACES[place], method, moment, order["number"])
    if order["what"] == "install":
        database.install_capture("ch", {"items": ["id"]})
    else:
        database.pending("ch")


@pytest.fixture(scope="module")
def killer() -> Iterator[Any]:
    with estate_killed.killer("test_wal_killed") as process:
        yield process


@pytest.fixture
def database(postgresql_server: Any, new_database: Any) -> Any:
    made = new_database("source", capture="wal")
    made.execute("CREATE TABLE items (id integer PRIMARY KEY, v text)")
    return made


def kill(killer: Any, server: Any, database: Any, what: str, point: str, number: int = 1) -> None:
    url = server.url(database.masked_url.rpartition("/")[2])
    order = {"url": url, "password": server.password, "what": what, "point": point, "number": number}
    estate_killed.carry_out_and_die(killer, order)
    database.engine.dispose()
    others = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    wait_for(lambda: not database.rows(others), "the server noticing that the process is gone")


@pytest.mark.parametrize(
    "point",
    ["slots:lock:after", "spool:_read:before", "spool:_read:after", "Keys:write:after", "spool:_look:after"],
)
def test_what_was_killed_between_slot_and_log_loses_no_key_and_the_next_one_goes_on(
    killer: Any, postgresql_server: Any, database: Any, point: str
) -> None:
    database.install_capture("ch", {"items": ["id"]})
    for first in (0, 100):  # the second look begins with the slot letting go of what the first took
        database.execute(f"INSERT INTO items SELECT generate_series({first}, {first + 9})")
        kill(killer, postgresql_server, database, "pending", point)
        [(apart,)] = database.rows(
            "SELECT confirmed_flush_lsn <= spooled FROM pg_replication_slots, runbook.slots"
            " WHERE slot_name LIKE 'runbook%' AND database = current_database()"
        )
        assert apart, "the slot let go of no more than is logged"
        assert database.pending("ch")["items"].keys == 10
        changes = database.read_changes("ch", "items", 100)
        assert sorted(changes.keys) == [(number,) for number in range(first, first + 10)]
        database.forget_changes("ch", changes)


@pytest.mark.parametrize(
    "point", ["slots:publish:after", "slots:create:before", "slots:_drop:after", "slots:create:after"]
)
def test_a_capture_that_was_killed_while_it_was_made_is_completed(
    killer: Any, postgresql_server: Any, database: Any, point: str
) -> None:
    kill(killer, postgresql_server, database, "install", point)
    if point != "slots:create:after":
        assert database.capture_installed("ch") == frozenset()
    database.install_capture("ch", {"items": ["id"]})
    assert database.capture_installed("ch") == {"items"}
    database.execute("INSERT INTO items VALUES (1)")
    assert database.read_changes("ch", "items", 10).keys == ((1,),)
    database.remove_capture("ch")
    assert database.rows("SELECT 1 FROM pg_replication_slots WHERE database = current_database()") == []


def test_a_slot_whose_making_was_killed_is_made_anew(killer: Any, postgresql_server: Any, database: Any) -> None:
    kill(killer, postgresql_server, database, "install", "slots:create:before")
    with database.raw() as driver:
        driver.execute(
            "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (replication_slot.slot_name(driver, "ch"),)
        )
    assert database.capture_installed("ch") == frozenset() and database.pending("ch")["items"].keys == 0
    database.execute("INSERT INTO items VALUES (1)")
    database.install_capture("ch", {"items": ["id"]})
    assert database.pending("ch")["items"].keys == 0, "what was there before is the copy's"
