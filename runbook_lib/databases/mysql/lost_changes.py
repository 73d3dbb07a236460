"""Changes that a capture's triggers could not log: noted by the writers themselves, and their tables taken in again.

A key's column that was renamed, dropped or given another type is seen in the catalog, too, before anybody writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from runbook_lib.databases.mysql import lock_retry, own, quoting
from runbook_lib.databases.mysql.streaming import Connection

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

LOSSES = "runbook_losses"
_TABLE = f"""
CREATE TABLE IF NOT EXISTS {LOSSES} (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, channel VARCHAR(100) NOT NULL,
  table_name VARCHAR(64) NOT NULL, why TEXT NOT NULL, at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
"""
_NOTED = f"SELECT table_name, min(why) FROM {LOSSES} WHERE channel = :channel GROUP BY 1"
_CAPTURED = "SELECT table_name, key_columns, key_types FROM runbook_captures WHERE channel = :channel"
_COLUMNS = """
SELECT table_name, column_name, column_type FROM information_schema.columns
WHERE table_schema = database() AND table_name IN ({})
"""
# Lock wait, deadlock, snapshot, cancelled, killed, timed out: the writer's own affair.
_PASSED_ON = "1020, 1205, 1213, 1317, 1927, 1969, 3024"


def make(db: MySQLPort) -> None:
    """Make the table of what was lost. Idempotent."""
    own.table(db, "losses")
    db.execute(_TABLE)


def note(channel: str, table: str) -> str:
    """What a trigger does where it cannot log: a statement."""
    values = f"{quoting.text(channel)}, {quoting.text(table)}, concat('a change could not be logged: ', m)"
    return (
        "BEGIN DECLARE n INT; DECLARE m TEXT; GET DIAGNOSTICS CONDITION 1 n = MYSQL_ERRNO, m = MESSAGE_TEXT;"
        f" IF n IN ({_PASSED_ON}) THEN RESIGNAL; END IF;"
        f" INSERT INTO {LOSSES} (channel, table_name, why) VALUES ({values}); END;"
    )


def logged(kind: str) -> str:
    """The type that a log has for a column's: one that it fits in after it was widened."""
    if re.match(r"(tiny|small|medium|big)?int\b", kind):
        return f"bigint{' unsigned' if 'unsigned' in kind else ''}"
    return "longtext" if kind == "json" or kind.startswith("varchar(") else kind


def found(db: MySQLPort, channel: str) -> dict[str, str]:
    """The channel's tables that a change of was not logged, or of another key than the log has, with why."""
    captured = [
        (table, json.loads(key), json.loads(kinds)) for table, key, kinds in db.rows(_CAPTURED, {"channel": channel})
    ]
    if not captured:
        return {}
    names = quoting.listed([quoting.text(table) for table, *_ in captured])
    now = {(table, column): kind for table, column, kind in db.rows(_COLUMNS.format(names))}
    there = {table for table, _ in now}
    lost = dict(db.rows(_NOTED, {"channel": channel})) if own.there(db, "losses") else {}
    for table, key, kinds in captured:
        for column, kind in zip(key, kinds, strict=True):
            if table in there and (why := _why(now, table, column, kind)):
                lost[table] = why
    return lost


def _why(now: dict[tuple[str, str], str], table: str, column: str, kind: str) -> str:
    is_now = now.get((table, column))
    if is_now is not None and logged(is_now) == logged(kind):
        return ""
    what = "has another type" if is_now else "was renamed (rename it at the other side, too) or dropped"
    return f"column {column} of its key {what}, so that changes were not logged"


def lose(db: MySQLPort, channel: str, table: str, why: str) -> None:
    """Note a table as lost until all of it was taken in."""
    values = ", ".join(map(quoting.text, (channel, table, why)))
    db.execute(f"INSERT INTO {LOSSES} (channel, table_name, why) VALUES ({values})")


def take_in(db: MySQLPort, channel: str, table: str, key: Sequence[str], log: str) -> None:
    """Log a marker and every key that there is; what was lost is found by them.

    The keys are read without locks (READ COMMITTED): nobody who writes waits.
    """
    columns, source = quoting.listed([f"k{i}" for i in range(len(key))]), quoting.ident(table)
    keys = quoting.listed([quoting.ident(column) for column in key])

    def work(driver: Connection) -> None:
        lock_retry.run(
            driver,
            "COMMIT",
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "START TRANSACTION",
            f"DELETE FROM {LOSSES} WHERE channel = {quoting.text(channel)} AND table_name = {quoting.text(table)}",
            f"INSERT INTO {log} (truncated) VALUES (1)",
            f"INSERT INTO {log} ({columns}) SELECT {keys} FROM {source}",
        )

    lock_retry.in_transaction(db, work, doing=f"taking in {table}")


def forget(db: MySQLPort, channel: str, table: str) -> None:
    """Forget what was lost of a capture that is removed."""
    if own.there(db, "losses"):
        where = f"channel = {quoting.text(channel)} AND table_name = {quoting.text(table)}"
        db.execute(f"DELETE FROM {LOSSES} WHERE {where}")
