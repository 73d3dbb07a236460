"""Sync: whatever writers do, and wherever it is cut, both sides end equal and nothing is applied that must wait."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import psycopg
import pytest
from estate_transfer import USERS, Estate, an_estate, plan, texts

from runbook_lib.errors import RowRejected
from runbook_lib.plan.model import Service, TableMapping
from runbook_lib.schema.create_target import build_indexes
from runbook_lib.transfer.build_links import forward_links
from runbook_lib.transfer.bulk_copy import copy_link
from runbook_lib.transfer.capture import capture_complete, disable_capture, enable_capture, pending
from runbook_lib.transfer.chunk_store import unfinished
from runbook_lib.transfer.foreign_keys import settle
from runbook_lib.transfer.links import Link
from runbook_lib.transfer.sync import drain, drain_once, must_wait

Connect = Callable[[Any], Any]


@pytest.fixture(params=["triggers", "wal"])
def capture(request: pytest.FixtureRequest) -> str:
    """How changes are captured, at every database of the test."""
    return str(request.param)


@pytest.fixture
def made(postgresql_server: Any, capture: str) -> Iterator[Estate]:
    with an_estate(postgresql_server, "made", capture) as ready:
        yield ready


@pytest.fixture
def copied(postgresql_server: Any, capture: str) -> Iterator[Estate]:
    with an_estate(postgresql_server, "copied", capture) as ready:
        yield ready


@pytest.fixture
def new_database(new_database: Callable[..., Any], capture: str) -> Callable[..., Any]:
    return partial(new_database, capture=capture)


@pytest.fixture
def connect(server: Any) -> Iterator[Connect]:
    """An application's own connection to a database."""
    with ExitStack() as stack:

        def make(database: Any) -> Any:
            url = server.url(database.masked_url.rpartition("/")[2])
            return stack.enter_context(psycopg.connect(url, password=server.password))

        yield make


def one_table(new_database: Callable[..., Any], ddl: str, table: str = "t") -> Link:
    source, target = new_database("legacy"), new_database("shop_db")
    for database in (source, target):
        database.run_script(ddl)
    service = Service("shop", "shop_db", tables=(TableMapping(table, table),))
    [link] = forward_links(plan(service), source, {"shop_db": target})
    enable_capture(link)
    return link


def same(link: Link, table: str = "t") -> bool:
    return texts(link.reader, table) == texts(link.writer, table)


# What an application may do to a row, with the share of each.
ACTS = (
    (6, "INSERT INTO users (email, note, theme) VALUES ('n' || {n} || '@x', 'né' || chr(9), 'dark') RETURNING id"),
    (6, "UPDATE users SET note = 'upd ' || {n}, theme = NULL, notify = NOT notify WHERE id = {id}"),
    (3, "DELETE FROM order_items WHERE order_id = {id}"),
    (2, "UPDATE order_items SET line = line + 100 WHERE order_id = {id}"),  # part of a key
    (2, "UPDATE profiles SET user_id = {fresh} WHERE user_id = {id}"),  # a key
    (3, "UPDATE events SET kind = CASE kind WHEN 'noise' THEN 'order' ELSE 'noise' END WHERE id = {id}"),  # the filter
    (3, "INSERT INTO tickets (what) VALUES ('by {n}')"),
    (
        3,
        "UPDATE orders SET slot = -slot WHERE id IN ({id}, {id} + 1);"
        "UPDATE orders SET slot = 2 * {id} + 1 + slot WHERE id IN ({id}, {id} + 1)",
    ),
    (1, "TRUNCATE tickets"),
)


def write(connection: Any, name: int, stop: threading.Event, ledger: list[int]) -> None:
    """Transactions without pause; the ledger gets the ids of users whose insertion was acknowledged."""
    chooser = random.Random(name)
    weights = [weight for weight, _ in ACTS]
    number = 0
    while not stop.is_set():
        number += 1
        [act] = chooser.choices([sql for _, sql in ACTS], weights)
        values = {"n": name * 1_000_000 + number, "id": chooser.randrange(1, 30), "fresh": chooser.randrange(1, 30)}
        try:
            cursor = connection.execute(act.format(**values).encode())
            made = [row[0] for row in cursor.fetchall()] if "RETURNING" in act else []
            if number % 17 == 0:
                connection.rollback()
                continue
            connection.commit()
            ledger += made
        except (psycopg.errors.IntegrityError, psycopg.errors.DeadlockDetected):
            connection.rollback()


@contextmanager
def writers(connections: list[Any]) -> Iterator[list[int]]:
    stop, ledger = threading.Event(), list[int]()
    threads = [threading.Thread(target=write, args=(c, n, stop, ledger)) for n, c in enumerate(connections, 1)]
    for thread in threads:
        thread.start()
    try:
        yield ledger
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_writers_that_never_stop_lose_nothing_through_copy_and_sync(made: Estate, connect: Connect) -> None:
    with writers([connect(made.source) for _ in range(3)]) as ledger:
        for link in made.forward:
            enable_capture(link)
            copy_link(link, chunk_rows=20)
        for service, link in zip(made.services, made.forward, strict=True):
            build_indexes(service, made.targets[service.database], settle=partial(settle, link))
        while len(ledger) < 200:
            drain(made.forward, batch_keys=7, until=lambda: len(ledger) >= 200)
    drain(made.forward, batch_keys=50)
    made.index_targets()  # the foreign keys hold
    assert pending(made.forward).keys == 0
    report = made.compare()
    assert report.passed, report.text
    there = {row[0] for row in made.users.rows("SELECT id FROM users")}
    assert len(ledger) >= 200 and set(ledger) <= there


def test_replaying_after_a_kill_between_commit_and_forget_is_harmless(copied: Estate) -> None:
    link = copied.forward[0]
    copied.source.execute("UPDATE users SET note = 'now' WHERE id = 1", "INSERT INTO users (email) VALUES ('late@x')")
    changes = link.reader.read_changes(link.channel, "users", 100)
    keys = [(1,), (31,)]
    flow = link.flows[0]
    link.writer.apply_rows("users", flow.key, flow.columns, keys, link.reader.read_rows(flow.reading, keys))
    assert pending([link]).keys == len(changes.seqs) == 2  # committed there, not forgotten here
    drain([link])
    assert pending([link]).keys == 0 and copied.compare([link]).passed


def test_changes_wait_in_the_log_until_the_bulk_copy_of_their_table_has_ended(made: Estate) -> None:
    link = made.forward[0]
    enable_capture(link)
    made.source.execute("UPDATE users SET note = 'early' WHERE id = 3", "UPDATE profiles SET bio = 'early'")
    drain([link])
    assert set(must_wait(link)) == {"users", "bios", "preferences"}
    assert pending([link]).keys == 16 and texts(made.users, "users") == []
    copy_link(link)
    assert unfinished(link) == ()
    replace(made, services=(USERS,)).index_targets()
    drain([link])
    assert pending([link]).keys == 0
    assert made.compare([link]).passed


def test_a_transaction_open_across_the_start_of_the_capture_loses_nothing(made: Estate, connect: Connect) -> None:
    link = made.forward[0]
    holder = connect(made.source)
    holder.execute("INSERT INTO users (email, note) VALUES ('held@x', 'before')")  # holds a lock: triggers must wait
    starting = threading.Thread(target=enable_capture, args=(link,))
    starting.start()
    writer = connect(made.source)
    writer.execute("INSERT INTO profiles VALUES (1, 'while it starts')")
    writer.commit()
    assert starting.is_alive() and not capture_complete(link)
    holder.commit()
    starting.join(timeout=20)
    assert not starting.is_alive() and capture_complete(link)
    copy_link(link)
    made.index_targets()
    drain([link])
    assert made.compare([link]).passed
    assert made.users.rows("SELECT note FROM users WHERE email = 'held@x'") == [("before",)]


def test_a_late_committer_loses_nothing(new_database: Callable[..., Any], connect: Connect) -> None:
    link = one_table(new_database, "CREATE TABLE t (id int PRIMARY KEY, v text)")
    late, early = connect(link.reader), connect(link.reader)
    late.execute("INSERT INTO t VALUES (1, 'late')")  # the lower number in the log, committed last
    early.execute("INSERT INTO t VALUES (2, 'early')")
    early.commit()
    copy_link(link)
    drain([link])
    assert texts(link.writer, "t") == ["(2,early)"]
    late.commit()
    drain([link])
    assert texts(link.writer, "t") == ["(1,late)", "(2,early)"]


@pytest.mark.parametrize("batch_keys", [1, 2, 100])
@pytest.mark.parametrize("index", ["(email)", "(lower(email))"])
def test_unique_values_that_move_between_rows_of_different_batches_are_applied_together(
    new_database: Callable[..., Any], index: str, batch_keys: int
) -> None:
    link = one_table(
        new_database,
        f"CREATE TABLE t (id int PRIMARY KEY, email text); CREATE UNIQUE INDEX ON t {index};",
    )
    link.reader.execute("INSERT INTO t SELECT i, 'mail' || i FROM generate_series(1, 12) AS i")
    copy_link(link)
    drain([link])
    link.reader.run_script(
        "UPDATE t SET email = 'x' WHERE id = 1; UPDATE t SET email = 'mail1' WHERE id = 2;"
        "UPDATE t SET email = 'mail2' WHERE id = 1;"  # a swap
        "UPDATE t SET email = 'y' WHERE id = 5; UPDATE t SET email = 'mail5' WHERE id = 6;"
        "UPDATE t SET email = 'mail6' WHERE id = 7; UPDATE t SET email = 'mail7' WHERE id = 5;"  # a rotation
        "DELETE FROM t WHERE id = 9; UPDATE t SET email = 'mail9' WHERE id = 10; INSERT INTO t VALUES (9, 'mail10');"
    )
    touched = drain([link], batch_keys=batch_keys)
    assert same(link) and pending([link]).keys == 0
    assert {(1,), (2,), (5,), (6,), (7,), (9,), (10,)} <= touched["shop", "t"]


def test_a_row_that_truly_conflicts_is_refused_by_name_and_stays_in_the_log(new_database: Callable[..., Any]) -> None:
    link = one_table(new_database, "CREATE TABLE t (id int PRIMARY KEY, email text)")
    link.writer.execute("CREATE UNIQUE INDEX only_here ON t (email)")
    link.reader.execute("INSERT INTO t VALUES (1, 'a')")
    copy_link(link)
    link.reader.execute("INSERT INTO t VALUES (2, 'a')")
    with pytest.raises(RowRejected, match=r"only_here: Key \(email\)=\(a\)"):
        drain([link])
    assert texts(link.writer, "t") == ["(1,a)"] and pending([link]).keys == 2


@pytest.mark.parametrize("batch_keys", [1, 100])
def test_a_truncate_and_what_follows_it_arrive(new_database: Callable[..., Any], batch_keys: int) -> None:
    link = one_table(new_database, "CREATE TABLE t (id int PRIMARY KEY, email text UNIQUE)")
    link.reader.execute("INSERT INTO t SELECT i, 'mail' || i FROM generate_series(1, 20) AS i")
    copy_link(link)
    drain([link])
    link.reader.execute("UPDATE t SET email = 'q' WHERE id = 3", "TRUNCATE t", "INSERT INTO t VALUES (50, 'mail1')")
    drain([link], batch_keys=batch_keys)
    assert pending([link]).keys == 0 and texts(link.writer, "t") == ["(50,mail1)"]


def test_a_bare_truncate_ends_neither_the_drain_nor_the_count(new_database: Callable[..., Any]) -> None:
    link = one_table(new_database, "CREATE TABLE t (id int PRIMARY KEY, v text)")
    link.reader.execute("INSERT INTO t VALUES (1, 'a')")
    copy_link(link)
    drain([link])
    link.reader.execute("TRUNCATE t")
    assert drain_once(link).keys == 1
    assert texts(link.writer, "t") == []


def test_what_the_sync_wrote_is_not_captured_for_the_way_back(copied: Estate) -> None:
    for link in copied.back:
        enable_capture(link)
    copied.source.execute("UPDATE users SET note = 'to and fro'", "UPDATE orders SET total = 1")
    drain(copied.forward)
    assert pending(copied.back).keys == 0
    copied.users.execute("UPDATE users SET note = 'from there' WHERE id = 2")
    assert drain(copied.back) == {("user_service", "users"): frozenset({(2,)})}
    assert pending(copied.forward).keys == 0
    assert copied.source.rows("SELECT note, touched FROM users WHERE id = 2") == [("from there", 2)]


def test_capture_is_removed_without_trace(made: Estate) -> None:
    before = made.source.catalog(["users"])["users"].triggers
    for link in made.forward:
        enable_capture(link)
        enable_capture(link)
        assert capture_complete(link)
        disable_capture(link)
        disable_capture(link)
        assert not capture_complete(link)
    assert made.source.catalog(["users"])["users"].triggers == before
