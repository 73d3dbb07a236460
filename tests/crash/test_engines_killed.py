"""SIGKILL in the middle of a copy and of a sync into every engine; run again: the same end state, each range once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import estate_killed
import pytest
from estate_engines import differences, fill, link, make
from fix_sandbox import wait_for

from runbook_lib.transfer.capture import enable_capture, pending
from runbook_lib.transfer.chunks import stored
from runbook_lib.transfer.copy import copy_link
from runbook_lib.transfer.flow import Link
from runbook_lib.transfer.sync import drain

PAIRS = [("postgresql", "mysql"), ("mysql", "sqlite"), ("sqlite", "postgresql")]
# The server's other sessions in this database: a killed one is there until the server has noticed.
SESSIONS = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_catalog AND pid <> pg_backend_pid()",
    "mysql": "SELECT count(*) FROM information_schema.processlist WHERE db = database() AND id <> connection_id()",
    "sqlite": "SELECT 0",
}
Kill = Callable[[Link, str, str, str, int], None]


def carry_out(order: dict[str, Any]) -> None:
    """In the forked process: open both databases anew, arm one of them, act."""
    opened = {
        name: import_module(f"runbook_lib.databases.{dialect}").open_database(name, url, password, {})
        for name, dialect, url, password in order["databases"]
    }
    estate_killed.arm(opened[order["armed"]], order["method"], order["moment"], order["number"])
    made = link(opened["source"], opened["target"])
    copy_link(made, chunk_rows=40, jobs=1) if order["what"] == "copy" else drain([made], batch_keys=5)


@pytest.fixture(scope="module")
def killer() -> Iterator[Any]:
    """Its children are the ones to be killed."""
    with estate_killed.killer("test_engines_killed") as process:
        yield process


@pytest.fixture(params=PAIRS, ids="-".join)
def made(request: pytest.FixtureRequest, new_on: Any) -> Link:
    """A filled source whose changes are captured, and a target with its empty tables."""
    source, target = (new_on(engine, name) for engine, name in zip(request.param, ("source", "target"), strict=True))
    make(source)
    fill(source, 60)
    make(target)
    enable_capture(link(source, target))
    return link(source, target)


@pytest.fixture
def killed(killer: Any, servers: Any) -> Kill:
    def kill(made: Link, what: str, armed: str, point: str, number: int) -> None:
        method, moment = point.split(":")
        both = (made.reader, made.writer)
        order = {
            "databases": [
                (d.name, d.dialect, d.masked_url, getattr(servers(d.dialect), "password", None)) for d in both
            ],
            "what": what,
            "armed": armed,
            "method": method,
            "moment": moment,
            "number": number,
        }
        estate_killed.carry_out_and_die(killer, order)
        for database in both:
            database.engine.dispose()
            wait_for(lambda d=database: d.rows(SESSIONS[d.dialect]) == [(0,)], "the server noticing the kill")

    return kill


@pytest.mark.parametrize(("point", "number"), [("copy_in:before", 1), ("copy_in:within", 3), ("copy_in:after", 4)])
def test_a_copy_killed_anywhere_is_resumed_and_every_range_is_there_once(
    made: Link, killed: Kill, point: str, number: int
) -> None:
    killed(made, "copy", "target", point, number)
    ended = number if "after" in point else number - 1
    done = {flow.table: [chunk.rows_done for chunk in stored(made, flow)] for flow in made.flows}
    assert sum(rows is not None for each in done.values() for rows in each) == ended
    for table, rows in done.items():
        sql = f"SELECT count(*) FROM {made.writer.quote(table)}"
        assert made.writer.rows(sql) == [(sum(each or 0 for each in rows),)]
    again = copy_link(made, chunk_rows=40)
    assert (again.rows, again.rows_now == again.rows) == (65 + 60 + 120, ended == 0)
    assert differences(made) == {}


@pytest.mark.parametrize(
    ("armed", "point", "number"),
    [("target", "apply_rows:before", 2), ("target", "apply_rows:after", 1), ("source", "forget_changes:after", 2)],
)
def test_a_sync_killed_anywhere_goes_on_and_repeats_nothing_that_matters(
    made: Link, killed: Kill, armed: str, point: str, number: int
) -> None:
    copy_link(made)
    order = made.reader.quote("Order x")
    made.reader.execute(
        f"UPDATE {order} SET n = 7.25 WHERE id BETWEEN 100 AND 112",
        f"UPDATE {order} SET id = 5000 WHERE id = 7",
        f"DELETE FROM {made.reader.quote('lines')} WHERE unit < 104",
        "UPDATE coded SET code = 'changed' WHERE code = 'B1'",
        "INSERT INTO coded (code, n) VALUES ('new', 3)",
    )
    killed(made, "sync", armed, point, number)
    assert pending([made]).keys > 0
    drain([made])
    assert pending([made]).keys == 0
    assert differences(made) == {}
