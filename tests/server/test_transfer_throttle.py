"""Copy and sync wait for a file, for busy servers and for replicas that lag: real sessions, a real standby."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
from fix_servers import MariaDBServer, PostgresServer

from runbook_lib.config.options import read_options
from runbook_lib.databases.port import Load
from runbook_lib.databases.postgresql import open_database
from runbook_lib.errors import ConfigurationError, DatabaseError
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of
from runbook_lib.transfer.bulk_copy import copy_link
from runbook_lib.transfer.links import Feed, Flow, Link
from runbook_lib.transfer.throttle import Limits, Throttle, throttle
from runbook_lib.validation import validate


def until(condition: Callable[[], Any], within_s: float = 20.0) -> Any:
    """Wait for something of a server's; it tells nobody."""
    for _ in range(int(within_s / 0.05)):
        if found := condition():
            return found
        threading.Event().wait(0.05)
    raise AssertionError("did not happen")


def asked(limits: Limits, sides: dict[str, list[Any]], replicas: tuple[Any, ...] = ()) -> str:
    """A fresh answer."""
    return throttle(limits, sides, replicas)()


def test_a_copy_waits_while_the_file_exists_and_says_so(database: Any, target: Any, tmp_path: Path) -> None:
    for each in (database, target):
        each.execute("CREATE TABLE t (id bigint PRIMARY KEY)")
    database.execute("INSERT INTO t SELECT generate_series(1, 100)")
    expressions = ('"id"',)
    flow = Flow("t", "t", ("id",), ("id",), expressions, ("bigint",), "", (Feed("t", ("id",)),))
    file, told = tmp_path / "throttle", list[str]()
    file.touch()

    def heard(reason: str) -> None:
        told.append(reason)
        assert target.rows("SELECT count(*) FROM t") == [(0,)]
        file.unlink()

    pause = throttle(Limits(file=file), {}, on_reason=heard)
    result = copy_link(Link("c", "c", database, target, (flow,)), chunk_rows=30, pause=pause)
    assert result.rows == 100 and told == [f"{file} exists"]
    assert 0.9 < result.throttled_s <= pause.waited_s + 0.5


def test_many_callers_ask_once_in_an_interval() -> None:
    rounds = list[int]()
    gate = Throttle(lambda: rounds.append(1) or "", interval_s=60)
    threads = [threading.Thread(target=gate) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rounds == [1] and gate.waited_s == 0


@contextmanager
def busy_postgresql(database: Any, count: int) -> Iterator[None]:
    others = [psycopg.connect(database.login.conninfo(), password=database.login.password) for _ in range(count)]
    threads = [threading.Thread(target=_sleep, args=(other,)) for other in others]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for other in others:
            other.cancel()
        for thread in threads:
            thread.join()
        for other in others:
            other.close()


def _sleep(connection: Any) -> None:
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute("SELECT pg_sleep(60)")


def test_busy_sessions_of_postgresql_are_counted_ours_are_not(database: Any) -> None:
    limits = Limits(sessions={"source": 2})
    assert asked(limits, {"source": [database]}) == ""
    with busy_postgresql(database, 3):
        until(lambda: database.load().active == 3)
        assert asked(limits, {"source": [database]}) == "3 sessions at work at the source source, more than 2"
        assert asked(limits, {"target": [database]}) == ""
    until(lambda: database.load() == Load())


def _sleep_too(connection: Any) -> None:
    with suppress(pymysql.OperationalError), connection.cursor() as cursor:  # MySQL's SLEEP returns, MariaDB's fails
        cursor.execute("SELECT SLEEP(60)")


def test_a_login_that_may_not_see_the_load_is_told(server: PostgresServer, database: Any) -> None:
    poor = open_database("poor", server.url(database.masked_url.rpartition("/")[2], "app"), "app")
    with pytest.raises(DatabaseError, match=r"may not see the load.*GRANT pg_read_all_stats"):
        asked(Limits(sessions={"target": 1}), {"target": [poor]})
    poor.close()


def test_busy_threads_of_mariadb_are_counted(mariadb_server: MariaDBServer, new_on: Any) -> None:
    database = new_on("mysql", "target")
    with pytest.raises(DatabaseError, match="shows no replication"):
        asked(Limits(lag_s=1), {}, (database,))
    limits = Limits(sessions={"target": 3})  # the server's own threads are seen for a moment now and then
    assert until(lambda: asked(limits, {"target": [database]}) == "")
    others = [pymysql.connect(host="127.0.0.1", port=mariadb_server.port, user="app", password="app") for _ in range(4)]
    threads = [threading.Thread(target=_sleep_too, args=(other,)) for other in others]
    for thread in threads:
        thread.start()
    try:
        reason = until(lambda: asked(limits, {"target": [database]}))
        assert reason.endswith("sessions at work at the target target, more than 3")
    finally:
        mariadb_server.admin(*(f"KILL QUERY {other.thread_id()}" for other in others))
        for thread, other in zip(threads, others, strict=True):
            thread.join()
            other.close()


def test_a_replica_of_mariadb_that_stands_still_is_waited_for(mariadb_server: MariaDBServer, new_on: Any) -> None:
    database = new_on("mysql", "target")
    host = "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = 1, MASTER_USER = 'x', MASTER_PASSWORD = 'x'"
    mariadb_server.admin("GRANT REPLICA MONITOR ON *.* TO migrator@`127.0.0.1`", host)
    database.engine.dispose()  # a grant is for sessions to come
    try:
        assert asked(Limits(lag_s=1), {}, (database,)) == "target does not replicate"
        assert asked(Limits(), {}, (database,)) == ""
    finally:
        mariadb_server.admin("RESET SLAVE ALL", "REVOKE REPLICA MONITOR ON *.* FROM migrator@`127.0.0.1`")


def test_a_standby_that_lags_is_waited_for_and_can_be_copied(
    postgresql_server: PostgresServer, standby: int, database: Any, new_on: Any
) -> None:
    name = database.masked_url.rpartition("/")[2]
    replica = open_database("copy", f"postgresql://migrator@127.0.0.1:{standby}/{name}", postgresql_server.password)

    def on_standby(sql: str) -> Any:
        with psycopg.connect(postgresql_server.superuser, port=standby, autocommit=True) as connection:
            return connection.execute(sql).fetchone()

    until(lambda: on_standby(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"))
    until(lambda: replica.load().replicates)
    on_standby("SELECT pg_wal_replay_pause()")
    database.execute("CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 2000)")
    by_bytes, by_time = Limits(lag_bytes=1_000_000), Limits(lag_s=0.05)
    sides = {"target": [database]}
    reason = until(lambda: asked(by_bytes, sides))
    assert reason.startswith("a replica of source is ") and "bytes behind, more than 1,000,000" in reason
    assert until(lambda: asked(by_bytes, {}, (replica,))).startswith("copy is ")
    assert until(lambda: asked(by_time, {}, (replica,))).endswith("s behind, more than 0.05")
    on_standby("SELECT pg_wal_replay_resume()")
    until(lambda: not asked(by_bytes, sides) and not asked(by_time, {}, (replica,)))
    _a_standby_is_copied_and_not_followed(replica, new_on("postgresql", "target"))
    replica.close()


def _a_standby_is_copied_and_not_followed(replica: Any, target: Any) -> None:
    said: list[str] = []
    with pytest.raises(DatabaseError, match=r"a standby .*changes cannot be captured"):
        clone(pair_of(replica, target), How(follow=True))
    assert clone(pair_of(replica, target), How(), said.append).rows == 2000
    assert any("a standby (in recovery): it can be copied and compared" in text for text in said)
    assert validate([pair_of(replica, target).forward], under_writes=False).passed


@pytest.mark.parametrize(
    "values", [{"throttle_file": 5}, {"source_sessions": -1}, {"replica_lag_bytes": 0.5}, {"batch_share": 0}]
)
def test_a_wrong_limit_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="nothing was started"):
        read_options(values)
