"""Many small tables: they share transactions, and what is wrong with one of them is said of that one."""

from __future__ import annotations

from typing import Any

import pytest
from estate_transfer import plan

from runbook_lib.errors import RowRejected
from runbook_lib.executor import SHARED, batches
from runbook_lib.plan.model import Service, TableMapping
from runbook_lib.schema.target import build_indexes, create_tables, index_tasks
from runbook_lib.transfer.copy import copy_link
from runbook_lib.transfer.flow import Link, forward_links

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
