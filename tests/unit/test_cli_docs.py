"""docs/cli.md: made from the commands, up to date, and its examples are commands that there are."""

from __future__ import annotations

import shlex
import shutil
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner
from make_cli_docs import PAGE, SHOWN, commands, page

from runbook_lib.cli import main

COMMANDS = dict(commands())
RUN = [name for name in ("assess", "copy", "compare", "repair", "lint") if SHOWN[f"runbook {name}"].status is not None]


def arguments(name: str) -> list[str]:
    return shlex.split(SHOWN[name].example)


def test_the_page_is_what_make_docs_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "make docs"


def test_every_command_has_an_example_and_no_other() -> None:
    assert SHOWN.keys() == COMMANDS.keys()
    assert [name for name in SHOWN if not f"runbook {SHOWN[name].example} ".startswith(f"{name} ")] == []
    assert {f"runbook {name}" for name in RUN} == {name for name, shown in SHOWN.items() if shown.status is not None}


@pytest.mark.parametrize("name", SHOWN)
def test_an_example_is_understood(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = name.split()[1:]
    with main.make_context("runbook", arguments(name)) as parent:
        context = COMMANDS[name].make_context(words[-1], arguments(name)[len(words) :], parent=parent)
    assert context.params


def test_the_examples_with_files_end_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(PAGE.parents[1] / "parameters", tmp_path / "parameters")
    connection = sqlite3.connect("shop.db")
    connection.execute("CREATE TABLE orders(id integer PRIMARY KEY, note text)")
    connection.commit()
    connection.close()
    for name in RUN:
        shown = SHOWN[f"runbook {name}"]
        ran = CliRunner().invoke(main, shlex.split(shown.example), prog_name="runbook")
        assert ran.exit_code == shown.status, (name, ran.output)
