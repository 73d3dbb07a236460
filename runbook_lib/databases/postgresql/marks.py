"""What tells cheaply that a schema has changed: one query over the catalogs, asked every few seconds while syncing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbook_lib.databases.postgresql import own
from runbook_lib.databases.postgresql.catalog import called

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

# Rows of the catalogs that a change of an object rewrites; statistics and our own objects are none of them.
_MARKS = rf"""
WITH ours AS MATERIALIZED (SELECT {own.OURS} AS oid),
spaces AS MATERIALIZED (
  SELECT n.oid, n.nspname FROM pg_namespace n
  WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%' AND n.oid IS DISTINCT FROM (TABLE ours)),
theirs AS (
  SELECT c.oid, n.nspname, c.relname, c.relkind::text, coalesce(p.inhparent, c.oid) AS root,
         pg_table_is_visible(c.oid) AS seen
  FROM pg_class c JOIN spaces n ON n.oid = c.relnamespace
  LEFT JOIN pg_inherits p ON p.inhrelid = c.oid AND c.relispartition
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND c.relpersistence <> 't'),
parts AS (
  SELECT a.attrelid AS oid, concat_ws(' ', a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.atthasdef) AS part
  FROM pg_attribute a WHERE a.attnum > 0 AND NOT a.attisdropped
  UNION ALL SELECT i.indrelid, concat(i.indexrelid) FROM pg_index i
  UNION ALL SELECT k.conrelid, concat(k.oid, k.xmin) FROM pg_constraint k WHERE k.conrelid <> 0
  UNION ALL SELECT r.ev_class, concat(r.oid, r.xmin) FROM pg_rewrite r
  UNION ALL SELECT y.polrelid, concat(y.oid, y.xmin) FROM pg_policy y
  UNION ALL SELECT q.seqrelid, concat(q.xmin) FROM pg_sequence q
  UNION ALL SELECT t.tgrelid, concat(t.oid, t.tgname, t.tgenabled, t.tgfoid) FROM pg_trigger t
    JOIN pg_proc f ON f.oid = t.tgfoid WHERE NOT t.tgisinternal AND f.pronamespace IS DISTINCT FROM (TABLE ours))
SELECT t.nspname, t.relname, t.relkind, t.seen, md5(concat(t.root, ' ', string_agg(p.part, ',' ORDER BY p.part)))
FROM theirs t LEFT JOIN parts p ON p.oid = t.oid GROUP BY t.oid, t.nspname, t.relname, t.relkind, t.root, t.seen
UNION ALL
SELECT n.nspname, f.proname, 'function', false, md5(string_agg(concat(f.oid, ' ', f.xmin), ',' ORDER BY f.oid))
FROM pg_proc f JOIN spaces n ON n.oid = f.pronamespace GROUP BY 1, 2
UNION ALL
SELECT n.nspname, y.typname, 'type', false, md5(concat(y.oid, y.xmin,
  (SELECT string_agg(concat(e.oid, e.enumlabel), ',' ORDER BY e.enumsortorder) FROM pg_enum e
    WHERE e.enumtypid = y.oid),
  (SELECT string_agg(concat(k.oid, k.xmin), ',' ORDER BY k.oid) FROM pg_constraint k WHERE k.contypid = y.oid)))
FROM pg_type y JOIN spaces n ON n.oid = y.typnamespace WHERE y.typtype IN ('e', 'd')
"""
_KINDS = {"r": "table ", "p": "table ", "v": "view ", "m": "materialized view ", "S": "sequence "}


def schema_marks(db: PostgreSQLPort) -> dict[str, str]:
    """See Database.schema_marks."""
    return {
        _KINDS.get(kind, f"{kind} ") + called(schema, name, visible=visible): mark
        for schema, name, kind, visible, mark in db.rows(_MARKS)
    }
