"""How busy the server is, and how far its replicas are behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbook_lib.databases.port import Load
from runbook_lib.errors import DatabaseError

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

# A replica that waits for nothing shows no lag. One that has stopped replaying shows the seconds of before: its bytes
# are the truth.
_LOAD = """
SELECT pg_has_role('pg_read_all_stats', 'USAGE'), pg_is_in_recovery(),
  (SELECT count(*) FROM pg_stat_activity
   WHERE state = 'active' AND backend_type = 'client backend' AND application_name <> 'runbook'),
  CASE WHEN NOT pg_is_in_recovery()
    THEN (SELECT coalesce(max(extract(epoch FROM replay_lag)), 0) FROM pg_stat_replication)
    WHEN pg_last_wal_receive_lsn() IS NOT DISTINCT FROM pg_last_wal_replay_lsn() THEN 0
    ELSE coalesce(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()), 0) END::float8,
  CASE WHEN pg_is_in_recovery() THEN coalesce(pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), 0)
    ELSE (SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)), 0) FROM pg_stat_replication)
    END::int8
"""
_RECEIVES = "SELECT count(*) > 0 FROM pg_stat_wal_receiver"


def load(db: PostgreSQLPort) -> Load:
    """Sessions of others at work; on a primary the lag of its slowest replica, on a replica its own."""
    allowed, replica, active, lag_s, lag_bytes = db.rows(_LOAD)[0]
    if not allowed:
        raise DatabaseError(
            f"database {db.name}",
            "the login may not see the load of the server",
            state="nothing waits for it",
            action="GRANT pg_read_all_stats to it, or take the limits out of the options",
        )
    return Load(active, lag_s, lag_bytes, bool(db.rows(_RECEIVES)[0][0]) if replica else None)
