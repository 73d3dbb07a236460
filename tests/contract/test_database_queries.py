"""Queries of a performance comparison: sessions that refuse to write, plans, the slowest statements; every engine."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from fix_servers import SERVER_SETTINGS, PostgresServer

from runbook_lib.errors import DatabaseError
from runbook_lib.performance.plans import normalized

TABLE = (
    "CREATE TABLE items (id integer PRIMARY KEY, part integer, label varchar(20))",
    "CREATE INDEX items_part ON items (part)",
    "INSERT INTO items WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) "
    "SELECT i, i % 90, 'a' FROM n",
)
ANY = "SELECT * FROM items WHERE part = :part"


@pytest.fixture(params=["postgresql", "mysql", "sqlite"])
def read_only(request: pytest.FixtureRequest, servers: Any) -> Iterator[Any]:
    """The table of 900 rows in a database of each engine, opened so that nothing can be written."""
    server = servers(request.param)
    made = server.open("source")
    made.execute(*TABLE)
    made.analyze(["items"])
    again = import_module(f"runbook_lib.databases.{request.param}").open_database
    opened = again("again", made.masked_url, getattr(server, "password", None), {"read_only": True})
    yield opened
    opened.close()
    server.drop(made)


def test_a_database_opened_to_be_read_refuses_to_write_and_tells_its_plans(read_only: Any) -> None:
    assert len(read_only.rows(ANY, {"part": 3})) == 10
    for write in ("DELETE FROM items", "INSERT INTO items VALUES (1000, 1, 'b')"):
        with pytest.raises(DatabaseError):
            read_only.execute(write)
    assert read_only.rows("SELECT count(*) FROM items") == [(900,)]
    found = read_only.query_plan(ANY, {"part": 3}).nodes
    assert "items_part" in {node.index for node in found}
    assert {node.actual for node in found if node.table == "items"} <= {10.0, None}
    whole = read_only.query_plan("SELECT label FROM items WHERE label = :x ORDER BY part + id", {"x": "a"}).nodes
    assert {node.index for node in whole} == {""}
    assert any(node.table == "items" for node in whole) and len(whole) > 1
    with pytest.raises(DatabaseError):
        read_only.query_plan("SELECT nothing FROM nowhere", {})
    counted = read_only.slowest_statements(5)
    assert counted.missing and not counted.mean_ms


def test_the_slowest_statements_are_those_that_the_server_counted() -> None:
    server = PostgresServer(settings={**SERVER_SETTINGS, "shared_preload_libraries": "pg_stat_statements"})
    try:
        made = server.open("source")
        server.admin("CREATE EXTENSION pg_stat_statements", dbname=made.masked_url.rpartition("/")[2])
        made.execute(*TABLE)
        made.rows("SELECT count(*) FROM items WHERE label <> :x AND part > 3", {"x": "it''s"})
        texts = [normalized(text, "postgresql") for text in made.slowest_statements(50).mean_ms]
        assert normalized("select COUNT(*)  from items where label <> :x and part > 17", "postgresql") in texts
        made.close()
    finally:
        server.stop()
