"""The library's own tables and triggers are known by what they are: a user's of such a name is the user's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from estate_sqlite import new_database

from runbook_lib.errors import DatabaseError, TransferError
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of

THEIRS = """
CREATE TABLE runbook_entries (id int NOT NULL PRIMARY KEY, title varchar(50));
INSERT INTO runbook_entries VALUES (1, 'restart the queue');
CREATE TABLE runbook_log_of_2026_0a1b2c3d (seq int NOT NULL PRIMARY KEY, told varchar(50));
CREATE TABLE people (id int NOT NULL PRIMARY KEY, n int); INSERT INTO people VALUES (1, 0);
"""
TRIGGER = {
    "mysql": "CREATE TRIGGER runbook_ins_stamp BEFORE INSERT ON people FOR EACH ROW SET NEW.n = 7",
    "sqlite": "CREATE TRIGGER runbook_ins_stamp AFTER INSERT ON people BEGIN UPDATE people SET n = 7; END",
    "postgresql": "CREATE FUNCTION seven() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.n := 7; RETURN NEW; END';"
    " CREATE TRIGGER runbook_ins_stamp BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION seven()",
}
ENGINES = ("mysql", "sqlite", "postgresql")


@pytest.fixture(params=ENGINES)
def pair(request: Any, new_on: Callable[..., Any], tmp_path: Path) -> tuple[Any, Any]:
    if request.param == "sqlite":
        return new_database(tmp_path, "source"), new_database(tmp_path, "target")
    return new_on(request.param, "source"), new_on(request.param, "target")


def test_tables_and_triggers_of_a_user_that_are_called_like_ours_are_moved_and_ours_are_not(pair: tuple[Any, Any]):
    source, target = pair
    source.run_script(THEIRS)
    source.run_script(TRIGGER[source.dialect])
    theirs = {"runbook_entries", "runbook_log_of_2026_0a1b2c3d", "people"}
    source.install_capture("channel", {"people": ("id",)})
    source.prepare_fence(["people", "runbook_entries"])
    assert set(source.tables()) == theirs and len(source.catalog()["people"].triggers) == 1
    assert clone(pair_of(source, target), How()).rows == 2
    assert set(target.tables()) == theirs
    assert target.catalog()["people"].triggers == source.catalog()["people"].triggers
    assert target.rows("SELECT title FROM runbook_entries") == [("restart the queue",)]
    source.remove_capture("channel")
    source.remove_fence()
    assert set(source.tables()) == theirs and len(source.catalog()["people"].triggers) == 1


@pytest.mark.parametrize("name", ["ranges", "captures", "fences"])
def test_where_a_user_has_a_table_of_that_very_name_nothing_is_made_and_it_is_said(pair: tuple[Any, Any], name: str):
    database = pair[0]
    if database.dialect == "postgresql":
        database.execute("CREATE SCHEMA runbook", f"CREATE TABLE runbook.{name} (id int)")
    else:
        database.execute(f"CREATE TABLE runbook_{name} (id int)")
    database.execute("CREATE TABLE people (id int NOT NULL PRIMARY KEY)")
    before = set(database.tables())
    assert len(before) == 2
    make: dict[str, Callable[[], object]] = {
        "ranges": lambda: database.own_table("ranges"),
        "captures": lambda: database.install_capture("channel", {"people": ("id",)}),
        "fences": lambda: database.prepare_fence(["people"]),
    }
    with pytest.raises(DatabaseError, match=r"runbook.* is not the library's.*nothing was made"):
        make[name]()
    assert set(database.tables()) == before
    database.remove_fence()
    assert set(database.tables()) == before and database.fenced(["people"]) == frozenset()


def test_what_an_earlier_version_made_is_known_without_a_mark(pair: tuple[Any, Any]):
    database = pair[0]
    place = "runbook." if database.dialect == "postgresql" else "runbook_"
    made = f"CREATE TABLE {place}later (service int, kind int, stage int, ordinal int, script int)"
    database.execute(*(("CREATE SCHEMA runbook",) if database.dialect == "postgresql" else ()), made)
    database.execute("CREATE TABLE people (id int NOT NULL PRIMARY KEY)")
    assert database.tables() == ["people"]
    database.install_capture("channel", {"people": ("id",)})
    assert database.tables() == ["people"]


def test_a_table_that_would_be_among_ours_at_the_target_is_refused_by_name(pair: tuple[Any, Any]):
    source, target = pair
    if source.dialect == "postgresql":
        source.execute("CREATE SCHEMA runbook", "CREATE TABLE runbook.entries (id int PRIMARY KEY)")
    else:
        source.execute("CREATE TABLE runbook_later (id int NOT NULL PRIMARY KEY)")
    with pytest.raises(TransferError, match=r"runbook.*, which is the library's own there; nothing was done"):
        clone(pair_of(source, target), How())
    assert target.tables() == []
