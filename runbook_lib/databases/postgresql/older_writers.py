"""Wait for the transactions older than a capture: no log has their writes (docs/correctness.md#start-of-capture)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runbook_lib.errors import DatabaseError

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

_WRITERS = """
SELECT 'pid ' || pid, backend_xid::text, coalesce(usename::text, '?'),
       extract(epoch FROM clock_timestamp() - xact_start)::float8
FROM pg_catalog.pg_stat_activity
WHERE datname = current_database() AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()
UNION ALL
SELECT 'prepared transaction ' || gid, transaction::text, owner,
       extract(epoch FROM clock_timestamp() - prepared)::float8
FROM pg_catalog.pg_prepared_xacts WHERE database = current_database()
"""


def await_older_writers(db: PostgreSQLPort, state: str = "the capture is installed and logs changes") -> None:
    """Wait until the transactions that have written anything by now have ended (docs/correctness.md#start-of-capture).

    Readers are not waited for: a write of theirs from now on finds the trigger, and a backup may read for hours.
    """
    deadline = time.monotonic() + db.lock_wait_s
    older = {(who, xid) for who, xid, _, _ in db.rows(_WRITERS)}
    while older:
        left = [row for row in db.rows(_WRITERS) if (row[0], row[1]) in older]
        if not left:
            return
        if time.monotonic() > deadline:
            who, _, user, age_s = max(left, key=lambda row: row[3] or 0.0)
            raise DatabaseError(
                f"database {db.name}",
                f"a transaction older than the capture is still open: {who} of {user}, {age_s:.0f} s old",
                state=state,
                action="let that transaction end (or end it), then repeat the step",
            )
        time.sleep(0.05)
