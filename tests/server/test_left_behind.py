"""An object that cannot be made keeps no other back; what is told today outranks what a half-made copy remembers."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.assessment import assess
from runbook_lib.databases.statement_names import named
from runbook_lib.errors import TransferError
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of
from runbook_lib.schema.convert.left_behind import LeftBehind, remembered
from runbook_lib.transfer.chunk_store import undo_marks
from runbook_lib.transfer.foreign_keys import require_sync_keys
from runbook_lib.transfer.implicit_plan import whole_plan

RISKY = """
CREATE OR REPLACE FUNCTION risky() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
  IF {test} THEN RAISE EXCEPTION 'not here'; END IF; RETURN (SELECT count(*) FROM public.docs); END $$;
"""
SOURCE = """
CREATE TABLE docs (id serial PRIMARY KEY, kind text); CREATE INDEX docs_kind ON docs (kind);
INSERT INTO docs (kind) SELECT 'x' FROM generate_series(1, 20);
CREATE SEQUENCE loose START 500; SELECT nextval('loose');
{risky} CREATE MATERIALIZED VIEW figures AS SELECT risky() AS n;
CREATE MATERIALIZED VIEW not_yet AS SELECT id FROM docs WITH NO DATA;
CREATE VIEW taken AS SELECT 1 AS one; CREATE VIEW above AS SELECT * FROM taken;
CREATE VIEW plain AS SELECT id FROM docs;
"""


def test_what_cannot_be_made_is_left_behind_with_its_reason_and_made_when_the_copy_is_run_again(new_on: Any):
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script(SOURCE.format(risky=RISKY.format(test="current_database() LIKE 'target%'")))
    target.run_script("CREATE SCHEMA mine; CREATE TABLE taken (id int); CREATE TABLE docs_kind (id int)")
    pair = pair_of(source, target)
    done = clone(pair, How())
    left = {(one.kind, one.name, one.table): one.why for one in done.left_behind}
    assert left == {
        ("index", "docs_kind", "docs"): 'relation "docs_kind" already exists (42P07)',
        ("view", "taken", ""): 'relation "taken" already exists (42P07)',
        ("view", "above", ""): left[("view", "above", "")],
        ("rows of materialized view", "figures", ""): "not here (P0001)",
    }
    assert all(one.action and "left behind: " in one.line for one in done.left_behind)
    assert remembered(pair.service.name, target) == list(done.left_behind)
    assert target.rows("SELECT count(*), nextval('loose') FROM plain") == [(20, 501)]
    assert target.rows("SELECT nextval('docs_id_seq')") == [(21,)]

    target.run_script("DROP TABLE taken, docs_kind")
    source.run_script(RISKY.format(test="false"))
    again = clone(pair, How())
    assert again.left_behind == () and again.rows_now == 0 and remembered(pair.service.name, target) == []
    assert target.rows("SELECT n, (SELECT one FROM above) FROM figures") == [(20, 1)]
    populated = "SELECT relname::text FROM pg_class WHERE relkind = 'm' AND NOT relispopulated"
    assert target.rows(populated) == [("not_yet",)]
    assert "docs_kind" in {index.name for index in target.catalog()["docs"].indexes}


def test_a_followed_copy_leaves_an_index_behind_but_not_the_key_that_its_sync_needs(new_on: Any):
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script("CREATE TABLE docs (id int PRIMARY KEY, kind text); CREATE INDEX docs_kind ON docs (kind)")
    target.run_script("CREATE SCHEMA mine; CREATE TABLE docs_kind (id int)")
    pair = pair_of(source, target)
    done = clone(pair, How(follow=True))
    assert [(one.kind, one.name, one.table) for one in done.left_behind] == [("index", "docs_kind", "docs")]
    require_sync_keys(pair.forward, done.left_behind)
    link = pair.forward
    target.execute("ALTER TABLE docs DROP CONSTRAINT docs_pkey")
    lost = LeftBehind("primary key", "docs_pkey", "docs", "could not create unique index (23505)", "")
    expected = r"docs: changes are applied by its key \(id\).*primary key docs_pkey of docs"
    with pytest.raises(TransferError, match=expected):
        require_sync_keys(link, [lost])


@pytest.mark.parametrize("engine", ["mysql", "sqlite"])
def test_a_view_whose_name_is_taken_keeps_no_other_view_back(engine: str, new_on: Any):
    source, target = new_on(engine, "source"), new_on(engine, "target")
    source.execute("CREATE TABLE docs (id integer PRIMARY KEY)", "INSERT INTO docs VALUES (1)")
    source.execute("CREATE VIEW a AS SELECT 1 AS one", "CREATE VIEW b AS SELECT id FROM docs")
    target.execute("CREATE TABLE a (id integer PRIMARY KEY)")
    done = clone(pair_of(source, target), How())
    assert [(one.kind, one.name) for one in done.left_behind] == [("view", "a")]
    assert target.rows("SELECT id FROM b") == [(1,)]


def test_types_told_today_begin_a_half_made_copy_anew_and_a_finished_one_is_refused(new_on: Any):
    source, target = new_on("sqlite", "source"), new_on("postgresql", "target")
    source.execute("CREATE TABLE t (id integer PRIMARY KEY, v varchar(3))", "INSERT INTO t VALUES (1, 'long one')")

    def stopped() -> str:
        raise TransferError("copy", "stopped")

    with pytest.raises(TransferError, match="stopped"):
        clone(pair_of(source, target, types={"t.v": "varchar(80)"}), How(), pause=stopped)
    said: list[str] = []
    done = clone(pair_of(source, target, types={"t.v": "text"}), How(), said.append)
    assert done.rows_now == 1 and any("started again" in text for text in said)
    with pytest.raises(TransferError, match="were copied with other --type"):
        clone(pair_of(source, target, types={"t.v": "varchar(80)"}), How())
    target.execute("UPDATE t SET v = 'other'")
    assert clone(pair_of(source, target, types={"t.v": "text"}), How(existing="empty")).rows_now == 1
    assert clone(pair_of(source, target, types={"t.v": "varchar(80)"}), How(existing="drop")).rows_now == 1
    assert target.rows("SELECT v FROM t") == [("long one",)] and target.catalog()["t"].column("v").type.endswith("(80)")


@pytest.mark.parametrize(
    ("script", "purpose"),
    [
        ('CREATE UNIQUE INDEX "k x" ON "a b" ("kind");', "adding unique index k x of table a b"),
        (
            "ALTER TABLE `t` ADD CONSTRAINT `f` FOREIGN KEY (`a`) REFERENCES `p` (`a`);",
            "adding foreign key f of table t",
        ),
        (
            "ALTER TABLE ONLY public.users\n    ADD CONSTRAINT pk PRIMARY KEY (id);",
            "adding primary key pk of table users",
        ),
        ("SET LOCAL x = 1;\nCREATE TRIGGER g BEFORE INSERT ON s.t FOR EACH ROW …", "adding trigger g of table s.t"),
        ("DELIMITER ;;\nCREATE SQL SECURITY INVOKER VIEW `v` AS select 1;;", "making view v"),
        ("CREATE FUNCTION public.twice(x integer) RETURNS integer", "making function twice"),
    ],
)
def test_a_statement_says_what_it_is_for(script: str, purpose: str):
    found = named(script)
    assert found is not None and found.purpose == purpose


def test_a_copy_with_triggers_and_engines_without_transactions_run_again_does_nothing_or_begins_those_anew(new_on: Any):
    source, target = new_on("mysql", "source"), new_on("mysql", "target")
    source.run_script(
        "CREATE TABLE a (id int PRIMARY KEY, name varchar(9) CHARACTER SET latin1 COLLATE latin1_german1_ci);\n"
        "CREATE TABLE log (v int) ENGINE=MyISAM;\nINSERT INTO a VALUES (1, 'ä'), (2, 'b');\n"
        "INSERT INTO log VALUES (1), (1), (2);\n"
        "CREATE TRIGGER t AFTER INSERT ON a FOR EACH ROW INSERT INTO log VALUES (9);"
    )
    target.run_script("CREATE TABLE other (id int) ENGINE=MyISAM;\nCREATE TABLE more (id int);")
    target.run_script("CREATE TRIGGER o AFTER INSERT ON more FOR EACH ROW INSERT INTO other VALUES (1);")
    pair = pair_of(source, target)
    assert clone(pair, How()).rows_now == 5
    again = clone(pair, How())
    assert (again.rows, again.rows_now) == (5, 0)
    undo_marks(pair.forward, "log")  # as if killed when the rows were written, and not yet their mark
    assert clone(pair, How()).rows_now == 3
    assert target.rows("SELECT v FROM log ORDER BY v") == [(1,), (1,), (2,)]
    assert clone(pair, How(existing="drop")).rows_now == 5
    assert target.rows("SELECT (SELECT count(*) FROM log), (SELECT count(*) FROM a)") == [(3, 2)]
    assert assess(whole_plan(source, target), source, {"target": target}).findings
