"""The queries behind an inventory (PostgreSQL 14 to 18): everything in the catalogs that a user made.

The names of all catalogs that have an `oid` come from the catalog itself: a kind that nobody thought of is found too.
"""

from __future__ import annotations

CATALOGS = """
SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'oid'
WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND NOT c.relisshared
  AND has_column_privilege(c.oid, a.attnum, 'SELECT') ORDER BY 1
"""

# Parts of other objects, which have a line of their own below: labels, defaults, privileges, members of families.
# Large objects are counted, not named: there may be millions.
PARTS = frozenset(("pg_enum", "pg_attrdef", "pg_default_acl", "pg_amop", "pg_amproc", "pg_largeobject_metadata"))

# With the root of each partition.
NAMES = """
SELECT c.oid, n.nspname::text, c.relname::text, pg_table_is_visible(c.oid),
       CASE WHEN c.relispartition THEN pg_partition_root(c.oid)::oid ELSE c.oid END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (c.relkind IN ('r', 'p') OR c.relkind = 'f' AND c.relispartition) AND c.oid >= 16384
  AND n.nspname <> 'information_schema'
"""

# Ours, temporary, extensions' members, the system's; then all that belongs to one of these, and triggers of ours.
_HIDDEN = r"""
WITH RECURSIVE hidden(catalog, oid) AS (
  SELECT 'pg_namespace'::regclass::oid, n.oid FROM pg_namespace n
  WHERE n.nspname IN ({own}) OR n.nspname ~ '^pg_(toast|temp)'
  UNION SELECT d.classid, d.objid FROM pg_depend d WHERE d.deptype = 'e'
  UNION SELECT 'pg_publication'::regclass, p.oid FROM pg_publication p WHERE p.pubname ~ '^runbook_.*_[0-9a-f]{{8}}$'
  UNION SELECT 'pg_class'::regclass, c.oid FROM pg_class c WHERE c.relkind = 't' OR c.relpersistence = 't'
  UNION SELECT d.classid, d.objid FROM hidden h JOIN pg_depend d ON d.refclassid = h.catalog AND d.refobjid = h.oid
  WHERE d.deptype IN ('a', 'i') OR h.catalog = 'pg_namespace'::regclass
    OR (h.catalog = 'pg_proc'::regclass AND d.classid = 'pg_trigger'::regclass)
), part(catalog, oid) AS (
  SELECT DISTINCT d.classid, d.objid FROM pg_depend d WHERE d.objsubid = 0 AND d.deptype IN ('i', 'P', 'S')
)
"""

_WALK = """
, made(catalog, oid) AS (
  {made}
), walked AS (
  SELECT * FROM made m WHERE NOT EXISTS (SELECT FROM hidden h WHERE h.catalog = m.catalog AND h.oid = m.oid)
    AND NOT EXISTS (SELECT FROM part p WHERE p.catalog = m.catalog AND p.oid = m.oid)
)
SELECT w.catalog::regclass::text, w.oid, o.type, o.identity
FROM walked w CROSS JOIN LATERAL pg_identify_object(w.catalog, w.oid, 0) o ORDER BY 1, 4
"""

# Constraints that are something else's: NOT NULL is the column's (an object only since 18), a trigger's the trigger's.
_LESS = {
    "pg_constraint": "AND t.contype NOT IN ('n', 't')",
    "pg_trigger": "AND NOT t.tgisinternal",
}


def hidden(own: str) -> str:
    """The beginning of a query that knows what is not the user's: `hidden` and `part`, of (catalog, oid)."""
    return _HIDDEN.format(own=own)


def walk(own: str, catalogs: list[str]) -> str:
    """Every object of these catalogs that a user made: (catalog, OID, kind, identity)."""
    made = [
        f"SELECT 'pg_catalog.{name}'::regclass::oid, t.oid FROM pg_catalog.{name} t"
        f" WHERE t.oid >= 16384 {_LESS.get(name, '')}"
        for name in catalogs
        if name not in PARTS
    ]
    return hidden(own) + _WALK.format(made="\n  UNION ALL ".join(made))


SEQUENCE = """concat('AS ', format_type(s.seqtypid, NULL), ' INCREMENT ', s.seqincrement, ' MINVALUE ', s.seqmin,
       ' MAXVALUE ', s.seqmax, ' START ', s.seqstart, ' CACHE ', s.seqcache, CASE WHEN s.seqcycle THEN ' CYCLE' END)"""
_COLUMNS = """ARRAY(SELECT a.attname::text FROM unnest({keys}) WITH ORDINALITY AS k(attnum, n)
       JOIN pg_attribute a ON a.attrelid = {table} AND a.attnum = k.attnum ORDER BY k.n)"""
# In one order: pg_dump writes them in the order of their names.
_OPTIONS = "(SELECT array_agg(o ORDER BY o)::text FROM unnest({options}) AS o)"
_STATE = "CASE {state} WHEN 'D' THEN ' [disabled]' WHEN 'A' THEN ' [always]' WHEN 'R' THEN ' [replica]' ELSE '' END"
_NO_COLUMNS = "ARRAY[]::text[]"

# Catalog → (OID, kind, table's OID or 0, definition, columns) of its objects.
DETAILS = {
    "pg_class": f"""
SELECT c.oid, CASE WHEN c.relkind IN ('r', 'p') AND c.relispartition THEN 'partition'
    ELSE CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence'
         WHEN 'm' THEN 'materialized view' WHEN 'i' THEN 'index' WHEN 'I' THEN 'index' WHEN 'f' THEN 'foreign table'
         ELSE 'relation ' || c.relkind::text END END,
  CASE WHEN c.relkind IN ('r', 'p', 'f') THEN c.oid WHEN i.indrelid IS NOT NULL THEN i.indrelid ELSE coalesce(
    (SELECT d.refobjid FROM pg_depend d WHERE c.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = c.oid
       AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'a' AND d.refobjsubid > 0 LIMIT 1), 0) END,
  CASE WHEN c.relkind IN ('r', 'p', 'f') THEN concat_ws(' ',
      CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED' END, 'OF ' || nullif(c.reloftype, 0)::regtype,
      (SELECT CASE WHEN c.relispartition THEN 'PARTITION OF ' ELSE 'INHERITS ' END
         || string_agg(h.inhparent::regclass::text, ', ' ORDER BY h.inhseqno)
       FROM pg_inherits h WHERE h.inhrelid = c.oid),
      pg_get_expr(c.relpartbound, c.oid), 'PARTITION BY ' || CASE c.relkind WHEN 'p' THEN pg_get_partkeydef(c.oid) END,
      (SELECT 'USING ' || m.amname FROM pg_am m WHERE m.oid = c.relam AND m.amname <> 'heap'),
      (SELECT concat('SERVER ', v.srvname, ' ', {_OPTIONS.format(options="f.ftoptions")}, ' ', (SELECT string_agg(
         concat(a.attname, ' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN ' NOT NULL' END,
         ' ' || {_OPTIONS.format(options="a.attfdwoptions")}), ', ' ORDER BY a.attnum)
       FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))
       FROM pg_foreign_table f JOIN pg_foreign_server v ON v.oid = f.ftserver WHERE f.ftrelid = c.oid))
    WHEN c.relkind IN ('v', 'm') THEN concat('WITH (' || array_to_string(c.reloptions, ', ') || ') ', 'AS',
      rtrim(pg_get_viewdef(c.oid), ';'), CASE WHEN c.relkind = 'v' OR c.relispopulated THEN '' ELSE ' WITH NO DATA' END,
      (SELECT string_agg(format(E';\\nALTER VIEW %s ALTER COLUMN %I SET DEFAULT %s',
         (pg_identify_object('pg_class'::regclass, c.oid, 0)).identity, a.attname, pg_get_expr(d.adbin, d.adrelid)),
         '' ORDER BY a.attnum)
       FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE d.adrelid = c.oid))
    WHEN i.indexrelid IS NOT NULL THEN pg_get_indexdef(c.oid) || CASE WHEN i.indisvalid THEN '' ELSE ' [not valid]' END
      || CASE WHEN i.indisclustered THEN ' [clustered]' ELSE '' END
    WHEN s.seqrelid IS NOT NULL THEN {SEQUENCE} || CASE c.relpersistence WHEN 'u' THEN ' UNLOGGED' ELSE '' END END,
  {_COLUMNS.format(keys="i.indkey::int2[]", table="i.indrelid")}
FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_sequence s ON s.seqrelid = c.oid
WHERE c.oid = ANY (:oids)""",
    "pg_constraint": f"""
SELECT c.oid, CASE c.contype WHEN 'p' THEN 'primary key' WHEN 'f' THEN 'foreign key' WHEN 'u' THEN 'unique constraint'
    WHEN 'x' THEN 'exclusion constraint' WHEN 'c' THEN CASE c.contypid WHEN 0 THEN 'check constraint'
    ELSE 'domain constraint' END ELSE 'constraint ' || c.contype::text END,
  c.conrelid, pg_get_constraintdef(c.oid) || CASE WHEN c.contype IN ('p', 'u', 'x') AND EXISTS (
    SELECT FROM pg_index x WHERE x.indexrelid = c.conindid AND x.indisclustered) THEN ' [clustered]' ELSE '' END,
  {_COLUMNS.format(keys="c.conkey", table="c.conrelid")}
FROM pg_constraint c WHERE c.oid = ANY (:oids)""",
    "pg_trigger": f"""
SELECT t.oid, 'trigger', t.tgrelid, pg_get_triggerdef(t.oid) || {_STATE.format(state="t.tgenabled")}, {_NO_COLUMNS}
FROM pg_trigger t WHERE t.oid = ANY (:oids)""",
    "pg_rewrite": f"""
SELECT r.oid, 'rule', r.ev_class, pg_get_ruledef(r.oid) || {_STATE.format(state="r.ev_enabled")}, {_NO_COLUMNS}
FROM pg_rewrite r WHERE r.oid = ANY (:oids)""",
    "pg_policy": """
SELECT p.oid, 'policy', p.polrelid, concat(CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
    CASE p.polcmd WHEN 'r' THEN ' FOR SELECT' WHEN 'a' THEN ' FOR INSERT' WHEN 'w' THEN ' FOR UPDATE'
    WHEN 'd' THEN ' FOR DELETE' ELSE ' FOR ALL' END,
    ' TO ' || (SELECT string_agg(coalesce(quote_ident(a.rolname), 'PUBLIC'), ', ' ORDER BY a.rolname)
               FROM unnest(p.polroles) r(oid) LEFT JOIN pg_roles a ON a.oid = r.oid),
    ' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')',
    ' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')'),
  ARRAY(SELECT 'role ' || a.rolname FROM unnest(p.polroles) r(oid) JOIN pg_roles a ON a.oid = r.oid ORDER BY 1)
FROM pg_policy p WHERE p.oid = ANY (:oids)""",
    "pg_proc": f"""
SELECT p.oid, CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END, 0::oid,
  CASE p.prokind WHEN 'a' THEN (SELECT concat_ws(' ', g.aggkind, g.aggtransfn, g.aggtranstype::regtype, g.aggfinalfn,
      g.aggcombinefn, g.aggserialfn, g.aggdeserialfn, g.aggmtransfn, g.aggminvtransfn, g.aggmfinalfn,
      nullif(g.aggsortop, 0)::regoperator, quote_nullable(g.agginitval), quote_nullable(g.aggminitval), p.proparallel)
    FROM pg_aggregate g WHERE g.aggfnoid = p.oid) ELSE pg_get_functiondef(p.oid) END, {_NO_COLUMNS}
FROM pg_proc p WHERE p.oid = ANY (:oids)""",
    "pg_type": f"""
SELECT t.oid, CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'c' THEN 'composite type'
    WHEN 'r' THEN 'range type' WHEN 'b' THEN 'base type' ELSE 'type ' || t.typtype::text END, 0::oid,
  CASE t.typtype
    WHEN 'e' THEN (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
                   FROM pg_enum e WHERE e.enumtypid = t.oid)
    WHEN 'd' THEN concat(format_type(t.typbasetype, t.typtypmod), CASE WHEN t.typnotnull THEN ' NOT NULL' END,
      ' DEFAULT ' || t.typdefault, (SELECT ' COLLATE ' || l.collname FROM pg_collation l, pg_type b
        WHERE b.oid = t.typbasetype AND l.oid = t.typcollation AND t.typcollation <> b.typcollation))
    WHEN 'c' THEN (SELECT string_agg(concat(quote_ident(a.attname), ' ', format_type(a.atttypid, a.atttypmod)), ', '
      ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)
    WHEN 'r' THEN (SELECT concat_ws(' ', g.rngsubtype::regtype, g.rngsubopc::regclass, g.rngcanonical, g.rngsubdiff)
      FROM (SELECT rngsubtype, rngcanonical, rngsubdiff, NULL::oid AS rngsubopc FROM pg_range
            WHERE rngtypid = t.oid) g)
    ELSE concat_ws(' ', t.typinput, t.typoutput, t.typlen, t.typalign, t.typstorage, t.typcategory) END, {_NO_COLUMNS}
FROM pg_type t WHERE t.oid = ANY (:oids)""",
    "pg_statistic_ext": f"""
SELECT s.oid, 'statistics', s.stxrelid, concat(pg_get_statisticsobjdef(s.oid), ' TARGET '
    || nullif(to_jsonb(s) ->> 'stxstattarget', '-1')), {_NO_COLUMNS}
FROM pg_statistic_ext s WHERE s.oid = ANY (:oids)""",
    "pg_collation": f"""
SELECT c.oid, 'collation', 0::oid, (to_jsonb(c) - 'oid' - 'collnamespace' - 'collowner' - 'collversion')::text,
  {_NO_COLUMNS} FROM pg_collation c WHERE c.oid = ANY (:oids)""",
    "pg_cast": f"""
SELECT c.oid, 'cast', 0::oid, concat_ws(' ', nullif(c.castfunc, 0)::regprocedure, c.castcontext, c.castmethod),
  {_NO_COLUMNS} FROM pg_cast c WHERE c.oid = ANY (:oids)""",
    "pg_operator": f"""
SELECT o.oid, 'operator', 0::oid, concat_ws(' ', o.oprcode, o.oprresult::regtype, nullif(o.oprcom, 0)::regoperator,
    nullif(o.oprnegate, 0)::regoperator, nullif(o.oprrest, 0), nullif(o.oprjoin, 0), o.oprcanmerge, o.oprcanhash),
  {_NO_COLUMNS} FROM pg_operator o WHERE o.oid = ANY (:oids)""",
    "pg_extension": """
SELECT e.oid, 'extension', 0::oid, '', ARRAY['extension ' || e.extname]
FROM pg_extension e WHERE e.oid = ANY (:oids)""",
    "pg_publication": f"""
SELECT p.oid, 'publication', 0::oid, (to_jsonb(p) - 'oid' - 'pubname' - 'pubowner')::text, {_NO_COLUMNS}
FROM pg_publication p WHERE p.oid = ANY (:oids)""",
    "pg_publication_rel": f"""
SELECT p.oid, 'publication relation', 0::oid, (
    SELECT concat_ws(' WHERE ', to_jsonb(t) ->> 'attnames', to_jsonb(t) ->> 'rowfilter')
    FROM pg_publication_tables t, pg_publication u, pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE u.oid = p.prpubid AND c.oid = p.prrelid
      AND (t.pubname, t.schemaname, t.tablename) = (u.pubname, n.nspname, c.relname)), {_NO_COLUMNS}
FROM pg_publication_rel p WHERE p.oid = ANY (:oids)""",
    "pg_ts_dict": f"""
SELECT d.oid, 'text search dictionary', 0::oid, d.dictinitoption, {_NO_COLUMNS}
FROM pg_ts_dict d WHERE d.oid = ANY (:oids)""",
    "pg_ts_config": f"""
SELECT c.oid, 'text search configuration', 0::oid, (
    SELECT string_agg(concat(m.maptokentype, ' ', m.mapdict::regdictionary), ', ' ORDER BY m.maptokentype, m.mapseqno)
    FROM pg_ts_config_map m WHERE m.mapcfg = c.oid), {_NO_COLUMNS}
FROM pg_ts_config c WHERE c.oid = ANY (:oids)""",
    "pg_publication_namespace": f"""
SELECT p.oid, 'publication schema', 0::oid, '', {_NO_COLUMNS}
FROM pg_publication_namespace p WHERE p.oid = ANY (:oids)""",
    "pg_event_trigger": f"""
SELECT e.oid, 'event trigger', 0::oid, concat_ws(' ', e.evtevent, e.evttags, e.evtfoid::regprocedure)
    || {_STATE.format(state="e.evtenabled")}, {_NO_COLUMNS}
FROM pg_event_trigger e WHERE e.oid = ANY (:oids)""",
    "pg_foreign_server": f"""
SELECT s.oid, 'foreign server', 0::oid, concat_ws(' ', w.fdwname, s.srvtype, s.srvversion,
    {_OPTIONS.format(options="s.srvoptions")}), {_NO_COLUMNS}
FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw WHERE s.oid = ANY (:oids)""",
    "pg_namespace": f"""
SELECT n.oid, 'schema', 0::oid, '', {_NO_COLUMNS} FROM pg_namespace n WHERE n.oid = ANY (:oids)""",
}

# (Catalog, OID, table's OID) of what cannot be without another table: a child, a foreign key, a policy, a rule.
REFERS = """
SELECT DISTINCT d.classid::regclass::text, d.objid, d.refobjid
FROM pg_depend d JOIN pg_class c ON c.oid = d.refobjid AND c.relkind IN ('r', 'p', 'f')
WHERE d.classid IN ('pg_class'::regclass, 'pg_constraint'::regclass, 'pg_policy'::regclass, 'pg_rewrite'::regclass)
  AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'n' AND c.oid >= 16384
"""

# Catalogs whose objects have only a name here, under these words.
KINDS = {
    "pg_opclass": "operator class",
    "pg_opfamily": "operator family",
    "pg_conversion": "conversion",
    "pg_language": "language",
    "pg_am": "access method",
    "pg_transform": "transform",
    "pg_ts_parser": "text search parser",
    "pg_ts_template": "text search template",
    "pg_foreign_data_wrapper": "foreign-data wrapper",
    "pg_user_mapping": "user mapping",
}
