"""Every ordered pair of engines: the schema translated, rows copied, compared, keys handed out again."""

from __future__ import annotations

from itertools import permutations

import pytest
from estate_engines import assert_no_difference, fill, make, moved

PAIRS = list(permutations(("postgresql", "mysql", "sqlite"), 2))


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
