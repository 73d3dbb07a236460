"""SQLite: facts, names, catalog, schema, sequences, scripts, backup, locks."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from estate_sqlite import HOSTILE, HOSTILE_ROWS, TABLES, UNITS, application, new_database

from runbook_lib.databases.sqlite import catalog, open_database
from runbook_lib.errors import ConfigurationError, DatabaseError


@pytest.fixture
def database(tmp_path):
    made = new_database(tmp_path, "source")
    yield made
    made.close()


@pytest.fixture
def target(tmp_path):
    made = new_database(tmp_path, "target")
    yield made
    made.close()


@pytest.fixture
def hostile(database):
    database.run_script(HOSTILE)
    database.run_script(HOSTILE_ROWS)
    return database


def test_facts_describe_the_file(hostile):
    facts = hostile.facts()
    assert (facts.dialect, facts.encoding, facts.read_only) == ("sqlite", "UTF-8", False)
    assert facts.version >= (3, 35) and facts.size_bytes > 100_000


@pytest.mark.parametrize("identifier", ['"', 'a"b', "Ünïcode", "select", "two words", "x;y", "a.b", "[x]"])
def test_any_identifier_is_quoted_and_read_back(database, identifier):
    from runbook_lib.databases.sqlite.quoting import ident

    database.execute(f"CREATE TABLE {ident(identifier)} (id INTEGER PRIMARY KEY)")
    [(name, table)] = database.catalog().items()
    assert table.name == identifier and database.quote(name) == ident(identifier)
    assert list(database.catalog([name])) == [name]


def test_a_missing_file_a_text_file_and_a_memory_database_are_one_line_each(tmp_path):
    with pytest.raises(DatabaseError, match="no file"):
        open_database("x", f"sqlite:///{tmp_path}/none.db").facts()
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "text.db").write_text("this is no database, but long enough to be taken for one\n" * 20)
    with pytest.raises(DatabaseError, match="not an SQLite database"):
        open_database("x", f"sqlite:///{tmp_path}/text.db").facts()
    with pytest.raises(ConfigurationError, match="memory"):
        open_database("x", "sqlite://")
    with pytest.raises(DatabaseError, match="passwords"):
        open_database("x", f"sqlite:///{tmp_path}/none.db", "secret")


def test_the_catalog_tells_what_the_tables_promise(hostile):
    assert set(hostile.catalog()) == {*TABLES, "outside", "bound"}
    assert hostile.tables() == list(hostile.catalog())
    table = hostile.catalog([UNITS])[UNITS]
    types = {column.name: column.type for column in table.columns}
    assert types["f4"] == "real" and types["f8"] == "double precision"
    assert types["n"] == "numeric(30,10)" and types["n2"] == "numeric(12,4)"
    assert types["ts"] == "timestamp(3) without time zone" and types["tz"] == "timestamp with time zone"
    assert types["Mixed Case"] == "character varying(40)" and types["any"] == "any" and types["j"] == "json"
    assert table.column("id").identity == "auto_increment" and not table.column("id").nullable
    assert table.column("doubled").generated and table.column("doubled").default == "id * 2"
    assert table.column("c").collation == "NOCASE" and table.column("Mixed Case").default == "'a;b'"
    assert table.key == ("id",) and table.rows_estimate == 404
    checks = {(c.name, c.definition) for c in table.constraints if c.kind == "check"}
    assert checks == {("", "CHECK (n2 IS NULL OR n2 < 1000000)"), ("odd check", "CHECK (f8 <> 'x)')")}
    odd = next(index for index in table.indexes if index.name == "odd index")
    assert odd.columns == ('lower("select")', "d") and odd.partial
    assert odd.definition == '(lower("select") DESC, "d") WHERE flag'
    assert len(table.triggers) == 1
    foreign = [c for c in hostile.catalog(["lines"])["lines"].constraints if c.kind == "foreign"]
    assert foreign[0].referenced_table == UNITS and foreign[0].definition.endswith("ON DELETE CASCADE")


def test_a_primary_key_that_may_be_null_is_no_key(database):
    database.execute(
        "CREATE TABLE loose (code TEXT PRIMARY KEY)", "CREATE TABLE tight (code TEXT NOT NULL PRIMARY KEY)"
    )
    found = database.catalog()
    assert found["loose"].key == () and found["tight"].key == ("code",)


def test_a_missing_table_is_left_out_and_asking_for_it_says_so(hostile):
    found = hostile.catalog(["lines", "missing"])
    assert list(found) == ["lines"]
    with pytest.raises(DatabaseError, match="no table missing"):
        found["missing"]


def test_types_of_expressions_are_those_declared_or_cast(hostile):
    found = hostile.expression_types(f"{hostile.quote(UNITS)} AS m", ["n2", "CAST(n2 AS DECIMAL(9,1))", "m.flag"])
    assert found == ("numeric(12,4)", "numeric(9,1)", "boolean")
    with pytest.raises(DatabaseError, match=r"no declared type for n2 \* 2.*CAST"):
        hostile.expression_types(hostile.quote(UNITS), ["n2 * 2"])
    with pytest.raises(DatabaseError, match="nowhere"):
        hostile.expression_types(hostile.quote(UNITS), ["n2", "nowhere + 1"])


def test_a_schema_comes_back_whole_without_foreign_keys_to_others(hostile, target):
    wanted = [*TABLES, "bound"]
    for script in hostile.dump_schema(wanted):
        target.run_script(script)
    assert set(target.catalog()) == set(wanted)
    assert target.fingerprint(TABLES) == hostile.fingerprint(TABLES)
    bound = target.catalog(["bound"])["bound"]
    assert [c.kind for c in bound.constraints] == ["unique"]
    assert not bound.column("out_id").nullable and bound.column("n").default == "1 + 1"
    target.drop_tables([*wanted, "not there"])
    assert target.catalog() == {}


def test_the_fingerprint_moves_with_every_change(hostile):
    seen = {hostile.fingerprint(["codes"])}
    for change in ("ALTER TABLE codes ADD COLUMN more TEXT", "CREATE INDEX i ON codes (n)"):
        hostile.execute(change)
        seen.add(hostile.fingerprint(["codes"]))
    assert len(seen) == 3


def test_a_failing_script_leaves_nothing_and_names_its_statement(database):
    with pytest.raises(DatabaseError, match="nonsense"):
        database.run_script("CREATE TABLE a (x); CREATE TABLE nonsense (; INSERT INTO a VALUES (1);")
    assert database.catalog() == {}


def test_sequences_go_forward_only(hostile):
    [sequence] = hostile.sequences(TABLES)
    assert (sequence.table, sequence.column, sequence.last) == (UNITS, "id", 9223372036854775)
    for last in (9223372036854799, 5):
        hostile.set_sequence(sequence, last)
    assert hostile.sequences([UNITS])[0].last == 9223372036854799


def test_a_backup_is_whole_while_a_writer_goes_on_and_can_be_restored(hostile, tmp_path):
    told: list[int] = []
    info = hostile.backup(tmp_path / "backup", on_progress=told.append)
    assert info.size_bytes > 100_000 and told
    hostile.restore(info, "scratch.db")
    copy = open_database("copy", f"sqlite:///{tmp_path}/scratch.db")
    assert copy.fingerprint(TABLES) == hostile.fingerprint(TABLES)
    copy.close()
    with pytest.raises(DatabaseError, match="exists already"):
        hostile.restore(info, "scratch.db")
    (info.path / "database.sqlite").write_bytes(b"x")
    with pytest.raises(DatabaseError, match="digest differs"):
        hostile.restore(info, "other.db")


def test_an_advisory_lock_is_granted_once_and_dies_with_its_process(database):
    with database.advisory_lock("run 1") as first:
        assert first
        with database.advisory_lock("run 1") as second, database.advisory_lock("run 2") as other:
            assert not second and other
    code = (
        "import sys; from runbook_lib.databases.sqlite import open_database\n"
        "with open_database('x', sys.argv[1]).advisory_lock('run 1') as granted:\n"
        "    print(granted, flush=True); sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, database.masked_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout.readline() == b"True\n"
        with database.advisory_lock("run 1") as granted:
            assert not granted
        holder.kill()
    with database.advisory_lock("run 1") as again:
        assert again
    assert list(database.path.parent.glob("*.lock")) == []


def test_a_writer_that_does_not_end_is_waited_for_and_then_named(tmp_path):
    database = new_database(tmp_path, "busy", lock_wait_s=0.2)
    with application(database) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseError, match=r"another connection writes or holds it for 0.2 s"):
            database.execute("CREATE TABLE t (id)")
        other.execute("ROLLBACK")
    database.execute("CREATE TABLE t (id)")
    database.close()


def test_own_tables_are_kept_apart(database):
    database.execute(f"CREATE TABLE {database.own_table('session')} (sync integer)")
    assert database.catalog() == {}


def test_missing_rights_name_the_file(database, monkeypatch):
    assert [p for p in database.privileges_missing("target") if p.blocking] == []
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    assert "chmod" in database.privileges_missing("target")[0].action


def test_rows_takes_colons_and_question_marks_as_they_are(database):
    assert database.rows("SELECT ':no ? 100%', 5 % 3") == [(":no ? 100%", 2)]
    assert database.rows("SELECT CAST(:x AS text)", {"x": ":y"}) == [(":y",)]
    with pytest.raises(DatabaseError, match="no such table: nowhere"):
        database.rows("SELECT * FROM nowhere")


def test_the_application_needs_none_of_our_functions(hostile):
    hostile.install_capture("ch", {UNITS: ["id"]})
    hostile.prepare_fence([UNITS])
    with application(hostile) as app:
        app.execute(f'INSERT INTO {hostile.quote(UNITS)} ("select") VALUES (1)')
    assert sqlite3.threadsafety


def test_the_catalog_is_read_once_for_all_tables_and_again_after_anybody_s_change(database, monkeypatch):
    reads = []
    monkeypatch.setattr(catalog, "_present", lambda driver, read=catalog._present: reads.append(1) or read(driver))
    database.run_script(
        "".join(f"CREATE TABLE t{i} (id INTEGER PRIMARY KEY); CREATE INDEX i{i} ON t{i} (id);" for i in range(9))
    )
    for table in database.tables():
        database.dump_schema([table])
        database.sequences([table])
    assert len(reads) == 1
    with closing(sqlite3.connect(database.path)) as other:
        other.execute("CREATE TRIGGER g AFTER INSERT ON T1 BEGIN SELECT 1; END")  # the name in other letters
    assert "CREATE TRIGGER g" in database.dump_schema(["t1"])[1]
    assert len(database.catalog(["t1"])["t1"].triggers) == 1
    assert len(reads) == 2
