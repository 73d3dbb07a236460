"""What keeps the login from reading all there is: row security, missing rights; and whether the server is a standby.

Sessions run with `row_security = off`: what would hide rows is an error. Here the same is known before, by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbook_lib.databases.port import Problem
from runbook_lib.databases.postgresql import own, quoting

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

# Relations that may not be read as a whole: (schema, name, on the search path, kind, may enter the schema, hidden by
# row security, columns that may be read). One pass over the catalog, whatever the number of tables.
_BARRED = f"""
WITH asked AS (
  SELECT c.oid, n.nspname, c.relname, pg_table_is_visible(c.oid) AS visible, c.relkind,
         has_schema_privilege(n.oid, 'USAGE') AS enters,
         CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'SELECT')
              ELSE has_table_privilege(c.oid, 'SELECT') END AS reads,
         c.relrowsecurity AND row_security_active(c.oid) AS hidden
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'S') AND n.nspname <> 'information_schema' AND n.oid IS DISTINCT FROM {own.OURS}
    AND n.nspname NOT LIKE 'pg\\_%'
    AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
)
SELECT nspname::text, relname::text, visible, relkind::text, enters, hidden,
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = asked.oid AND a.attnum > 0
             AND NOT a.attisdropped AND relkind <> 'S' AND NOT reads
             AND has_column_privilege(a.attrelid, a.attnum, 'SELECT') ORDER BY a.attnum),
       (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = asked.oid AND a.attnum > 0 AND NOT a.attisdropped)
FROM asked WHERE NOT (enters AND reads) OR hidden ORDER BY 1, 2
"""
STANDBY = "a standby (in recovery)"


def reading_missing(db: PostgreSQLPort) -> list[Problem]:
    """A problem for each table and sequence that cannot be read as a whole; `detail` has its `table`."""
    login = quoting.ident(db.rows("SELECT current_user")[0][0])
    problems = []
    for schema, name, visible, kind, enters, hidden, columns, count in db.rows(_BARRED):
        table = quoting.readable(name) if visible and enters else quoting.readable(schema, name)
        where = f"{quoting.ident(schema)}.{quoting.ident(name)}"
        if hidden:
            text, action = f"row security hides rows of {table}", f"ALTER ROLE {login} BYPASSRLS"
        elif not enters:
            text = f"the login may not use the schema {schema}, which has {table}"
            action = f"GRANT USAGE ON SCHEMA {quoting.ident(schema)} TO {login}"
        elif kind == "S":
            text, action = (
                f"the login may not read the sequence {table}",
                f"GRANT SELECT ON SEQUENCE {where} TO {login}",
            )
        elif columns and len(columns) == count:
            continue  # by its columns, all of them
        else:
            known = f" but for {', '.join(columns)}" if columns else ""
            text, action = f"the login may not read {table}{known}", f"GRANT SELECT ON {where} TO {login}"
        problems.append(Problem(f"database {db.name}", text, action, count=1, detail={"table": table}))
    return problems


def standby(db: PostgreSQLPort, role: str) -> list[Problem]:
    """A standby can be copied and compared; nothing can be captured, fenced or written there."""
    if not db.rows("SELECT pg_is_in_recovery()")[0][0]:
        return []
    text = {
        "reader": f"{STANDBY}: it can be copied and compared; changes can be captured at its primary only",
        "source": f"{STANDBY}: changes cannot be captured, nor writers fenced there",
    }.get(role, f"{STANDBY}: nothing can be written there")
    return [Problem(f"database {db.name}", text, "use the primary", blocking=role != "reader")]
