"""Many small tables: they share transactions, and what is wrong with one of them is said of that one."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from estate_transfer import plan

from runbook_lib.errors import RowRejected
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, Pair, pair_of
from runbook_lib.operations.switchover import compare_touched
from runbook_lib.plan.model import Service, TableMapping
from runbook_lib.schema.create_target import build_indexes, create_tables, index_tasks
from runbook_lib.transfer.build_links import forward_links
from runbook_lib.transfer.bulk_copy import copy_link
from runbook_lib.transfer.capture import enable_capture, fence_writer
from runbook_lib.transfer.cutover import CutoverActions, Prediction, cutover
from runbook_lib.transfer.links import Link
from runbook_lib.transfer.sync import drain_once
from runbook_lib.util.thread_pool import SHARED, batches
from runbook_lib.validation import validate

NAMES = [f"t{i:02}" for i in range(40)]
SERVICE = Service("shop", "shop_db", tables=tuple(TableMapping(name, name) for name in NAMES))


def linked(source: Any, target: Any) -> Link:
    for name in NAMES:
        source.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, v text)", f"CREATE INDEX ON {name} (v)")
        source.execute(f"INSERT INTO {name} SELECT g, 'v' || g FROM generate_series(1, 5) g")
    create_tables(SERVICE, source, target)
    return forward_links(plan(SERVICE), source, {"shop_db": target})[0]


def test_many_small_tables_are_copied_and_indexed_in_few_transactions(database: Any, target: Any) -> None:
    link = linked(database, target)
    copied = copy_link(link, jobs=1, then=index_tasks(SERVICE, target))
    writers = {xmin for name in NAMES for (xmin,) in target.rows(f"SELECT xmin::text FROM {name}")}
    assert copied.tables == dict.fromkeys(NAMES, 5) and len(writers) == 8
    assert target.fingerprint(NAMES) == database.fingerprint(NAMES)
    assert build_indexes(SERVICE, target) == 2 * len(NAMES) and copy_link(link).rows_now == 0


def test_one_of_many_small_tables_that_refuses_a_row_is_named_and_keeps_no_other_back(
    database: Any, target: Any
) -> None:
    link = linked(database, target)
    target.execute("ALTER TABLE t03 ADD CONSTRAINT few CHECK (id < 5)")
    with pytest.raises(RowRejected, match=r"t03, key \(id = 5\)"):
        copy_link(link, jobs=1)
    assert target.rows("SELECT count(*) FROM t00") == target.rows("SELECT count(*) FROM t02") == [(5,)]
    target.execute("ALTER TABLE t03 DROP CONSTRAINT few")
    assert copy_link(link).rows == 5 * len(NAMES)
    assert target.rows("SELECT count(*) FROM t03") == [(5,)]


@pytest.mark.parametrize(("count", "size"), [(1, 1), (15, 1), (40, 2), (10_000, SHARED)])
def test_small_items_are_done_together_where_there_are_many_of_them(count: int, size: int) -> None:
    cut = batches([*range(count), -1], lambda item: item >= 0, jobs=2)
    assert cut[0] == [-1] and [item for items in cut[1:] for item in items] == list(range(count))
    assert max(map(len, cut)) == size


def calls_of(work: Callable[[], object]) -> int:
    """What work costs: the calls that it makes in all its threads (count); neither load nor clock changes it."""
    calls = [0]

    def count(_frame: object, event: str, _argument: object) -> None:
        calls[0] += event in ("call", "c_call")

    threading.setprofile(count)
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return calls[0]


def costs(source: Any, target: Any, count: int) -> dict[str, int]:
    """What it costs to copy, compare, follow and cut over so many tables."""
    for i in range(count):
        parent = f"t{max(0, i - 1)}"
        source.execute(f"CREATE TABLE t{i} (id int PRIMARY KEY, parent int REFERENCES {parent}, v text)")
        source.execute(f"CREATE INDEX ON t{i} (v)", f"INSERT INTO t{i} SELECT g, g, 'v' FROM generate_series(1, 3) g")
    pair = pair_of(source, target)
    found = {"copy": calls_of(lambda: clone(pair, How(follow=True)))}
    found["compare"] = calls_of(lambda: validate([pair.forward]).raise_for_failure())
    found["follow"] = calls_of(lambda: drain_once(pair.forward))
    found["cutover"] = calls_of(partial(_move, pair))
    return found


def _move(pair: Pair) -> None:
    there, back = pair.forward, pair.back
    enable_capture(back)
    fence_writer(there)
    there.reader.prepare_fence(list(there.captured))
    compare = partial(compare_touched, [there])
    acts = CutoverActions(verify=lambda touched: compare(touched).raise_for_failure(), switch=bool, switch_back=bool)
    cutover([there], [back], acts, Prediction(0, 1.0, 0.0, 0.0, 0.0, 0.0), budget_s=30.0)


def test_cost_grows_with_the_number_of_tables_and_not_with_its_square(new_database: Callable[..., Any]) -> None:
    def of(count: int) -> dict[str, int]:
        return costs(new_database("source"), new_database("target"), count)

    of(2)  # loads what is loaded when it is first needed
    few, many = of(12), of(36)
    grown = {name: round(many[name] / few[name], 2) for name in few}
    assert all(factor <= 3.2 for factor in grown.values()), (grown, few, many)
