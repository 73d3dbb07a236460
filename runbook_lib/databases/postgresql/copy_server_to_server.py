"""Move a range between two PostgreSQL servers: relayed, or by two psql processes where a session is encrypted.

libpq hands COPY out row by row, which costs a Python call a row; psql does the same in C (docs/decisions/0040).

The writer commits only after `\\copy … from program` has seen the reader end with status 0: a stream that is cut at a
row's border looks complete to the server. If we are killed, the pair ends its range by itself, rows and mark in one
transaction; should the next attempt have been faster, the mark turns the pair away.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from runbook_lib.databases.port import Connected, KeyRange, Selection
from runbook_lib.databases.postgresql import client_programs, connection, quoting
from runbook_lib.databases.postgresql.copy_socket_relay import RelayFailed, encrypted, relay
from runbook_lib.databases.postgresql.ranges import condition
from runbook_lib.databases.postgresql.wal import changed_keys
from runbook_lib.errors import DatabaseError

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

# Constant shell text: what varies travels in the environment, where nothing has to be quoted.
_READ = (
    'PGPASSWORD="$RUNBOOK_READ_PASSWORD" exec "$RUNBOOK_PSQL" -Xqd "$RUNBOOK_READ_FROM" -c "$RUNBOOK_READ" </dev/null'
)
_SETTINGS = [f"-c {key}={value.replace(' ', chr(92) + ' ')}" for key, value in connection.SETTINGS.items()]
_WRITE = """\
\\set ON_ERROR_STOP on
BEGIN;
SELECT pg_logical_emit_message(true, '{mark_of_ours}', '') \\g /dev/null
SET LOCAL session_replication_role = replica;
\\copy {into} from program '{read}' (format binary)
\\set rows :ROW_COUNT
{mark};
SELECT :ROW_COUNT = 1 AS ours \\gset
\\if :ours
COMMIT;
\\echo :rows
\\endif
"""


def copy_across(
    db: PostgreSQLPort,
    reader: Connected,
    selection: Selection,
    key_range: KeyRange,
    table: str,
    columns: Sequence[str],
    progress: tuple[str, Mapping[str, Any]],
) -> int | None:
    """See Database.copy_across: the rows written, or None where neither can do it or it did not succeed.

    Nothing is written then: the caller goes the ordinary way, which also names what is wrong.
    """
    if reader.dialect != db.dialect:
        return None
    there = cast("PostgreSQLPort", reader)
    if not encrypted(there) and not encrypted(db):
        with suppress(RelayFailed):
            return relay(db, there, selection, key_range, table, columns, progress)
        return None
    if (psql := _psql(db)) is None:
        return None
    into = f"{quoting.quote(table)} ({', '.join(quoting.ident(column) for column in columns)})"
    where = condition(there, selection, key_range)
    read = f"SELECT {', '.join(selection.columns)} FROM {selection.relation} WHERE {where}"
    if "\n" in into or {"options", "service"} & {*db.login.parameters, *there.login.parameters}:
        return None  # \copy is one line; options of the login's own would replace our settings
    given = {
        "RUNBOOK_PSQL": psql,
        "RUNBOOK_READ": f"COPY ({read}) TO STDOUT (FORMAT binary)",
        "RUNBOOK_READ_FROM": there.login.conninfo(),
        "RUNBOOK_READ_PASSWORD": there.login.password,
        "PGPASSWORD": db.login.password,
        "PGOPTIONS": " ".join(_SETTINGS),
        "PGAPPNAME": "runbook",
        "PGCLIENTENCODING": "UTF8",
    }
    if any(len(value) > 100_000 for value in given.values()):  # Linux takes 128 KiB for one variable
        return None
    script = _WRITE.format(mark_of_ours=changed_keys.MARK, into=into, read=_READ, mark=_literal(*progress))
    ran = subprocess.run(
        [psql, "-Xqd", db.login.conninfo(), "-f", "-"],
        input=script,
        env={**os.environ, **{key: value for key, value in given.items() if value}},
        capture_output=True,
        text=True,
        start_new_session=True,  # Ctrl-C lets the range end
        check=False,
    )
    return int(ran.stdout) if ran.returncode == 0 and ran.stdout.strip().isdigit() else None


def _psql(db: PostgreSQLPort) -> str | None:
    try:
        program = client_programs.find_programs(db) / "psql"
    except DatabaseError:
        return None
    return str(program) if program.is_file() else None


def _literal(statement: str, values: Mapping[str, Any]) -> str:
    """A progress statement with its values in it; `:rows` stays, as psql's own variable."""
    return re.sub(r":(?!rows\b)([a-z_]+)", lambda found: quoting.literal(values[found[1]]), statement)
