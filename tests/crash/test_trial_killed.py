"""SIGKILL while a schema is tried at a target: nothing of the trial stays, and the same command finds the way free."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest
from fix_sandbox import wait_for

from runbook_lib.plan.model import Service, TableMapping
from runbook_lib.schema.create_target import create_tables

# The trial comes to a statement that takes its time, and is killed there.
SLOW = {
    "postgresql": "CREATE TABLE slow AS SELECT 1 AS n FROM pg_sleep(2);",
    "mysql": "CREATE TABLE slow AS SELECT sleep(2) AS s;",
    "sqlite": "CREATE TABLE slow AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000000)"
    " SELECT count(*) FROM n;",
}
_TRIAL = """
import importlib, os, sys
engine, url, script = sys.argv[1:]
module = importlib.import_module(f"runbook_lib.databases.{engine}")
target = module.open_database("t", url, os.environ["SECRET"] or None)
print("trying", flush=True)
target.try_scripts(["CREATE TABLE a (id int PRIMARY KEY);\\n", script])
"""
_SHAPE = """
import os, sys
from runbook_lib.databases.postgresql import open_database
from runbook_lib.plan.model import Service, TableMapping
from runbook_lib.schema.create_target import create_tables
source, target = (open_database("t", url, os.environ["SECRET"]) for url in sys.argv[1:])
target.dump_schema = lambda tables: os.kill(os.getpid(), 9)
create_tables(Service("s", "target", tables=(TableMapping("people", "persons"),)), source, target)
"""


def started(program: str, *arguments: str, secret: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "SECRET": secret}
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments], env=environment, stdout=subprocess.PIPE, text=True
    )


def objects(target: Any) -> int:
    """Everything that is there, ours too (count)."""
    if target.dialect == "sqlite":
        return int(target.rows("SELECT count(*) FROM sqlite_master")[0][0])
    where = "table_schema NOT IN ('pg_catalog', 'information_schema')"
    mine = "table_schema = database()" if target.dialect == "mysql" else where
    return int(target.rows(f"SELECT count(*) FROM information_schema.tables WHERE {mine}")[0][0])


@pytest.mark.parametrize("engine", sorted(SLOW))
def test_a_trial_that_is_killed_leaves_nothing_and_the_next_one_finds_the_names_free(
    engine: str, new_on: Any, servers: Any
) -> None:
    target = new_on(engine, "target")
    secret = getattr(servers(engine), "password", "")
    with started(_TRIAL, engine, target.masked_url, SLOW[engine], secret=secret) as process:
        assert process.stdout is not None and process.stdout.readline() == "trying\n"
        wait_for(lambda: _slow(target), "the trial is in the middle", 30)
        process.kill()
    wait_for(lambda: not _slow(target), "the server has ended the session", 30)
    assert objects(target) == 0
    assert target.try_scripts(["CREATE TABLE a (id int PRIMARY KEY);"]) == []
    assert objects(target) == 0


def _slow(target: Any) -> bool:
    """Whether a trial is under way in this database."""
    if target.dialect == "sqlite":
        import sqlite3

        with sqlite3.connect(target.masked_url.partition(":///")[2], timeout=0) as probe:
            try:
                probe.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            finally:
                probe.rollback()
        return False
    views = {
        "postgresql": "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'",
        "mysql": "SELECT info FROM information_schema.processlist WHERE db = database()",
    }
    return any("CREATE" in str(text) and "slow" in str(text) for (text,) in target.rows(views[target.dialect]))


def test_a_renamed_tables_shape_that_was_being_worked_out_at_the_target_is_cleared_up_by_the_next_attempt(
    new_on: Any, postgresql_server: Any
) -> None:
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script("CREATE TYPE mood AS ENUM ('ok'); CREATE TABLE persons (id int PRIMARY KEY, m mood)")
    with started(_SHAPE, source.masked_url, target.masked_url, secret=postgresql_server.password) as process:
        assert process.wait() == -signal.SIGKILL
    assert target.tables() == ["people"]  # renamed, with its keys: not what the load wants
    service = Service("s", "target", tables=(TableMapping("people", "persons"),))
    assert create_tables(service, source, target) == ("people",)
    assert target.catalog()["people"].indexes == ()
