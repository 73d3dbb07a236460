"""What the target will refuse is known before anything is made, by name, and the trial leaves nothing behind."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.databases.mysql import open_database as open_mysql
from runbook_lib.databases.postgresql.portions import portions
from runbook_lib.errors import TransferError
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of
from runbook_lib.schema.trial_ddl import require_accepted

TABLES = """CREATE TABLE a (id {int} PRIMARY KEY);
CREATE TABLE b (id {int} PRIMARY KEY, a_id {int}, v varchar(10));
"""
LATER = "CREATE INDEX b_v ON b (v);\nCREATE INDEX b_w ON b (w);\n"
KEYS = "ALTER TABLE b ADD CONSTRAINT b_a FOREIGN KEY (a_id) REFERENCES a (v);\n"


@pytest.mark.parametrize("engine", ["postgresql", "mysql", "sqlite"])
def test_what_is_refused_is_named_and_nothing_is_left_of_the_trial(engine: str, new_on: Any):
    target = new_on(engine, "target")
    keys = KEYS if engine != "sqlite" else ""
    found = target.try_scripts([TABLES.format(int="int"), LATER, keys])
    expected = ["index", "foreign key"] if engine != "sqlite" else ["index"]
    assert sorted(each.kind for each in found) == sorted(expected) and all(each.why for each in found)
    if engine != "postgresql":  # whose objects are distinguished by pg_dump's headings
        assert ("b_w", "b") in [(each.name, each.table) for each in found]
    assert target.tables() == []
    assert target.try_scripts([TABLES.format(int="int")]) == []


def test_a_trial_at_mysql_hides_no_table_that_is_there_and_leaves_none(new_on: Any):
    target = new_on("mysql", "target")
    target.execute("CREATE TABLE a (id int)", "INSERT INTO a VALUES (1)")
    wide = ", ".join(f"c{n} varchar(700)" for n in range(40))
    [found] = target.try_scripts([f"CREATE TABLE a (id int PRIMARY KEY, {wide}) DEFAULT CHARSET=utf8mb4;"])
    assert (found.kind, found.name) == ("table", "a") and "Row size too large" in found.why
    [found] = target.try_scripts(["CREATE TABLE b (t text, PRIMARY KEY (t));"])
    assert (found.kind, found.name) == ("table", "b") and "key length" in found.why
    assert target.tables() == ["a"] and target.rows("SELECT id FROM a") == [(1,)]


def test_a_key_that_postgresql_refuses_stops_the_copy_before_anything_is_made_and_an_index_is_left_behind(new_on: Any):
    source, target = new_on("mysql", "source"), new_on("postgresql", "target")
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v int, w int, UNIQUE KEY taken (v), KEY plain (w))")
    source.execute("INSERT INTO t VALUES (1, 1, 1)")
    target.run_script("CREATE TABLE plain (id int)")
    said: list[str] = []
    done = clone(pair_of(source, target), How(), said.append)
    assert '  index plain of t: will be left behind: relation "plain" already exists (42P07)' in said
    assert [(one.kind, one.name, one.table) for one in done.left_behind] == [("index", "plain", "t")]
    target.run_script("DROP TABLE t; CREATE TABLE taken (id int)")
    with pytest.raises(
        TransferError,
        match=r'target: t: .*"taken" already exists .* adding unique index taken of table t; nothing was',
    ):
        clone(pair_of(source, target), How(existing="drop"))
    assert set(target.tables()) == {"plain", "taken"}


def test_a_policy_for_a_role_that_is_not_there_is_known_before_the_first_row(new_on: Any, postgresql_server: Any):
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script("CREATE TABLE t (id int PRIMARY KEY); CREATE VIEW v AS SELECT id FROM t")
    said: list[str] = []
    require_accepted(source, target, ("CREATE TABLE t (id int);", POLICY, ""), tell=said.append)
    assert said == ['  policy p: will be left behind: role "nobody_here" does not exist (42704)']
    assert target.tables() == []


def test_more_objects_than_a_server_has_locks_are_tried_in_portions_and_what_hangs_together_is_not_said_to_be_refused(
    new_on: Any,
) -> None:
    target = new_on("postgresql", "target")
    heading = "--\n-- Name: -; Type: {}; Schema: -; Owner: -\n--\n\n".format
    tables = "".join(f"{heading('TABLE')}CREATE TABLE t{n} (id int, up int);\n" for n in range(520))
    keys = "".join(
        f"{heading('CONSTRAINT')}ALTER TABLE t{n} ADD CONSTRAINT k{n} PRIMARY KEY (id);\n" for n in range(520)
    )
    pairs = "".join(
        f"{heading('FK CONSTRAINT')}ALTER TABLE t{n} ADD CONSTRAINT f{n} FOREIGN KEY (up) REFERENCES t{519 - n} (id);\n"
        for n in range(260)
    )
    wrong = heading("INDEX") + "CREATE INDEX wrong ON t7 ((id / 'x'));\n"
    cut = portions([tables, keys, pairs])
    assert [sum(part.count("-- Name") for part in one) for one in cut] == [500, 500, 300]
    [found] = target.try_scripts([tables, keys + wrong, pairs])
    assert (found.kind, found.name, found.table) == ("index", "wrong", "t7") and target.tables() == []
    many = "DO $$ BEGIN RAISE out_of_memory USING MESSAGE = 'out of shared memory'; END $$;\n"  # others use this server
    told: list[str] = []
    script = heading("TABLE") + "CREATE TABLE a (id int);\n" + heading("-") + many
    assert target.try_scripts([script], tell=told.append) == []
    assert "(53200)" in told[0] and target.tables() == []


POLICY = """--
-- Name: t p; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY p ON t TO nobody_here USING (true);
"""


def test_where_no_temporary_table_may_be_made_it_is_said(new_on: Any, mariadb_server: Any):
    source, target = new_on("sqlite", "source"), new_on("mysql", "target")
    poor = open_mysql("poor", mariadb_server.url(target.login.database, "app"), "app")
    said: list[str] = []
    require_accepted(source, poor, ("CREATE TABLE t (id int);", "", ""), tell=said.append)
    poor.close()
    assert said == [
        "poor: 1 statement for tables: not tried beforehand: the login may not create temporary tables."
        " Next: GRANT CREATE TEMPORARY TABLES on it"
    ]


def test_what_needs_a_key_or_an_index_is_not_said_to_be_left_behind_and_a_foreign_key_keeps_its_comment(new_on: Any):
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script(
        "CREATE TABLE m (id int, at date, v int, PRIMARY KEY (id, at)) PARTITION BY RANGE (at); CREATE INDEX ON m (v);"
        "CREATE TABLE m_24 PARTITION OF m FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');"
        "CREATE TABLE p (id int PRIMARY KEY, v int); COMMENT ON CONSTRAINT p_pkey ON p IS 'of a key';"
        "CREATE INDEX p_v ON p (v); COMMENT ON INDEX p_v IS 'of an index'; ALTER TABLE p CLUSTER ON p_v;"
        "CREATE TABLE c (id int CONSTRAINT c_p REFERENCES p); COMMENT ON CONSTRAINT c_p ON c IS 'of a reference';"
        "CREATE VIEW grouped AS SELECT id, v, count(*) FROM p GROUP BY id;"
    )
    told: list[str] = []
    done = clone(pair_of(source, target), How(), told.append)
    assert not [line for line in told if "left behind" in line], told
    assert done.left_behind == () and done.account.passed
    comments = "SELECT description::text FROM pg_description WHERE description LIKE 'of a%' ORDER BY 1"
    assert target.rows(comments) == source.rows(comments) and len(source.rows(comments)) == 3
