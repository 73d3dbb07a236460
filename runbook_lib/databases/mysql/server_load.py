"""How busy the server is, and how far it is behind the one that it replicates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.cursors import DictCursor

from runbook_lib.databases.mysql import connection
from runbook_lib.databases.port import Load

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

DENIED = 1227
_BEHIND = ("Seconds_Behind_Source", "Seconds_Behind_Master")  # MySQL's and MariaDB's word


def load(db: MySQLPort) -> Load:
    """Threads at work but the one that asks (the copy's own are among them); on a replica its lag in seconds."""
    [(_, running)] = db.rows("SHOW GLOBAL STATUS LIKE 'Threads_running'")
    states = _replication(db)
    behind = [next((state[name] for name in _BEHIND if name in state), None) for state in states]
    lag_s = max((float(seconds) for seconds in behind if seconds is not None), default=0.0)
    return Load(int(running) - 1, lag_s, 0, None not in behind if states else None)


def _replication(db: MySQLPort) -> list[dict[str, Any]]:
    """One row for each source that is replicated; none when this is no replica, or the login may not see it."""
    try:
        with db.raw() as driver, driver.cursor(DictCursor) as cursor:
            cursor.execute("SHOW REPLICA STATUS")
            return list(cursor.fetchall())
    except pymysql.MySQLError as error:
        if connection.code(error) == DENIED:
            return []
        raise db.explain(error, "asking for the replication's state") from error
