"""DDL at full fidelity: what is dumped from one database makes the same tables in another."""

from __future__ import annotations

import pytest
from contract_estate import TABLES, contents, copy_table

from runbook_lib.errors import DatabaseError


def test_the_dumped_schema_makes_the_same_tables(hostile, target):
    before, after = hostile.dump_schema(TABLES)
    target.run_script(before)
    assert all(not table.indexes for table in target.catalog().values())
    target.run_script(after)
    here, there = hostile.catalog(TABLES), target.catalog()
    assert set(there) == set(TABLES)
    for name in TABLES:
        assert there[name].columns == here[name].columns
        assert there[name].key == here[name].key
        assert {i.definition for i in there[name].indexes} == {i.definition for i in here[name].indexes}
        assert there[name].triggers == here[name].triggers
        assert there[name].comment == here[name].comment
    unbound = [name for name in TABLES if name != "bound"]
    assert target.fingerprint(unbound) == hostile.fingerprint(unbound)


def test_keys_to_tables_outside_the_list_stay_behind_and_inside_come_along(hostile, target):
    for script in hostile.dump_schema(["bound", "lines", TABLES[0]]):
        target.run_script(script)
    found = target.catalog()
    assert set(found) == {"bound", "lines", TABLES[0]}
    assert not [c for c in found["bound"].constraints if c.kind == "foreign"]
    assert [c for c in found["lines"].constraints if c.kind == "foreign"]


def test_only_what_the_tables_need_comes_along(hostile, target):
    for script in hostile.dump_schema([TABLES[0]]):
        target.run_script(script)
    functions = target.rows("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prokind = 'f'")
    assert {"helper", "touch"} <= {name for (name,) in functions}
    assert "unrelated" not in {name for (name,) in functions}
    assert target.rows("SELECT 1 FROM pg_type WHERE typname = 'place'")


def test_rows_copied_between_before_and_after_are_complete(hostile, target):
    before, after = hostile.dump_schema(TABLES)
    target.run_script(before)
    for table in TABLES:
        copy_table(hostile, target, table)
    target.run_script(after)
    for table in TABLES:
        assert contents(target, table) == contents(hostile, table)


def test_extensions_operator_classes_and_schemas_come_along(database, target, server):
    for each in (database, target):
        server.admin("CREATE EXTENSION IF NOT EXISTS citext", each.masked_url.rpartition("/")[2])
    database.run_script("""
        CREATE EXTENSION btree_gist; CREATE SCHEMA shop;
        CREATE TABLE shop.rooms (name citext PRIMARY KEY, n int, d tsrange, EXCLUDE USING gist (n WITH =, d WITH &&));
        CREATE TABLE public.elsewhere (id int);
    """)
    for script in database.dump_schema(["shop.rooms"]):
        target.run_script(script)
    assert target.fingerprint(["shop.rooms"]) == database.fingerprint(["shop.rooms"])
    assert set(target.catalog()) == {"shop.rooms"}


def test_our_own_triggers_and_tables_stay_behind(database, target):
    database.execute("CREATE TABLE t (id int PRIMARY KEY)", f"CREATE TABLE {database.own_table('session')} (sync int)")
    database.prepare_fence(["t"])
    scripts = database.dump_schema(["t"])
    assert not [script for script in scripts if "runbook" in script]
    for script in scripts:
        target.run_script(script)


def test_settings_of_a_script_end_with_it(hostile, target):
    path = target.rows("SHOW search_path")
    before, _ = hostile.dump_schema(["keyless"])
    assert "\\restrict" not in before
    target.run_script(before)
    for _ in range(3):
        assert target.rows("SHOW search_path") == path
        assert target.rows("SHOW check_function_bodies") == [("on",)]


def test_a_missing_table_is_named(hostile):
    with pytest.raises(DatabaseError, match="no table nowhere"):
        hostile.dump_schema(["lines", "nowhere"])


def test_a_script_is_all_or_nothing_and_names_the_statement(database):
    with pytest.raises(DatabaseError) as caught:
        database.run_script("CREATE TABLE a (id int);\n-- a comment\nINSERT INTO nowhere VALUES (1);\n")
    assert "`INSERT INTO nowhere VALUES (1);` (line 3)" in str(caught.value)
    assert database.catalog() == {}


def test_no_password_is_seen_in_the_process_list(hostile, server, monkeypatch):
    import subprocess

    commands = []
    real = subprocess.Popen

    def spy(command, *args, **kwargs):
        commands.append(" ".join(command))
        return real(command, *args, **kwargs)

    monkeypatch.setattr(subprocess, "Popen", spy)
    hostile.dump_schema(["keyless"])
    assert any("pg_dump" in command for command in commands)
    assert not [command for command in commands if server.password in command]


def test_dropping_tables_takes_what_came_with_them(hostile, target):
    for script in hostile.dump_schema(TABLES):
        target.run_script(script)
    target.drop_tables([*TABLES, "never there"])
    assert target.catalog() == {}
    left = "SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace"
    assert target.rows(left) == []
    assert target.rows("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace") == []
    for script in hostile.dump_schema(TABLES):
        target.run_script(script)


def test_dropping_keeps_what_others_use(hostile):
    hostile.run_script("""
        CREATE TABLE feelings (m mood); CREATE FUNCTION caller() RETURNS text LANGUAGE plpgsql AS
        $$ BEGIN RETURN helper('X'); END $$;
    """)
    hostile.drop_tables(["lines", TABLES[0]])
    assert hostile.expression_types("feelings", ["m"]) == ("mood",)
    assert hostile.rows("SELECT caller()") == [("x",)]
    assert "lines" not in hostile.catalog()


def test_a_table_that_others_refer_to_is_not_dropped(hostile):
    with pytest.raises(DatabaseError, match="other objects depend on it"):
        hostile.drop_tables([TABLES[0]])
    assert TABLES[0] in hostile.catalog()


def test_foreign_keys_can_be_made_after_everything_else(hostile, target):
    before, after = hostile.dump_schema(TABLES)
    others, keys = hostile.split_references(after)
    for script in (before, others):
        target.run_script(script)
    kinds = [c.kind for table in target.catalog().values() for c in table.constraints]
    assert "primary" in kinds
    assert "foreign" not in kinds
    target.run_script(keys)
    assert [c for c in target.catalog()["lines"].constraints if c.kind == "foreign"]


def test_a_script_for_later_is_about_one_table_or_none(hostile):
    _, after = hostile.dump_schema(TABLES)
    keys, *more, indexes, rest = hostile.stages(hostile.split_references(after)[0])
    assert not any(" PRIMARY KEY " in script for turn in more for script in turn)
    about = sorted(hostile.about(keys, TABLES))
    assert about == sorted(["", "", *(table for table in TABLES if table != "keyless")])  # two partitions'
    assert set(hostile.about(indexes, TABLES)) == {TABLES[0]}
    assert hostile.about(rest, TABLES)[0] == ""
    assert hostile.about(["CREATE INDEX i ON other.lines (unit);"], ["lines", "other.lines"]) == ["other.lines"]
