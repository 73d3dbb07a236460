"""`Case` and `case` are two tables where the server's file system says so, whatever collation a database has."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.journal import Journal
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of
from runbook_lib.operations.replicate import Switch, find_clone, move, open_clone
from runbook_lib.transfer.sync import drain
from runbook_lib.transfer.writers import Side
from runbook_lib.validation import validate


@pytest.fixture
def pair(new_on: Callable[..., Any]) -> Any:
    source, target = new_on("mysql", "source"), new_on("mysql", "target")
    if source.rows("SELECT @@lower_case_table_names") != [(0,)]:
        pytest.skip("the server folds names of tables")
    target.execute(f"ALTER DATABASE {target.ident(target.login.database)} CHARACTER SET latin1")
    source.execute(
        "CREATE TABLE `Case` (id int PRIMARY KEY, v int, UNIQUE KEY k (v), KEY i (id, v))",
        "CREATE TABLE `case` (id int PRIMARY KEY, v int, UNIQUE KEY k (v), KEY i (v, id))",
        "CREATE TABLE Kind (id int PRIMARY KEY, up int, CONSTRAINT up FOREIGN KEY (up) REFERENCES `Case` (id))",
        "CREATE TABLE `ключ` (id varchar(9) CHARACTER SET utf8mb4 PRIMARY KEY) COMMENT '😀'",
        "INSERT INTO `Case` VALUES (1, 1), (2, 2)",
        "INSERT INTO `case` VALUES (7, 7)",
        "INSERT INTO Kind VALUES (1, 1)",
        "INSERT INTO `ключ` VALUES ('😀')",
    )
    return pair_of(source, target)


def test_tables_whose_names_differ_in_case_are_copied_followed_and_compared_each_by_itself(
    pair: Any, tmp_path: Path
) -> None:
    done = clone(pair, How(follow=True))
    assert (done.rows, done.account.unaccounted, done.left_behind) == (5, (), ())
    with closing(Journal(f"sqlite:///{tmp_path}/journal.sqlite")) as journal:
        open_clone(journal, pair, (), "test")
        pair, run_id = find_clone(journal, pair)
        pair.source.execute("UPDATE `case` SET v = 8", "DELETE FROM `Case` WHERE id = 2")
        drain([pair.forward])
        report = validate([pair.forward])
        assert not report.mismatches
        assert pair.target.rows("SELECT * FROM `case`") == [(7, 8)]
        assert pair.target.rows("SELECT * FROM `Case`") == [(1, 1)]
        pair.target.execute("ALTER TABLE `case` DROP KEY i")
        assert {m.table for m in validate([pair.forward]).mismatches} == {"case"}
        pair.target.execute("ALTER TABLE `case` ADD KEY i (v, id)")
        assert move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20) is not None


def test_a_change_of_one_of_them_is_reported_as_its_own(pair: Any) -> None:
    marks = pair.source.schema_marks()
    pair.source.execute("ALTER TABLE `Case` ADD COLUMN w int")
    now = pair.source.schema_marks()
    assert {name for name in now if now[name] != marks.get(name)} == {"table Case"}
