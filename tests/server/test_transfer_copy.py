"""Bulk copy: exact, resumable, alone, and with memory that does not grow with the table."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from contract_estate import HOSTILE_ROWS, HOSTILE_SCHEMA, TABLES
from contract_estate import contents as whole
from estate_transfer import an_estate, plan, texts

from runbook_lib.errors import RowRejected, TransferError
from runbook_lib.plan.model import Service, TableMapping
from runbook_lib.schema.create_target import add_foreign_keys, build_indexes, create_tables, index_tasks
from runbook_lib.transfer.build_links import forward_links
from runbook_lib.transfer.bulk_copy import CopyResult, copy_link
from runbook_lib.transfer.capture import enable_capture
from runbook_lib.transfer.chunk_store import forget, planned, stored, unfinished
from runbook_lib.transfer.links import Link
from runbook_lib.transfer.sync import drain
from runbook_lib.util.thread_pool import Task


def linked(source: Any, target: Any, *tables: str) -> Link:
    service = Service("shop", "shop_db", tables=tuple(TableMapping(name, name) for name in tables))
    create_tables(service, source, target)
    return forward_links(plan(service), source, {"shop_db": target})[0]


def numbered(source: Any, target: Any, rows: int) -> Link:
    source.execute("CREATE TABLE t (id bigint PRIMARY KEY, v text)")
    source.execute(f"INSERT INTO t SELECT i, repeat('v', 20) || i FROM generate_series(1, {rows}) AS i")
    source.analyze(["t"])
    return linked(source, target, "t")


@pytest.mark.parametrize("jobs", [1, 4])
def test_hostile_tables_are_copied_exactly(database: Any, target: Any, jobs: int) -> None:
    database.run_script(HOSTILE_SCHEMA)
    database.run_script(HOSTILE_ROWS)
    database.analyze(TABLES)
    result = copy_link(linked(database, target, *TABLES), chunk_rows=70, jobs=jobs)
    for table in TABLES:
        assert whole(target, table) == whole(database, table), table
        assert result.tables[table] == len(whole(database, table)) > 0
    assert result.rows == result.rows_now == sum(result.tables.values())


def test_a_finished_copy_is_not_done_again(database: Any, target: Any) -> None:
    link = numbered(database, target, 500)
    assert copy_link(link, chunk_rows=100).rows_now == 500
    again = copy_link(link, chunk_rows=7)  # the ranges are those of the first time
    assert (again.rows, again.rows_now, len(stored(link, link.flows[0]))) == (500, 0, 5)


def test_a_table_gets_its_indexes_when_it_has_its_rows_and_after_an_interruption_too(
    database: Any, target: Any
) -> None:
    database.run_script(HOSTILE_SCHEMA)
    database.run_script(HOSTILE_ROWS)
    database.analyze(TABLES)
    link = linked(database, target, *TABLES)
    service = Service("shop", "shop_db", tables=tuple(TableMapping(name, name) for name in TABLES))
    full: list[str] = []

    def then(tasks: Callable[[Sequence[str]], Sequence[Task]]) -> Callable[[Sequence[str]], Sequence[Task]]:
        def ended(tables: Sequence[str]) -> Sequence[Task]:
            assert not {*tables} & {*unfinished(link)}
            full.extend(tables)
            return tasks(tables)

        return ended

    def stop(*_: int) -> None:
        if len(full) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_link(link, chunk_rows=70, jobs=1, on_progress=stop, then=then(index_tasks(service, target)))
    assert len(full) == 3
    full.clear()
    copy_link(link, chunk_rows=70, then=then(index_tasks(service, target)))
    assert sorted(full) == sorted(TABLES)
    made, wanted = target.catalog(TABLES), database.catalog(TABLES)
    for table in set(TABLES) - {"parted"}:  # whose partitions' own come last
        assert {i.definition for i in made[table].indexes} == {i.definition for i in wanted[table].indexes}
    build_indexes(service, target)  # what is left: of partitions, triggers, comments
    add_foreign_keys(service, target)
    moved = [table for table in TABLES if table != "bound"]  # its key refers to a table that stayed
    assert target.fingerprint(moved) == database.fingerprint(moved)


def test_a_copy_that_was_interrupted_goes_on_with_the_ranges_it_began_with(database: Any, target: Any) -> None:
    link = numbered(database, target, 500)

    def stop(done: int, _: int) -> None:
        if done >= 200:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_link(link, chunk_rows=50, jobs=1, on_progress=stop)
    assert unfinished(link) == ("t",)
    database.execute("DELETE FROM t WHERE id % 2 = 0", "INSERT INTO t VALUES (-7, 'before all'), (9999, 'after all')")
    done = sum(chunk.rows_done or 0 for chunk in stored(link, link.flows[0]))
    result = copy_link(link, chunk_rows=200)
    assert done >= 200 and result.rows == done + result.rows_now == len(texts(target, "t"))
    assert unfinished(link) == ()
    assert (9999,) in target.rows("SELECT id FROM t")


def test_rows_beyond_the_last_range_arrive(database: Any, target: Any) -> None:
    link = numbered(database, target, 300)
    assert len(planned(link, 50)) == 6
    database.execute("INSERT INTO t SELECT i, 'late' FROM generate_series(1000000, 1000100) AS i")
    copy_link(link)
    assert texts(target, "t") == texts(database, "t")


def test_rows_written_while_the_copy_runs_arrive_by_copy_or_by_log(database: Any, target: Any) -> None:
    link = numbered(database, target, 300)
    enable_capture(link)

    def write(done: int, _: int) -> None:
        database.execute(f"INSERT INTO t VALUES ({10_000 + done}, 'late'), ({-done - 1}, 'early')")
        database.execute(f"UPDATE t SET v = 'changed' WHERE id % 50 = {done % 50}", f"DELETE FROM t WHERE id = {done}")

    copy_link(link, chunk_rows=25, jobs=2, on_progress=write)
    build_indexes(Service("shop", "shop_db", tables=(TableMapping("t", "t"),)), target)
    drain([link])
    assert texts(target, "t") == texts(database, "t")


def test_the_second_of_two_copies_at_once_is_refused_in_one_line(database: Any, target: Any) -> None:
    link = numbered(database, target, 100)
    begun, go_on, results = threading.Event(), threading.Event(), list[CopyResult]()

    def hold() -> str:
        begun.set()
        go_on.wait(20)
        return ""

    first = threading.Thread(target=lambda: results.append(copy_link(link, pause=hold)))
    first.start()
    try:
        assert begun.wait(20)
        with pytest.raises(TransferError) as refused:
            copy_link(link)
        assert "another copy into it is running" in str(refused.value) and "\n" not in str(refused.value)
    finally:
        go_on.set()
        first.join()
    assert results[0].rows == 100 == len(texts(target, "t"))


def test_a_target_with_rows_of_others_is_refused_and_left_alone(database: Any, target: Any) -> None:
    link = numbered(database, target, 100)
    target.execute("INSERT INTO t VALUES (5, 'theirs')")
    with pytest.raises(TransferError, match=r"target\.t: has rows that this migration did not copy; .*nothing was"):
        copy_link(link)
    assert texts(target, "t") == ["(5,theirs)"]
    target.execute("TRUNCATE t")
    assert copy_link(link).rows == 100


def test_a_refused_row_stops_the_copy_names_it_and_the_rest_can_be_resumed(database: Any, target: Any) -> None:
    link = numbered(database, target, 300)
    target.execute("ALTER TABLE t ADD CONSTRAINT short CHECK (length(v) < 100)")
    database.execute("UPDATE t SET v = repeat('x', 200) WHERE id = 150")
    with pytest.raises(RowRejected, match=r"target\.t.*short"):
        copy_link(link, chunk_rows=50, jobs=1)
    assert unfinished(link) == ("t",)
    database.execute("UPDATE t SET v = 'short' WHERE id = 150")
    assert copy_link(link).rows == 300
    assert texts(target, "t") == texts(database, "t")


def test_a_forgotten_copy_starts_from_nothing(database: Any, target: Any) -> None:
    link = numbered(database, target, 100)
    copy_link(link)
    target.execute("TRUNCATE t")
    forget(link)
    assert unfinished(link) == ("t",)
    assert copy_link(link).rows_now == 100


def test_progress_reaches_its_total_and_a_pause_is_obeyed(database: Any, target: Any) -> None:
    link = numbered(database, target, 1_000)
    told, reasons = list[tuple[int, int]](), ["the load is high"]
    result = copy_link(
        link,
        chunk_rows=100,
        jobs=3,
        pause=lambda: reasons.pop() if reasons else "",
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert not reasons and result.elapsed_s >= 0.2
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] == 1_000 <= told[-1][1] and result.rate > 0


def test_memory_does_not_grow_with_the_table(new_database: Callable[..., Any]) -> None:
    peaks = []
    for rows in (20_000, 200_000):
        link = numbered(new_database("legacy"), new_database("shop_db"), rows)
        tracemalloc.start()
        try:
            assert copy_link(link, chunk_rows=5_000, jobs=2).rows == rows
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 3 * peaks[0] and peaks[1] < 8 * 2**20


def test_every_table_of_a_plan_is_copied_with_filter_and_mapping(postgresql_server: Any) -> None:
    with an_estate(postgresql_server, "made") as estate:
        links = estate.forward
        counts = {table: rows for link in links for table, rows in copy_link(link, chunk_rows=9).tables.items()}
        estate.index_targets()
        report = estate.compare()
    assert counts == {
        "users": 30,
        "bios": 15,
        "preferences": 30,
        "orders": 90,
        "lines": 180,
        "tickets": 20,
        "events": 40,
    }
    assert report.passed, report.text
