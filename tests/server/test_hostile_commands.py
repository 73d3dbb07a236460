"""Every command with hostile databases, files and values: no traceback, nothing unforeseen, status 0, 1 or 2."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from fix_servers import free_port

from runbook_lib.cli import main

STARTS = {"demo", "lab", "sync"}  # would start an estate, or run until stopped: they get wrong values only
DATABASES = ("source", "target", "url", "database_url")
BIG = "9" * 400
HOSTILE = ("empty.db", "text.db", "cut.db", "holes.db", "folder", "none.db")


def commands(group: click.Group, *above: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, *above, name)
        else:
            yield (*above, name), command


EVERY = list(commands(main))


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Hostile databases and files, by kind."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "folder").mkdir()
    (folder / "empty.db").touch()
    (folder / "text.db").write_text("this is no database\n" * 200)
    (folder / "latin.yaml").write_bytes(b"environment: caf\xe9\nplan: p.yaml\n")
    (folder / "binary.yaml").write_bytes(bytes(range(256)) * 8)
    (folder / "empty.yaml").touch()
    (folder / "list.yaml").write_text("- a\n- b\n")
    (folder / "deep.yaml").write_text("a: " + "[" * 3000 + "]" * 3000)
    (folder / "big.yaml").write_text(f"environment: big\nplan: p.yaml\ninventory: i.yaml\noptions: {{jobs: {BIG}}}\n")
    (folder / "wrong.yaml").write_text("environment: wrong\nplan: folder\ninventory: binary.yaml\n")
    connection = sqlite3.connect(folder / "whole.db")
    connection.executescript(WEIRD)
    connection.close()
    whole = (folder / "whole.db").read_bytes()
    (folder / "cut.db").write_bytes(whole[: len(whole) // 2 - 100])
    (folder / "holes.db").write_bytes(whole[:4096] + os.urandom(4096) + whole[8192:])
    return {
        "databases": [
            str(folder / name) for name in ("empty.db", "text.db", "cut.db", "holes.db", "folder", "none.db")
        ],
        "files": [str(path) for path in sorted(folder.glob("*.yaml"))]
        + [str(folder / name) for name in ("folder", "none.yaml", "text.db", "nul\udcff.yaml")],
        "whole": [str(folder / "whole.db")],
    }


WEIRD = """
CREATE TABLE "ta""b'le; --" ("co""l" integer PRIMARY KEY, "%s {x} \\ :y" text, "ü\t" blob);
INSERT INTO "ta""b'le; --" VALUES (9223372036854775807, '%(a)s {0} :b', x'00ff'), (-9223372036854775808, NULL, NULL);
CREATE TABLE "select" (a text PRIMARY KEY NOT NULL, b real); INSERT INTO "select" VALUES ('', 9e999), (char(0), -0.0);
CREATE TABLE keyless (a, b); INSERT INTO keyless VALUES (1, x'00'), ('x', 1.5), (NULL, NULL);
CREATE VIEW broken AS SELECT * FROM gone; CREATE INDEX "in;dex" ON "select" (b);
"""


def run(words: tuple[str, ...], folder: Path) -> str:
    """The command's standard error; nothing of it is unforeseen."""
    runner = CliRunner()
    before = Path.cwd()
    os.chdir(folder)
    try:
        done = runner.invoke(main, list(words), prog_name="runbook")
    finally:
        os.chdir(before)
    said = f"{' '.join(words)}: {done.exit_code}\n{done.output}"
    assert done.exit_code in (0, 1, 2), said
    assert done.exception is None or isinstance(done.exception, SystemExit), said
    assert "Traceback" not in done.output and "unexpected: " not in done.output, said
    return done.stderr


def filled(command: click.Command, database: str, file: str) -> list[str]:
    """Arguments for all that the command needs, every database and file of it this one."""
    words: list[str] = []
    for parameter in command.params:
        value = file if isinstance(parameter.type, click.Path) else "x"
        value = database if parameter.name in DATABASES else value
        if isinstance(parameter, click.Argument):
            words.append(value)
        elif parameter.required:
            words += [parameter.opts[-1], value]
    return words


@pytest.mark.parametrize(
    ("name", "command"), EVERY, ids=lambda value: "-".join(value) if isinstance(value, tuple) else ""
)
def test_no_command_is_surprised_by_hostile_files_and_databases(
    name: tuple[str, ...], command: click.Command, places: dict[str, list[str]], tmp_path: Path
) -> None:
    if name[0] in STARTS:
        return
    takes_file = [p for p in command.params if isinstance(p.type, click.Path) and p.name in ("file", "parameters")]
    has_databases = any(parameter.name in DATABASES for parameter in command.params)
    for file in places["files"]:
        run((*name, *filled(command, file, file)), tmp_path)
        for option in takes_file:
            run((*name, *filled(command, "a", file), option.opts[0], file), tmp_path)
    if has_databases:
        for database in [*places["databases"], *unreachable()]:
            run((*name, *filled(command, database, places["files"][0])), tmp_path)


@pytest.mark.parametrize(
    ("name", "command"), EVERY, ids=lambda value: "-".join(value) if isinstance(value, tuple) else ""
)
def test_no_command_is_surprised_by_an_options_value(
    name: tuple[str, ...], command: click.Command, places: dict[str, list[str]], tmp_path: Path
) -> None:
    for option in (p for p in command.params if isinstance(p, click.Option) and not p.is_flag):
        for value in ("", " ", BIG, "-1", "nan", "%s{}\\", "'\"", "é\udcff"):
            if name[0] in STARTS and isinstance(option.type, click.Path):
                continue
            if name[0] in STARTS and not isinstance(option.type, click.Path | click.types.StringParamType):
                run((*name, option.opts[0], value), tmp_path)
            elif name[0] not in STARTS:
                whole = places["databases"][0]
                run((*name, *filled(command, whole, places["files"][0]), option.opts[0], value), tmp_path)


UNREADABLE = (
    "postgresql://127.0.0.1:99999999/x",
    "mysql://127.0.0.1:x/y",
    "oracle://127.0.0.1/x",
    "sqlite://",
    "sqlite:///a%00b",
    "mysql://u@127.0.0.1%00/x",
    "postgresql://u@127.0.0.1%00/x",
    "postgresql://%zz@/x",
    "://",
    "",
)


def unreachable() -> list[str]:
    port = free_port()
    return [*(f"{engine}://u:pw-of-mine@127.0.0.1:{port}/x" for engine in ("postgresql", "mysql")), *UNREADABLE]


def test_a_servers_port_of_another_engine_is_said(servers: Any, tmp_path: Path) -> None:
    for engine, other in (("postgresql", "mysql"), ("mysql", "postgresql")):
        url = f"{other}://migrator@127.0.0.1:{servers(engine).port}/x?connect_timeout=1"
        for words in (("copy", url, "t.db"), ("compare", url, "t.db"), ("assess", url)):
            begun = time.monotonic()
            assert run(words, tmp_path).startswith("runbook: ")
            assert time.monotonic() - begun < 10, "PostgreSQL waits a minute for its own client to speak"


def test_weird_names_and_values_pass_or_are_named(places: dict[str, list[str]], tmp_path: Path) -> None:
    [whole] = places["whole"]
    for words in (("assess", whole), ("copy", whole, "t.db"), ("compare", whole, "t.db"), ("repair", whole, "t.db")):
        run(words, tmp_path)


def test_a_database_that_is_dropped_in_the_middle_is_said(new_on: Any, servers: Any, tmp_path: Path) -> None:
    source = new_on("postgresql", "source")
    source.run_script("CREATE TABLE t (id int PRIMARY KEY, v text)")
    source.run_script("INSERT INTO t SELECT g, repeat('x', 2000) FROM generate_series(1, 30000) g")
    environment = {**os.environ, "RUNBOOK_SOURCE_PASSWORD": source.login.password}
    command = [sys.executable, "-m", "runbook_lib.cli", "copy", source.masked_url, "t.db", "--chunk-rows", "500"]
    words = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": tmp_path, "env": environment}
    process = subprocess.Popen(command, **words)  # type: ignore[call-overload]
    name = source.rows("SELECT current_database()")[0][0]
    assert process.stdout.readline()
    source.close()
    servers("postgresql").admin(f'DROP DATABASE "{name}" WITH (FORCE)')
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2, out + err
    assert "Traceback" not in out + err and "unexpected: " not in err and err.startswith("runbook: "), err
    servers("postgresql").admin(f'CREATE DATABASE "{name}" OWNER migrator')
