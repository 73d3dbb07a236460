"""The DDL of some tables at full fidelity: the server's own SHOW CREATE, cut into what comes before and after the data.

A script may hold statements with semicolons inside (triggers): as in the mysql client, a DELIMITER line changes what
ends a statement. MySQL commits each DDL statement by itself (docs/correctness.md#ddl-that-commits-by-itself).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pymysql

from runbook_lib.databases.mysql import (
    catalog,
    create_table,
    lock_retry,
    made_under,
    objects,
    own,
    qualified,
    quoting,
    same_keys,
)
from runbook_lib.databases.mysql import sequences as sequences_
from runbook_lib.databases.mysql.streaming import Connection
from runbook_lib.databases.port import OtherObjects
from runbook_lib.databases.statement_names import NamedObject, named
from runbook_lib.errors import DatabaseError
from runbook_lib.util.text import one_line

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

REFERENCES = "-- runbook: references"  # from here on: foreign keys, and triggers that must not fire while syncing
_ALTERED = re.compile(r"ALTER TABLE `(?:[^`]|``)+` ")
_TOKEN = re.compile(
    r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|`(?:[^`]|``)*`|--[ \t][^\n]*|#[^\n]*|/\*.*?\*/", re.DOTALL
)


def dump_schema(db: MySQLPort, tables: Sequence[str]) -> tuple[str, str]:
    """The tables' DDL as two scripts: before the data (tables, defaults, checks, primary keys) and after it.

    After: indexes; then, behind a mark, foreign keys among these tables, and triggers. Owners (DEFINER) and the
    counters' values stay behind.

    Raises:
        DatabaseError: a table is missing.
    """
    found = catalog.catalog(db, tables)
    if missing := sorted(set(tables) - set(found)):
        raise DatabaseError(f"database {db.name}", f"no table {', '.join(missing)}", state="nothing was dumped")
    before, after, references = [], [], []
    creates, fired = _creates(db, found), objects.triggers(db, own.triggers(db))
    before += _sequences(db, creates)
    for table, create in creates.items():
        body, indexes, keys = create_table.cut(create, set(found))
        before.append(f"{body};")
        change = f"ALTER TABLE {quoting.ident(table)} ADD "
        if indexes:
            after.append(change + ", ADD ".join(indexes) + ";")
        references += [f"{change}{key};" for key in keys]
        references += [made_under.framed(trigger.statement).rstrip("\n") for trigger in fired.get(table, ())]
    tail = [REFERENCES, *references] if references else []
    return "\n".join(before) + "\n", "\n".join([*after, *tail]) + "\n"


def _sequences(db: MySQLPort, creates: Mapping[str, str]) -> list[str]:
    """The statements that make the sequences which these tables' defaults ask."""
    sequences = sequences_.names_of(db) if any("nextval(" in text for text in creates.values()) else []
    return [f"{sequences_.create(db, name)};" for name in sorted(objects.used_sequences(creates, sequences))]


def dump_rest(db: MySQLPort, tables: Sequence[str]) -> OtherObjects:
    """Sequences that no table needs, routines, packages, views and events, without their owners (DEFINER).

    A view that reads another comes after it; an event is made disabled: it must not fire at both sides.
    """
    made = objects.items(db)
    texts = _creates(db, tables) if any(item.kind == "SEQUENCE" for item in made) else {}
    needed = objects.used_sequences(texts, [item.name for item in made if item.kind == "SEQUENCE"])
    rest = [item for item in made if item.statement and (item.kind, item.name) not in {("SEQUENCE", n) for n in needed}]
    undo = "".join(f"{item.drop};\n" for item in reversed(rest))
    texts = {item.label: objects.meaning(item.statement) for item in rest if item.statement}
    return OtherObjects(tuple(item.label for item in rest), objects.script(rest), undo, texts=texts)


def _creates(db: MySQLPort, tables: Iterable[str]) -> dict[str, str]:
    """Each table's own text, without its database's name in defaults."""
    return {
        table: qualified.own_names(str(db.rows(f"SHOW CREATE TABLE {quoting.ident(table)}")[0][1]), db.login.database)
        for table in tables
    }


def stages(after: str) -> list[list[str]]:
    """One statement a table: they may run side by side."""
    one = [_piece(statement) for statement in statements(after)]
    return [one] if one else []


def _piece(statement: str) -> str:
    if isinstance(statement, made_under.Framed):
        return made_under.framed(statement)
    return f"DELIMITER ;;\n{statement};;\nDELIMITER ;\n" if ";" in statement else f"{statement};"


def about(scripts: Sequence[str], tables: Sequence[str]) -> list[str]:
    """The table whose indexes each script makes."""
    known = {f"ALTER TABLE {quoting.ident(name)} ": name for name in tables}
    heads = (_ALTERED.match(script) for script in scripts)
    return [known.get(head[0], "") if head else "" for head in heads]


def split_references(after: str) -> tuple[str, str]:
    """Everything but the foreign keys (and triggers, which MySQL cannot silence), and these."""
    others, _, references = after.partition(f"{REFERENCES}\n")
    return others, references


# Index, foreign key (MariaDB says it through the engine's errno 121), trigger, routine, view, event: there already.
_THERE = (1061, 1826, 1359, 1304, 1050, 1537)


def run_script(db: MySQLPort, script: str, *, again: bool = False) -> None:
    """Run a script statement by statement on one connection; each DDL statement commits by itself.

    Args:
        again: It may have run in part: an object that is there and is the same was made then.
    Raises:
        DatabaseError: a statement failed (its text is named); what ran before it stays.
    """
    with db.raw() as driver:
        lock_retry.set_timeouts(driver, db.lock_wait_s)
        try:
            for statement in statements(script):
                try:
                    made_under.run(db, driver, statement)
                except pymysql.MySQLError as error:
                    what = named(statement)
                    there = error.args[0] in _THERE or "errno: 121" in str(error)
                    if again and there and _is_it(db, what, statement):
                        continue
                    doing = what.purpose if what else f"running `{one_line(statement, 80)}`"
                    raise db.explain(error, doing) from error
        finally:
            if driver.open:
                lock_retry.set_timeouts(driver, 30)


def _is_it(db: MySQLPort, what: NamedObject | None, statement: str) -> bool:
    """Whether what is there by its name is what an attempt before has made, not somebody's own."""
    if what is None:
        return True
    return objects.is_there(db, what.kind, what.name, statement) and same_keys.keys_are_there(db, statement)


def statements(script: str) -> Iterator[str]:
    """The statements of a script; quotes and comments may hold the delimiter."""
    delimiter, position, start = ";", 0, 0
    while position < len(script):
        line = re.compile(r"[ \t]*DELIMITER[ \t]+(\S+)[ \t]*(?:\n|$)", re.IGNORECASE).match(script, position)
        if framed := made_under.read(script, position) if _begins(script, start, position) else None:
            yield framed[0]
            start = position = framed[1]
        elif line and not script[start:position].strip() and (position == 0 or script[position - 1] == "\n"):
            delimiter, position = line[1], line.end()
            start = position
        elif token := _TOKEN.match(script, position):
            position = token.end()
        elif script.startswith(delimiter, position):
            if statement := script[start:position].strip():
                yield statement
            position += len(delimiter)
            start = position
        else:
            position += 1
    rest = _TOKEN.sub(lambda found: "" if found[0][0] in "-#/" else found[0], script[start:]).strip()
    if rest:
        yield rest


def _begins(script: str, start: int, position: int) -> bool:
    return script.startswith(made_under.HEAD, position) and not script[start:position].strip()


def drop_tables(db: MySQLPort, tables: Sequence[str]) -> None:
    """Drop these tables; those that are not there are passed over.

    Raises:
        DatabaseError: a foreign key of another table points at one of them; nothing was dropped.
    """
    found = catalog.catalog(db)
    gone = [table for table in tables if table in found]
    for table, described in found.items():
        pointing = [c.referenced_table for c in described.constraints if c.kind == "foreign"]
        if table not in gone and (held := sorted(set(pointing) & set(gone))):
            raise DatabaseError(
                f"database {db.name}", f"foreign keys of {table} point at {held[0]}", state="nothing was dropped"
            )
    if gone:
        listed = quoting.listed([quoting.ident(table) for table in gone])

        def drop(driver: Connection) -> None:
            lock_retry.run(driver, "SET SESSION foreign_key_checks = 0")  # they only point at each other
            try:
                lock_retry.run(driver, f"DROP TABLE IF EXISTS {listed}")
            finally:
                lock_retry.run(driver, "SET SESSION foreign_key_checks = 1")

        lock_retry.in_transaction(db, drop, doing=f"dropping {listed}")
