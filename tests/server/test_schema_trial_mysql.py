"""What temporary tables cannot show of a MariaDB or MySQL target is tried in a scratch database."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from fix_sandbox import wait_for

from runbook_lib.databases.mysql import open_database
from runbook_lib.databases.mysql.trial import scratch_name
from runbook_lib.databases.port import Refusal
from runbook_lib.errors import TransferError
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of

TABLES = "CREATE TABLE `a` (`id` int PRIMARY KEY);\nCREATE TABLE `b` (`id` int PRIMARY KEY, `up` bigint);\n"
UP = "ALTER TABLE `b` ADD CONSTRAINT `b_up` FOREIGN KEY (`up`) REFERENCES `a` (`id`);\n"
KEY = "ALTER TABLE child ADD CONSTRAINT up FOREIGN KEY (p) REFERENCES parent (id)"


def scratches(target: Any) -> list[str]:
    sql = "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE '%\\\\_trial\\\\_%'"
    return [str(name) for (name,) in target.rows(sql) if str(name).startswith(target.login.database)]


@pytest.fixture
def poor(new_on: Any, mariadb_server: Any) -> Iterator[Any]:
    """A target whose login has every right on this one database alone."""
    target = new_on("mysql", "target")
    name = target.login.database
    mariadb_server.admin(
        "CREATE USER IF NOT EXISTS poor@`127.0.0.1` IDENTIFIED BY 'poor'",
        f"GRANT ALL ON `{name.replace('_', chr(92) + '_')}`.* TO poor@`127.0.0.1`",
        "GRANT PROCESS ON *.* TO poor@`127.0.0.1`",
    )
    opened = open_database("target", mariadb_server.url(name, "poor"), "poor")
    yield opened
    opened.close()
    mariadb_server.admin("DROP USER poor@`127.0.0.1`")


def test_a_foreign_key_a_view_and_a_trigger_that_are_refused_are_named_and_the_scratch_database_is_gone(new_on: Any):
    target = new_on("mysql", "target")
    beside = "CREATE VIEW `v` AS SELECT `nothing` FROM `a`;\nCREATE VIEW `w` AS SELECT `id` FROM `a`;\n"
    trigger = "CREATE TRIGGER `late` BEFORE INSERT ON `a` FOR EACH ROW SET NEW.`none` = 1;\n"
    found = target.try_scripts([TABLES, UP + trigger, beside])
    assert [(each.kind, each.name, each.table) for each in found] == [
        ("foreign key", "b_up", "b"),
        ("trigger", "late", "a"),
        ("view", "v", ""),
    ]
    assert "type" in found[0].why and "_trial_" not in str(found)
    assert target.tables() == [] and scratches(target) == []


def test_what_temporary_tables_do_not_have_is_not_called_refused(new_on: Any):
    target = new_on("mysql", "target")
    script = (
        "CREATE TABLE `p` (`id` int PRIMARY KEY) PARTITION BY HASH (`id`) PARTITIONS 2;\n"
        "CREATE TABLE `f` (`id` int PRIMARY KEY, `t` text);\nALTER TABLE `f` ADD FULLTEXT KEY `t` (`t`);\n"
    )
    assert target.try_scripts([script]) == [] and scratches(target) == []


def test_a_name_that_another_object_of_the_target_has_is_found(new_on: Any):
    target = new_on("mysql", "target")
    target.run_script(
        "CREATE TABLE p (id int PRIMARY KEY);"
        "CREATE TABLE c (p int, CONSTRAINT b_up FOREIGN KEY (p) REFERENCES p (id)); CREATE VIEW a AS SELECT 1;"
    )
    found = target.try_scripts([TABLES.replace("bigint", "int"), UP, "CREATE VIEW `p` AS SELECT 1;"])
    assert found == [
        Refusal("table", "a", "", "the name is taken by view a"),
        Refusal("foreign key", "b_up", "b", "the name is taken by foreign key b_up of c"),
        Refusal("view", "p", "", "the name is taken by base table p"),
    ]


@pytest.mark.parametrize("engine", ["mysql", "postgresql", "sqlite"])
def test_a_refused_foreign_key_stops_the_copy_and_a_refused_view_is_predicted(engine: str, new_on: Any):
    source, target = new_on(engine, "source"), new_on("mysql", "target")
    inline = engine == "sqlite"
    key = KEY.partition(" ADD ")[2]
    source.execute(
        "CREATE TABLE parent (id int PRIMARY KEY)",
        f"CREATE TABLE child (id int PRIMARY KEY, p int{f', {key}' if inline else ''})",
        *([] if inline else [KEY]),
        "CREATE VIEW seen AS SELECT id FROM parent",
    )
    source.execute("INSERT INTO parent VALUES (1)", "INSERT INTO child VALUES (1, 1)")
    names = _key_name(source, new_on("mysql", "probe"))
    target.run_script(
        "CREATE TABLE x (id int PRIMARY KEY); CREATE TABLE seen (id int);"
        f"CREATE TABLE y (p int, CONSTRAINT `{names}` FOREIGN KEY (p) REFERENCES x (id));"
    )
    with pytest.raises(TransferError, match=r"by foreign key .* of y .*adding foreign key .* of table child; noth"):
        clone(pair_of(source, target), How())
    assert set(target.tables()) == {"x", "y", "seen"}
    target.execute("DROP TABLE y")
    told: list[str] = []
    done = clone(pair_of(source, target), How(), told.append)
    left = [(one.kind, one.name) for one in done.left_behind]
    said = "  view seen: will be left behind: the name is taken by base table seen"
    assert (left, said in told) == (([("view", "seen")], True) if engine == "mysql" else ([], False))


def _key_name(source: Any, target: Any) -> str:
    """What the translation calls the foreign key."""
    clone(pair_of(source, target), How())
    [(name,)] = target.rows(
        "SELECT constraint_name FROM information_schema.referential_constraints WHERE constraint_schema = database()"
    )
    return str(name)


def test_where_no_database_may_be_created_it_is_said_what_was_not_tried_and_tables_are_tried_all_the_same(poor: Any):
    told: list[str] = []
    tables = TABLES + "CREATE TABLE `t` (`t` text PRIMARY KEY);\n"
    [found] = poor.try_scripts([tables, UP, "CREATE VIEW `v` AS SELECT 1;"], tell=told.append)
    assert (found.kind, found.name) == ("table", "t")
    assert told == [
        "target: 1 foreign key, 1 view: not tried beforehand: the login may not create a database for it."
        f" Next: GRANT ALL ON `{scratch_name(poor.login.database)}`.* to it"
    ]


def test_the_scratch_database_of_a_trial_that_was_killed_is_dropped_by_the_next_one(new_on: Any, mariadb_server: Any):
    target = new_on("mysql", "target")
    slow = "CREATE TABLE `slow` AS SELECT sleep(5) AS s;\nCREATE VIEW `v` AS SELECT `s` FROM `slow`;\n"
    program = (
        "import os, sys\nfrom runbook_lib.databases.mysql import open_database\n"
        "open_database('t', sys.argv[1], os.environ['SECRET']).try_scripts([sys.argv[2]])"
    )
    environment = {**os.environ, "SECRET": mariadb_server.password}
    with subprocess.Popen([sys.executable, "-c", program, target.masked_url, slow], env=environment) as process:
        wait_for(lambda: scratches(target), "the trial is in the middle", 30)
        process.kill()
    assert scratches(target) == [scratch_name(target.login.database)]
    told: list[str] = []
    wait_for(lambda: target.try_scripts([TABLES], tell=told.append) == [] and not scratches(target), "it is gone", 30)
    assert target.tables() == []


def test_two_trials_for_one_database_do_not_meet(new_on: Any):
    target, told = new_on("mysql", "target"), list[str]()
    with target.advisory_lock("trial"):
        assert target.try_scripts([TABLES, UP], tell=told.append) == []
    assert told == [
        "target: 1 foreign key: not tried beforehand: another command is trying a schema for this database now"
    ]
