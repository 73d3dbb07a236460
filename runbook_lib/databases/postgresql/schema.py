"""The DDL of some tables at full fidelity: pg_dump writes it, the catalog's dependencies choose what is taken."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from runbook_lib.databases.postgresql import programs, retry, schema_sql
from runbook_lib.databases.postgresql.catalog import find
from runbook_lib.databases.shared import one_line
from runbook_lib.errors import DatabaseError

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql import PostgreSQL

# `215; 1259 16386 TABLE public users owner`, with `-v` followed by `;	depends on: 4 8`.
_ENTRY = re.compile(r"^(\d+); (\d+) (\d+) (.*)$")
_DEPENDS = re.compile(r"^;\s+depends on:((?: \d+)+)")

# Owned by others, or about the whole database: not ours to bring along.
_LEFT_OUT = re.compile(
    r"^(ACL|DEFAULT ACL|DATABASE|ENCODING|STDSTRINGS|SEARCHPATH|PUBLICATION|SUBSCRIPTION|EVENT TRIGGER|SECURITY LABEL"
    r"|COMMENT - (EXTENSION|SCHEMA|DATABASE))\b"
)


@dataclass(frozen=True)
class Entry:
    """One line of a dump's table of contents."""

    number: int
    object: tuple[int, int]  # (catalog's OID, object's OID); (0, 0) for comments and attachments
    text: str
    depends: frozenset[int]


def dump_schema(db: PostgreSQL, tables: Sequence[str]) -> tuple[str, str]:
    """The tables' DDL as two scripts: before the data (types, functions, tables, sequences) and after (indexes, …).

    Comes along: whatever the tables need, their partitions included. Stays behind: owners, grants, publications, our
    own triggers, and foreign keys to tables outside the list. A function that a PL/pgSQL body calls is known by
    name only (the catalog does not record it): every function whose name occurs in the body is taken.

    Raises:
        DatabaseError: a table is missing, pg_dump failed or is too old.
    """
    if missing := sorted(set(tables) - set(oids := find(db, tables))):
        raise DatabaseError(f"database {db.name}", f"no table {', '.join(missing)}", state="nothing was dumped")
    needed = {(kind, oid) for kind, oid in db.rows(schema_sql.NEEDED, {"oids": list(oids.values())})}
    with tempfile.TemporaryDirectory(prefix="runbook-schema-") as directory:
        archive, listing = Path(directory, "schema.dump"), Path(directory, "contents")
        what = [
            "--format=custom",
            "--schema-only",
            "--exclude-schema=runbook",
            "--encoding=UTF8",
            "--lock-wait-timeout=10s",
        ]
        programs.run(db, "pg_dump", [*what, *_BARE, f"--file={archive}"])
        contents = _contents(programs.run(db, "pg_restore", ["--list", "--verbose", str(archive)]))
        listing.write_text("\n".join(f"{entry.number};" for entry in _chosen(contents, needed)) + "\n")
        before, after = (
            programs.run(
                db, "pg_restore", [f"--section={section}", f"--use-list={listing}", *_BARE, "--file=-", str(archive)]
            )
            for section in ("pre-data", "post-data")
        )
    return transactional(before), transactional(after)


_BARE = ("--no-owner", "--no-privileges", "--no-tablespaces", "--no-publications", "--no-subscriptions")


def _contents(listing: str) -> list[Entry]:
    entries: list[Entry] = []
    for line in listing.splitlines():
        if found := _ENTRY.match(line):
            entries.append(Entry(int(found[1]), (int(found[2]), int(found[3])), found[4], frozenset()))
        elif entries and (found := _DEPENDS.match(line)):
            last = entries.pop()
            entries.append(Entry(last.number, last.object, last.text, frozenset(int(n) for n in found[1].split())))
    return entries


def _chosen(contents: Sequence[Entry], needed: set[tuple[int, int]]) -> list[Entry]:
    """Needed objects; comments and attachments, which have no OID, when all they depend on is needed."""
    taken = {entry.number for entry in contents if entry.object in needed}
    known = {entry.number for entry in contents}
    for entry in contents:
        if entry.object == (0, 0) and (about := entry.depends & known) and about <= taken:
            taken.add(entry.number)
    return [entry for entry in contents if entry.number in taken and not _LEFT_OUT.match(entry.text)]


def split_references(after: str) -> tuple[str, str]:
    """Everything but the foreign keys, and the foreign keys; both keep the script's settings at its head."""
    head, *objects = re.split(r"(?m)^(?=--\n-- Name: )", after)
    keys = [text for text in objects if re.match(r"--\n-- Name: .*; Type: FK CONSTRAINT;", text)]
    others = [text for text in objects if text not in keys]
    return head + "".join(others), head + "".join(keys) if keys else ""


def transactional(script: str) -> str:
    """A pg_restore script without psql's commands and without settings that would outlive the transaction."""
    kept = []
    for line in script.splitlines():
        if line.startswith(("\\restrict ", "\\unrestrict ")) or re.match(r"^SET \w+_timeout = \d+;$", line):
            continue
        if re.match(r"^SET (?!LOCAL)\w+ = .*;$", line):
            line = f"SET LOCAL {line[4:]}"
        elif line == "SELECT pg_catalog.set_config('search_path', '', false);":
            line = "SELECT pg_catalog.set_config('search_path', '', true);"
        elif found := re.match(r"^CREATE SCHEMA (.*);$", line):
            line = f"CREATE SCHEMA IF NOT EXISTS {found[1]};"
        kept.append(line)
    return "\n".join(kept) + "\n"


def run_script(db: PostgreSQL, script: str) -> None:
    """Run a script of many statements in one transaction, again when a lock is not granted.

    Raises:
        DatabaseError: a statement failed (its line and text are named); nothing is left.
    """

    def run(driver: psycopg.Connection) -> None:
        try:
            driver.execute(script)
        except retry.TRANSIENT:
            raise
        except psycopg.Error as error:
            raise db.explain(error, f"running {_failing(script, error.diag.statement_position)}") from error

    retry.in_transaction(db, run, doing="running a script")


def _failing(script: str, position: str | None) -> str:
    """The statement at the server's character position; it gives none for errors within functions."""
    at = int(position) - 1 if position else 0
    before = script[:at].rfind(";\n")
    statement = re.sub(r"^\s*(--.*\n|\s+)*", "", script[before + 1 if before >= 0 else 0 :])
    return f"`{one_line(statement, 80)}` (line {script.count(chr(10), 0, at) + 1})" if position else "a script"
