"""The DDL of some tables at full fidelity: pg_dump writes it, the catalog's dependencies choose what is taken."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from runbook_lib.databases.port import OtherObjects
from runbook_lib.databases.postgresql import client_programs, dump_script, lock_retry, own, schema_sql
from runbook_lib.databases.postgresql.catalog import find
from runbook_lib.databases.statement_names import named, pieces
from runbook_lib.errors import DatabaseError
from runbook_lib.util.text import one_line

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

# `215; 1259 16386 TABLE public users owner`, with `-v` followed by `;	depends on: 4 8`.
_ENTRY = re.compile(r"^(\d+); (\d+) (\d+) (.*)$")
_DEPENDS = re.compile(r"^;\s+depends on:((?: \d+)+)")

# Owned by others, or about the whole database: not brought along by a script (`assessment/kinds.py` says how each
# is handled).
_LEFT_OUT = re.compile(
    r"^(ACL|DEFAULT ACL|DATABASE|ENCODING|STDSTRINGS|SEARCHPATH|SUBSCRIPTION|EVENT TRIGGER|USER MAPPING|SECURITY LABEL"
    r"|COMMENT - (EXTENSION|DATABASE)|PUBLICATION( TABLE| TABLES IN SCHEMA)? - (\S+ )?runbook_)\b"
)


# Texts and functions inside may name tables without a schema: they are found as the source's sessions find them.
_FILL = """--
-- Name: {name}; Type: MATERIALIZED VIEW DATA; Schema: -; Owner: -
--

SET LOCAL search_path TO {path};
REFRESH MATERIALIZED VIEW {name};

"""


@dataclass(frozen=True)
class Entry:
    """One line of a dump's table of contents."""

    number: int
    object: tuple[int, int]  # (catalog's OID, object's OID); (0, 0) for comments and attachments
    text: str
    depends: frozenset[int]


def dump_schema(db: PostgreSQLPort, tables: Sequence[str]) -> tuple[str, str]:
    """The tables' DDL as two scripts: before the data (types, functions, tables, sequences) and after (indexes, …).

    Comes along: whatever the tables need, their partitions included. Stays behind: owners, grants, publications, our
    own triggers, and foreign keys to tables outside the list. A function that a PL/pgSQL body calls is known by
    name only (the catalog does not record it): every function whose name occurs in the body is taken.

    Raises:
        DatabaseError: a table is missing, pg_dump failed or is too old.
    """
    if missing := sorted(set(tables) - set(oids := find(db, tables))):
        raise DatabaseError(f"database {db.name}", f"no table {', '.join(missing)}", state="nothing was dumped")
    needed = _needed(db, list(oids.values()))
    with _archive(db) as archive:
        chosen = _chosen(_contents(db, archive), needed)
        return _script(db, archive, chosen, "pre-data"), _script(db, archive, chosen, "post-data")


def dump_rest(db: PostgreSQLPort, tables: Sequence[str]) -> OtherObjects:
    """What else the database has: views, materialized views, routines, types, sequences that no table needs.

    To be run when the tables are complete: a view may need a primary key, a materialized view is filled at once.
    """
    oids = find(db, tables)
    with _archive(db) as archive:
        contents = _contents(db, archive)
        chosen = _chosen(contents, _needed(db, list(oids.values())))
        tables = _script(db, archive, chosen, "pre-data"), _script(db, archive, chosen, "post-data")
        ours = {entry.number for entry in chosen}
        left = _needed(db, list(find(db, None).values()))  # of tables that stay behind
        stay = ours | {entry.number for entry in contents if entry.object in left}
        rest = _complete([entry for entry in contents if entry.number not in stay and not _LEFT_OUT.match(entry.text)])
        if not rest:
            return OtherObjects(tables=tables)
        script = _script(db, archive, rest, "pre-data") + _script(db, archive, rest, "post-data")
        cleaning = _script(db, archive, rest, "pre-data", "--clean", "--if-exists")
    undo = dump_script.dropped(cleaning)
    # A dump without rows does not fill them; one that reads another was made after it. What fills them may call
    # functions, or run a text, that find tables as the source's sessions do: not on the dump's empty search path.
    filled = (
        "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'm' AND c.relispopulated ORDER BY c.oid"
    )
    if views := db.rows(filled):
        [(path,)] = db.rows("SELECT coalesce(nullif(current_setting('search_path'), ''), quote_literal(''))")
        script += "".join(_FILL.format(name=name, path=path) for (name,) in views)
    shown = (re.sub(r" \S+$", "", entry.text).lower() for entry in rest if not entry.text.startswith("COMMENT"))
    return OtherObjects(tuple(shown), script, undo, tables)


def _needed(db: PostgreSQLPort, oids: Sequence[int]) -> set[tuple[int, int]]:
    return {(kind, oid) for kind, oid in db.rows(schema_sql.NEEDED, {"oids": list(oids)})}


@contextmanager
def _archive(db: PostgreSQLPort) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="runbook-schema-") as directory:
        archive = Path(directory, "schema.dump")
        ours = ["--exclude-schema=runbook"] if db.rows(f"SELECT {own.OURS} IS NOT NULL")[0][0] else []
        what = ["--format=custom", "--schema-only", *ours, "--encoding=UTF8"]
        client_programs.run(db, "pg_dump", [*what, "--lock-wait-timeout=10s", *_BARE, f"--file={archive}"])
        yield archive


def _script(db: PostgreSQLPort, archive: Path, chosen: Sequence[Entry], section: str, *more: str) -> str:
    listing = archive.with_name("contents")
    listing.write_text("\n".join(f"{entry.number};" for entry in chosen) + "\n")
    arguments = [f"--section={section}", f"--use-list={listing}", *more, *_BARE, "--file=-", str(archive)]
    return dump_script.transactional(client_programs.run(db, "pg_restore", arguments))


_BARE = ("--no-owner", "--no-privileges", "--no-tablespaces", "--no-subscriptions")


def _contents(db: PostgreSQLPort, archive: Path) -> list[Entry]:
    listing = client_programs.run(db, "pg_restore", ["--list", "--verbose", str(archive)])
    entries: list[Entry] = []
    for line in listing.split("\n"):
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


def _complete(entries: list[Entry]) -> list[Entry]:
    """Without those that belong to what is not there: our own triggers, comments on tables."""
    about = re.compile(r"^(TRIGGER|COMMENT|RULE|INDEX|CONSTRAINT|FK CONSTRAINT|DEFAULT|SEQUENCE OWNED BY)\b")
    known = {entry.number for entry in entries}
    return [e for e in entries if not about.match(e.text) or (e.depends and e.depends & known)]


def run_script(db: PostgreSQLPort, script: str, *, again: bool = False) -> None:  # noqa: ARG001  all or nothing
    """Run a script of many statements in one transaction, again when a lock is not granted.

    Raises:
        DatabaseError: a statement failed (the object that it makes is named); nothing is left.
    """

    def run(driver: psycopg.Connection) -> None:
        try:
            driver.execute(script)
        except lock_retry.TRANSIENT:
            raise
        except psycopg.Error as error:
            driver.rollback()
            raise db.explain(error, _doing(driver, script, error)) from error

    lock_retry.in_transaction(db, run, doing="running a script")


def _doing(driver: psycopg.Connection, script: str, error: psycopg.Error) -> str:
    """What the statement that failed was for; the server tells its place only where it could not be understood."""
    head, objects = pieces(script)
    place = error.diag.statement_position
    if not place and len(objects) > 1:
        return _object_that_fails(driver, head, objects, error)
    if not place and not head and script.count(";") > 1 and not objects[0].startswith("--\n-- Name: "):
        return "running a script"
    at = int(place or 1) - 1
    heading = script.rfind("--\n-- Name: ", 0, at + 1) if place else script.find("--\n-- Name: ")
    statement = dump_script.statement_at(script, at)
    if what := named(script[heading:] if heading >= 0 else statement):
        return what.purpose
    return f"running `{one_line(statement, 80)}` (line {script.count(chr(10), 0, at) + 1})"


def _object_that_fails(driver: psycopg.Connection, head: str, objects: Sequence[str], error: psycopg.Error) -> str:
    """The same once more, object by object, and undone: only so is it known which."""
    with driver.transaction(force_rollback=True):
        if head.strip():
            driver.execute(head)
        for text in objects:
            try:
                driver.execute(text)
            except psycopg.Error as again:
                if again.sqlstate == error.sqlstate and (what := named(text)):
                    return what.purpose
                break
    return "running a script"
