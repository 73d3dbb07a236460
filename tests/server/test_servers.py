"""The tests' own servers: one that cannot start leaves nothing behind."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import fix_servers
import pytest

from runbook_lib.errors import ConfigurationError


@pytest.fixture
def place(monkeypatch) -> Iterator[Path]:
    """Where the servers' user may run programs; the servers' directories go into its `memory`."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        place.chmod(0o755)
        (place / "memory").mkdir()
        monkeypatch.setattr(fix_servers, "_memory", lambda: str(place / "memory"))
        yield place


def program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo no such charset >&2; exit 1", "no such charset"),
        ('case "$*" in *--initialize-insecure*) exit 0 ;; esac; echo no such option; exit 1', "no such option"),
    ],
    ids=["install", "start"],
)
def test_a_mysql_that_cannot_start_says_why_and_leaves_no_directory(place, monkeypatch, script, said):
    monkeypatch.setenv("RUNBOOK_TEST_MYSQLD", program(place / "mysqld", script))
    with pytest.raises(ConfigurationError, match=said):
        fix_servers.MariaDBServer()
    assert list((place / "memory").iterdir()) == []


def test_a_postgresql_that_cannot_start_says_why_and_leaves_no_directory(place, monkeypatch):
    program(place / "postgres", "echo postgres 1")
    program(place / "initdb", "echo no such locale >&2; exit 1")
    monkeypatch.setenv("RUNBOOK_TEST_PGBIN", str(place))
    with pytest.raises(ConfigurationError, match="no such locale"):
        fix_servers.PostgresServer()
    assert list((place / "memory").iterdir()) == []
