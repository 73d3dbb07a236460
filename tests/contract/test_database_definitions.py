"""Views, routines and types are part of a schema's shape: a change of one is named, whatever the engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from estate_sqlite import new_database
from sqlalchemy import event

from runbook_lib.schema.snapshot import differences, shape_of

BASE = "CREATE TABLE items (id int PRIMARY KEY, name varchar(20)); CREATE VIEW named AS SELECT name FROM items;"
MORE = {
    "postgresql": "CREATE FUNCTION one(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TYPE mood AS ENUM ('ok');"
    "CREATE MATERIALIZED VIEW kept AS SELECT id FROM items; CREATE DOMAIN price AS int CHECK (VALUE > 0);",
    "mysql": "CREATE FUNCTION one(a int) RETURNS int DETERMINISTIC RETURN 1; CREATE PROCEDURE p(IN b int) SELECT b;",
    "sqlite": "CREATE TRIGGER t INSTEAD OF DELETE ON named BEGIN SELECT 1; END;",
}
CHANGES = {  # statement: what it is called
    "postgresql": {
        "CREATE OR REPLACE FUNCTION one(a int) RETURNS int LANGUAGE sql AS 'SELECT 2'": "function one(a integer)",
        "ALTER TYPE mood ADD VALUE 'sad'": "type mood",
        "DROP MATERIALIZED VIEW kept": "materialized view kept",
        "ALTER DOMAIN price SET NOT NULL": "type price",
        "CREATE OR REPLACE VIEW named AS SELECT name, id FROM items": "view named",
    },
    "mysql": {
        "DROP FUNCTION one": "function one",
        "CREATE OR REPLACE PROCEDURE p(IN b bigint) SELECT b": "procedure p",
        "CREATE OR REPLACE VIEW named AS SELECT name, id FROM items": "view named",
        "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DISABLE DO DELETE FROM items": "event e",
    },
    "sqlite": {"DROP TRIGGER t": "trigger t", "DROP VIEW named": "view named"},
}


@pytest.mark.parametrize("engine", CHANGES)
def test_each_change_beside_the_tables_is_named(new_on: Callable[..., Any], tmp_path: Path, engine: str) -> None:
    database = new_database(tmp_path, "source") if engine == "sqlite" else new_on(engine, "source")
    database.run_script(BASE + MORE[engine])
    before = shape_of(database)
    assert shape_of(database) == before
    for statement, name in CHANGES[engine].items():
        database.run_script(f"{statement};")
        after = shape_of(database)
        assert {what for what, _, line in differences(before, after) if line != "the table"} == {name}, statement
        before = after


def test_a_shape_takes_the_same_few_statements_however_many_tables_there_are(database: Any) -> None:
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *call: statements.append(str(call[2])))

    def asked() -> int:
        statements.clear()
        shape_of(database)
        return len(statements)

    database.run_script("CREATE TABLE one (id bigint PRIMARY KEY);")
    few = asked()
    database.run_script("".join(f"CREATE TABLE t{i} (id bigint PRIMARY KEY);" for i in range(40)))
    assert asked() == few < 12


@pytest.mark.parametrize("engine", CHANGES)
def test_what_the_library_itself_installs_is_no_part_of_a_shape(
    new_on: Callable[..., Any], tmp_path: Path, engine: str
) -> None:
    database = new_database(tmp_path, "source") if engine == "sqlite" else new_on(engine, "source")
    database.run_script(BASE.replace("id int", "id int NOT NULL"))
    before = shape_of(database)
    database.install_capture("channel", {"items": ("id",)})
    database.prepare_fence(["items"])
    database.execute(f"CREATE TABLE {database.own_table('batches')} (channel int, ordinal int, bounds int, done int)")
    assert shape_of(database) == before
    database.raise_fence(["items"], timeout_s=2.0)
    assert shape_of(database) == before
