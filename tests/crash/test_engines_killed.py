"""SIGKILL while tables are made, in a copy, a sync, a cutover, a return, on every engine; run again: all is there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import estate_killed
import pytest
from estate_engines import differences, fill, link, make
from fix_sandbox import wait_for
from nightly import short_of

from runbook_lib.errors import CutoverAborted
from runbook_lib.journal import Journal
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of
from runbook_lib.operations.replicate import Switch, move, open_clone, side_of
from runbook_lib.transfer.bulk_copy import copy_link
from runbook_lib.transfer.capture import enable_capture, pending
from runbook_lib.transfer.chunk_store import stored
from runbook_lib.transfer.links import Link
from runbook_lib.transfer.sync import drain
from runbook_lib.transfer.writers import Side
from runbook_lib.validation import validate

PAIRS = [("postgresql", "mysql"), ("mysql", "sqlite"), ("sqlite", "postgresql")]
# The server's other sessions in this database: a killed one is there until the server has noticed.
SESSIONS = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_catalog AND pid <> pg_backend_pid()",
    "mysql": "SELECT count(*) FROM information_schema.processlist WHERE db = database() AND id <> connection_id()",
    "sqlite": "SELECT 0",
}
CLONED = How(chunk_rows=40, jobs=1, follow=True)
Kill = Callable[..., None]
COPIES = [("copy_in:before", 1), ("copy_in:within", 3), ("copy_in:after", 4)]
MAKINGS = [("run_script:before", 1), ("run_script:within", 1), ("run_script:after", 1), ("analyze:before", 1)]


def carry_out(order: dict[str, Any]) -> None:
    """In the forked process: open both databases again, arm one of them, act."""
    opened = {
        name: import_module(f"runbook_lib.databases.{dialect}").open_database(name, url, password, {})
        for name, dialect, url, password in order["databases"]
    }
    source, target = opened["source"], opened["target"]
    if order["what"] == "move":
        os.environ["TEST_CRASH_AT"] = order["at"]
        estate_killed.die_where_told()
        moved(source, target, order["journal"], Side(order["to"]))
    estate_killed.arm(opened[order["armed"]], order["method"], order["moment"], order["number"])
    if order["what"] == "clone":
        clone(pair_of(source, target), CLONED)
    elif order["what"] == "copy":
        copy_link(link(source, target), chunk_rows=40, jobs=1)
    else:
        drain([link(source, target)], batch_keys=5)


def moved(source: Any, target: Any, journal: str, to: Side) -> None:
    """The cutover or the return of a followed copy."""
    with closing(Journal(journal)) as opened:
        pair = pair_of(source, target)
        move(pair, opened, open_clone(opened, pair, (), "test"), to, Switch(), budget_s=20)


@pytest.fixture(scope="module")
def killer() -> Iterator[Any]:
    """Its children are the ones to be killed."""
    with estate_killed.killer("test_engines_killed") as process:
        yield process


@pytest.fixture(params=PAIRS, ids="-".join)
def both(request: pytest.FixtureRequest, new_on: Any) -> tuple[Any, Any]:
    """A filled source, and an empty target."""
    source, target = (new_on(engine, name) for engine, name in zip(request.param, ("source", "target"), strict=True))
    make(source)
    fill(source, 60)
    return source, target


@pytest.fixture
def made(both: tuple[Any, Any]) -> Link:
    """The source's changes are captured, and the target has its empty tables."""
    make(both[1])
    enable_capture(link(*both))
    return link(*both)


@pytest.fixture
def killed(killer: Any, servers: Any) -> Kill:
    def kill(databases: Sequence[Any], what: str, **how: Any) -> None:
        listed = [(d.name, d.dialect, d.masked_url, getattr(servers(d.dialect), "password", None)) for d in databases]
        estate_killed.carry_out_and_die(killer, {"databases": listed, "what": what, **how})
        for database in databases:
            database.engine.dispose()
            wait_for(lambda d=database: d.rows(SESSIONS[d.dialect]) == [(0,)], "the server noticing the kill")

    return kill


def at(armed: str, point: str, number: int) -> dict[str, Any]:
    """Before, within or after the number-th call of a method of this database."""
    method, moment = point.split(":")
    return {"armed": armed, "method": method, "moment": moment, "number": number}


@pytest.mark.parametrize(("point", "number"), short_of(COPIES, COPIES[1:2]))
def test_a_copy_killed_anywhere_is_resumed_and_every_range_is_there_once(
    made: Link, killed: Kill, point: str, number: int
) -> None:
    killed((made.reader, made.writer), "copy", **at("target", point, number))
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
    killed((made.reader, made.writer), "sync", **at(armed, point, number))
    assert pending([made]).keys > 0
    drain([made])
    assert pending([made]).keys == 0
    assert differences(made) == {}


@pytest.mark.parametrize(
    ("point", "number"),
    short_of(MAKINGS, MAKINGS[1:3]),
)
def test_tables_whose_making_was_killed_are_made_again_whole(
    both: tuple[Any, Any], killed: Kill, point: str, number: int
) -> None:
    if "within" in point and both[1].dialect != "mysql":
        return  # its scripts are one transaction
    killed(both, "clone", **at("target", point, number))
    clone(pair_of(*both), CLONED)
    report = validate([pair_of(*both).forward], under_writes=False)
    assert report.passed, report.text


@pytest.mark.parametrize("both", short_of(PAIRS, PAIRS[1:2]), indirect=True, ids="-".join)
def test_a_cutover_and_a_return_killed_anywhere_lose_nothing(
    both: tuple[Any, Any], killed: Kill, tmp_path: Path
) -> None:
    pair, journal, known = pair_of(*both), f"sqlite:///{tmp_path}/journal.sqlite", list[int]()

    def write() -> None:
        """Where writes are let in, if anywhere."""
        side = side_of(pair)
        if side is not Side.BETWEEN:
            writing = both[side is Side.TARGET]
            known.append(10_000 + len(known))
            writing.execute(f"INSERT INTO {writing.quote('Order x')} (id, n) VALUES ({known[-1]}, 1)")

    clone(pair, CLONED)
    mine = estate_killed.EVENTS[PAIRS.index((both[0].dialect, both[1].dialect)) :: len(PAIRS)]  # for the time it takes
    for event in mine:
        for to in (Side.TARGET, Side.SOURCE):
            write()
            if to is Side.TARGET or event == mine[0]:
                killed(both, "move", at=f"cutover:{event}", journal=journal, to=to)
                write()
            moved(*both, journal, to)
            assert side_of(pair) is to
    drain([pair.forward])
    for database in both:
        there = {key for (key,) in database.rows(f"SELECT id FROM {database.quote('Order x')}")}
        assert set(known) <= there
    assert len(known) >= 2 * len(mine) and differences(pair.forward) == {}


def test_a_return_killed_behind_its_fence_is_undone_with_all_that_the_target_took(
    both: tuple[Any, Any], tmp_path: Path
) -> None:
    pair, journal = pair_of(*both), f"sqlite:///{tmp_path}/journal.sqlite"
    clone(pair, CLONED)
    moved(*both, journal, Side.TARGET)
    both[1].execute(f"INSERT INTO {both[1].quote('Order x')} (id, n) VALUES (10000, 1)")
    pair.target.raise_fence(list(pair.back.captured), timeout_s=5.0)  # and there it was killed, with a write not synced
    assert side_of(pair) is Side.BETWEEN
    with closing(Journal(journal)) as opened, pytest.raises(CutoverAborted, match="the state before"):
        move(pair, opened, open_clone(opened, pair, (), "test"), Side.TARGET, Switch(["false"]), budget_s=20)
    assert side_of(pair) is Side.SOURCE
    assert both[0].rows(f"SELECT id FROM {both[0].quote('Order x')} WHERE id = 10000") == [(10000,)]
