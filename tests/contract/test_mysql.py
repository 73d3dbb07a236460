# ruff: noqa: E501  a row of values is read along its line
"""What is MySQL's own: its values, its names, its locks, TRUNCATE and cascades, dump and backup."""

from __future__ import annotations

import secrets
import threading
import time
import traceback

import pymysql
import pytest

from runbook_lib.databases.mysql import MySQL, open_database, schema
from runbook_lib.databases.port import Applied, KeyRange, Selection
from runbook_lib.errors import ConfigurationError, CutoverAborted, DatabaseError, RowRejected, TransferError
from runbook_lib.plan.model import Service, TableMapping
from runbook_lib.schema.extraction_views import drop_views

SECRET = "s3cr3t/p@ss%word"
HOSTILE = """
CREATE TABLE `Order ``x`` ünits` (id bigint unsigned NOT NULL AUTO_INCREMENT, `select` varchar(40) DEFAULT 'a;b', doc json,
  f float, d double, n decimal(30,10) unsigned, b binary(4), vb varbinary(100), flag tinyint(1), small tinyint, at datetime(6),
  seen timestamp(3) NULL ON UPDATE CURRENT_TIMESTAMP(3), t time(2), day date, e enum('a','it''s','','0'), st set('x','y'),
  bits bit(5), y year, u uuid, bl longblob, tx longtext CHARACTER SET latin1, zf int(8) zerofill,
  twice decimal(32,10) GENERATED ALWAYS AS (n * 2) STORED, v int GENERATED ALWAYS AS (length(`select`)) VIRTUAL,
  PRIMARY KEY (id), UNIQUE KEY `odd ``key``` (e, id), KEY (`select`(10) DESC), CONSTRAINT `odd check` CHECK (n < 100000000))
  COMMENT='it''s; a comment';
CREATE TABLE `lines` (unit bigint unsigned NOT NULL, `no` smallint NOT NULL, what text, PRIMARY KEY (unit, `no`),
  CONSTRAINT owner FOREIGN KEY (unit) REFERENCES `Order ``x`` ünits` (id));
DELIMITER ;;
CREATE TRIGGER `odd;trigger` BEFORE INSERT ON `lines` FOR EACH ROW BEGIN
  IF @runbook_sync IS NULL THEN SET NEW.what = concat(NEW.what, ';'); END IF;
END;;
DELIMITER ;
INSERT INTO `Order ``x`` ünits` (id, `select`, doc, f, d, n, b, vb, flag, small, at, seen, t, day, e, st, bits, y, u, bl, tx, zf)
VALUES (0, 'tab\\t nl\\n cr\\r bs\\\\ \\\\N \\f \\0 \\Z', '{"b": 1.50, "a": [1, 2], "a": 3}', 0.1, 1/3e0, 0.0000000001, x'00ff',
  x'5c270a00', 1, -128, '2020-01-01 00:00:00.12', '2038-01-19 03:14:07.5', '-838:59:59', '2020-02-29', 'it''s', 'x,y',
  b'00101', 2020, uuid(), x'00', 'ÿ€', 42),
 (18446744073709551614, '', '[]', 3.4e38, 1.7976931348623157e308, 99999999.9999999999, '', '', 0, 127,
  '9999-12-31 23:59:59.999999', NULL, '838:59:59', '1000-01-01', '', '', b'1', 1901, NULL, NULL, repeat('ü\\n', 70000), 0),
 (5, NULL, NULL, -0.0, 5e-324, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (7, '👩‍👩‍👧 עברית', 'null', 16777216, 1e15, 0, NULL, NULL, 2, 2, '0000-00-00', '1970-01-01 00:00:01', '00:00:00', '0000-00-00',
  '0', 'x', b'0', 0, NULL, '', '\\\\N', 99999999);
"""
ODD = "Order `x` ünits"


@pytest.fixture
def database(new_on) -> MySQL:
    return new_on("mysql", "source")


@pytest.fixture
def target(new_on) -> MySQL:
    return new_on("mysql", "target")


def reading(database: MySQL, table: str) -> tuple[Selection, tuple[str, ...], tuple[str, ...]]:
    described = database.catalog([table])[table]
    columns = [column for column in described.columns if not column.generated]
    quoted = tuple(database.quote(column.name) for column in columns)
    key = tuple(map(database.quote, described.key))
    chosen = Selection(database.quote(table), key, quoted)
    return chosen, tuple(c.name for c in columns), tuple(c.type for c in columns)


def copied(source: MySQL, target: MySQL, table: str, rows: int = 2) -> list[KeyRange]:
    chosen, columns, _ = reading(source, table)
    cut = source.ranges(chosen, rows)
    for each in cut:
        target.copy_in(table, columns, source.copy_out(chosen, each, binary=False), binary=False)
    return cut


def make_hostile(database: MySQL) -> None:
    """MySQL has no type uuid."""
    database.run_script(HOSTILE if database.flavour[0] == "MariaDB" else HOSTILE.replace("u uuid", "u char(36)"))


def everything(database: MySQL, table: str):
    return sorted(database.rows(f"SELECT * FROM {database.quote(table)}"), key=repr)


def test_the_schema_is_dumped_whole_and_every_hostile_value_is_copied_exactly(database, target):
    make_hostile(database)
    tables = [ODD, "lines"]
    before, after = database.dump_schema(tables)
    indexes, references = database.split_references(after)
    target.run_script(before)
    cut = copied(database, target, ODD)
    assert len(cut) > 1 and everything(target, ODD) == everything(database, ODD)
    target.run_script(indexes)
    target.run_script(references)
    assert target.fingerprint(tables) == database.fingerprint(tables)
    assert target.catalog(["lines"])["lines"].triggers == database.catalog(["lines"])["lines"].triggers != ()
    chosen, _, types = reading(database, ODD)
    for canonical in (False, True):
        sums = database.range_sums(chosen, types, cut, canonical=canonical)
        assert sums == target.range_sums(chosen, types, cut, canonical=canonical)
        assert sum(each.rows for each in sums) == 4
    target.drop_tables([*tables, "never"])
    assert target.catalog() == {}


def test_every_hostile_value_is_applied_exactly(database, target):
    make_hostile(database)
    target.run_script("".join(database.dump_schema([ODD])))
    chosen, columns, _ = reading(database, ODD)
    keys = [(0,), (5,), ("7",), (18446744073709551614,), (99,)]
    for _ in range(2):  # replaying is harmless
        rows = database.read_rows(chosen, keys)
        assert target.apply_rows(ODD, ["id"], columns, keys, rows) == Applied(4, 0)
    assert everything(target, ODD) == everything(database, ODD)
    by_id = {row[0]: dict(zip(columns, row, strict=True)) for row in rows}
    assert by_id["0"]["vb"] == "\\x5c270a00" and by_id["0"]["flag"] == "t" and by_id["0"]["bits"] == "00101"
    assert by_id["0"]["seen"] == "2038-01-19 03:14:07.5+00" and by_id["0"]["f"] == "0.1"
    assert (
        by_id["7"]["at"] == "0000-00-00 00:00:00" and by_id["7"]["flag"] == "2" and by_id["7"]["f"] == "1.6777216e+07"
    )


def test_a_row_that_does_not_fit_is_named_by_column_key_and_value_and_nothing_stays(database):
    database.execute("CREATE TABLE t (id int PRIMARY KEY, small tinyint, b varbinary(9), ok bit(2))")
    for field, value in (("small", b"300"), ("small", b"many"), ("b", rb"\\xZZ"), ("ok", b"x")):
        fields = {"id": b"2", "small": b"1", "b": b"\\N", "ok": b"\\N", field: value}
        block = b"1\t1\t\\N\t\\N\n" + b"\t".join(fields.values()) + b"\n"
        with pytest.raises(RowRejected) as caught:
            database.copy_in("t", list(fields), iter([block]), binary=False)
        if field == "small":
            assert "column small, key (id = 2)" in str(caught.value) and value.decode() in str(caught.value)
    with pytest.raises(RowRejected, match="Duplicate entry '1'"):
        database.copy_in("t", ["id"], iter([b"1\n", b"1\n"]), binary=False)
    assert database.rows("SELECT count(*) FROM t") == [(0,)]


def test_a_block_may_be_cut_anywhere_and_every_escape_of_copy_is_read(database):
    database.execute("CREATE TABLE t (id int PRIMARY KEY, x longtext)")
    whole = b"1\ta\\b\\f\\v\\\\f\\\\\\f\\n\\t\\r\xc3\xbc\n2\t\\N\n"
    database.copy_in("t", ["id", "x"], (whole[i : i + 1] for i in range(len(whole))), binary=False)
    assert database.rows("SELECT id, x FROM t ORDER BY id") == [(1, "a\b\f\v\\f\\\f\n\t\rü"), (2, None)]


def test_a_failing_reader_leaves_nothing_and_the_connection_is_usable(database):
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")

    def failing():
        yield b"1\n"
        raise RuntimeError("the source went away")

    with pytest.raises(RuntimeError, match="went away"):
        database.copy_in("t", ["id"], failing(), binary=False)
    assert database.rows("SELECT count(*) FROM t") == [(0,)]
    assert database.rows("SELECT @runbook_sync, @@foreign_key_checks") == [(None, 1)]
    stream = database.copy_out(Selection("t", ("id",), ("id",)), KeyRange(0), binary=False)
    stream.close()
    assert database.rows("SELECT 1") == [(1,)]


def test_text_keys_are_cut_and_read_by_bytes_whatever_the_collation(database):
    database.execute(
        "CREATE TABLE t (code varchar(20) COLLATE utf8mb4_general_ci, n int, v text, PRIMARY KEY (code, n))",
        "INSERT INTO t VALUES "
        + ", ".join(f"('{chr(c)}{n}', {n}, 'x')" for c in (65, 98, 67, 100, 233) for n in range(40)),
    )
    chosen = Selection("t", ("code", "n"), ("code", "n", "v"))
    cut = database.ranges(chosen, 30)
    lines = [b"".join(database.copy_out(chosen, each, binary=False)).count(b"\n") for each in cut]
    assert len(cut) > 3 and sum(lines) == 200 and max(lines) <= 30
    assert [each.upto[0] for each in cut[:-1]] == sorted((each.upto[0] for each in cut[:-1]), key=str.encode)
    assert database.read_rows(chosen, [("A1", 1), ("a2", 2), ("B3", 3), ("é4", 4)]) == [
        ("A1", "1", "x"),
        ("é4", "4", "x"),
    ]


def test_unique_conflicts_are_never_resolved_by_replacing_another_row(target):
    target.execute(
        "CREATE TABLE people (id int PRIMARY KEY, email varchar(9) UNIQUE, n int CHECK (n < 100), extra text)",
        "INSERT INTO people VALUES (1, 'a', 1, 'kept 1'), (2, 'b', 2, 'kept 2'), (3, 'c', 3, 'kept 3')",
    )
    columns = ["id", "email", "n"]
    swapped = [(1, "b", 1), (2, "a", 2), (4, "d", 4)]
    assert target.apply_rows("people", ["id"], columns, [(1,), (2,), (4,)], swapped) == Applied(3, 0)
    assert everything(target, "people")[:2] == [(1, "b", 1, "kept 1"), (2, "a", 2, "kept 2")]
    with pytest.raises(RowRejected, match="Duplicate entry 'c'") as caught:
        target.apply_rows("people", ["id"], columns, [(9,), (1,)], [(9, "c", 0)])
    assert caught.value.keys == ((3,),)
    with pytest.raises(RowRejected, match="people"):
        target.apply_rows("people", ["id"], columns, [(1,)], [(1, "b", 100)])
    with pytest.raises(TransferError, match="no unique index"):
        target.apply_rows("people", ["n"], columns, [(1,)], [(1, "b", 1)])
    assert len(everything(target, "people")) == 4


def test_a_key_that_is_not_the_primary_one_and_columns_without_a_default_are_updated_one_by_one(target):
    target.execute(
        "CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, a int NOT NULL UNIQUE, v text, must int NOT NULL)"
    )
    target.execute("INSERT INTO t VALUES (1, 10, 'x', 5), (2, 20, 'y', 6)")
    assert target.apply_rows("t", ["a"], ["a", "v"], [(10,), (20,)], [(10, "new")]) == Applied(1, 1)
    assert everything(target, "t") == [(1, 10, "new", 5)]


def test_capture_logs_keys_by_their_bytes_and_sees_a_truncation(database):
    database.execute("CREATE TABLE `odd t` (k varchar(9) COLLATE utf8mb4_general_ci PRIMARY KEY, v int)")
    database.install_capture("c", {"odd t": ["k"]})
    database.install_capture("c", {"odd t": ["k"]})
    assert database.capture_installed("c") == {"odd t"}
    database.execute("INSERT INTO `odd t` VALUES ('a', 1)", "UPDATE `odd t` SET k = 'A'", "UPDATE `odd t` SET v = 2")
    changes = database.read_changes("c", "odd t", 10)
    assert changes.keys == (("a",), ("A",)) and len(changes.seqs) == 4 and not changes.truncated
    database.forget_changes("c", changes)
    database.execute("TRUNCATE TABLE `odd t`")
    assert database.pending("c")["odd t"].keys == 1
    assert database.read_changes("c", "odd t", 10).truncated
    database.execute(f"DROP TRIGGER {database.rows('SHOW TRIGGERS')[0][0]}")
    assert database.capture_installed("c") == frozenset()
    database.install_capture("c", {"odd t": ["k"]})  # what nobody has logged may be any row
    assert database.capture_installed("c") == {"odd t"} and database.read_changes("c", "odd t", 10).truncated
    with pytest.raises(TransferError, match="logs the key"):
        database.install_capture("c", {"odd t": ["v"]})
    database.remove_capture("c")
    assert database.pending("c") == {}
    with pytest.raises(TransferError, match="not installed"):
        database.read_changes("c", "odd t", 10)


def test_a_database_called_as_a_service_is_no_schema_of_its_views(database, target):
    target.execute("CREATE TABLE t (id int)")
    drop_views(Service(target.login.database, "target", tables=(TableMapping("t", "t"),)), database)
    assert target.tables() == ["t"]


def test_the_capture_waits_for_older_writers_and_names_them_in_the_end(new_on):
    database = new_on("mysql", "source", lock_wait_s=1.0)
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    with database.raw() as driver, driver.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(DatabaseError, match=f"lock not granted.*connection {driver.thread_id()}"):
            database.install_capture("c", {"t": ["id"]})
    database.install_capture("c", {"t": ["id"]})
    assert database.capture_installed("c") == {"t"}


def test_rows_that_a_foreign_key_changes_silently_are_refused(database):
    database.execute(
        "CREATE TABLE p (id int PRIMARY KEY)",
        "CREATE TABLE c (id int PRIMARY KEY, p int, CONSTRAINT quiet FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE)",
    )
    with pytest.raises(TransferError, match=r"foreign key quiet to p .*ON DELETE CASCADE"):
        database.install_capture("c", {"p": ["id"], "c": ["id"]})
    database.install_capture("c", {"p": ["id"]})
    assert any("quiet" in problem.text for problem in database.privileges_missing("source"))


def test_triggers_that_would_fire_on_copies_are_refused(database):
    database.execute(
        "CREATE TABLE t (id int PRIMARY KEY)", "CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET NEW.id = 1"
    )
    with pytest.raises(DatabaseError, match="cannot silence"):
        database.copy_in("t", ["id"], iter([b"2\n"]), binary=False)
    with pytest.raises(DatabaseError, match="cannot silence"):
        database.apply_rows("t", ["id"], ["id"], [(2,)], [(2,)])
    assert any(
        "cannot be silenced" in problem.text and problem.blocking for problem in database.privileges_missing("target")
    )


def test_the_fence_turns_writers_away_drains_them_and_lets_the_sync_pass(database):
    database.execute("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE u (id int PRIMARY KEY)")
    database.prepare_fence(["t", "u"])
    database.prepare_fence(["t"])
    with pytest.raises(DatabaseError, match="not installed"):
        database.raise_fence(["never"], timeout_s=1)
    in_flight, may_end = threading.Event(), threading.Event()

    def write() -> None:
        with database.raw() as driver, driver.cursor() as cursor:
            cursor.execute("SELECT * FROM t")  # a snapshot from before the fence
            cursor.execute("INSERT INTO t VALUES (1)")
            in_flight.set()
            may_end.wait(10)

    writer = threading.Thread(target=write)
    writer.start()
    in_flight.wait(10)
    with pytest.raises(CutoverAborted, match="fence is lowered, writes continue"):
        database.raise_fence(["t", "u"], timeout_s=0.5)
    assert database.fenced(["t", "u"]) == frozenset()
    threading.Timer(0.4, may_end.set).start()
    assert 0.2 < database.raise_fence(["t", "u"], timeout_s=5) < 3
    writer.join()
    assert database.rows("SELECT id FROM t") == [(1,)] and database.fenced(["t", "u"]) == {"t", "u"}
    for statement in ("INSERT INTO t VALUES (2)", "UPDATE t SET id = 3", "DELETE FROM t"):
        with pytest.raises(DatabaseError, match="t: writes are fenced by a migration; retry"):
            database.execute(statement)
    database.apply_rows("t", ["id"], ["id"], [(5,)], [(5,)])
    database.copy_in("t", ["id"], iter([b"6\n"]), binary=False)
    database.lower_fence(["t", "u"])
    database.execute("INSERT INTO t VALUES (2)")
    database.remove_fence()
    database.remove_fence()
    assert database.catalog(["t"])["t"].triggers == () and database.rows("SHOW TRIGGERS") == []


def test_a_writer_with_an_old_snapshot_is_turned_away_too(database):
    database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    database.prepare_fence(["t"])
    with pytest.raises(pymysql.MySQLError, match="fenced"), database.raw() as driver, driver.cursor() as cursor:
        cursor.execute("SELECT * FROM t")
        database.raise_fence(["t"], timeout_s=5)
        cursor.execute("INSERT INTO t VALUES (1)")


def test_sequences_only_move_forwards(database):
    database.execute(
        "CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, v int)", "CREATE TABLE none (id int PRIMARY KEY)"
    )
    [found] = database.sequences(["t", "none"])
    assert (found.table, found.column, found.last) == ("t", "id", None)
    database.set_sequence(found, 41)
    database.set_sequence(found, 7)
    database.execute("INSERT INTO t (v) VALUES (1)")
    assert database.rows("SELECT id FROM t") == [(42,)]
    assert database.sequences(["t"])[0].last == 42


def test_locks_are_waited_for_and_lags_are_read_afresh(new_on):
    database = new_on("mysql", "source", lock_wait_s=20.0)
    database.execute("CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 0)")
    with database.raw() as driver, driver.cursor() as cursor:
        cursor.execute("UPDATE t SET v = 1")
        altering = threading.Thread(target=database.execute, args=("ALTER TABLE t ADD COLUMN x int",))
        altering.start()
        while not database.rows("SELECT 1 FROM information_schema.processlist WHERE state LIKE '%metadata lock%'"):
            time.sleep(0.01)
    altering.join(20)
    assert [column.name for column in database.catalog(["t"])["t"].columns] == ["id", "v", "x"]


def test_an_advisory_lock_is_granted_once_and_dies_with_its_connection(database, target):
    with database.advisory_lock("run 1") as first, target.advisory_lock("run 1") as elsewhere:
        assert first and elsewhere
        with database.advisory_lock("run 1") as second, database.advisory_lock("run 2") as other:
            assert not second and other
    with database.advisory_lock("run 1") as again:
        assert again


def test_a_backup_is_restored_into_a_scratch_database_and_a_changed_one_is_refused(database, mariadb_server, tmp_path):
    make_hostile(database)
    seen: list[int] = []
    made = database.backup(tmp_path / "backup", on_progress=seen.append)
    assert made.tables == 2 and made.size_bytes > 0 and seen
    name = f"t_scratch_{secrets.token_hex(4)}"
    database.restore(made, name)
    scratch = open_database("scratch", mariadb_server.url(name), mariadb_server.password)
    try:
        assert everything(scratch, ODD) == everything(database, ODD)
        assert scratch.fingerprint([ODD, "lines"]) == database.fingerprint([ODD, "lines"])
    finally:
        mariadb_server.drop(scratch)
    with pytest.raises(ConfigurationError, match="not empty"):
        database.backup(tmp_path / "backup")
    file = next((tmp_path / "backup").iterdir())
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(DatabaseError, match="digest differs"):
        database.restore(made, name)


def _clear(error: BaseException) -> str:
    assert SECRET not in "".join(traceback.format_exception(error)) and "\n" not in str(error)
    return str(error)


def test_connection_errors_are_one_line_without_the_password(mariadb_server, database):
    url = mariadb_server.url("t_x")
    for made, says in (
        (open_database("shop", url, SECRET), "wrong password for migrator.*check its secret in the inventory"),
        (open_database("source", url, SECRET), "wrong password for migrator.*set RUNBOOK_SOURCE_PASSWORD"),
        (open_database("shop", url, mariadb_server.password), "no database t_x"),
        (open_database("shop", "mysql://m@127.0.0.1:1/x", SECRET), "unreachable at 127.0.0.1:1"),
        (open_database("shop", "mysql://m@no-such-host.invalid/x", SECRET), "unreachable at no-such-host.invalid:3306"),
    ):
        with pytest.raises(DatabaseError, match=says) as caught:
            made.facts()
        _clear(caught.value)
        assert SECRET not in f"{made!r} {made.login!r} {made.masked_url}"
    for wrong in ("", "nonsense", f"mysql://m:{SECRET}@h:port/x", "mysql://m@h", "mysql://m@h/x?what=1"):
        with pytest.raises(ConfigurationError) as refused:
            open_database("shop", wrong)
        _clear(refused.value)
    with pytest.raises(DatabaseError, match="doesn't exist") as caught:
        database.rows("SELECT :x FROM nowhere", {"x": SECRET})
    _clear(caught.value)


def test_missing_privileges_are_told_with_the_grant_that_helps(database, mariadb_server):
    assert database.privileges_missing("source") == database.privileges_missing("target") == []
    poor = open_database("poor", mariadb_server.url(database.login.database, "app"), "app")
    told = " ".join(f"{problem.text} {problem.action}" for problem in poor.privileges_missing("source"))
    with pytest.raises(TransferError, match=r"lacks PROCESS, .*Next: GRANT PROCESS ON \*\.\* TO app@"):
        poor.install_capture("c", {})
    poor.close()
    assert "lacks CREATE, DROP, ALTER, INDEX, REFERENCES, TRIGGER" in told and "GRANT PROCESS ON *.*" in told
    database.execute("CREATE TABLE old (id int) ENGINE = MyISAM")
    assert any("MyISAM, which has no transactions" in problem.text for problem in database.privileges_missing("source"))


def test_own_tables_are_kept_apart_and_statements_are_cut_as_the_client_does(database):
    database.execute(f"CREATE TABLE {database.own_table('session')} (sync int)")
    assert database.catalog() == {}
    assert database.tables() == []
    script = "SELECT ';' -- a; comment\n;\nDELIMITER ;;\n/* ; */ BEGIN; END;;\nDELIMITER ;\n SELECT `a;b`, \"c;\", 'it''s;'; -- end\n"
    assert next(" ".join(s.split()) for s in schema.statements(script)).startswith("SELECT ';'")
    assert len(list(schema.statements(script))) == 3


def test_a_script_whose_end_was_not_recorded_runs_again(database):
    """DDL commits by itself: a kill between it and its mark leaves it done, and to be done."""
    database.execute("CREATE TABLE p (id int PRIMARY KEY)", "CREATE TABLE c (id int PRIMARY KEY, p int)")
    script = (
        "ALTER TABLE c ADD KEY by_p (p);\nALTER TABLE c ADD CONSTRAINT c_p FOREIGN KEY (p) REFERENCES p (id);\n"
        "DELIMITER ;;\nCREATE TRIGGER t BEFORE INSERT ON c FOR EACH ROW SET NEW.p = NEW.p;;\nDELIMITER ;\n"
        "DELIMITER ;;\nCREATE VIEW v AS SELECT id FROM c;;\nDELIMITER ;\n"
    )
    database.run_script(script)
    database.run_script(script, again=True)
    with pytest.raises(DatabaseError, match="by_p"):
        database.run_script(script)
    assert database.tables() == list(database.catalog())
    assert len(database.catalog()["c"].indexes) == 2
