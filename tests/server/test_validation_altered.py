"""A table that is altered between the reading of the catalogs and the checks is never called the same."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.validation import validate
from runbook_lib.validation.comparison import compared_pair
from runbook_lib.verdict import Outcome

DDL = """CREATE TABLE t (id bigint PRIMARY KEY, a numeric(12,2) NOT NULL, b text, c integer DEFAULT 3);
CREATE TABLE u (id bigint PRIMARY KEY);
INSERT INTO t SELECT g, g, 'x', g FROM generate_series(1, 300) AS g; INSERT INTO u SELECT id FROM t;"""


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE t ALTER a TYPE numeric(12,4); UPDATE t SET a = a + 0.0001 WHERE id = 5",
        "ALTER TABLE t ADD d integer",
        "ALTER TABLE t RENAME b TO z; ALTER TABLE t ADD b text DEFAULT 'x'",
        "ALTER TABLE t ALTER c DROP DEFAULT",
        "ALTER TABLE t DROP CONSTRAINT t_pkey",
        "ALTER TABLE t RENAME TO other",
    ],
)
def test_an_altered_table_is_not_called_the_same(database: Any, target: Any, side: str, change: str) -> None:
    for one in (database, target):
        one.run_script(DDL)
    pair = compared_pair(database, target)
    {"source": database, "target": target}[side].run_script(change)
    report = validate(pair.links, catalogs=pair.catalogs, under_writes=False)
    for result in report.results:
        assert result.of("u") is Outcome.PASS
    assert report.outcome is Outcome.COULD_NOT_RUN
    assert {table for result in report.results for table in result.errors} == {"t"}


def test_an_index_made_meanwhile_does_not_matter_to_the_rows(database: Any, target: Any) -> None:
    for one in (database, target):
        one.run_script(DDL)
    pair = compared_pair(database, target)
    target.run_script(
        "CREATE INDEX i ON t (a); ANALYZE t; INSERT INTO t SELECT 1000, 1, '', 1; DELETE FROM t WHERE id = 1000"
    )
    assert validate(pair.links, catalogs=pair.catalogs, under_writes=False).passed
