"""Checksums: what differs gives another sum, what is equal the same one, between databases that share nothing."""

from __future__ import annotations

import datetime as dt
import decimal
import itertools
import json
import math
import uuid
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runbook_lib.databases import canonical as values
from runbook_lib.databases.port import KeyRange, Selection
from runbook_lib.databases.postgresql import checksums
from runbook_lib.databases.postgresql.row_hash import TOGETHER, constant, own_hash

WHOLE = [KeyRange(0)]
BOTH = pytest.mark.parametrize("canonical", [False, True], ids=["own", "canonical"])
COLUMNS = {
    "id": "bigint PRIMARY KEY",
    "name": "text",
    "code": "char(8)",
    "amount": "numeric(14,2)",
    "ratio": "double precision",
    "small": "real",
    "seen": "timestamp with time zone",
    "local": "timestamp(3)",
    "born": "date",
    "at": "time",
    "span": "interval",
    "flag": "boolean",
    "raw": "bytea",
    "doc": "jsonb",
    "plain": "json",
    "mood": "mood",
    "moods": "mood[]",
    "grid": "integer[]",
    "place": "point",
    "pair": "pair",
    "spread": "int4range",
    "uid": "uuid",
}
ROWS = (
    """(1, 'plain', 'ab', 1.50, 1.5, 0.1, '2026-03-29 01:30+00', '2026-01-01 00:00:00.5', '2026-01-01', '10:00',
       '1 mon', true, '\\x00ff', '{"b": 1.50, "aa": "1.0 "}', '{"z":1, "a": [1.0, "x"]}', 'glad', '{glad,sad}',
       '{1,2,3,4}', '(1,2)', ROW(1,'glad')::pair, '[1,5)', '6f9619ff-8b86-d011-b42d-00c04fc964ff')""",
    """(2, '', '', -5.00, '-0', 0, 'infinity', '-infinity', '0044-03-15 BC', '23:59:59.999999', '30 days', false, '',
       '[]', 'null', 'sad', '{}', '{}', '(0,0)', ROW(NULL,NULL)::pair, 'empty', NULL)""",
    """(3, NULL, NULL, 'NaN', 'NaN', '-Infinity', NULL, NULL, 'infinity', NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       NULL, NULL, NULL, NULL, NULL, NULL)""",
    """(-4, E'Straße "x" \\\\ \\n\\t 🐘 ', 'z', 0, 5e-324, 1e30, '2026-03-29 02:30+00', '0001-01-01', '9999-12-31',
       '00:00', '1 day', true, '\\xdeadbeef', '{"k": "\\"2.500\\" 3.0", "n": [1e2, 1.10, -0.0]}', '[]', 'glad', NULL,
       '{{1,2},{3,4}}', '(-1,1e10)', NULL, '(,)', NULL)""",
)


def fill(database, *, enum_first=True):
    """The same rows; the enum's OIDs and the type's order differ where `enum_first` does."""
    padding = [] if enum_first else ["CREATE TYPE other AS ENUM ('x', 'y')", "CREATE TABLE pad (a int, b text)"]
    columns = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
    database.execute(
        *padding,
        "CREATE TYPE mood AS ENUM ('glad', 'sad')",
        "CREATE TYPE pair AS (a integer, b mood)",
        f"CREATE TABLE t ({columns})",
        f"INSERT INTO t VALUES {', '.join(ROWS)}",
    )
    return database


def whole(database, table="t", key=("id",)):
    columns = tuple(database.catalog([table])[table].columns)
    quoted = tuple(database.quote(column.name) for column in columns)
    selection = Selection(database.quote(table), tuple(database.quote(k) for k in key), quoted)
    return selection, tuple(column.type for column in columns)


def digest(database, *, canonical, table="t", key=("id",)):
    selection, types = whole(database, table, key)
    [found] = database.range_sums(selection, types, WHOLE, canonical=canonical)
    return found


@BOTH
def test_equal_hostile_rows_have_equal_sums_though_enum_oids_differ(database, target, canonical):
    fill(database), fill(target, enum_first=False)
    oid = "SELECT 'mood'::regtype::oid"
    assert database.rows(oid) != target.rows(oid)
    assert digest(database, canonical=canonical) == digest(target, canonical=canonical)
    assert digest(database, canonical=canonical).rows == len(ROWS)


FAULTS = (
    "DELETE FROM t WHERE id = 3",
    "INSERT INTO t (id) VALUES (9)",
    "UPDATE t SET raw = '\\x00fe' WHERE id = 1",
    "UPDATE t SET name = 'plain ' WHERE id = 1",
    "UPDATE t SET seen = seen + interval '1 hour' WHERE id = 1",
    "UPDATE t SET name = NULL WHERE id = 2",
    "UPDATE t SET name = '' WHERE id = 3",
    "UPDATE t SET amount = -amount WHERE id = 1",
    "UPDATE t SET amount = 0 WHERE id = 3",
    "UPDATE t SET ratio = NULL WHERE id = 2",
    "UPDATE t SET id = 4294967296 WHERE id = 1",
    "UPDATE t SET grid = '{{1,2},{3,4}}' WHERE id = 1",
    "UPDATE t SET doc = '[[], []]' WHERE id = 2",
    "UPDATE t SET span = '30 days' WHERE id = 1",
    "UPDATE t SET moods = '{sad,glad}' WHERE id = 1",
    "UPDATE t SET flag = (t.id = 2) WHERE id IN (1, 2)",
    "UPDATE t SET born = o.born FROM t AS o WHERE t.id IN (1, 2) AND o.id = 3 - t.id",
    "UPDATE t SET ratio = o.ratio FROM t AS o WHERE t.id IN (1, 3) AND o.id = 4 - t.id",
)


@BOTH
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_changes_the_sum(database, fault, canonical):
    fill(database)
    before = digest(database, canonical=canonical)
    database.execute(fault)
    assert digest(database, canonical=canonical) != before


@pytest.mark.parametrize("version", [17, 18])
@pytest.mark.parametrize("never_null", [(), ('"id"',)])
def test_the_forms_of_every_version_see_every_fault(database, version, never_null):
    if database.facts().version[0] < 18 == version:
        pytest.skip("needs PostgreSQL 18")
    selection, types = whole(fill(database))
    sql = f"SELECT count(*), sum({own_hash(selection.columns, types, version, never_null)}) FROM t"
    assert ("hashbyteaextended" in sql) == ("hashdateextended" in sql) == (version == 18)
    assert "hash_record_extended" not in sql
    with database.raw() as driver:
        before = driver.execute(sql.encode()).fetchone()
        for fault in FAULTS:
            driver.execute("SAVEPOINT fault")
            driver.execute(fault)
            assert driver.execute(sql.encode()).fetchone() != before, fault
            driver.execute("ROLLBACK TO fault")
        assert driver.execute(sql.encode()).fetchone() == before


def test_instants_a_microsecond_apart_have_hashes_of_their_own_before_18(database):
    ends = ("'1799-12-31 23:59:59.99'", "'2199-12-31 23:59:59.99'", "'1999-12-31 23:59:59.99'", "'2024-07-01'")
    made = " UNION ALL ".join(
        f"SELECT timestamp {end} + i * interval '1 us' AS local FROM generate_series(0, 20000) AS i" for end in ends
    )
    database.execute(
        "CREATE TABLE t (local timestamp, at timestamptz)",
        f"INSERT INTO t SELECT local, local AT TIME ZONE 'UTC' FROM ({made}) AS made",
        "INSERT INTO t VALUES ('infinity', 'infinity'), ('-infinity', '-infinity'), (NULL, NULL),"
        " ('4713-01-01 BC', '4713-01-01 BC'), ('294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00'),"
        " ('294276-12-31 23:59:59.999998', '294276-12-31 23:59:59.999998+00')",
    )
    [(rows,)] = database.rows("SELECT count(*) FROM t")
    for column, kind in (("local", "timestamp without time zone"), ("at", "timestamp with time zone")):
        own = own_hash([column], [kind], 17)
        assert database.rows(f"SELECT count(DISTINCT {own}) FROM t") == [(rows,)]


def test_numbers_of_one_scale_have_hashes_of_their_own(database):
    """Sign, weight, zero and NaN: what numeric's own hash folds or leaves out."""
    database.execute(
        "CREATE TABLE t (n numeric(30,10))",
        "INSERT INTO t SELECT sign * digits * 10::numeric ^ exponent FROM unnest(ARRAY[1, -1]) AS sign,"
        " generate_series(1, 99) AS digits, generate_series(-10, 16) AS exponent WHERE digits % 10 > 0",
        "INSERT INTO t VALUES (0), ('NaN'::numeric), (NULL), (12345678901234567890.0123456789), (-0.0000000001 * 100)",
    )
    own = own_hash(["n"], ["numeric(30,10)"], 17)
    [(numbers, hashes)] = database.rows(f"SELECT count(*), count(DISTINCT {own}) FROM (SELECT DISTINCT n FROM t) AS t")
    assert numbers > 4000
    assert hashes == numbers


def test_instants_a_millisecond_apart_have_hashes_of_their_own(database):
    starts = (
        "4713-01-01 BC",
        "1000-01-01",
        "2199-12-31 23:59:50",
        "9999-12-31",
        "148000-01-01",
        "294276-12-31 23:59:30",
    )
    database.execute("CREATE TABLE t (local timestamp(3), at timestamptz(3))")
    for start in starts:
        database.execute(
            "INSERT INTO t SELECT local, local AT TIME ZONE 'UTC' FROM"
            f" (SELECT timestamp '{start}' + i * interval '1 ms' AS local FROM generate_series(0, 20000) AS i) AS made"
        )
    database.execute("INSERT INTO t VALUES ('infinity', 'infinity'), ('-infinity', '-infinity'), (NULL, NULL)")
    [(rows,)] = database.rows("SELECT count(*) FROM t")
    for column, kind in (("local", "timestamp(3) without time zone"), ("at", "timestamp(3) with time zone")):
        own = own_hash([column], [kind], 17)
        assert "1800-01-01" not in own  # one limit is enough
        assert database.rows(f"SELECT count(DISTINCT {own}) FROM t") == [(rows,)]


def test_a_null_where_none_was_expected_is_seen_like_any_value(database):
    """A constraint that nobody has validated lets NULLs stay; the hint is wrong then, the sum must not be."""
    rows = "(1, 1, 1, 'a'), (2, NULL, 2, 'b'), (3, 3, NULL, 'c'), (4, NULL, NULL, 'd')"
    database.execute("CREATE TABLE t (id bigint, small integer, big bigint, note text)")
    selection, types = whole(database, key=())
    hinted = replace(selection, never_null=selection.columns[:3])
    sums = {}
    changes = ("id = 9", "small = 0", "big = 0", "small = NULL", "big = NULL", "note = 'x'", "note = NULL")
    for change, row in itertools.product(changes, (1, 2, 3, 4)):
        database.execute("TRUNCATE t", f"INSERT INTO t VALUES {rows}", f"UPDATE t SET {change} WHERE id = {row}")
        content = tuple(database.rows("SELECT * FROM t ORDER BY id, note"))
        sums.setdefault(content, set()).add(database.range_sums(hinted, types, WHOLE, canonical=False)[0])
    assert len(sums) == 25  # four of the changes make NULL of NULL: all of these have the same content
    assert len(set.union(*sums.values())) == len(sums)


def test_rows_known_to_hold_no_null_may_be_read_by_their_key_alone(database):
    database.execute("CREATE TABLE t (note text, small integer, id bigint)", "INSERT INTO t VALUES ('a', 1, 7)")
    selection, types = whole(database)
    key_alone = replace(selection, never_null=selection.columns[1:], columns=selection.key)
    assert list(database.row_sums(key_alone, types[2:], WHOLE[0], canonical=False)) == [(7,)]


def test_servers_before_18_read_the_canonical_hash_as_the_same_number(database):
    if database.facts().version[0] < 18:
        pytest.skip("the newer way needs PostgreSQL 18")
    fill(database)
    found = []
    for version in (17, 18):
        database.memo["version"] = version
        found.append(digest(database, canonical=True))
    assert found[0] == found[1]


def test_numbers_that_change_places_within_a_row_are_seen(database):
    database.execute(
        "CREATE TABLE t (id bigint PRIMARY KEY, a numeric(12,2), b numeric(12,2), n numeric, m numeric, x text, y text,"
        " p boolean, q boolean, i bigint, j integer, f float8, g float8)",
        "INSERT INTO t VALUES (1, 5, 50000, 'NaN', 0, 'a', '', true, false, 1, 4294967, 0, 1)",
    )
    seen = {digest(database, canonical=False)}
    for one, two in ("ab", "nm", "xy", "pq", "ij", "fg"):
        database.execute(f"UPDATE t SET {one} = {two}, {two} = {one}")
        seen.add(digest(database, canonical=False))
    database.execute("UPDATE t SET n = NULL", "UPDATE t SET p = NULL, x = NULL")
    assert len(seen) == 7
    assert digest(database, canonical=False) not in seen


AMOUNTS = "(5), (50000), (500000000), (0.0005), (-5), (-50000), (0), ('NaN'::numeric), (NULL), (55)"


@pytest.mark.parametrize("before", ["", "flag boolean, k integer NOT NULL DEFAULT 7, ", "price numeric(12,2), "])
@pytest.mark.parametrize(
    "after", ["", ", cost numeric(12,2), m integer NOT NULL DEFAULT 7", ", m bigint NOT NULL DEFAULT 7"]
)
def test_a_number_s_magnitude_does_not_meet_a_neighbouring_key(database, before, after):
    """A key goes into the hash as it is, and a number's magnitude is in the last bits of the server's hash of it."""
    database.execute(
        f"CREATE TABLE t ({before} id bigint NOT NULL, n numeric(20,6) {after})",
        "INSERT INTO t (id, n) SELECT id, CAST(n AS numeric) FROM generate_series(-20, 20) AS id,"
        f" (VALUES {AMOUNTS}) AS a (n)",
    )
    columns = database.catalog(["t"])["t"].columns
    names, types = [c.name for c in columns], [c.type for c in columns]
    sure = {c.name for c in columns if not c.nullable}
    for never_null in ({"id"}, sure, sure - {"id"}, set()):
        own = own_hash(names, types, database.facts().version[0], never_null)
        assert database.rows(f"SELECT count(*), count(DISTINCT {own}) FROM t") == [(410, 410)]


def test_no_choice_of_fixed_numbers_in_a_row_cancels_out():
    """NULL, true and false are fixed numbers of a column: those of columns combined by xor are linearly independent."""
    for first in range(1600):  # two columns may be taken out before: any sixteen of eighteen neighbours
        basis: list[int] = []
        for number in range(first, first + TOGETHER + 2):
            seed, false, null = (constant(number, what) % 2**64 for what in ("seed", "false", "null"))
            for vector in (seed ^ false, seed ^ null):
                for known in basis:
                    vector = min(vector, vector ^ known)
                assert vector
                basis.append(vector)


@BOTH
def test_swapped_numbers_are_seen_in_many_pairs_of_rows(database, canonical):
    """PostgreSQL's own record hash is linear: its sum modulo 2^64 misses every one of these swaps."""
    database.execute(
        "CREATE TABLE t (id integer PRIMARY KEY, v integer, w text)",
        "INSERT INTO t SELECT i, i * 7, 'w' || i FROM generate_series(1, 200) AS i",
    )
    before = digest(database, canonical=canonical)
    for i in range(1, 41, 2):
        database.execute(
            f"UPDATE t SET v = CASE id WHEN {i} THEN {7 * i + 7} ELSE {7 * i} END WHERE id IN ({i}, {i + 1})"
        )
        assert digest(database, canonical=canonical) != before
        before = digest(database, canonical=canonical)


@BOTH
def test_a_duplicate_without_a_key_changes_the_sum_and_is_counted(database, canonical):
    database.execute("CREATE TABLE t (a text, b integer)", "INSERT INTO t VALUES ('x', 1), ('ab', NULL), ('x', 1)")
    before = digest(database, canonical=canonical, key=())
    selection, types = whole(database, key=())
    blocks = KeyRange(0, kind="blocks")
    assert sorted(database.row_sums(selection, types, blocks, canonical=canonical).values()) == ["1", "2"]
    database.execute("INSERT INTO t VALUES ('x', 1)")
    after = digest(database, canonical=canonical, key=())
    assert after.digest != before.digest and after.rows == before.rows + 1


@BOTH
def test_ranges_sum_up_to_the_whole(database, canonical):
    database.execute(
        'CREATE TABLE t (k text COLLATE "C" PRIMARY KEY, v integer)',
        "INSERT INTO t SELECT md5(i::text), i FROM generate_series(1, 500) AS i",
        "ANALYZE t",
    )
    selection, types = whole(database, key=("k",))
    bounds = ["4", "4f", "b", "zz"]
    edges = [None, *((bound,) for bound in bounds), None]
    ranges = [KeyRange(i, a, b) for i, (a, b) in enumerate(itertools.pairwise(edges))]
    sums = database.range_sums(selection, types, ranges, canonical=canonical)
    [total] = database.range_sums(selection, types, WHOLE, canonical=canonical)
    assert sum(each.rows for each in sums) == total.rows == database.count(selection) == 500
    assert sum(int(each.digest) for each in sums) == int(total.digest)
    one_by_one = [database.range_sums(selection, types, [each], canonical=canonical)[0] for each in ranges]
    assert one_by_one == sums and sums[-1].rows == 0
    grouped = checksums._grouped_sums(database, selection, types, ranges, canonical=canonical)
    assert grouped == sums  # the one pass for keys whose collation no index serves


@BOTH
def test_row_sums_name_the_row_that_differs(database, target, canonical):
    fill(database), fill(target)
    target.execute("UPDATE t SET name = 'x' WHERE id = -4", "DELETE FROM t WHERE id = 2")
    selection, types = whole(database)
    ours, theirs = (d.row_sums(selection, types, WHOLE[0], canonical=canonical) for d in (database, target))
    assert {key for key in ours if ours[key] != theirs.get(key)} == {(-4,), (2,)}


@BOTH
def test_a_reader_with_other_types_hashes_as_the_written_table_does(database, target, canonical):
    database.execute(
        "CREATE TABLE t (id integer PRIMARY KEY, mood varchar(9), n numeric, c text)",
        "INSERT INTO t VALUES (1, 'glad', 1.5, 'ab')",
    )
    target.execute(
        "CREATE TYPE mood AS ENUM ('glad')",
        "CREATE TABLE t (id bigint PRIMARY KEY, mood mood, n numeric(9,2), c char(5))",
        "INSERT INTO t VALUES (1, 'glad', 1.5, 'ab')",
    )
    selection, types = whole(target)
    sums = [d.range_sums(selection, types, WHOLE, canonical=canonical) for d in (database, target)]
    assert sums[0] == sums[1]
    keys = [set(d.row_sums(selection, types, WHOLE[0], canonical=canonical)) for d in (database, target)]
    assert keys == [{(1,)}, {(1,)}]


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.decimals(-(10**9), 10**9, places=4)
JSONS = st.recursive(
    st.none() | st.booleans() | TEXTS | st.integers(-(10**20), 10**20) | NUMBERS.map(lambda d: float(d)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
VALUES = {
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "numeric(14,4)": NUMBERS,
    "numeric": st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30),
    "double precision": st.floats().map(lambda f: 0.0 if f == 0 and math.copysign(1, f) < 0 else f),
    "real": st.floats(width=32),
    "text": TEXTS,
    "character(14)": TEXTS.map(lambda t: t + "  "),
    "bytea": st.binary(max_size=12),
    "boolean": st.booleans(),
    "date": st.dates(),
    "time without time zone": st.times(),
    "timestamp without time zone": st.datetimes(),
    "timestamp with time zone": st.datetimes(dt.datetime(2, 1, 1), timezones=st.just(dt.UTC)),
    "uuid": st.uuids(),
    "jsonb": JSONS.map(lambda value: json.dumps(value, ensure_ascii=False)),
    "mood": st.sampled_from(["glad", "sad"]),
}


def as_parameter(value):
    if isinstance(value, uuid.UUID | decimal.Decimal | dt.date | dt.time):
        return str(value)
    return value


def test_sql_renders_every_type_as_the_reference_does(database):
    """One row of all types at a time, NULL included: the hash from SQL is the hash from values.row_hash."""
    database.execute("CREATE TYPE mood AS ENUM ('glad', 'sad')")
    columns = ", ".join(f"c{i} {kind}" for i, kind in enumerate(VALUES))
    database.execute(f"CREATE TABLE t ({columns})")
    names = tuple(f"c{i}" for i in range(len(VALUES)))
    selection, types = Selection("t", (), names), tuple(VALUES)

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.tuples(*(st.none() | strategy for strategy in VALUES.values())))
    def check(row):
        casts = ", ".join(f"CAST(%s AS {kind})" for kind in VALUES)
        with database.raw() as driver:
            driver.execute("TRUNCATE t")
            driver.execute(f"INSERT INTO t SELECT {casts}", [as_parameter(value) for value in row])
        expected = values.row_hash(row, types)
        assert database.row_sums(selection, types, WHOLE[0], canonical=True) == {(expected,): "1"}
        [found] = database.range_sums(selection, types, WHOLE, canonical=True)
        assert found.digest == values.digest_of([expected])

    check()


def test_fields_cannot_run_into_each_other():
    assert values.encode_row(["ab", "c"], ["text", "text"]) == b"s2:abs1:c"
    assert values.encode_row(["a", "bc"], ["text", "text"]) == b"s1:as2:bc"
    assert values.encode_row([None, ""], ["text", "text"]) == b"-s0:"


ANY_TEXT = st.text(st.sampled_from("ab1-;:sn'\\ "), max_size=6)  # what a row is made of, to run fields into each other
ANY_KIND = st.sampled_from(["text", "mood", "bytea", "bigint"])
ANY_ROW = st.lists(st.tuples(ANY_KIND, st.integers(-12, 12), ANY_TEXT), max_size=4)


@settings(max_examples=400, deadline=None)
@given(ANY_ROW, ANY_ROW)
def test_different_rows_never_encode_alike(one, two):
    """Rows of any types and lengths: equal bytes mean equal families, equal values, and as many of them."""

    def row(parts):
        of = {"bigint": lambda n, t: n, "bytea": lambda n, t: t.encode()}
        return [(kind, of.get(kind, lambda n, t: t)(n, t) if n else None) for kind, n, t in parts]

    told = [row(parts) for parts in (one, two)]
    bytes_ = [values.encode_row([v for _, v in each], [k for k, _ in each]) for each in told]
    plain = [[(None if v is None else k, v) for k, v in each] for each in told]
    assert (bytes_[0] == bytes_[1]) == (plain[0] == plain[1])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_different_numbersof_a_type_never_encode_alike(data):
    kind = data.draw(st.sampled_from(sorted(set(VALUES) - {"jsonb"})))  # whose equality is the server's, held above
    one, two = data.draw(VALUES[kind]), data.draw(VALUES[kind])
    same = one == two or (isinstance(one, float) and one != one and two != two)
    if kind.startswith("character"):
        same = one.rstrip(" ") == two.rstrip(" ")
    assert (values.encode_row([one], [kind]) == values.encode_row([two], [kind])) == same
