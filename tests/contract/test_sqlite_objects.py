"""What an SQLite database has beside plain tables: each thing planted, moved or named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from estate_sqlite import new_database

from runbook_lib.assessment.account import MOVED, UNACCOUNTED
from runbook_lib.assessment.fates import measure, predict
from runbook_lib.assessment.routes import route_of
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of
from runbook_lib.plan.model import Service, TableMapping
from runbook_lib.schema.create_target import build_indexes, create_tables
from runbook_lib.schema.extraction_views import drop_views

PLANTED = """
CREATE TABLE docs (id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT COLLATE NOCASE NOT NULL UNIQUE, body TEXT,
  n INT CHECK (n > 0), half REAL GENERATED ALWAYS AS (n / 2.0) VIRTUAL, CHECK (n < 1000));
CREATE INDEX docs_part ON docs (n) WHERE n > 5; CREATE INDEX docs_lower ON docs (lower(title));
CREATE TABLE strict_one (k TEXT PRIMARY KEY, v INT) STRICT, WITHOUT ROWID;
CREATE TABLE child (id INTEGER PRIMARY KEY, doc INTEGER REFERENCES docs (id), UNIQUE (doc, id));
CREATE TABLE runbook_entries (id INTEGER PRIMARY KEY, title TEXT);
CREATE VIRTUAL TABLE ft USING fts5(title, body, content='docs', content_rowid='id');
CREATE VIRTUAL TABLE "less ness" USING fts5(a, content='');
CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1);
CREATE TRIGGER docs_ft AFTER INSERT ON docs BEGIN INSERT INTO ft (rowid, title, body) VALUES (NEW.id, NEW.title, NEW.body); END;
CREATE VIEW shown AS SELECT id, title || ';' AS t FROM docs;
CREATE TRIGGER shown_in INSTEAD OF INSERT ON shown BEGIN INSERT INTO docs (title, n) VALUES (NEW.t, 7); END;
INSERT INTO docs (title, body, n) VALUES ('One', 'alpha; ''beta''', 3), ('Two', 'gamma', 9);
DELETE FROM docs WHERE title = 'Two'; INSERT INTO ft (ft) VALUES ('rebuild');
INSERT INTO "less ness" (rowid, a) VALUES (4, 'needle'); INSERT INTO boxes VALUES (1, 0.5, 2.5), (2, 8, 9);
INSERT INTO strict_one VALUES ('a', 1); INSERT INTO child VALUES (1, 1); INSERT INTO runbook_entries VALUES (1, 'x');
PRAGMA user_version = 42;
"""  # noqa: E501
MASTER = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_stat%' ORDER BY 1, 2"


def test_everything_that_sqlite_has_is_the_same_in_another_file_and_accounted_for(tmp_path: Path):
    source, target = new_database(tmp_path, "source"), new_database(tmp_path, "target")
    source.run_script(PLANTED)
    both = pair_of(source, target)
    route = route_of(both.service, source, target, {}, whole=True)
    expected = predict(source.inventory(), target.inventory(), route)
    account = clone(both, How()).account
    assert [line for line in account.lines if line.outcome != MOVED] == []
    assert account.lines == expected.lines
    kinds = {"virtual table", "trigger", "view", "index", "check constraint", "file setting", "identity", "foreign key"}
    assert {line.kind for line in account.lines} >= kinds | {"primary key", "unique constraint", "table"}
    mine = [row for row in target.rows(MASTER) if row[2] not in ("runbook_later", "runbook_ranges")]
    assert sorted(mine) == sorted(source.rows(MASTER))
    assert target.rows("SELECT rowid FROM ft WHERE ft MATCH 'beta'") == [(1,)]
    assert target.rows('SELECT rowid FROM "less ness" WHERE "less ness" MATCH \'needle\'') == [(4,)]
    assert target.rows("SELECT id FROM boxes WHERE x0 > 1") == [(2,)]
    target.execute("INSERT INTO ft (ft) VALUES ('integrity-check')", "INSERT INTO shown (t) VALUES ('Three')")
    assert target.rows("SELECT id, title FROM docs ORDER BY id") == [(1, "One"), (3, "Three")]
    assert target.rows("PRAGMA user_version") == [(42,)]
    target.execute("DROP VIEW shown", "DROP TABLE boxes", "DROP INDEX docs_part", "CREATE INDEX docs_part ON docs (n)")
    lost = measure(source.inventory(), target.inventory(), route).unaccounted
    gone = {("view", "shown"), ("trigger", "shown_in"), ("virtual table", "boxes"), ("index", "docs_part on docs")}
    assert {(line.kind, line.name) for line in lost} == gone


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_what_another_engine_cannot_have_is_named(new_on: Callable[..., Any], tmp_path: Path, engine: str):
    source, target = new_database(tmp_path, "source"), new_on(engine, "target")
    source.run_script(PLANTED)
    account = clone(pair_of(source, target), How()).account
    outcomes = {(line.kind, line.name): line.outcome for line in account.lines}
    assert UNACCOUNTED not in outcomes.values() and not account.refused
    for kind, name in (
        ("virtual table", "ft"),
        ("trigger", "docs_ft"),
        ("view", "shown"),
        ("file setting", "user_version"),
    ):
        assert outcomes[kind, name] == "left behind"
    for kind, name in (("table", "docs"), ("primary key", "id on docs"), ("unique constraint", "title on docs")):
        assert outcomes[kind, name] == "translated"
    assert outcomes["foreign key", "doc on child"] == outcomes["identity", "docs"] == "translated"


def test_a_column_that_a_plan_leaves_out_goes_with_its_indexes_and_a_schema_of_its_own_is_no_matter(tmp_path: Path):
    source, target = (new_database(tmp_path, name) for name in ("source", "target"))
    source.run_script(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, gone TEXT); CREATE INDEX both ON t (v, gone);"
        " CREATE INDEX kept ON t (v); CREATE INDEX part ON t (gone) WHERE gone > 'a';"
    )
    service = Service("shop", "target", tables=(TableMapping("t", "t", omit=("gone",)),))
    create_tables(service, source, target)
    build_indexes(service, target)
    [table] = target.catalog(["t"]).values()
    assert [c.name for c in table.columns] == ["id", "v"] and [index.name for index in table.indexes] == ["kept"]
    drop_views(service, source)  # of an extraction in two moves: it cannot have been made here
    assert source.tables() == ["t"]


def test_small_tables_are_loaded_and_indexed_many_together_and_their_triggers_do_not_fire(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = new_database(tmp_path, "source"), new_database(tmp_path, "target")
    source.run_script(
        "".join(
            f"CREATE TABLE t{i} (id integer PRIMARY KEY, a int); CREATE INDEX i{i} ON t{i} (a);"
            f"INSERT INTO t{i} VALUES (1, {i});"
            for i in range(64)
        )
        + "CREATE TRIGGER g AFTER INSERT ON t3 BEGIN UPDATE t3 SET a = 99; END;"
    )
    scripts: list[str] = []
    run = target.run_script
    monkeypatch.setattr(target, "run_script", lambda script, **how: scripts.append(script) or run(script, **how))
    done = clone(pair_of(source, target), How())
    assert done.rows == 64 and done.account.unaccounted == ()
    assert 0 < len([script for script in scripts if "CREATE INDEX" in script]) <= 17  # 64, in batches and one trial
    assert target.rows("SELECT a FROM t3") == [(3,)]
    assert set(target.inventory().objects) == set(source.inventory().objects)
