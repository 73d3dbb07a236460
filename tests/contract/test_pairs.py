"""Every ordered pair of engines: the schema translated, rows copied, compared, keys handed out again."""

from __future__ import annotations

from itertools import permutations

import pytest
from estate_engines import fill, make

from runbook_lib.schema.target import add_foreign_keys, build_indexes, create_tables
from runbook_lib.transfer.copy import copy_link
from runbook_lib.transfer.cutover import advance_sequences
from runbook_lib.transfer.flow import forward_links
from runbook_lib.transfer.whole import whole_plan
from runbook_lib.validation import validate

PAIRS = list(permutations(("postgresql", "mysql", "sqlite"), 2))


def moved(source, target):
    """The whole of a database as it is; the link."""
    plan = whole_plan(source, target)
    [service] = plan.services
    create_tables(service, source, target, plan.types)
    [link] = forward_links(plan, source, {"target": target})
    copy_link(link, chunk_rows=100)
    build_indexes(service, target)
    add_foreign_keys(service, target)
    advance_sequences(link)
    return link


def assert_no_difference(link):
    report = validate([link], checks=("row_counts", "checksums"), under_writes=False)
    assert report.passed, report.text


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_a_database_moves_whole_and_no_check_finds_a_difference(new_on, pair):
    source, target = (new_on(engine, name) for engine, name in zip(pair, ("source", "target"), strict=True))
    make(source)
    fill(source)
    link = moved(source, target)
    assert_no_difference(link)
    order = target.quote("Order x")
    target.execute(f"INSERT INTO {order} (n) VALUES (2.5)")
    assert target.rows(f"SELECT id, twice FROM {order} WHERE n = 2.5") == [(400, 5)]


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_what_moved_moves_back_and_is_what_it_was(new_on, pair):
    engine, other = pair
    source, there, again = new_on(engine, "source"), new_on(other, "there"), new_on(engine, "again")
    make(source)
    fill(source, 60)
    assert_no_difference(moved(source, there))
    assert_no_difference(moved(there, again))
    for table in ("lines", "coded"):
        sql = f"SELECT * FROM {source.quote(table)} ORDER BY 1, 2"
        assert again.rows(sql) == source.rows(sql)
