"""Validation while writes continue, of given keys, of many rows, with tolerances, and the repair of what it names."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from estate_validation import fill, links, plan

from runbook_lib.errors import Refused, RunbookError
from runbook_lib.plan.model import Service, TableMapping, Tolerance
from runbook_lib.transfer.build_links import forward_links
from runbook_lib.transfer.capture import enable_capture
from runbook_lib.transfer.links import Link
from runbook_lib.transfer.sync import drain
from runbook_lib.transfer.sync_process import exclusive
from runbook_lib.validation import ALL, DATA, CheckProgress, Kind, validate
from runbook_lib.validation.repair import repair

ITEMS = "CREATE TABLE items (id bigint PRIMARY KEY, name text, price numeric(10,2), at timestamptz DEFAULT now())"
CODES = "CREATE TABLE codes (code text PRIMARY KEY, n integer NOT NULL)"


def numbered(source: Any, target: Any, table: str, ddl: str, rows: str) -> Link:
    """One table, filled alike on both sides."""
    for database in (source, target):
        database.run_script(f"{ddl}; INSERT INTO {table} {rows};")
        database.analyze([table])
    service = Service("shop", "shop_db", tables=(TableMapping(table, table),))
    return forward_links(plan(service), source, {"shop_db": target})[0]


def items(source: Any, target: Any, count: int) -> Link:
    rows = f"SELECT i, 'item ' || i, i % 1000 / 3.0, '2026-01-01' FROM generate_series(1, {count}) AS i"
    return numbered(source, target, "items", ITEMS, rows)


@contextmanager
def writing(database: Any, *statements: str) -> Iterator[list[int]]:
    """Statements run in turn, without pause, until the block ends; the count of what was done."""
    stop, done = threading.Event(), [0]

    def work() -> None:
        while not stop.is_set():
            database.execute(statements[done[0] % len(statements)])
            done[0] += 1

    writer = threading.Thread(target=work)
    writer.start()
    try:
        while not done[0]:
            time.sleep(0.001)
        yield done
    finally:
        stop.set()
        writer.join()


UPDATE = "UPDATE items SET name = name || '.', price = price + 1 WHERE id = 1 + (random() * 400)::int"
INSERT = "INSERT INTO items SELECT coalesce(max(id), 0) + 1, 'new', 1 FROM items"


def test_a_gap_is_explained_only_by_keys_that_wait_where_the_writers_are_and_that_make_it(
    database: Any, target: Any
) -> None:
    forward = items(database, target, 50)
    back = replace(forward, channel="back", reader=target, writer=database, forward=False)
    enable_capture(forward)
    enable_capture(back)
    link = replace(forward, opposite=back)
    database.execute("UPDATE items SET price = 1 WHERE id <= 9", "INSERT INTO items VALUES (101, 'new', 1)")

    def counted() -> list[tuple[str, int]]:
        with exclusive([link]):
            report = validate([link], checks=("row_counts",), settle_s=0.3)
        return [(str(each.kind), int(each.source_value) - int(each.target_value)) for each in report.mismatches]

    assert counted() == []  # one row more, and it waits
    target.execute("DELETE FROM items WHERE id > 47")  # as beside a fence: nobody carries it over
    target.prepare_fence(["items"])
    target.raise_fence(["items"], timeout_s=5.0)
    assert counted() == [(str(Kind.ROW_COUNT), 4)]  # of the ten keys that wait one makes a row of it


def test_what_waits_in_the_capture_is_in_flight_and_not_different(database: Any, target: Any) -> None:
    link = items(database, target, 500)
    enable_capture(link)
    with writing(database, UPDATE, INSERT), exclusive([link]):  # as a sync that runs, and has not come so far
        report = validate([link], checks=DATA, settle_s=0.3, bearable=100_000)
    assert report.passed, report.text
    assert report.in_flight
    assert {m.kind for m in report.in_flight} == {Kind.IN_FLIGHT}
    assert {m.check for m in report.in_flight} == set(DATA)


def test_a_true_difference_is_told_from_those_in_flight(database: Any, target: Any) -> None:
    link = items(database, target, 500)
    target.execute("UPDATE items SET price = 0 WHERE id = 450", "DELETE FROM items WHERE id = 451")
    enable_capture(link)
    with writing(database, UPDATE):
        report = validate([link], checks=("data_sample", "checksums"), settle_s=0.3)
    kinds = {(m.key, m.kind) for m in report.mismatches}
    assert kinds == {((450,), Kind.DIFFERENT), ((451,), Kind.MISSING_ON_TARGET)}
    assert report.in_flight


def test_nothing_is_left_when_the_sync_keeps_up(database: Any, target: Any) -> None:
    link = items(database, target, 500)
    enable_capture(link)
    stop = threading.Event()

    def sync() -> None:
        with exclusive([link]):
            while not stop.is_set():
                drain([link], batch_keys=100)

    worker = threading.Thread(target=sync)
    worker.start()
    try:
        with writing(database, UPDATE, INSERT):
            report = validate([link], checks=DATA, settle_s=1.0, bearable=100_000)
    finally:
        stop.set()
        worker.join()
    assert report.passed, report.text


def test_without_a_capture_a_row_that_keeps_changing_is_in_flight(database: Any, target: Any) -> None:
    link = items(database, target, 100)
    target.execute("UPDATE items SET price = 0 WHERE id = 7")
    with writing(database, "UPDATE items SET name = name || '.' WHERE id = 3"):
        report = validate([link], checks=("checksums",), settle_s=0.3)
    assert [(m.key, m.columns) for m in report.mismatches] == [((7,), ("price",))]
    assert [(m.key, m.columns) for m in report.in_flight] == [((3,), ("name",))]


def test_rows_that_stayed_different_are_waited_for_once_and_not_by_every_check(database: Any, target: Any) -> None:
    link = items(database, target, 300)  # fewer than the sample: it meets them all
    target.execute("UPDATE items SET price = 0 WHERE id IN (7, 8)", "DELETE FROM items WHERE id IN (9, 10, 11)")
    report = validate([link], checks=DATA, settle_s=1.5)
    counts, sample, checksums = (next(r for r in report.results if r.check == name) for name in DATA)
    assert [m.kind for m in counts.mismatches] == [Kind.ROW_COUNT]
    assert {m.key for m in sample.mismatches} == {m.key for m in checksums.mismatches} == {(i,) for i in range(7, 12)}
    assert checksums.elapsed_s >= 1.5 > max(sample.elapsed_s, counts.elapsed_s)


def test_a_row_that_went_missing_after_the_checksums_is_waited_for(database: Any, target: Any) -> None:
    link = items(database, target, 300)
    target.execute("DELETE FROM items WHERE id = 9")
    row = "INSERT INTO items VALUES (9000, 'late', 1, '2026-01-01')"
    later = threading.Timer(0.3, target.execute, [row])

    def told(at: CheckProgress) -> None:
        if (at.check, at.done) == ("data_sample", 0):
            database.execute(row)
            later.start()

    report = validate([link], checks=("data_sample", "checksums"), settle_s=1.5, on_progress=told)
    later.join()
    assert {m.key for m in report.mismatches} == {(9,)}
    assert not report.in_flight


def test_scattered_differences_are_all_named_without_listing_equal_ranges(database: Any, target: Any) -> None:
    link = items(database, target, 60_000)
    target.execute(
        "UPDATE items SET name = 'x' WHERE id % 1999 = 0",
        "DELETE FROM items WHERE id = 60000",
        "INSERT INTO items VALUES (-5, 'x', 1), (99999, 'y', 1)",
    )
    report = validate([link], checks=("checksums",), under_writes=False, chunk_rows=5_000)
    found = {(m.key[0], m.kind) for m in report.mismatches}
    changed = {(key, Kind.DIFFERENT) for key in range(1999, 60_000, 1999)}
    assert found == changed | {
        (60_000, Kind.MISSING_ON_TARGET),
        (-5, Kind.MISSING_ON_SOURCE),
        (99_999, Kind.MISSING_ON_SOURCE),
    }


def test_text_keys_are_narrowed_by_cutting_the_table_finer(database: Any, target: Any) -> None:
    rows = "SELECT md5(i::text), i FROM generate_series(1, 30000) AS i"
    link = numbered(database, target, "codes", CODES, rows)
    target.execute("UPDATE codes SET n = -1 WHERE n IN (5, 15000)", "DELETE FROM codes WHERE n = 29999")
    report = validate([link], checks=("checksums", "data_sample"), under_writes=False, chunk_rows=10_000)
    sums = report.result("checksums")
    assert sorted(m.kind for m in sums.mismatches) == [Kind.DIFFERENT, Kind.DIFFERENT, Kind.MISSING_ON_TARGET]
    assert report.result("data_sample").figures["shop.codes"]["sampled"] >= 1000


def test_too_many_differences_are_counted_instead_of_named(
    database: Any, target: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = items(database, target, 20_000)
    target.execute("DELETE FROM items")
    monkeypatch.setattr("runbook_lib.validation.rows.drill_down.MOST_KEYS", 3_000)
    result = validate([link], checks=("checksums",), under_writes=False, chunk_rows=2_000).result("checksums")
    assert len(result.mismatches) == 3_000
    assert "more rows differ than the 3,000" in result.errors["shop.items"]


def test_the_sample_is_the_same_for_the_same_seed_and_says_what_it_is_worth(database: Any, target: Any) -> None:
    link = items(database, target, 5_000)
    target.execute("UPDATE items SET price = 0 WHERE id % 50 = 0")
    found = [
        {m.key for m in validate([link], checks=("data_sample",), seed=seed, under_writes=False).mismatches}
        for seed in (1, 1, 2)
    ]
    assert found[0] == found[1] != found[2]
    figures = validate([link], checks=("data_sample",), under_writes=False).result("data_sample").figures["shop.items"]
    assert figures["sampled"] > 1000
    assert figures["confidence_if_damaged"]["1.0%"] > 0.9999


def test_only_the_given_keys_are_compared_and_in_milliseconds(database: Any, target: Any) -> None:
    link = items(database, target, 20_000)
    target.execute("UPDATE items SET price = 0 WHERE id = 9", "DELETE FROM items WHERE id = 10")
    equal = {("shop", "items"): frozenset({(11,), (12,), (70_000,)})}
    assert validate([link], checks=DATA, only_keys=equal, under_writes=False).passed
    started = time.perf_counter()
    assert validate([link], checks=DATA, only_keys=equal, under_writes=False).passed
    assert time.perf_counter() - started < 0.25
    assert validate([link], checks=DATA, only_keys={}, under_writes=False).passed
    keys = {("shop", "items"): frozenset({(9,), (10,), (11,)})}
    report = validate([link], checks=DATA, only_keys=keys, under_writes=False)
    assert {(m.check, m.kind) for m in report.mismatches} == {
        ("row_counts", Kind.ROW_COUNT),
        *((check, kind) for check in DATA[1:] for kind in (Kind.DIFFERENT, Kind.MISSING_ON_TARGET)),
    }


def test_repair_copies_only_the_named_rows_after_a_dry_run(new_database: Callable[..., Any]) -> None:
    databases = (new_database("source"), new_database("users"), new_database("orders"))
    fill(*databases)
    users, orders = links(*databases)
    databases[1].run_script(
        "UPDATE users SET note = 'x' WHERE id = 4; DELETE FROM users WHERE id = 8; INSERT INTO users VALUES (77, 'x');"
        "UPDATE preferences SET theme = 'x' WHERE user_id = 5; DELETE FROM preferences WHERE user_id = 6;"
    )
    report = validate([users, orders], under_writes=False)
    tried = repair(users, report)
    assert tried.dry_run and tried.planned == {
        "users": {"different": 1, "missing on source": 1, "missing on target": 1},
        "preferences": {"different": 1, "missing on target": 1},
    }
    assert not validate([users], checks=DATA, under_writes=False).passed
    done = repair(users, report, dry_run=False)
    assert (done.upserted, done.deleted, done.left, done.not_repairable) == (4, 1, (), ())
    assert validate([users, orders], under_writes=False).passed
    assert repair(orders, report).text == "nothing to repair"


def test_declared_differences_pass_and_are_counted(new_database: Callable[..., Any]) -> None:
    databases = (new_database("source"), new_database("users"), new_database("orders"))
    fill(*databases)
    databases[1].run_script("ALTER TABLE users DROP COLUMN score; UPDATE users SET note = 'x' WHERE id = 4;")
    tolerances = (
        Tolerance("schemas", "dropped by design", table="users", column="score", kind="missing_on_target"),
        Tolerance("checksums", "rewritten", table="users", column="note"),
        Tolerance("indexes", "not any more", table="orders"),
    )
    report = validate(links(*databases), tolerances=tolerances, under_writes=False)
    assert report.failed == ("data_sample", "checksums")  # `loud` follows `note`, and was not declared
    more = (*tolerances, Tolerance("checksums", "follows note", column="loud"), Tolerance("data_sample", "the same"))
    report = validate(links(*databases), tolerances=more, under_writes=False)
    assert report.passed, report.text
    assert [counted.matched for counted in report.tolerances] == [1, 1, 0, 1, 1]
    assert [counted.tolerance.check for counted in report.unmatched_tolerances] == ["indexes"]


def test_a_check_that_cannot_run_is_no_failure_of_the_data_and_stops_no_other(database: Any, target: Any) -> None:
    link = items(database, target, 10)
    broken = replace(link, flows=(replace(link.flows[0], where="no_such_column > 1"), *link.flows))
    target.execute("UPDATE items SET price = 0 WHERE id = 9")
    report = validate([broken], under_writes=False)
    sums = report.result("checksums")
    assert sums.mismatches and "no_such_column" in sums.errors["shop.items"]
    assert not report.result("row_counts").mismatches
    with pytest.raises(Refused, match=r"row_counts .*could not run.*data_sample.*checksums"):
        report.raise_for_failure()
    target.execute("DROP TABLE items")
    gone = validate([link], checks=DATA, under_writes=False)
    assert {str(result.outcome) for result in gone.results} == {"could_not_run"}
    with pytest.raises(RunbookError) as raised:
        gone.raise_for_failure()
    assert raised.value.exit_status == 2


def test_the_report_shows_itself_and_survives_json(database: Any, target: Any) -> None:
    link = items(database, target, 2_000)
    target.execute("UPDATE items SET name = '<script>' WHERE id = 9", "ALTER TABLE items ALTER name SET NOT NULL")
    seen: list[CheckProgress] = []
    report = validate([link], under_writes=False, on_progress=seen.append)
    page = report._repr_html_()
    assert "&lt;script&gt;" in page and "<script>" not in page and "http" not in page
    assert "SET NOT NULL" not in page and "DROP NOT NULL" in page  # what would repair it
    data = json.loads(report.to_json())
    assert data["outcome"] == "fail" and data["results"][5]["mismatches"][0]["columns"] == ["name"]
    assert dict(zip(report.to_frame()["check"], report.to_frame()["outcome"], strict=True)) == {
        **dict.fromkeys(ALL, "pass"),
        **dict.fromkeys(report.failed, "fail"),
    }
    frame = report.to_frame("mismatches")
    assert set(frame["kind"]) == {"nullability", "different"}
    assert {progress.check for progress in seen} == {result.check for result in report.results}
    assert not report.verdict().passed and "nullability" in report.verdict().text


@contextmanager
def replicated(source: Any, target: Any, table: str, lag_s: float) -> Iterator[None]:
    """Rows of a table are changed and added at the source, and are at the target that much later, by nobody's log."""
    stop, waiting = threading.Event(), deque[tuple[float, str]]()

    def work() -> None:
        for number in count(1):
            row = number % 200 if number % 10 else 10_000 + number
            sql = f"INSERT INTO {table} VALUES ({row}, {number}) ON CONFLICT (id) DO UPDATE SET n = excluded.n"
            source.execute(sql)
            waiting.append((time.monotonic() + lag_s, sql))
            while waiting[0][0] < time.monotonic():
                target.execute(waiting.popleft()[1])
                if not waiting:
                    break
            if stop.wait(0.002):
                return

    writer = threading.Thread(target=work)
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize("key", [" PRIMARY KEY", " UNIQUE"])  # with a key, and without one
def test_rows_on_their_way_are_in_flight_though_another_table_has_taken_its_time(
    database: Any, target: Any, key: str
) -> None:
    """Without a log only time tells, and the first table's difference had used it up for all that came after it."""
    for one in (database, target):
        one.execute(
            "CREATE TABLE first (id bigint PRIMARY KEY, n bigint)",
            f"CREATE TABLE second (id bigint{key}, n bigint)",
            "INSERT INTO first SELECT i, 0 FROM generate_series(0, 199) AS i",
            "INSERT INTO second SELECT * FROM first",
        )
    target.execute("DELETE FROM first WHERE id = 7")
    service = Service("shop", "shop_db", tables=(TableMapping("first", "first"), TableMapping("second", "second")))
    links = forward_links(plan(service), database, {"shop_db": target})
    with replicated(database, target, "second", 0.2):
        report = validate(links, checks=DATA, settle_s=1.2)
    assert {(found.check, found.table) for found in report.mismatches} <= {
        ("row_counts", "first"),
        ("data_sample", "first"),
        ("checksums", "first"),
    }
    assert ("checksums", "first", (7,)) in {(m.check, m.table, m.key) for m in report.mismatches}
