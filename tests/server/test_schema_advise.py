"""Advice about indexes on every engine: each kind is found, and the proposals are revisions that go up and down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fix_sandbox import wait_for

from runbook_lib.databases import sqlite
from runbook_lib.databases.port import Database
from runbook_lib.schema.index_advisor import advise
from runbook_lib.schema.revisions import version_store
from runbook_lib.schema.revisions.apply import revise
from runbook_lib.schema.revisions.graph import DOWN, UP, Revisions, current_version
from runbook_lib.schema.revisions.lint import hazards

TABLES = (
    "CREATE TABLE parents (id integer PRIMARY KEY NOT NULL, a varchar(20), b int, c int, d int)",
    "CREATE TABLE children (id integer PRIMARY KEY NOT NULL, parent int, other int,"
    " CONSTRAINT parent_key FOREIGN KEY (parent) REFERENCES parents (id))",
    "CREATE INDEX short ON parents (a)",
    "CREATE INDEX longer ON parents (a, b DESC)",
    "CREATE INDEX twin_1 ON parents (c)",
    "CREATE INDEX twin_2 ON parents (c)",
    "CREATE UNIQUE INDEX must_be ON parents (d)",
    "CREATE INDEX no_need ON parents (d)",  # the unique one serves as well
    "CREATE INDEX idle ON children (other)",
)
REDUNDANT = {("parents", "short"), ("parents", "twin_2"), ("parents", "no_need")}


@pytest.fixture(params=["postgresql", "mysql", "sqlite"])
def estate(request: pytest.FixtureRequest, new_on: Any, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        database: Database = sqlite.open_database("advice", f"sqlite:///{tmp_path}/a.db", None, {"create": True})
    else:
        database = new_on(request.param, "advice")
    database.execute(*TABLES)
    yield database
    database.close()


def test_indexes_and_columns_whose_names_hold_dots_are_proposed_by_their_names(estate: Database) -> None:
    table, index, column = map(estate.ident, ("odd.table", "odd.index", "odd.column"))
    estate.execute(
        f"CREATE TABLE {table} (id integer PRIMARY KEY NOT NULL, {column} int, other int)",
        f"CREATE INDEX {index} ON {table} ({column})",
        f"CREATE INDEX {estate.ident('odd.more')} ON {table} ({column}, other)",
    )
    [one] = [one for one in advise(estate).advices if one.kind == "redundant" and "odd" in one.table]
    assert one.index == "odd.index" and index in one.up
    estate.execute(one.up.replace(" CONCURRENTLY", ""))  # not within a transaction
    left = {each.name for each in estate.catalog([one.table])[one.table].indexes}
    assert "odd.more" in left and "odd.index" not in left


def found(database: Database, kind: str, **options: Any) -> set[tuple[str, str]]:
    return {(one.table, one.index) for one in advise(database, **options).advices if one.kind == kind}


def test_each_kind_is_found_and_nothing_else(estate: Database) -> None:
    assert found(estate, "redundant") == REDUNDANT
    # MySQL makes an index for each foreign key by itself.
    assert found(estate, "missing") == (set() if estate.dialect == "mysql" else {("children", "children_parent")})
    advice = advise(estate)
    assert "idle" not in [one.index for one in advice.advices if one.up]  # counted for seconds only
    if estate.dialect == "postgresql":
        known = {("children", "idle"), ("parents", "longer"), ("parents", "twin_1")}
        assert found(estate, "unused") == known
        assert {one.index for one in advise(estate, watched_s=0.0).advices if one.kind == "unused" and one.up} == {
            "idle", "longer", "twin_1",
        }  # fmt: skip
        assert "too early to say" in str(advice)
    else:
        assert found(estate, "unused") == set()
        assert "unused ones are not known" in str(advice)
    assert "proposed, not carried out" in advice._repr_html_()


def test_an_index_that_was_read_is_not_called_unused(new_on: Any) -> None:
    database = new_on("postgresql", "read")
    database.execute(*TABLES, "INSERT INTO children SELECT g, NULL, g FROM generate_series(1, 2000) AS g")
    database.analyze(["children"])
    database.rows("SELECT * FROM children WHERE other = 7")
    database.engine.dispose()  # a session that ends tells what it read
    wait_for(lambda: database.index_use().reads["children", "idle"] == 1, "the read is counted")
    assert ("children", "idle") not in found(database, "unused")


def test_proposals_are_revisions_that_go_up_and_down(estate: Database, tmp_path: Path) -> None:
    folder = tmp_path / "proposed"
    folder.mkdir()
    for name, text in advise(estate, watched_s=0.0).files("indexes", "base").items():
        (folder / name).write_text(text)
    revisions, before = Revisions(folder), version_store.shape(estate)
    path = revisions.path("base").revisions
    assert len(path) == {"postgresql": 7, "mysql": 3, "sqlite": 4}[estate.dialect]
    for revision in path:
        statements = revisions.render(revision, UP, estate.dialect).statements
        assert hazards(estate, revision.id, statements, alone=True).findings == ()
        revise(estate, revisions, revision, UP)
    left = {one.index for one in advise(estate).advices if one.kind != "unused"}
    assert left == set()
    for revision in reversed(path):
        revise(estate, revisions, revision, DOWN)
    assert (current_version(estate), version_store.shape(estate)) == ("base", before)


def test_mariadb_counts_reads_where_userstat_is_on(new_on: Any, mariadb_server: Any) -> None:
    database = new_on("mysql", "counted")
    database.execute(*TABLES, "INSERT INTO children (id, other) VALUES (1, 7), (2, 8), (3, 9)")
    mariadb_server.admin("SET GLOBAL userstat = ON")
    try:
        database.rows("SELECT * FROM children FORCE INDEX (idle) WHERE other = 7")
        database.engine.dispose()  # a session's counts are added when it ends
        database.execute("DROP INDEX no_need ON parents")
        reads = database.index_use().reads
    finally:
        mariadb_server.admin("SET GLOBAL userstat = OFF")
    assert reads["children", "idle"] > 0
    assert reads["parents", "longer"] == 0
