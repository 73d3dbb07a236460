"""What tells cheaply that a schema has changed: one query over the catalogs, asked every few seconds while syncing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbook_lib.databases.postgresql import own
from runbook_lib.databases.postgresql.catalog import called

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

# Rows of the catalogs that a change of an object rewrites; statistics and our own triggers are none of them.
_MARKS = rf"""
WITH theirs AS (
  SELECT c.oid, n.nspname, c.relname, c.relkind, coalesce(p.inhparent, c.oid) AS root,
         pg_table_is_visible(c.oid) AS seen
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_inherits p ON p.inhrelid = c.oid AND c.relispartition
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND c.relpersistence <> 't'
    AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
    AND NOT (n.nspname = 'runbook' AND (c.relkind = 'S' OR {own.table("c")}))),
parts AS (
  SELECT a.attrelid AS oid, concat_ws(' ', a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.atthasdef) AS part
  FROM pg_attribute a WHERE a.attnum > 0 AND NOT a.attisdropped
  UNION ALL SELECT i.indrelid, concat(i.indexrelid) FROM pg_index i
  UNION ALL SELECT k.conrelid, concat(k.oid, k.xmin) FROM pg_constraint k WHERE k.conrelid <> 0
  UNION ALL SELECT r.ev_class, concat(r.oid, r.xmin) FROM pg_rewrite r WHERE r.rulename = '_RETURN')
SELECT t.nspname, t.relname, t.relkind::text, t.seen, md5(concat(t.root, ' ', string_agg(p.part, ',' ORDER BY p.part)))
FROM theirs t LEFT JOIN parts p ON p.oid = t.oid GROUP BY t.oid, t.nspname, t.relname, t.relkind, t.root, t.seen
"""
_KINDS = {"v": "view ", "m": "materialized view ", "S": "sequence "}


def schema_marks(db: PostgreSQLPort) -> dict[str, str]:
    """See Database.schema_marks."""
    return {
        _KINDS.get(kind, "table ") + called(schema, name, visible=visible): mark
        for schema, name, kind, visible, mark in db.rows(_MARKS)
    }
