"""Rows, tables and objects that a login does not see: refused or said, never left out in silence."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.databases.mysql import open_database as open_mysql
from runbook_lib.databases.postgresql import open_database
from runbook_lib.errors import DatabaseError
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of
from runbook_lib.transfer.readable import require_readable
from runbook_lib.validation import validate
from runbook_lib.verdict import Outcome

HIDDEN = """
CREATE TABLE orders (id int PRIMARY KEY, tenant text NOT NULL);
INSERT INTO orders SELECT g, CASE WHEN g % 4 = 0 THEN 'north' ELSE 'south' END FROM generate_series(1, 100) g;
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
ALTER TABLE orders FORCE ROW LEVEL SECURITY;
CREATE POLICY by_tenant ON orders USING (tenant = 'north');
"""


def test_rows_that_row_security_hides_stop_a_copy_and_are_no_equal_rows_to_a_comparison(new_on: Any):
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script(HIDDEN)
    with pytest.raises(DatabaseError, match=r"row security hides rows of orders.*nothing was read.*BYPASSRLS"):
        clone(pair_of(source, target), How())
    assert target.tables() == []
    target.run_script(HIDDEN.replace("SELECT g,", "SELECT g * 4,").replace("1, 100", "1, 25").replace("g %", "g * 4 %"))
    report = validate([pair_of(source, target).forward], under_writes=False)
    assert report.outcome is not Outcome.PASS and "row-level security" in str([r.errors for r in report.results])


def test_a_column_a_sequence_and_a_schema_that_may_not_be_read_are_named(database: Any):
    database.run_script(
        "CREATE SCHEMA shut; CREATE TABLE shut.t (id int); CREATE TABLE part (id int, secret text);"
        "CREATE TABLE whole (id int, v text); CREATE SEQUENCE counter;"
        "GRANT SELECT (id) ON part TO app; GRANT SELECT (id, v) ON whole TO app"
    )
    poor = open_database("poor", database.masked_url.replace("migrator@", "app@"), "app")
    told = {p.detail["table"]: f"{p.text}: {p.action}" for p in poor.privileges_missing("reader")}
    with pytest.raises(DatabaseError, match=r"may not read part but for id"):
        require_readable(poor, ["part", "whole"])
    require_readable(poor, ["whole"])
    poor.close()
    assert set(told) == {"part", "counter", "shut.t"}
    assert "GRANT SELECT ON SEQUENCE" in told["counter"] and "GRANT USAGE ON SCHEMA" in told["shut.t"]


def test_objects_that_mariadb_does_not_show_the_login_are_said(new_on: Any, mariadb_server: Any):
    database = new_on("mysql", "source")
    database.execute("CREATE TABLE t (id int PRIMARY KEY)", "CREATE PROCEDURE p() SELECT 1")
    own = [problem.text for problem in database.privileges_missing("reader")]
    poor = open_mysql("poor", mariadb_server.url(database.login.database, "app"), "app")
    told: list[str] = []
    require_readable(poor, None, told.append)
    poor.close()
    said = "\n".join(told)
    assert own == []
    for what in ("triggers", "events", "the texts of views", "routines"):
        assert f"{what} are not shown to app@127.0.0.1" in said
    assert "GRANT TRIGGER ON" in said
