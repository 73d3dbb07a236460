"""The script that `compare` prints for a MariaDB target, run by its own client: after it both sides are the same."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of
from runbook_lib.validation import validate
from runbook_lib.validation.report.repair_script import repair_scripts

SOURCE = """
CREATE TABLE p (id int, `a, b` varchar(9), PRIMARY KEY (id, `a, b`), UNIQUE KEY `the one` (id));
CREATE TABLE `c.d` (id int PRIMARY KEY, `p.id` int, n int, k varchar(9), UNIQUE KEY `u "x"` (n, `p.id`),
  KEY i (`p.id`), CONSTRAINT `f.k` FOREIGN KEY (`p.id`) REFERENCES p (id) ON DELETE CASCADE,
  CONSTRAINT `n is small` CHECK (n < 100));
SET @@session.sql_mode = concat(@@sql_mode, ',PIPES_AS_CONCAT');
DELIMITER ;;
CREATE TRIGGER `t.one` BEFORE INSERT ON `c.d` FOR EACH ROW BEGIN SET NEW.k = 'a;;' || NEW.id; END;;
DELIMITER ;
CREATE TRIGGER two BEFORE INSERT ON `c.d` FOR EACH ROW SET NEW.k = NEW.k || '!';
SET @@session.sql_mode = replace(@@sql_mode, 'PIPES_AS_CONCAT', '');
CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 3;
"""
SPOILED = (
    'ALTER TABLE `c.d` DROP FOREIGN KEY `f.k`, DROP KEY i, DROP KEY `u "x"`, DROP CONSTRAINT `n is small`',
    "ALTER TABLE p DROP KEY `the one`",
    "DROP TRIGGER `t.one`",
    "DROP TRIGGER two",
    "CREATE TRIGGER two BEFORE INSERT ON `c.d` FOR EACH ROW SET NEW.k = 'other'",
    "CREATE TRIGGER more AFTER DELETE ON `c.d` FOR EACH ROW SET @a = 1",
)


def test_the_script_gives_constraints_indexes_and_triggers_their_names_and_sql_mode_and_then_compare_says_same(
    new_on: Callable[..., Any],
) -> None:
    source, target = new_on("mysql", "source"), new_on("mysql", "target")
    source.run_script(SOURCE)
    pair = pair_of(source, target)
    clone(pair, How())
    assert validate([pair.forward]).passed
    target.execute(*SPOILED)
    report = validate([pair.forward])
    assert not report.passed
    [script] = repair_scripts(report).values()
    _by_client(target, script)
    again = validate([pair.forward])
    assert again.passed, [(str(m), m.mend) for m in again.mismatches]
    for asked in ("SHOW CREATE TABLE `c.d`", "SHOW CREATE TABLE p", "SHOW CREATE TRIGGER `t.one`"):
        there, here = (side.rows(asked)[0] for side in (source, target))
        assert sorted(str(there[1:3]).split("\\n")) == sorted(str(here[1:3]).split("\\n"))
    target.execute("INSERT INTO p VALUES (1, 'x')", "INSERT INTO `c.d` VALUES (5, 1, 1, '')")
    assert target.rows("SELECT k FROM `c.d`") == [("a;;5!",)]


def test_for_what_no_statement_is_safe_the_script_says_in_a_comment_what_a_person_must_do(
    new_on: Callable[..., Any],
) -> None:
    source, target = new_on("mysql", "source"), new_on("mysql", "target")
    source.run_script(SOURCE)
    pair = pair_of(source, target)
    clone(pair, How())
    target.execute("ALTER TABLE parted PARTITION BY KEY (id) PARTITIONS 3")
    [script] = repair_scripts(validate([pair.forward])).values()
    assert "-- parted: partition parted.p0 is another\n-- No statement for this is safe to write: make" in script
    assert all(line.startswith("-- ") for line in script.splitlines())
    _by_client(target, script)


def test_a_label_too_many_of_an_enum_at_postgresql_is_said_with_what_to_do(new_on: Callable[..., Any]) -> None:
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.execute("CREATE TYPE mood AS ENUM ('a')", "CREATE TABLE t (id int PRIMARY KEY, m mood)")
    pair = pair_of(source, target)
    clone(pair, How())
    target.execute("ALTER TYPE mood ADD VALUE 'b'")
    [script] = repair_scripts(validate([pair.forward])).values()
    assert "-- enum public.mood: enum public.mood is another\n" in script and "a label cannot be dropped" in script
    target.run_script(script)


def _by_client(target: Any, script: str) -> None:
    login = target.login
    command = ["mariadb", "--protocol=tcp", "-h", login.host, "-P", str(login.port), "-u", login.user, login.database]
    done = subprocess.run(
        [*command, "--default-character-set=utf8mb4"],
        input=script,
        env={"MYSQL_PWD": login.password, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
