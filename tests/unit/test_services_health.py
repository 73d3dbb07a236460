"""Health over SQL and over HTTP, with retries; the database is a file, the service answers as the test says."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.databases.port import Database
from runbook_lib.databases.sqlite import open_database
from runbook_lib.errors import ConfigurationError
from runbook_lib.services import health as module
from runbook_lib.services.command import open_service
from runbook_lib.services.health import HealthCheck, asked, over_sql
from runbook_lib.services.port import Health


def service(root: Path, health: object) -> Any:
    with sqlite3.connect(root / "shop.db") as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS workers(name text, seen integer)")

    def database(name: str) -> Database:
        assert name == "shop"
        return open_database(name, f"sqlite:///{root / 'shop.db'}", None, {})

    return open_service("worker", {"url": "http://127.0.0.1:1", "health": health}, root, database)


def test_a_service_is_healthy_when_the_first_value_of_its_query_says_so(tmp_path: Path) -> None:
    found = service(tmp_path, {"sql": "SELECT count(*) FROM workers WHERE seen > 5", "database": "shop"})
    assert (found.health().ok, found.health().text) == (False, "the query says 0")
    assert not found.running()
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("INSERT INTO workers VALUES ('a', 9)")
    assert (found.health().ok, found.health().text) == (True, "1")
    assert found.running()


def test_a_query_without_a_row_or_that_is_refused_is_not_healthy(tmp_path: Path) -> None:
    none = service(tmp_path, {"sql": "SELECT name FROM workers", "database": "shop"}).health()
    assert (none.ok, none.text) == (False, "the query has no row")
    refused = service(tmp_path, {"sql": "SELECT nothing FROM workers", "database": "shop"}).health()
    assert not refused.ok and "nothing" in refused.text


def test_a_database_that_hangs_is_no_answer_within_the_time(tmp_path: Path) -> None:
    release = threading.Event()

    def database(name: str) -> Database:
        release.wait(10)
        raise ConfigurationError(name, "gone")

    begun = time.monotonic()
    found = over_sql(database, HealthCheck(sql="SELECT 1", database="shop", timeout_s=0.1))
    release.set()
    assert (found.ok, found.text) == (False, "shop did not answer within 0.1 s")
    assert time.monotonic() - begun < 5


def test_a_check_that_fails_is_asked_again_and_one_good_answer_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(module.time, "sleep", waited.append)
    answers = [Health(False, 1.0, "busy"), Health(False, 1.0, "busy"), Health(True, 1.0, "fine")]
    assert asked(lambda: answers.pop(0), HealthCheck(retries=2, every_s=3)).ok
    assert waited == [3, 3]
    bad = asked(lambda: Health(False, 1.0, "down"), HealthCheck(retries=1))
    assert bad.text == "down (2 times asked)"


@pytest.mark.parametrize(
    ("health", "named"),
    [
        ({"sql": "SELECT 1"}, "health: no `database`"),
        ({"database": "shop"}, "health: no `sql`"),
        ({"sql": "SELECT 1", "database": "shop", "path": "/"}, "health: `path` beside `sql`"),
        ({"path": "/", "retries": 1.5}, r"health: retries is 1\.5; expected a number"),
        ({"path": "/", "timeout_s": -1}, "health: timeout_s is -1"),
    ],
)
def test_a_wrong_health_check_is_named(tmp_path: Path, health: object, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        service(tmp_path, health)
