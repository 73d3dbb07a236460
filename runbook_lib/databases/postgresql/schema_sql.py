"""Which objects some tables need, as (catalog OID, object OID): pg_dump's table of contents names objects so."""

from __future__ import annotations

from runbook_lib.databases.postgresql import own

# `roots`: the tables and their partitions. `parts`: what belongs to them (defaults, constraints, indexes, triggers,
# policies, rules, statistics, owned sequences; (0, a table): whether its row security is on). Policies and rules about
# relations outside the list (`abroad`) stay behind. `closure`: whatever those refer to, through pg_depend; composite
# types lead on through their relation, functions in PL/pgSQL through the names in their body. `:oids` are the tables'.
_CLOSURE = f"""
WITH RECURSIVE roots(oid) AS (
  SELECT unnest(CAST(:oids AS oid[]))
  UNION SELECT p.relid FROM unnest(CAST(:oids AS oid[])) AS o(oid), pg_partition_tree(o.oid) p
), abroad(kind, oid) AS (
  SELECT d.classid, d.objid FROM pg_depend d JOIN pg_class o ON o.oid = d.refobjid
    AND o.relkind IN ('r', 'p', 'f', 'v', 'm')
  WHERE d.classid IN ('pg_policy'::regclass, 'pg_rewrite'::regclass) AND d.refclassid = 'pg_class'::regclass
    AND d.refobjid NOT IN (SELECT oid FROM roots)
), parts(kind, oid) AS (
  SELECT 'pg_class'::regclass::oid, oid FROM roots
  UNION SELECT 'pg_attrdef'::regclass, d.oid FROM pg_attrdef d WHERE d.adrelid IN (SELECT oid FROM roots)
  UNION SELECT 'pg_constraint'::regclass, c.oid FROM pg_constraint c WHERE c.conrelid IN (SELECT oid FROM roots)
    AND (c.contype <> 'f' OR c.confrelid IN (SELECT oid FROM roots))
  UNION SELECT 'pg_class'::regclass, i.indexrelid FROM pg_index i WHERE i.indrelid IN (SELECT oid FROM roots)
  UNION SELECT 'pg_trigger'::regclass, t.oid FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid IN (SELECT oid FROM roots) AND NOT t.tgisinternal
      AND p.pronamespace IS DISTINCT FROM {own.OURS}
  UNION SELECT 'pg_policy'::regclass, p.oid FROM pg_policy p WHERE p.polrelid IN (SELECT oid FROM roots)
    AND NOT EXISTS (SELECT FROM abroad a WHERE a.kind = 'pg_policy'::regclass AND a.oid = p.oid)
  UNION SELECT 'pg_rewrite'::regclass, r.oid FROM pg_rewrite r WHERE r.ev_class IN (SELECT oid FROM roots)
    AND NOT EXISTS (SELECT FROM abroad a WHERE a.kind = 'pg_rewrite'::regclass AND a.oid = r.oid)
  UNION SELECT 0, oid FROM roots
  UNION SELECT 'pg_statistic_ext'::regclass, s.oid FROM pg_statistic_ext s WHERE s.stxrelid IN (SELECT oid FROM roots)
  UNION SELECT 'pg_class'::regclass, d.objid FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
      AND d.refobjid IN (SELECT oid FROM roots)
), closure(kind, oid) AS (
  SELECT kind, oid FROM parts
  UNION
  SELECT r.kind, r.oid FROM closure c CROSS JOIN LATERAL (
    SELECT d.refclassid, d.refobjid FROM pg_depend d
      WHERE d.classid = c.kind AND d.objid = c.oid AND d.refobjid >= 16384
    UNION ALL
    SELECT 'pg_class'::regclass, t.typrelid FROM pg_type t
      WHERE c.kind = 'pg_type'::regclass AND t.oid = c.oid AND t.typtype = 'c'
    UNION ALL
    SELECT 'pg_constraint'::regclass, k.oid FROM pg_constraint k
      WHERE c.kind = 'pg_type'::regclass AND k.contypid = c.oid
    UNION ALL
    SELECT 'pg_proc'::regclass, f.oid FROM pg_proc body JOIN pg_proc f ON f.oid >= 16384
      AND strpos(body.prosrc, f.proname) > 0
      WHERE c.kind = 'pg_proc'::regclass AND body.oid = c.oid
        AND f.pronamespace IS DISTINCT FROM {own.OURS}
        AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = f.oid
                        AND e.deptype = 'e')
  ) AS r(kind, oid)
)
"""

NEEDED = f"{_CLOSURE} SELECT kind::int8, oid::int8 FROM closure"

# (DROP's word, OID, name with arguments) of what may go when the tables go: members of extensions stay.
DROPPABLE = (
    _CLOSURE.replace(":oids", "%(oids)s")
    + """
SELECT CASE WHEN c.kind = 'pg_proc'::regclass THEN 'ROUTINE'
            WHEN c.kind = 'pg_class'::regclass THEN 'SEQUENCE' ELSE 'TYPE' END,
       c.oid::int8,
       CASE WHEN c.kind = 'pg_proc'::regclass THEN c.oid::regprocedure::text
            WHEN c.kind = 'pg_class'::regclass THEN c.oid::regclass::text ELSE c.oid::regtype::text END
FROM closure c LEFT JOIN pg_type t ON c.kind = 'pg_type'::regclass AND t.oid = c.oid
LEFT JOIN pg_class s ON c.kind = 'pg_class'::regclass AND s.oid = c.oid
LEFT JOIN pg_class r ON r.oid = t.typrelid
WHERE (c.kind = 'pg_proc'::regclass OR s.relkind = 'S'
       OR (t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND r.relkind = 'c')))
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = c.kind AND d.objid = c.oid AND d.deptype IN ('e', 'i')
                  AND NOT (c.kind = 'pg_class'::regclass AND d.deptype = 'i'))
"""
)
