"""Databases named on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook_lib.config.database_url import open_endpoint
from runbook_lib.errors import ConfigurationError, DatabaseError


def test_a_url_gives_the_engine_and_never_shows_its_password(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RUNBOOK_SOURCE_PASSWORD", raising=False)
    for text, dialect in (("postgres://a:hidden@h/d", "postgresql"), ("mariadb://a:hidden@h/d", "mysql")):
        found = open_endpoint(text, "source")
        assert found.dialect == dialect
        assert "hidden" not in repr(found) + found.masked_url


def test_a_password_by_reference_is_looked_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("from a file\n")
    secret.chmod(0o600)
    monkeypatch.setenv("RUNBOOK_TARGET_PASSWORD", f"file:{secret}")
    assert open_endpoint("postgresql://a@h/d", "target").login.password == "from a file"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("oracle://a:hidden@h/d", "no adapter for `oracle`"),
        ("postgresql://a:hidden@h:port/d", "its URL cannot be read"),
        ("postgresql://a:hid@den@h/d", "more than one `@`; expected `%40` in a password, or RUNBOOK_SOURCE_PASSWORD"),
        ("nothing.sqlite", "no file nothing.sqlite"),
        ("", "no file (empty)"),
    ],
)
def test_what_is_no_database_is_refused_in_one_line_without_secrets(text: str, says: str):
    with pytest.raises(ConfigurationError, match=r"(the|database) source") as caught:
        open_endpoint(text, "source")
    assert says in str(caught.value)
    assert "hid" not in str(caught.value) and "den" not in str(caught.value)


def test_an_engine_without_a_log_to_read_refuses_to_be_captured_by_it(tmp_path: Path):
    (tmp_path / "shop.db").touch()
    for text in ("mysql://a@h/d", str(tmp_path / "shop.db")):
        with pytest.raises(
            ConfigurationError, match=r"the source: \w+ has no `capture: wal`; expected capture: triggers"
        ):
            open_endpoint(text, "source", options={"capture": "wal"})
    assert open_endpoint("postgresql://a@h/d", "source", options={"capture": "wal"}).capture == "wal"  # type: ignore[attr-defined]


def test_a_bare_word_is_no_file_to_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"the target: no file users_db; .* ./users_db makes an SQLite file"):
        open_endpoint("users_db", "target", create=True)
    assert open_endpoint("./users_db", "target", create=True).rows("SELECT 1") == [(1,)]


def test_a_file_that_is_not_there_is_made_for_a_copy_only(tmp_path: Path):
    file = tmp_path / "new.db"
    with pytest.raises(DatabaseError, match="no file"):
        open_endpoint(str(file), "target").rows("SELECT 1")
    assert open_endpoint(str(file), "target", create=True).rows("SELECT 1") == [(1,)] and file.exists()
