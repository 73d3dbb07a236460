"""The catalog queries (PostgreSQL 14 to 18); `:oids` are the tables'."""

from __future__ import annotations

from runbook_lib.databases.postgresql import own

ALL_TABLES = rf"""
SELECT c.oid, n.nspname, c.relname, pg_table_is_visible(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
  AND NOT (n.nspname = 'runbook' AND {own.table("c")})
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 2, 3
"""

RESOLVE = """
SELECT n, c.oid FROM unnest(CAST(:names AS text[])) AS n
LEFT JOIN pg_class c ON c.oid = to_regclass(n) AND c.relkind IN ('r', 'p')
"""

# Rows: density at the last ANALYZE times the pages of now; never analysed: about 100 bytes a row. Grouped once: a look
# through `parts` for each table costs the square of the tables (5,000 of them: 8 s).
TABLES = """
WITH parts AS (
  SELECT o.oid AS root, o.oid FROM unnest(CAST(:oids AS oid[])) AS o(oid)
  UNION SELECT o.oid, p.relid FROM unnest(CAST(:oids AS oid[])) AS o(oid), pg_partition_tree(o.oid) p
),
sizes AS (
  SELECT p.root, sum(CASE WHEN l.relkind <> 'r' THEN 0 WHEN l.reltuples >= 0 AND l.relpages > 0
                          THEN l.reltuples::float8 / l.relpages * s.pages ELSE s.pages * 80.0 END)::bigint AS rows,
         sum(pg_table_size(p.oid))::bigint AS bytes,
         string_agg(concat(p.oid, '/', pg_relation_filenode(p.oid)), ' ' ORDER BY p.oid) AS files
  FROM parts p JOIN pg_class l ON l.oid = p.oid,
       -- p.oid, not l.oid: the size of any other table, which somebody may have locked, is not asked for
       LATERAL (SELECT pg_relation_size(p.oid) / current_setting('block_size')::int AS pages) s
  GROUP BY p.root
)
SELECT c.oid, n.nspname, c.relname, c.relkind = 'p', coalesce(s.rows, 0), coalesce(s.bytes, 0),
       obj_description(c.oid, 'pg_class'),
       -- Two clusters made by the same steps have the same numbers; when their statistics began tells them apart.
       s.files || ' ' || coalesce((SELECT stats_reset FROM pg_stat_archiver)::text, ''),
       c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN sizes s ON s.root = c.oid
WHERE c.oid = ANY (:oids)
"""

SMALL = """
SELECT n.nspname, c.relname, pg_table_is_visible(c.oid)
FROM unnest(CAST(:oids AS oid[])) AS o(oid)
CROSS JOIN LATERAL (SELECT o.oid AS relid UNION SELECT relid::oid FROM pg_partition_tree(o.oid)) AS m
JOIN pg_class c ON c.oid = m.relid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND pg_table_size(c.oid) <= CAST(:most AS bigint)
"""

# For this transaction; concat_ws: a path may be empty.
SEARCH_FIRST = """
SELECT set_config('search_path',
                  concat_ws(', ', quote_ident(:schema), nullif(current_setting('search_path'), '')), true)
"""

# Tables that foreign keys point at, and whether the session's own search path finds them.
PARENTS = """
SELECT DISTINCT c.confrelid, pg_table_is_visible(c.confrelid)
FROM pg_constraint c WHERE c.conrelid = ANY (:oids) AND c.contype = 'f'
"""

COLUMNS = """
SELECT a.attrelid, a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
       pg_get_expr(d.adbin, d.adrelid), a.attgenerated <> '',
       CASE WHEN a.attidentity = 'a' THEN 'always' WHEN a.attidentity = 'd' THEN 'by default'
            WHEN EXISTS (SELECT FROM pg_depend o JOIN pg_class q ON q.oid = o.objid AND q.relkind = 'S'
                         WHERE o.classid = 'pg_class'::regclass AND o.refclassid = 'pg_class'::regclass
                           AND o.refobjid = a.attrelid AND o.refobjsubid = a.attnum AND o.deptype = 'a')
                 AND pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%' THEN 'serial' ELSE '' END,
       CASE WHEN a.attcollation <> t.typcollation THEN l.collname ELSE '' END, a.attnum
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_collation l ON l.oid = a.attcollation
WHERE a.attrelid = ANY (:oids) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum
"""

# The definition is cut after "ON <table> ", whose length is known: names may hold any text.
INDEXES = """
SELECT i.indrelid, x.relname,
       ARRAY(SELECT coalesce(a.attname::text, pg_get_indexdef(i.indexrelid, k.n::int, true))
             FROM unnest(i.indkey) WITH ORDINALITY AS k(attnum, n)
             LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum > 0
             WHERE k.n <= i.indnkeyatts ORDER BY k.n),
       i.indisunique,
       substr(f.def, strpos(f.def, ' USING ' || m.amname || ' (') + 7),
       i.indisvalid AND i.indisready AND i.indislive, i.indpred IS NOT NULL,
       EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid AND c.conrelid = i.indrelid
               AND c.contype IN ('p', 'u', 'x')),
       i.indisprimary, i.indimmediate, i.indexprs IS NULL
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace,
LATERAL (SELECT replace(pg_get_indexdef(i.indexrelid), ' INDEX ' || quote_ident(x.relname) || ' ON ', ' ') AS def) f
WHERE i.indrelid = ANY (:oids) ORDER BY i.indrelid, x.relname
"""

# Not-null constraints are objects of their own only since 18: told from the columns in every version, so that
# two versions compare alike.
CONSTRAINTS = """
SELECT c.conrelid, c.conname,
       CASE c.contype WHEN 'p' THEN 'primary' WHEN 'u' THEN 'unique' WHEN 'f' THEN 'foreign' WHEN 'c' THEN 'check'
                      ELSE 'exclusion' END,
       ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY AS k(attnum, n)
             JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.attnum ORDER BY k.n),
       pg_get_constraintdef(c.oid), c.convalidated,
       rn.nspname::text, r.relname::text, r.oid
FROM pg_constraint c
LEFT JOIN pg_class r ON c.contype = 'f' AND r.oid = c.confrelid LEFT JOIN pg_namespace rn ON rn.oid = r.relnamespace
WHERE c.conrelid = ANY (:oids) AND c.contype IN ('p', 'u', 'f', 'c', 'x') AND (c.contype <> 'f' OR c.conparentid = 0)
UNION ALL
SELECT a.attrelid, coalesce(c.conname, ''), 'not_null', ARRAY[a.attname::text], 'NOT NULL ' || quote_ident(a.attname),
       coalesce(c.convalidated, true), NULL, NULL, NULL
FROM pg_attribute a
LEFT JOIN pg_constraint c ON c.conrelid = a.attrelid AND c.contype = 'n' AND c.conkey = ARRAY[a.attnum]
WHERE a.attrelid = ANY (:oids) AND a.attnum > 0 AND a.attnotnull AND NOT a.attisdropped
ORDER BY 1, 3, 2, 4
"""

TRIGGERS = f"""
SELECT t.tgrelid, pg_get_triggerdef(t.oid, true), t.tgenabled::text
FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE t.tgrelid = ANY (:oids) AND NOT t.tgisinternal AND n.oid IS DISTINCT FROM {own.OURS}
ORDER BY t.tgrelid, t.tgname
"""

FORMAT_TYPES = """
SELECT format_type(t.oid, t.mod) FROM unnest(%s::oid[], %s::int[]) WITH ORDINALITY AS t(oid, mod, n) ORDER BY t.n
"""

# What a column's type name does not tell: labels of enums, rules of domains, fields of composites.
USER_TYPES = """
WITH RECURSIVE used AS (
  SELECT a.atttypid AS oid FROM pg_attribute a WHERE a.attrelid = ANY (:oids) AND a.attnum > 0 AND NOT a.attisdropped
  UNION
  SELECT e.oid FROM used u JOIN pg_type t ON t.oid = u.oid LEFT JOIN pg_attribute f ON f.attrelid = t.typrelid
    AND f.attnum > 0 AND NOT f.attisdropped LEFT JOIN pg_range g ON g.rngtypid = t.oid
    JOIN pg_type e ON e.oid IN (t.typelem, t.typbasetype, f.atttypid, g.rngsubtype)
)
SELECT t.typname,
       ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder),
       CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) || t.typnotnull END,
       ARRAY(SELECT pg_get_constraintdef(c.oid) FROM pg_constraint c WHERE c.contypid = t.oid ORDER BY 1),
       ARRAY(SELECT f.attname || ' ' || format_type(f.atttypid, f.atttypmod) FROM pg_attribute f
             WHERE f.attrelid = t.typrelid AND f.attnum > 0 AND NOT f.attisdropped ORDER BY f.attnum)
FROM used u JOIN pg_type t ON t.oid = u.oid WHERE t.typtype IN ('e', 'd', 'c')
"""

# last_value and is_called are read from each sequence itself.
ALL_SEQUENCES = f"""
SELECT n.nspname, q.relname, pg_table_is_visible(q.oid), s.seqincrement, s.seqstart
FROM pg_class q JOIN pg_sequence s ON s.seqrelid = q.oid JOIN pg_namespace n ON n.oid = q.relnamespace
WHERE n.nspname <> 'information_schema' AND n.oid IS DISTINCT FROM {own.OURS} AND n.nspname NOT LIKE 'pg\\_%'
  AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = q.oid
      AND (d.deptype = 'e' OR d.deptype IN ('a', 'i') AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0))
  AND NOT EXISTS (
    SELECT FROM pg_depend d
    WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = q.oid)
ORDER BY 1, 2
"""

# Two ways to feed a column, each along its index: a cutover asks inside the write pause. The column's values are the
# sequence's where it is a number, and its default the sequence's next value and nothing more.
SEQUENCES = r"""
WITH fed AS (
  SELECT d.refobjid AS relation, d.refobjsubid AS number, d.objid AS sequence
  FROM pg_depend d
  WHERE d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refclassid = 'pg_class'::regclass
    AND d.refobjid = ANY (:oids)
  UNION
  SELECT f.adrelid, f.adnum, d.refobjid
  FROM pg_attrdef f
  JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass
  WHERE f.adrelid = ANY (:oids)
)
SELECT a.attrelid,
       CASE WHEN k.typcategory = 'N' AND k.typname <> 'money' AND coalesce(pg_get_expr(e.adbin, e.adrelid)
                 ~ '^\(*nextval\(''([^'']|'''')*''::regclass\)\)*(::[a-z]+( [a-z]+)*(\([0-9,]+\))?)?$', true)
            THEN a.attname ELSE '' END,
       n.nspname, q.relname, pg_table_is_visible(q.oid), s.seqincrement, s.seqstart
FROM fed
JOIN pg_sequence s ON s.seqrelid = fed.sequence JOIN pg_class q ON q.oid = s.seqrelid
JOIN pg_namespace n ON n.oid = q.relnamespace
JOIN pg_attribute a ON a.attrelid = fed.relation AND a.attnum = fed.number AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type k ON k.oid = a.atttypid LEFT JOIN pg_attrdef e ON e.adrelid = a.attrelid AND e.adnum = a.attnum
"""

# Views, routines and types, without extensions' and our own; a pair of the name as it is found and the text. The
# server's own 145 views are left out before their text is made: it takes 34 ms.
DEFINITIONS = rf"""
WITH kinds AS (
  SELECT 'pg_class'::regclass AS catalog, c.oid, c.relnamespace AS place, c.relname AS name, '' AS more,
         CASE c.relkind WHEN 'm' THEN 'materialized view ' ELSE 'view ' END AS kind,
         pg_table_is_visible(c.oid) AS visible, pg_get_viewdef(c.oid) AS text
  FROM pg_class c
  WHERE c.relkind IN ('v', 'm')
    AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
  UNION ALL
  SELECT 'pg_proc'::regclass, p.oid, p.pronamespace, p.proname, '(' || pg_get_function_identity_arguments(p.oid) || ')',
         CASE p.prokind WHEN 'p' THEN 'procedure ' WHEN 'a' THEN 'aggregate ' ELSE 'function ' END,
         pg_function_is_visible(p.oid), CASE p.prokind WHEN 'a' THEN '' ELSE pg_get_functiondef(p.oid) END
  FROM pg_proc p
  WHERE p.pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
  UNION ALL
  SELECT 'pg_type'::regclass, t.oid, t.typnamespace, t.typname, '', 'type ', pg_type_is_visible(t.oid),
         CASE t.typtype WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod)
           || CASE WHEN t.typnotnull THEN ' not null' ELSE '' END
           || coalesce((SELECT string_agg(' ' || pg_get_constraintdef(k.oid), '' ORDER BY k.conname)
                        FROM pg_constraint k WHERE k.contypid = t.oid), '')
         ELSE (SELECT string_agg(e.enumlabel, ', ' ORDER BY e.enumsortorder)
               FROM pg_enum e WHERE e.enumtypid = t.oid) END
  FROM pg_type t WHERE t.typtype IN ('d', 'e')
)
SELECT k.kind || CASE WHEN k.visible THEN '' ELSE n.nspname || '.' END || k.name || k.more, coalesce(k.text, '')
FROM kinds k JOIN pg_namespace n ON n.oid = k.place
WHERE n.nspname <> 'information_schema' AND n.oid IS DISTINCT FROM {own.OURS} AND n.nspname NOT LIKE 'pg\_%'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = k.catalog AND d.objid = k.oid AND d.deptype = 'e')
ORDER BY 1
"""

GRANTS = """
SELECT c.oid, coalesce(quote_ident(r.rolname), 'PUBLIC'), a.privilege_type
FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
WHERE c.oid = ANY (:oids) AND a.grantee <> c.relowner
"""
