"""Take one table out of a channel's publication, whatever became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbook_lib.databases.postgresql import captured_members, quoting
from runbook_lib.databases.postgresql.table_facts import SCHEMA
from runbook_lib.databases.postgresql.wal.replication_slot import publication_name

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

_PUBLISHED_MEMBERS = f"""
SELECT format('%%I.%%I', n.nspname, k.relname) FROM {SCHEMA}.captures AS c
CROSS JOIN LATERAL {captured_members.MEMBERS} AS m JOIN pg_class AS k ON k.oid = m.relid
JOIN pg_namespace AS n ON n.oid = k.relnamespace JOIN pg_publication_rel AS r ON r.prrelid = k.oid
JOIN pg_publication AS p ON p.oid = r.prpubid WHERE c.channel = %s AND c.table_name = %s AND p.pubname = %s
"""


def withdrawing(db: PostgreSQLPort, channel: str, table: str) -> list[str]:
    """The statements that take a captured table, whatever its name is now, out of the channel's publication."""
    with db.raw() as driver:
        found = driver.execute(_PUBLISHED_MEMBERS.encode(), (channel, table, publication_name(channel))).fetchall()
    return [f"ALTER PUBLICATION {quoting.ident(publication_name(channel))} DROP TABLE ONLY {name}" for (name,) in found]
