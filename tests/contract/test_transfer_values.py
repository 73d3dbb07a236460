# ruff: noqa: E501  a row of values is read along its line
"""Values that the target has not: found before the copy, changed as the plan says, alike in copy, sync and checksums."""

from __future__ import annotations

import struct

import pytest
from estate_sqlite import new_database as new_file

from runbook_lib.assessment import assess
from runbook_lib.errors import ConfigurationError, RowRejected, TransferError
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of
from runbook_lib.plan.model import Plan, Service, TableMapping
from runbook_lib.schema.convert.service_tables import decisions, strays, target_schema
from runbook_lib.schema.create_target import add_foreign_keys, build_indexes, create_tables
from runbook_lib.transfer.build_links import forward_links, reverse_links
from runbook_lib.transfer.bulk_copy import copy_link
from runbook_lib.transfer.capture import enable_capture
from runbook_lib.transfer.implicit_plan import whole_plan
from runbook_lib.transfer.sync import drain
from runbook_lib.transfer.value_scan import measure, problems
from runbook_lib.validation import validate

MARIADB = """
CREATE TABLE t (id bigint unsigned AUTO_INCREMENT PRIMARY KEY, day date NOT NULL DEFAULT '0000-00-00', at datetime(3) NOT NULL,
  seen timestamp(2) NULL DEFAULT NULL, flag tinyint(1) NOT NULL, level tinyint(1), big bigint unsigned, name varchar(20), note longtext);
INSERT INTO t VALUES (1, '0000-00-00', '0000-00-00', NULL, 1, 5, 18446744073709551615, 'a\\0b', '\\0'),
  (2, '2020-02-29', '2020-01-02 03:04:05.678', '2020-01-02 03:04:05.67', 0, -1, 1, 'ab', ''),
  (3, '1970-01-01', '0000-00-00', '2000-01-01', 1, NULL, NULL, NULL, NULL), (4, '2021-01-01', '2021-01-01', NULL, 0, 1, 0, 'x', 'y');
"""


def moving(source, target, types):
    plan = Plan("test", "move", "source", (Service("s", "target", (), (TableMapping("t", "t"),)),), (), types=types)
    create_tables(plan.services[0], source, target, types)
    [link] = forward_links(plan, source, {"target": target})
    [back] = reverse_links(plan, source, {"target": target})
    return plan.services[0], link, back


def finished(service, target):
    build_indexes(service, target)
    add_foreign_keys(service, target)


def assert_equal(*links):
    for link in links:
        report = validate([link], checks=("row_counts", "checksums"), under_writes=False)
        assert report.passed, [str(found) for found in report.mismatches] + [str(r.errors) for r in report.results]


@pytest.mark.parametrize("zero", ["null", "1970-01-01"])
@pytest.mark.parametrize("engine", ["postgresql", "sqlite"])
def test_zero_dates_and_nul_become_what_the_plan_says_there_and_are_the_same_on_the_way_back(
    new_on, tmp_path, zero, engine
):
    source = new_on("mysql", "source")
    target = new_file(tmp_path, "target", wal=True) if engine == "sqlite" else new_on(engine, "target")
    source.run_script(MARIADB)
    service, link, back = moving(source, target, {"zero_dates": zero, "nul": "strip"})
    enable_capture(link)
    result = copy_link(link)
    finished(service, target)
    stripped = {"t.name: NUL characters": 1, "t.note: NUL characters": 1} if engine == "postgresql" else {}
    assert result.changed == {"t.day: zero dates": 1, "t.at: zero dates": 2, **stripped}
    assert_equal(link, back)
    day = None if zero == "null" else "1970-01-01"
    [first] = target.rows("SELECT CAST(day AS text), CAST(level AS integer), CAST(id AS integer) FROM t WHERE id = 1")
    assert first == (day, 5, 1)
    source.execute("UPDATE t SET day = '0000-00-00', name = 'c\\0d' WHERE id = 2", "UPDATE t SET at = day WHERE id = 4")
    drain([link])
    assert_equal(link, back)
    assert {m.name: m.rows for m in measure(link, changed_only=True)}["zero dates"] == 2
    enable_capture(back)
    target.execute("UPDATE t SET level = 7 WHERE id = 2" if zero != "null" else "UPDATE t SET level = 7 WHERE id = 4")
    drain([back])
    assert source.rows("SELECT max(level) FROM t") == [(7,)]
    target.close()


def test_measured_types_are_decisions_and_the_plan_may_decide_otherwise(new_on):
    source, target = new_on("mysql", "source"), new_on("postgresql", "target")
    source.run_script(MARIADB)
    service, _, _ = moving(source, target, {"zero_dates": "null"})
    types = {column.name: column.type for column in target.catalog(["t"])["t"].columns}
    assert [types[name] for name in ("id", "flag", "level", "big")] == [
        "bigint",
        "boolean",
        "smallint",
        "numeric(20,0)",
    ]
    told = {d.subject: (d.what, d.chosen) for d in decisions(target_schema(service, source, target, {}))}
    assert told["t.id"] == ("bigint unsigned: its largest value is 4", "bigint")
    assert told["t.level"] == ("tinyint(1): its values go from -1 to 5", "tinyint")
    by_plan = target_schema(service, source, target, {"t.level": "integer", "t.id": "bigint"})
    told = {d.subject: d.chosen for d in decisions(by_plan)}
    assert told["t.level"] == "integer"


def test_without_a_policy_they_are_named_before_the_copy_and_refused_by_it(new_on):
    source, target = new_on("mysql", "source"), new_on("postgresql", "target")
    source.run_script(MARIADB)
    _, link, _ = moving(source, target, {})
    found = {problem.subject: problem for problem in problems(link, quarantine=False)}
    assert found["s.t.day"].text == "1 zero dates: the target will refuse the rows (1)" and found["s.t.day"].blocking
    assert found["s.t.at"].count == 2 and "(1), (3)" in found["s.t.at"].text
    assert not any(problem.blocking for problem in problems(link, quarantine=True))
    source.execute("UPDATE t SET day = '2020-00-10', at = '2000-01-01' WHERE id IN (1, 3)")
    assert [m.name for m in measure(link)] == ["dates with a month or day of 0"]
    with pytest.raises(RowRejected, match=r"key \(id = 1\)"):
        copy_link(link)


POSTGRESQL = """
CREATE TABLE t (id integer PRIMARY KEY, d double precision, r real, n numeric(12,4), at timestamptz, day date, ts timestamp);
INSERT INTO t VALUES (1, '-0', '-0', 0, '2020-01-01 00:00:00.123456+00', '2020-01-01', '2020-01-01 00:00:00.1239'),
  (2, 0, 1.5, 1.5, '2039-01-01+00', '1000-01-01', '9999-12-31'), (3, NULL, NULL, NULL, NULL, NULL, NULL);
"""
BAD = (
    "INSERT INTO t VALUES (4, 'NaN', 'Infinity', 'NaN', 'infinity', '0044-03-15 BC', '12000-01-01'),"
    " (5, '-Infinity', 1, 1, '-infinity', 'infinity', '2020-01-01')"
)


def test_what_postgresql_has_and_mysql_not_is_found_before_the_copy(new_on):
    source, target = new_on("postgresql", "source"), new_on("mysql", "target")
    source.run_script(POSTGRESQL)
    service, link, back = moving(source, target, {"t.ts": "datetime(3)", "t.at": "datetime(6)"})
    source.execute(BAD)
    counted = {(m.column, m.name): m.rows for m in measure(link)}
    outside = "dates that the target has not"
    assert counted == {
        ("d", "negative zeros"): 1, ("r", "negative zeros"): 1, ("ts", "fractions of a second"): 1,
        ("d", "NaN or infinity"): 2, ("r", "NaN or infinity"): 1, ("n", "NaN or infinity"): 1,
        ("at", outside): 2, ("day", outside): 2, ("ts", outside): 1,
    }  # fmt: skip
    source.execute("DELETE FROM t WHERE id > 3")
    result = copy_link(link)
    finished(service, target)
    assert result.changed == {"t.d: negative zeros": 1, "t.r: negative zeros": 1, "t.ts: fractions of a second": 1}
    assert_equal(link, back)
    assert target.rows("SELECT CAST(d AS char), CAST(ts AS char) FROM t WHERE id = 1") == [
        ("0", "2020-01-01 00:00:00.124")
    ]


def test_what_will_not_fit_is_counted_range_by_range_and_its_first_rows_are_named(new_on, monkeypatch):
    source, target = new_on("postgresql", "source"), new_on("mysql", "target")
    source.execute(
        "CREATE TABLE t (id integer PRIMARY KEY, d double precision)",
        "INSERT INTO t SELECT g, CASE WHEN g % 50 = 0 THEN float8 'NaN' ELSE g END FROM generate_series(1, 1000) g",
        "ANALYZE t",
    )
    _, link, _ = moving(source, target, {})
    monkeypatch.setattr("runbook_lib.transfer.value_scan.PART_ROWS", 70)
    assert len(link.reader.ranges(link.flows[0].reading, 70)) > 10
    [found] = measure(link)
    assert (found.rows, found.keys) == (20, ((50,), (100,), (150,)))


def test_a_type_for_what_is_not_there_is_refused_and_no_table_is_made(new_on):
    source, target = new_on("mysql", "source"), new_on("postgresql", "target")
    source.run_script(MARIADB)
    known = {"t.level": "integer", "tinyint(1)": "smallint", "nul": "strip", "zero_dates": "null"}
    service = Service("s", "target", (), (TableMapping("t", "t"),))
    wrong = {**known, "t.levle": "integer", "bigints": "numeric"}
    assert strays([target_schema(service, source, target, wrong)]) == ["t.levle", "bigints"]
    with pytest.raises(ConfigurationError, match=r"^--type t\.levle: names no column .*; nothing was done"):
        clone(pair_of(source, target, types={**known, "t.levle": "integer"}), How())
    assert target.catalog() == {}


def test_moments_beyond_2038_are_found_for_a_timestamp_of_mysql(new_on):
    source, target = new_on("postgresql", "source"), new_on("mysql", "target")
    source.run_script(POSTGRESQL)
    _, link, _ = moving(source, target, {"t.at": "timestamp(6) NULL"})
    [found] = [m for m in measure(link) if not m.changed]
    assert (found.column, found.rows, found.keys) == ("at", 1, ((2,),))


def test_nul_of_sqlite_is_stripped_for_postgresql(new_on, tmp_path):
    source, target = new_file(tmp_path, "source", wal=True), new_on("postgresql", "target")
    source.run_script("CREATE TABLE t (id INTEGER PRIMARY KEY, name VARCHAR(20), n REAL)")
    source.execute("INSERT INTO t VALUES (1, 'a' || char(0) || 'b', 1.5), (2, 'ab', NULL), (3, char(0), 1)")
    service, link, back = moving(source, target, {"nul": "strip"})
    assert copy_link(link).changed == {"t.name: NUL characters": 2}
    finished(service, target)
    assert_equal(link, back)
    assert target.rows("SELECT name FROM t ORDER BY id") == [("ab",), ("ab",), ("",)]
    source.close()


def test_nul_of_a_server_stops_the_copy_with_the_option_that_drops_it(new_on):
    source, target = new_on("mysql", "source"), new_on("postgresql", "target")
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, concat('a', char(0), 'b'))")
    with pytest.raises(RowRejected, match=r"key \(id = 1\), column v: .*Next: .*--type nul=strip"):
        clone(pair_of(source, target), How())
    clone(pair_of(source, target, types={"nul": "strip"}), How())
    assert target.rows("SELECT v FROM t") == [("ab",)]


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_nul_and_bytes_that_are_no_text_are_named_by_key_before_anything_is_made(new_on, engine):
    source, target = new_on("sqlite", "source"), new_on(engine, "target")
    source.execute("CREATE TABLE t (id varchar(9) NOT NULL PRIMARY KEY, v text)")
    source.execute(
        "INSERT INTO t VALUES ('a', 'ü'), ('b', 'x' || char(0)), ('c', CAST(x'61e4' AS text)),"
        " (CAST(x'e478' AS text), 'ok'), ('k' || char(0), '')"
    )
    told = []
    with pytest.raises(
        TransferError, match=r"source\.t\.id: 1 texts that are no UTF-8: .*\\xe4x\).*; nothing was done"
    ):
        clone(pair_of(source, target), How(), told.append)
    named = [line for line in told if "will refuse the rows" in line]
    assert [line.rpartition("rows ")[2] for line in named if "UTF-8" in line] == ["(\\xe4x)", "(c)"]
    nul = [line.rpartition("rows ")[2] for line in named if "NUL" in line]
    assert nul == (["(k\\x00)", "(b)"] if engine == "postgresql" else [])
    assert target.catalog() == {}
    found = assess(whole_plan(source, target), source, {"target": target}).findings
    examples = {(each.kind, each.example) for each in found if each.kind in ("encoding", "nul")}
    assert {("encoding", "id \\xe4x"), ("encoding", "id c")} <= examples
    assert {kind for kind, _ in examples} == ({"encoding", "nul"} if engine == "postgresql" else {"encoding"})


@pytest.mark.parametrize("engine", ["postgresql", "mysql", "sqlite"])
def test_a_key_whose_name_has_a_dot_is_found_by_every_look_before_a_copy(new_on, engine):
    source = new_on(engine, "source")
    name = source.ident("k.e y")
    source.execute(f"CREATE TABLE t ({name} varchar(9) NOT NULL, n int, PRIMARY KEY ({name}))")
    source.execute("INSERT INTO t VALUES ('a', 1), ('a ', 2)" if engine != "mysql" else "INSERT INTO t VALUES ('a', 1)")
    target = new_on("mysql" if engine != "mysql" else "postgresql", "target")
    found = assess(whole_plan(source, target), source, {"target": target}).findings
    assert [each.subject for each in found if each.kind == "duplicates"] == ([] if engine == "mysql" else ["t (k.e y)"])


SINGLES = ("3.4028235e38", "-3.4028235e38", "3.4028233e38", "-3.402823e38", "1.17549435e-38", "1e-40", "16777217")


@pytest.mark.parametrize("target_engine", ["postgresql", "mysql", "sqlite"])
@pytest.mark.parametrize("source_engine", ["postgresql", "mysql", "sqlite"])
def test_the_farthest_single_precision_numbers_are_exact_in_copy_sync_and_the_way_back(
    new_on, source_engine, target_engine
):
    source, target = new_on(source_engine, "source"), new_on(target_engine, "target")
    kind = {"postgresql": "real", "mysql": "float", "sqlite": "float4"}[source_engine]
    exact = [struct.unpack("f", struct.pack("f", float(text)))[0] for text in SINGLES]
    rows = [f"({i}, {value!r})" for i, value in enumerate(exact)]
    source.execute(f"CREATE TABLE t (id integer PRIMARY KEY, f {kind})", f"INSERT INTO t VALUES {', '.join(rows[1:])}")
    service, link, back = moving(source, target, {})
    enable_capture(link)
    copy_link(link)
    finished(service, target)
    source.execute(f"INSERT INTO t VALUES {rows[0]}", "UPDATE t SET f = -f WHERE id = 1")
    drain([link])
    assert_equal(link)
    enable_capture(back)
    target.execute("UPDATE t SET f = -f")
    drain([back])
    assert_equal(link, back)
    wide = {"postgresql": "f::float8", "mysql": "f + 0e0", "sqlite": "f"}[source_engine]
    found = [float(value) for (value,) in source.rows(f"SELECT {wide} FROM t ORDER BY id")]
    assert found == [-exact[0], exact[1], *(-value for value in exact[2:])]
