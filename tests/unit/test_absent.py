"""A server, program or browser that is missing: a skip that says why, and in CI a failure."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fix_servers
import pytest
from fix_absent import absent, program

from runbook_lib.errors import ConfigurationError

TESTS = Path(__file__).resolve().parents[1]
SKIP, FAIL = pytest.skip.Exception, pytest.fail.Exception
# What is skipped elsewhere is so by what a server *is*; these ask what the machine has.
ASKED = ("fix_*.py", "conftest.py", "*/conftest.py", "browser/*.py")


@pytest.mark.parametrize(
    ("ci", "ends"), [("true", FAIL), ("", SKIP)], ids=["in CI it fails", "elsewhere it is skipped"]
)
def test_what_the_machine_has_not_is_named(
    monkeypatch: pytest.MonkeyPatch, ci: str, ends: Any, servers_of: Callable[[], Callable[[str], Any]]
):
    started = []

    def broken() -> None:
        started.append(1)
        raise ConfigurationError("MariaDB", "cannot write to /tmp")

    monkeypatch.setenv("CI", ci)
    monkeypatch.setitem(fix_servers.SERVERS, "broken", broken)
    get = servers_of()
    for _ in range(2):
        with pytest.raises(ends, match="MariaDB: cannot write to /tmp"):
            get("broken")
    assert started == [1]  # a start that fails takes half a minute: once, not for each test
    with pytest.raises(ends, match="no-such-program is not installed"):
        program("no-such-program")
    with pytest.raises(ends, match="no room"):
        absent("no room")


@pytest.fixture
def servers_of() -> Callable[[], Callable[[str], Any]]:
    """The fixture's own function, of a session of its own."""
    return lambda: fix_servers.Servers().get


def test_no_fixture_skips_by_itself():
    files = [path for glob in ASKED for path in TESTS.glob(glob) if path.name != "fix_absent.py"]
    own = [
        path.name
        for path in files
        if re.search(r"pytest\.(skip|exit|importorskip)|skipif|environ.*\bCI\b", path.read_text())
    ]
    assert files
    assert own == []
