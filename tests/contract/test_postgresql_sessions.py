"""Sessions that are kept: used again, given up when nobody knows what they are in, and never more than allowed."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from runbook_lib.databases.port import KeyRange, Selection
from runbook_lib.databases.postgresql import PostgreSQL, connection_pool
from runbook_lib.databases.postgresql.connection import read_login
from runbook_lib.errors import DatabaseError

PID = "SELECT pg_backend_pid()"


def pid(database: PostgreSQL) -> int:
    return int(database.rows(PID)[0][0])


def test_a_session_is_used_again_whoever_asks(database: PostgreSQL):
    first = pid(database)
    with database.raw() as driver:
        assert driver.info.backend_pid == first
    for _ in range(3):  # SQLAlchemy's too, and it does not add its handler of notices each time
        with database.engine.connect() as connected:
            assert connected.scalar(text(PID)) == first
    with database.raw() as driver:
        assert len(driver._notice_handlers) == 1


def test_a_session_that_the_server_has_ended_costs_a_log_in_and_no_error(database: PostgreSQL, new_database):
    other = new_database("target")
    ended = pid(database)
    other.rows(f"SELECT pg_terminate_backend({ended}, 5000)")
    assert pid(database) != ended


def test_what_is_open_in_a_session_is_rolled_back_and_its_mode_set_back(database: PostgreSQL):
    database.execute("CREATE TABLE t (id integer)")
    with pytest.raises(ZeroDivisionError), database.raw() as driver:
        driver.execute("INSERT INTO t VALUES (1)")
        raise ZeroDivisionError
    with database.engine.connect() as connected:
        connected.execute(text("INSERT INTO t VALUES (2)"))
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connected:
        connected.execute(text("SELECT 1"))
    with database.raw() as driver:
        assert not driver.autocommit
        assert driver.execute("SELECT count(*) FROM t").fetchone() == (0,)
    with database.raw() as driver:
        driver.execute("INSERT INTO t VALUES (3)")
    assert database.rows("SELECT id FROM t") == [(3,)]


def test_a_session_in_the_middle_of_a_copy_is_given_up(database: PostgreSQL):
    database.execute("CREATE TABLE t AS SELECT i AS id FROM generate_series(1, 200000) AS i")
    before = pid(database)
    blocks = database.copy_out(Selection("t", (), ("id",)), KeyRange(0), binary=False)
    next(blocks)
    blocks.close()
    assert pid(database) != before
    assert len(list(database.copy_out(Selection("t", (), ("id",)), KeyRange(0), binary=False))) > 1


def test_there_are_never_more_than_allowed_and_who_waits_in_vain_is_told(new_database, monkeypatch):
    database: PostgreSQL = new_database("source", pool_size=1)
    monkeypatch.setattr(connection_pool, "WAIT_S", 0.2)
    with database.raw(), database.engine.connect():
        with pytest.raises(DatabaseError, match=r"all 2 sessions were in use for 0 s.*pool_size"):
            database.rows("SELECT 1")
        with pytest.raises(DatabaseError, match="all 2 sessions"):
            database.engine.connect()
    assert database.rows("SELECT 1") == [(1,)]


def test_many_threads_share_a_few(new_database):
    database: PostgreSQL = new_database("source", pool_size=2)
    with ThreadPoolExecutor(12) as pool:
        used = set(pool.map(lambda _: pid(database), range(200)))
    assert database.rows("SELECT 1") == [(1,)]
    assert len(database.sessions._idle) <= 2
    assert len(used) < 200


@pytest.mark.parametrize("by", ["close", "dispose"])
def test_after_closing_all_are_ended_those_in_use_when_they_come_back(database: PostgreSQL, by: str):
    with database.raw() as used:
        idle = pid(database)
        database.close() if by == "close" else database.engine.dispose()
        left = used.info.backend_pid
        assert used.execute("SELECT 1").fetchone() == (1,)
    assert used.closed
    assert pid(database) not in (idle, left)


def test_a_login_that_fails_leaves_the_place_free(new_database, monkeypatch):
    database: PostgreSQL = new_database("source", pool_size=1)
    right = database.login
    for _ in range(4):  # more often than there are places
        database.login = read_login("source", f"postgresql://nobody@{right.address}/postgres", "wrong")
        with pytest.raises(DatabaseError, match="wrong password for nobody"):
            database.rows("SELECT 1")
    database.login = right
    assert database.rows("SELECT 1") == [(1,)]


@pytest.mark.parametrize(
    ("url", "parameters", "masked"),
    [
        (
            "postgresql://ann@db.example:5433/shop?sslmode=require",
            {"user": "ann", "host": "db.example", "port": "5433", "dbname": "shop", "sslmode": "require"},
            "postgresql://ann@db.example:5433/shop?sslmode=require",
        ),
        ("postgres+psycopg://h/d", {"host": "h", "dbname": "d"}, "postgresql://h/d"),
        (
            "postgresql://a%40b:x@[::1]:5432/my%20shop",
            {"user": "a@b", "host": "::1", "port": "5432", "dbname": "my shop"},
            "postgresql://a%40b@[::1]:5432/my%20shop",
        ),
        (
            "postgresql:///shop?host=/run/pg&port=5433&user=ann",
            {"host": "/run/pg", "port": "5433", "user": "ann", "dbname": "shop"},
            "postgresql://ann@/shop?host=%2Frun%2Fpg&port=5433",
        ),
        ("postgresql://?service=shop", {"service": "shop"}, "postgresql:///?service=shop"),
        (
            "postgresql://h:1,g:2/d?target_session_attrs=read-write",
            {"host": "h,g", "port": "1,2", "dbname": "d", "target_session_attrs": "read-write"},
            "postgresql:///d?host=h%2Cg&port=1%2C2&target_session_attrs=read-write",
        ),
    ],
)
def test_a_url_is_read_as_libpq_reads_it_and_shown_so_that_it_can_be_read_again(url, parameters, masked):
    login = read_login("source", url, None)
    assert login.parameters == parameters
    assert login.masked_url == masked
    assert read_login("source", masked, None).parameters == parameters


@pytest.mark.parametrize("word", ["plain", "a%40b", "s/l?a#s:h", "100%", "%zz", "ü"])
def test_a_password_is_taken_out_of_a_url_whatever_it_holds(word: str):
    login = read_login("source", f"postgresql://ann:{word}@h:5432/d", None)
    assert login.password == {"a%40b": "a@b"}.get(word, word)
    assert login.masked_url == "postgresql://ann@h:5432/d"
    assert all(word not in str(part) for part in itertools.chain(login.parameters.values(), [repr(login)]))
