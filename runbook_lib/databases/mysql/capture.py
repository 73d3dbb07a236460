"""Capture by triggers: every change logs its key, nothing else; the log is consumed as a queue.

See docs/correctness.md#late-commits.
CREATE TRIGGER needs the table for itself: it waits for every transaction that has used it. When the third trigger is
there, no older writer of the table is left (docs/correctness.md#start-of-capture). Two things fire no trigger. TRUNCATE
gives the table another number in InnoDB's dictionary: seen there, it is logged as a marker (so are rebuilding ALTERs,
which costs a comparison and loses nothing). Changes by a foreign key's CASCADE or SET NULL: such tables are refused
(docs/correctness.md#cascades-that-fire-no-trigger).

No trigger makes a writer fail (docs/correctness.md#writers-never-fail-for-a-capture): whatever keeps it from logging a
key, a column that is not there any more among it, is noted as lost (lost_changes.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from runbook_lib.databases.identifiers import own_name
from runbook_lib.databases.mysql import catalog, lock_retry, lost_changes, neutral_text, own, quoting, server
from runbook_lib.databases.mysql.neutral_text import kind_of
from runbook_lib.databases.mysql.ranges import as_text
from runbook_lib.databases.mysql.streaming import Connection
from runbook_lib.databases.port import Changes, Column, Pending, Table
from runbook_lib.errors import TransferError

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

EVENTS = ("INSERT", "UPDATE", "DELETE")
CAPTURES = "runbook_captures"
_CAPTURES = f"""
CREATE TABLE IF NOT EXISTS {CAPTURES} (
  channel VARCHAR(100) NOT NULL, table_name VARCHAR(64) NOT NULL, log VARCHAR(130) NOT NULL, key_columns TEXT NOT NULL,
  key_types TEXT NOT NULL, generation VARCHAR(200) NOT NULL, installed_at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6),
  PRIMARY KEY (channel, table_name)) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
"""
_NARROW = f"""
SELECT 1 FROM information_schema.columns WHERE table_schema = database() AND table_name = '{CAPTURES}'
AND column_name = 'log' AND character_maximum_length < 130
"""
_NUMBERS = "SELECT coalesce(group_concat(table_id ORDER BY table_id), '') FROM information_schema."
_GENERATION = f"""
{_NUMBERS}innodb_sys_tables,
  (SELECT concat(cast(convert(database() USING filename) AS binary), '/',
                 cast(convert({{table}} USING filename) AS binary)) AS path) AS own
WHERE cast(name AS binary) = own.path OR left(cast(name AS binary), length(own.path) + 1) = concat(own.path, '#')
"""
_GENERATION_MYSQL = f"{_NUMBERS}innodb_tables WHERE regexp_like(name, {{path}}, 'c')"


def install_capture(db: MySQLPort, channel: str, tables: Mapping[str, Sequence[str]]) -> None:
    """Log the keys of every change of these tables (table → key columns); returns when older writers have ended.

    A table that is captured already is left alone, with its log; where its triggers are gone, since it is another table
    than it was, they are made again, and a marker says that any row may differ. The registry's row is written last: an
    installation that was cut off is begun again.

    Raises:
        TransferError: the table is captured with other key columns, a foreign key changes its rows without firing
            triggers, or the login may not see what TRUNCATE changes.
        DatabaseError: locks were not granted.
    """
    _require_process(db)
    own.table(db, "captures")
    db.execute(_CAPTURES)
    lost_changes.make(db)
    if db.rows(_NARROW):  # one that an earlier version made: a log's longest name did not fit, in its quotes
        db.execute(f"ALTER TABLE {CAPTURES} MODIFY log VARCHAR(130) NOT NULL")
    found = catalog.catalog(db, list(tables))
    _refuse_cascades(db, set(tables))
    whole = capture_installed(db, channel)
    lost = lost_changes.found(db, channel)
    for table, key in tables.items():
        described = found[table]
        missing = [column for column in key if column not in {c.name for c in described.columns}]
        if missing:
            text = f"no column {quoting.listed(missing)}"
            raise TransferError(f"capture of {table}", text, action="correct the plan's key")
        known = _lookup(db, channel, table)
        if known is not None and table in lost:
            lost_changes.lose(db, channel, table, lost[table])  # killed from here on, it is begun again
            known = None
        if known is not None:
            _require_key(channel, table, tuple(key), known)
            if table in whole:
                continue
        work = partial(_install, db=db, channel=channel, table=described, key=tuple(key), known=known)
        lock_retry.in_transaction(db, work, doing=f"installing the capture of {table}")
        if table in lost:
            log = str((_lookup(db, channel, table) or {})["log"])
            lost_changes.take_in(db, channel, table, key, log)


def _require_process(db: MySQLPort) -> None:
    """No other witness is open to every login: a table's `create_time` outlives TRUNCATE and EXCHANGE PARTITION."""
    if "PROCESS" not in server.grants(db):
        login = db.rows("SELECT current_user()")[0][0]
        raise TransferError(
            f"capture at {db.name}",
            f"{login} lacks PROCESS, without which a TRUNCATE and an EXCHANGE PARTITION are not seen",
            state="nothing was captured",
            action=f"GRANT PROCESS ON *.* TO {login}",
        )


def _refuse_cascades(db: MySQLPort, tables: set[str]) -> None:
    for table, name, parent, on_update, on_delete in db.rows(server.CASCADES):
        if table in tables:
            raise TransferError(
                f"capture of {table}",
                f"foreign key {name} to {parent} (ON UPDATE {on_update}, ON DELETE {on_delete}) changes its rows, and"
                " MySQL fires no trigger for that",
                state="nothing was captured",
                action=f"declare it RESTRICT for the time of the migration, or leave {table} out",
            )


def _install(
    driver: Connection, *, db: MySQLPort, channel: str, table: Table, key: tuple[str, ...], known: dict[str, Any] | None
) -> None:
    log = quoting.ident(own_name("runbook_log", channel, table.name))
    columns = [table.column(name) for name in key]
    fields = "".join(f", k{i} {_field(column)}" for i, column in enumerate(columns))
    triggers = _triggers(channel, table.name)
    types = [column.type for column in columns]
    kept = known is not None and known["types"] == types
    # Before the triggers, for a kill, and after them, for a sync beside this: what the log lacks is among all rows.
    marker = () if known is None else (f"INSERT INTO {log} (truncated) VALUES (1)",)
    lock_retry.run(
        driver,
        *(f"DROP TRIGGER IF EXISTS {quoting.ident(trigger)}" for trigger in triggers.values()),
        *(() if kept else (f"DROP TABLE IF EXISTS {log}",)),
        f"CREATE TABLE IF NOT EXISTS {log} (seq BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,"
        " at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), truncated TINYINT(1) NOT NULL DEFAULT 0"
        f"{fields}) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        *marker,
        *(
            f"CREATE TRIGGER {quoting.ident(trigger)} AFTER {event} ON {quoting.ident(table.name)} FOR EACH ROW"
            f" {_body(event, log, key, lost_changes.note(channel, table.name))}"
            for event, trigger in triggers.items()
        ),
        *marker,
    )
    values = (channel, table.name, log, json.dumps(list(key)), json.dumps(types), _generation(db, table.name))
    with driver.cursor() as cursor:
        cursor.execute(
            f"REPLACE INTO {CAPTURES} (channel, table_name, log, key_columns, key_types, generation)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            values,
        )


def _field(column: Column) -> str:
    charset = f" CHARACTER SET {column.collation.partition('_')[0]}" if column.collation else ""
    collate = f" COLLATE {column.collation}" if column.collation else ""
    kind = lost_changes.logged(column.type)  # a column that is widened still fits
    return f"{kind}{charset}{collate} NULL"


def _triggers(channel: str, table: str) -> dict[str, str]:
    return {event: own_name(f"runbook_{event[:3].lower()}", channel, table) for event in EVENTS}


def _body(event: str, log: str, key: Sequence[str], note: str) -> str:
    old, new = (quoting.listed([f"{row}.{quoting.ident(column)}" for column in key]) for row in ("OLD", "NEW"))
    into = f"INSERT INTO {log} ({quoting.listed([f'k{i}' for i in range(len(key))])}) VALUES"
    if event == "UPDATE":  # on bytes: 'a' and 'A' are two keys, always
        same = " AND ".join(
            f"CAST(OLD.{c} AS BINARY) <=> CAST(NEW.{c} AS BINARY)" for c in (quoting.ident(column) for column in key)
        )
        act = f"IF {same} THEN {into} ({new}); ELSE {into} ({old}), ({new}); END IF;"
    else:
        act = f"{into} ({old if event == 'DELETE' else new});"
    handler = f"DECLARE EXIT HANDLER FOR SQLEXCEPTION {note}"
    return f"IF @runbook_sync IS NULL THEN BEGIN {handler} {act} END; END IF"


def _require_key(channel: str, table: str, key: tuple[str, ...], known: dict[str, Any]) -> None:
    if key != tuple(known["key"]):
        raise TransferError(
            f"capture of {table}",
            f"channel {channel} logs the key ({quoting.listed(known['key'])}), not ({quoting.listed(key)})",
            state="the capture was left as it is",
            action="remove the capture, then copy the table again",
        )


def _generation(db: MySQLPort, table: str) -> str:
    """What changes when the table is truncated: its numbers in InnoDB's dictionary."""
    sql = _GENERATION if db.flavour[0] == "MariaDB" else _GENERATION_MYSQL
    path = f"^{_file_name(db.login.database)}/{_file_name(table)}(#.*)?$"
    return str(db.rows(sql.format(table=quoting.text(table), path=quoting.text(path)))[0][0])


def _file_name(name: str) -> str:
    """A pattern for how MySQL, which does not lend its character set `filename` to queries, writes a name to disk.

    A letter outside ASCII is one of two forms, and which is not known: a name that is like another may count as it.
    What comes of that is a needless comparison, never a truncation that is not seen.
    """
    return "".join(
        c if re.fullmatch(r"[A-Za-z0-9_]", c) else f"@{ord(c):04x}" if c.isascii() else "@([0-9a-z]{2}|[0-9a-f]{4})"
        for c in name
    )


def capture_installed(db: MySQLPort, channel: str) -> frozenset[str]:
    """The tables whose log and triggers are complete."""
    there, registered = set(db.rows(_OWN)), _registered(db, channel)
    lost = lost_changes.found(db, channel) if registered else {}
    return frozenset(
        table
        for table, log in registered
        if table not in lost
        and quoting.ident(log.strip("`")) == log
        and {(log.strip("`"), ""), *((trigger, table) for trigger in _triggers(channel, table).values())} <= there
    )


def capture_gaps(db: MySQLPort, channel: str) -> dict[str, str]:
    """See Database.capture_gaps."""
    found = [table for table, _ in _registered(db, channel)]
    if not found:
        return {}
    whole, other = capture_installed(db, channel), "it was replaced, or a trigger of its capture is missing"
    return {table: other for table in found if table not in whole} | lost_changes.found(db, channel)


# A trigger goes with its table when that is renamed: it counts for the table that it is on.
_OWN = """
SELECT trigger_name, event_object_table FROM information_schema.triggers
WHERE trigger_schema = database() AND trigger_name LIKE 'runbook%'
UNION ALL
SELECT table_name, '' FROM information_schema.tables WHERE table_schema = database() AND table_name LIKE 'runbook%'
"""


def remove_capture(db: MySQLPort, channel: str, tables: Collection[str] | None = None) -> None:
    """Remove triggers and logs of the channel, or of these tables. Idempotent."""
    for table, log in _registered(db, channel):
        if tables is not None and table not in tables:
            continue
        db.execute(
            *(f"DROP TRIGGER IF EXISTS {quoting.ident(trigger)}" for trigger in _triggers(channel, table).values()),
            f"DROP TABLE IF EXISTS {log}",
            f"DELETE FROM {CAPTURES} WHERE channel = {quoting.text(channel)} AND table_name = {quoting.text(table)}",
        )
        lost_changes.forget(db, channel, table)


def pending(db: MySQLPort, channel: str) -> dict[str, Pending]:
    """Log rows and the age of the oldest (seconds), by table, in a new transaction."""
    there = {name for name, _ in db.rows(_OWN)}
    logs = [(table, log) for table, log in _registered(db, channel) if log.strip("`") in there]
    for table, _ in logs:
        _note_truncation(db, channel, table)
    age = "coalesce(timestampdiff(MICROSECOND, min(at), now(6)), 0) / 1e6"
    parts = [f"SELECT {i}, count(*), {age} FROM {log}" for i, (_, log) in enumerate(logs)]
    counted = db.rows(" UNION ALL ".join(parts)) if parts else []
    return {logs[int(i)][0]: Pending(int(keys), max(float(age_s), 0.0)) for i, keys, age_s in counted}


def read_changes(
    db: MySQLPort,
    channel: str,
    table: str,
    limit: int,
    *,
    as_of: float | None = None,  # noqa: ARG001  the log is written with the change: it is all there
) -> Changes:
    """The `limit` oldest log rows of a table: their numbers, and their keys without repetition, oldest first.

    Raises:
        TransferError: the table is not captured under this channel.
    """
    _note_truncation(db, channel, table)
    known = _require(db, channel, table)
    shown = "".join(
        f", k{i}" if kind_of(kind).integer else f", CONCAT({neutral_text.render(f'k{i}', kind, escaped=False)})"
        for i, kind in enumerate(known["types"])
    )
    found = db.rows(f"SELECT seq, truncated{shown} FROM {known['log']} ORDER BY seq LIMIT {int(limit)}")
    keys = dict.fromkeys(
        tuple(value if value is None or isinstance(value, int) else as_text(value) for value in row[2:])
        for row in found
        if not row[1]
    )
    return Changes(table, tuple(int(row[0]) for row in found), tuple(keys), any(row[1] for row in found))


def forget_changes(db: MySQLPort, channel: str, changes: Changes) -> None:
    """Delete exactly these log rows; a row that committed late keeps its place in the queue."""
    if not changes.seqs:
        return
    known = _require(db, channel, changes.table)
    seqs = quoting.listed([str(int(seq)) for seq in changes.seqs])

    def forget(driver: Connection) -> None:
        lock_retry.run(driver, f"DELETE FROM {known['log']} WHERE seq IN ({seqs})")

    lock_retry.in_transaction(db, forget, doing=f"consuming the capture log of {changes.table}")


def _note_truncation(db: MySQLPort, channel: str, table: str) -> None:
    """Log a marker when the table is not the one it was: TRUNCATE fires no trigger."""
    known = _lookup(db, channel, table)
    if known is None:
        return
    now = _generation(db, table)
    if now != known["generation"]:
        where = f"channel = {quoting.text(channel)} AND table_name = {quoting.text(table)}"
        db.execute(
            f"INSERT INTO {known['log']} (truncated) VALUES (1)",
            f"UPDATE {CAPTURES} SET generation = {quoting.text(now)} WHERE {where}",
        )


def _registered(db: MySQLPort, channel: str) -> list[tuple[str, str]]:
    if not _known(db):
        return []
    sql = f"SELECT table_name, log FROM {CAPTURES} WHERE channel = :channel ORDER BY 1"
    return [(str(table), str(log)) for table, log in db.rows(sql, {"channel": channel})]


def _known(db: MySQLPort) -> bool:
    return own.there(db, "captures")


def _lookup(db: MySQLPort, channel: str, table: str) -> dict[str, Any] | None:
    if not _known(db):
        return None
    sql = f"SELECT log, key_columns, key_types, generation FROM {CAPTURES} WHERE channel = :channel AND table_name = :t"
    for log, key, types, generation in db.rows(sql, {"channel": channel, "t": table}):
        return {"log": log, "key": json.loads(key), "types": json.loads(types), "generation": generation}
    return None


def _require(db: MySQLPort, channel: str, table: str) -> dict[str, Any]:
    found = _lookup(db, channel, table)
    if found is None:
        raise TransferError(
            f"capture of {table}", f"not installed on channel {channel}", action="install the capture first"
        )
    return found
