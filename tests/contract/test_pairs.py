"""Every ordered pair of engines: the schema translated, rows copied, compared, keys handed out again."""

from __future__ import annotations

from itertools import permutations

import pytest
from estate_engines import assert_no_difference, fill, make, moved

from runbook_lib.errors import PlanError
from runbook_lib.validation import validate

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


SHOPS = {
    "mysql": """
CREATE TABLE customers (id bigint unsigned AUTO_INCREMENT PRIMARY KEY, mood enum('glad','sad'), vip tinyint(1),
  level tinyint(1), huge bigint unsigned, age int unsigned, CHECK (mood IN ('glad', 'sad')));
CREATE TABLE orders (id bigint AUTO_INCREMENT PRIMARY KEY, customer bigint unsigned NOT NULL REFERENCES customers (id));
INSERT INTO customers VALUES (1, 'glad', 1, 5, 18446744073709551615, 3), (2, NULL, 0, -1, 0, 4);
INSERT INTO orders VALUES (1, 2);
""",
    "postgresql": """
CREATE TABLE customers (id bigserial PRIMARY KEY, mood text CHECK (mood IN ('glad', 'sad')),
  kind varchar(9) NOT NULL CHECK (kind IN ('a', 'b')), vip boolean, age integer CHECK (age >= 0));
CREATE TABLE orders (id bigserial PRIMARY KEY, customer bigint NOT NULL REFERENCES customers (id));
INSERT INTO customers VALUES (1, 'glad', 'a', true, 3), (2, NULL, 'b', false, 4); INSERT INTO orders VALUES (1, 2);
""",
}


@pytest.mark.parametrize(
    "pair",
    [("mysql", "postgresql"), ("mysql", "sqlite"), ("postgresql", "mysql"), ("postgresql", "sqlite")],
    ids="-".join,
)
def test_what_a_copy_made_passes_all_six_checks(new_on, pair):
    source, target = (new_on(engine, name) for engine, name in zip(pair, ("source", "target"), strict=True))
    source.run_script(SHOPS[source.dialect])
    report = validate([moved(source, target)], under_writes=False)
    assert report.passed, report.text


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


# Reserved words, mixed case, a letter outside ASCII, a quote, 60 bytes; 63 and 64 bytes are the two servers' limits.
# A column's name may also hold a dot, or be in quotes.
NAMES = ["Select", "größe", 'a "b', "x" * 60, "y" * 63]
COLUMNS = [*NAMES, "park.key", '"key"']


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_awkward_names_move_as_they_are(new_on, pair):
    source, target = (new_on(engine, name) for engine, name in zip(pair, ("source", "target"), strict=True))
    quote = source.quote
    kind = "varchar(20)"
    for name in NAMES:
        columns = ", ".join(f"{source.ident(column)} {kind}" for column in COLUMNS)
        source.execute(
            f"CREATE TABLE {quote(name)} (id integer PRIMARY KEY, {columns})",
            f"INSERT INTO {quote(name)} (id, {source.ident(COLUMNS[-2])}) VALUES (1, 'x')",
            f"CREATE INDEX {quote('i' + name[1:])} ON {quote(name)} ({source.ident(COLUMNS[-2])})",
        )
    link = moved(source, target)
    assert_no_difference(link)
    there = target.catalog()
    assert set(there) == set(NAMES)
    for table in there.values():
        assert [column.name for column in table.columns] == ["id", *COLUMNS]
        assert [index.columns for index in table.indexes if not index.constraint] == [(COLUMNS[-2],)]


@pytest.mark.parametrize("target_engine", ["postgresql", "sqlite"])
def test_a_name_too_long_for_the_target_is_named_before_anything_is_made(new_on, target_engine):
    source, target = new_on("mysql", "source"), new_on(target_engine, "target")
    long = "n" * 64
    source.execute(
        f"CREATE TABLE kept (id int PRIMARY KEY, `{long}` int)", f"CREATE TABLE `{long}` (id int PRIMARY KEY)"
    )
    if target_engine == "sqlite":  # which has no limit
        assert_no_difference(moved(source, target))
        return
    with pytest.raises(PlanError, match=long):
        moved(source, target)
    assert target.catalog() == {}


@pytest.mark.parametrize("newer", [True, False], ids=["to the newer", "to the older"])
def test_two_versions_of_postgresql_are_a_pair_and_all_six_checks_agree(new_on, newer):
    pair = [new_on("system postgresql", "system"), new_on("postgresql", "own")]
    source, target = sorted(pair, key=lambda database: database.facts().version, reverse=not newer)
    if source.facts().version[0] == target.facts().version[0]:
        pytest.skip("RUNBOOK_TEST_PGBIN is the system's version")
    make(source)
    fill(source)
    report = validate([moved(source, target)], under_writes=False, sequences=True)
    assert report.passed, report.text
