"""Backups proven by a restore on every engine; what is not proven says why; what is kept."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from estate_schema import fill, new_sqlite

from runbook_lib.backup import backup as backups
from runbook_lib.databases.port import Database
from runbook_lib.errors import DatabaseError
from runbook_lib.schema.snapshot import shape_of


@pytest.fixture(params=["postgresql", "mysql", "sqlite"])
def practice(request: pytest.FixtureRequest, new_on: Any, tmp_path: Path) -> Iterator[Database]:
    """A filled database of each engine."""
    if request.param == "sqlite":
        (tmp_path / "data").mkdir()
        with new_sqlite(tmp_path / "data") as database:
            yield database
    else:
        yield fill(new_on(request.param, "practice"))


def scratch_left(database: Database, directory: Path) -> list[str]:
    """Scratch databases that are still there."""
    if database.dialect == "sqlite":
        return [path.name for path in (directory / "data").iterdir() if path.name != "practice.db"]
    catalog = "pg_database" if database.dialect == "postgresql" else "information_schema.schemata"
    column = "datname" if database.dialect == "postgresql" else "schema_name"
    names = [str(name) for (name,) in database.rows(f"SELECT {column} FROM {catalog}")]
    return [name for name in names if name.startswith("runbook_") or "_proof_" in name]


def test_a_backup_is_proven_by_its_rows_and_its_schema_and_the_scratch_database_is_gone(
    practice: Database, tmp_path: Path
) -> None:
    backup = backups.take(practice, tmp_path / "backups/run/practice")
    assert backup.proof.problems == ()
    assert (backup.proof.tables, backup.proof.rows) == (2, 7)
    assert scratch_left(practice, tmp_path) == []
    assert (tmp_path / "backups/run").stat().st_mode & 0o077 == 0, "others can read the source's rows"
    assert backups.known(tmp_path / "backups", "practice") == [backup]
    expected = backups.estimate(practice, tmp_path / "backups/next/practice")
    assert expected.measured and expected.fits
    assert expected.size_bytes == pytest.approx(backup.info.size_bytes, rel=0.2)


def test_who_looks_sees_every_row_once_and_an_error_of_theirs_leaves_no_scratch_database(
    practice: Database, tmp_path: Path
) -> None:
    info, seen = practice.backup(tmp_path / "backup"), []
    with practice.scratch(info, lambda there: seen.append(backups.counts(there))) as restored:
        assert seen == [backups.counts(practice)]
        assert shape_of(restored) == shape_of(practice)

    def stumble(_: Database) -> None:
        raise DatabaseError("the look", "stumbled")

    with pytest.raises(DatabaseError, match="stumbled"), practice.scratch(info, stumble):
        pass
    assert scratch_left(practice, tmp_path) == []


@pytest.mark.parametrize(
    ("also", "persistence"),
    [
        ("SELECT 1", {"u"}),
        ("CREATE TABLE days (day date NOT NULL) PARTITION BY RANGE (day)", {"p"}),
        ("CREATE PUBLICATION told FOR TABLE users", {"p"}),
        ("CREATE TABLE teams (lead users)", {"p"}),
    ],
    ids=["plain", "partitioned", "published", "a row as a type"],
)
def test_a_restore_for_proof_is_not_logged_unless_a_table_has_to_be(
    new_on: Any, tmp_path: Path, also: str, persistence: set[str]
) -> None:
    database = fill(new_on("postgresql", "practice"))
    database.execute(also)
    info = database.backup(tmp_path / "backup")
    with database.scratch(info, backups.counts) as restored:
        found = restored.rows("SELECT relpersistence FROM pg_class WHERE relname IN ('users', 'orders', 'teams')")
    assert {str(kind) for (kind,) in found} == persistence
    assert backups.prove(database, info, backups.counts(database), shape_of(database)).problems == ()


def test_a_backup_with_other_rows_or_another_schema_is_not_proven(practice: Database, tmp_path: Path) -> None:
    info = practice.backup(tmp_path / "backup")
    before, shape = backups.counts(practice), shape_of(practice)
    proof = backups.prove(practice, info, {**before, "orders": 4}, {**shape, "users": shape["users"][1:]})
    assert [problem.partition(":")[0] for problem in proof.problems] == ["schema"]  # 3 orders there and then: changed
    practice.execute("DELETE FROM orders WHERE id = 3")
    assert backups.prove(practice, info, before, shape).problems == ()  # a writer's doing, within its bounds
    proof = backups.prove(practice, info, backups.counts(practice), shape)
    assert proof.problems == ("orders: 3 rows restored, 2 were there",)


def test_a_backup_that_was_damaged_is_not_proven_and_leaves_nothing(practice: Database, tmp_path: Path) -> None:
    info = practice.backup(tmp_path / "backup")
    file = max((tmp_path / "backup").iterdir(), key=lambda path: path.stat().st_size)
    file.write_bytes(file.read_bytes()[:-40])
    (problem,) = backups.prove(practice, info, {}, {}).problems
    assert "cannot be restored: " in problem and "digest" in problem
    assert scratch_left(practice, tmp_path) == []


def test_retention_keeps_the_newest_and_the_last_proven_one(practice: Database, tmp_path: Path) -> None:
    root = tmp_path / "backups"
    taken = [backups.take(practice, root / f"run{number}" / "practice", keep=9) for number in range(1)]
    manifest = (root / "run0" / "practice.json").read_text()
    for number, proven in enumerate((True, False, False), 1):
        shutil.copytree(root / "run0" / "practice", root / f"run{number}" / "practice")
        stamped = manifest.replace(taken[0].taken_at, f"2090-01-0{number}T00:00:00+00:00")
        if not proven:
            stamped = stamped.replace('"problems": []', '"problems": ["it cannot be restored"]')
        (root / f"run{number}" / "practice.json").write_text(stamped)
    assert backups.retain(root, "practice", 2) == (str(root / "run0/practice"),)
    assert sorted(path.parent.name for path in root.glob("*/practice.json")) == ["run1", "run2", "run3"]
    assert [backup.proven for backup in backups.known(root, "practice")] == [False, False, True]
    assert not (root / "run0" / "practice").exists()


def test_a_disk_without_room_is_seen_before(practice: Database, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 99, 1))
    assert not backups.estimate(practice, tmp_path / "backups/run/practice").fits


def test_a_login_that_may_not_make_databases_proves_nothing(
    new_on: Any, postgresql_server: Any, tmp_path: Path
) -> None:
    database = fill(new_on("postgresql", "practice"))
    postgresql_server.admin("CREATE ROLE poor LOGIN PASSWORD 'poor'")
    dbname = database.masked_url.rpartition("/")[2]
    try:
        info = database.backup(tmp_path / "backup")
        login = dataclasses.replace(
            database.login, parameters={**database.login.parameters, "user": "poor"}, password="poor"
        )
        poor = type(database)("practice", login, {})
        (problem,) = backups.prove(poor, info, {}, {}).problems
        poor.close()
        assert "permission denied to create database" in problem
    finally:
        postgresql_server.admin("DROP ROLE poor", dbname)
