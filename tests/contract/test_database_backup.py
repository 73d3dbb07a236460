"""Backups: complete, proven by a restore, and all or nothing."""

from __future__ import annotations

import dataclasses
import secrets

import pytest
from contract_estate import TABLES, contents

from runbook_lib.databases.postgresql import open_database
from runbook_lib.errors import ConfigurationError, DatabaseError


@pytest.fixture
def scratch(server):
    """A name for a scratch database, dropped after the test."""
    name = f"scratch {secrets.token_hex(4)}"
    yield name
    server.admin(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def test_a_restored_backup_holds_every_row(hostile, server, scratch, tmp_path):
    told = []
    info = hostile.backup(tmp_path / "backup", on_progress=told.append)
    assert info.tables == 8  # partitions are dumped by themselves
    assert info.size_bytes == told[-1] > 10_000
    assert len(info.sha256) == 64
    hostile.restore(info, scratch)
    restored = open_database("scratch", server.url(scratch.replace(" ", "%20")), server.password)
    for table in (*TABLES, "outside"):
        assert contents(restored, table) == contents(hostile, table)
    assert restored.fingerprint(TABLES) == hostile.fingerprint(TABLES)
    assert restored.sequences(TABLES) == hostile.sequences(TABLES)
    restored.close()


def test_a_changed_backup_is_refused(hostile, scratch, tmp_path):
    info = hostile.backup(tmp_path / "backup")
    file = max((tmp_path / "backup").iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DatabaseError, match="digest"):
        hostile.restore(info, scratch)


def test_a_directory_in_use_is_refused(hostile, tmp_path):
    (tmp_path / "note").write_text("mine")
    with pytest.raises(ConfigurationError, match="not empty"):
        hostile.backup(tmp_path)
    assert (tmp_path / "note").read_text() == "mine"


def test_an_existing_database_is_never_restored_into(hostile, server, tmp_path):
    info = hostile.backup(tmp_path / "backup")
    with pytest.raises(DatabaseError, match="already exists"):
        hostile.restore(info, hostile.masked_url.rpartition("/")[2])
    assert hostile.rows("SELECT count(*) FROM outside") == [(3,)]


def test_a_failed_backup_leaves_nothing(database, server, tmp_path):
    database.execute("CREATE TABLE t (id int)")
    server.admin("CREATE TABLE closed (id int)", database.masked_url.rpartition("/")[2])
    server.admin("GRANT ALL ON TABLE t TO app", database.masked_url.rpartition("/")[2])
    poor = open_database("poor", database.masked_url.replace("migrator@", "app@"), "app")
    with pytest.raises(DatabaseError, match=r"pg_dump failed: .*permission denied for table closed"):
        poor.backup(tmp_path / "backup")
    poor.close()
    assert list(tmp_path.iterdir()) == []


def test_a_failed_restore_drops_the_scratch_database(hostile, server, scratch, tmp_path):
    from runbook_lib.databases.postgresql.backup import digest

    info = hostile.backup(tmp_path / "backup")
    max((tmp_path / "backup").glob("*.gz"), key=lambda path: path.stat().st_size).write_bytes(b"no gzip")
    with pytest.raises(DatabaseError, match="pg_restore failed"):
        hostile.restore(dataclasses.replace(info, sha256=digest(info.path)), scratch)
    assert hostile.rows("SELECT 1 FROM pg_database WHERE datname = :name", {"name": scratch}) == []


def test_a_disk_without_room_is_told_before_anything_is_written(hostile, tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 99, 1))
    with pytest.raises(ConfigurationError, match=r"GiB free; expected at least"):
        hostile.backup(tmp_path / "backup")
    assert list(tmp_path.iterdir()) == []
