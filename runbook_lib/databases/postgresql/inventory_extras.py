"""What a database has beside objects with an OID: comments, privileges, row security, options, owners, settings.

Each query: (kind, name, the table's OID or 0, definition, the statement that makes it, what it needs outside).
"""

from __future__ import annotations

_RELATIONS = """
, relation AS (
  SELECT c.*, format('%I.%I', n.nspname, c.relname) AS called
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'm', 'v', 'f')
    AND NOT EXISTS (SELECT FROM hidden h WHERE h.catalog = 'pg_class'::regclass AND h.oid = c.oid)
)
"""
_NOTHING = "ARRAY[]::text[]"

# Of a relation.
OF_RELATIONS = (
    f"""
SELECT 'row security', r.called, r.oid, concat_ws(', ', CASE WHEN r.relrowsecurity THEN 'enabled' END,
    CASE WHEN r.relforcerowsecurity THEN 'forced' END),
  concat_ws('; ', CASE WHEN r.relrowsecurity THEN format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', r.called) END,
    CASE WHEN r.relforcerowsecurity THEN format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', r.called) END), {_NOTHING}
FROM relation r WHERE r.relrowsecurity OR r.relforcerowsecurity""",
    f"""
SELECT 'replica identity', r.called, r.oid, i.text, format('ALTER TABLE %s REPLICA IDENTITY %s', r.called, i.text),
  {_NOTHING}
FROM relation r CROSS JOIN LATERAL (SELECT CASE r.relreplident WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING'
  ELSE (SELECT 'USING INDEX ' || quote_ident(x.relname) FROM pg_index p JOIN pg_class x ON x.oid = p.indexrelid
        WHERE p.indrelid = r.oid AND p.indisreplident) END AS text) i
WHERE r.relkind IN ('r', 'p') AND r.relreplident <> 'd' AND i.text IS NOT NULL""",
    f"""
SELECT 'storage options', r.called, r.oid, o.text, format('ALTER TABLE %s %s', r.called, o.text), {_NOTHING}
FROM relation r LEFT JOIN pg_class t ON t.oid = r.reltoastrelid CROSS JOIN LATERAL (
  SELECT string_agg(p.text, ', ' ORDER BY p.place, p.text) AS text FROM (
    SELECT 0 AS place, 'SET (' || (SELECT string_agg(o, ', ' ORDER BY o) FROM unnest(r.reloptions) o) || ')' AS text
    UNION ALL
    SELECT 1, 'SET (' || (SELECT string_agg('toast.' || o, ', ' ORDER BY o) FROM unnest(t.reloptions) o) || ')'
    UNION ALL
    SELECT 2 + a.attnum, 'ALTER ' || quote_ident(a.attname) || p.what
    FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid CROSS JOIN LATERAL (VALUES
      (CASE WHEN a.attstorage <> y.typstorage THEN ' SET STORAGE ' || CASE a.attstorage WHEN 'p' THEN 'PLAIN'
         WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END END),
      (CASE a.attcompression WHEN 'p' THEN ' SET COMPRESSION pglz' WHEN 'l' THEN ' SET COMPRESSION lz4' END),
      (CASE WHEN a.attstattarget >= 0 THEN ' SET STATISTICS ' || a.attstattarget END),
      (' SET (' || array_to_string(a.attoptions, ', ') || ')')) p(what)
    WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped AND r.relkind <> 'v') p
  WHERE p.text IS NOT NULL) o
WHERE r.relkind <> 'v' AND o.text IS NOT NULL""",
    """
SELECT 'tablespace', format('%s %s', CASE c.relkind WHEN 'i' THEN 'index' WHEN 'I' THEN 'index'
    WHEN 'm' THEN 'materialized view' ELSE 'table' END, c.oid::regclass), coalesce(i.indrelid, c.oid), s.spcname::text,
  format('ALTER %s %s SET TABLESPACE %I', CASE c.relkind WHEN 'i' THEN 'INDEX' WHEN 'I' THEN 'INDEX'
    WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END, c.oid::regclass, s.spcname), ARRAY['tablespace ' || s.spcname]
FROM pg_class c JOIN pg_tablespace s ON s.oid = c.reltablespace LEFT JOIN pg_index i ON i.indexrelid = c.oid
WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'm', 'i', 'I')
  AND EXISTS (SELECT FROM relation r WHERE r.oid = coalesce(i.indrelid, c.oid))""",
    f"""
SELECT 'identity', format('%s.%I', r.called, a.attname), r.oid, {{sequence}}, '', {_NOTHING}
FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attidentity <> '' AND NOT a.attisdropped
JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = r.oid
  AND d.refobjsubid = a.attnum AND d.deptype = 'i' JOIN pg_sequence s ON s.seqrelid = d.objid""",
)

_TABLE_OF = """
CASE {catalog} WHEN 'pg_class'::regclass
  THEN coalesce((SELECT i.indrelid FROM pg_index i WHERE i.indexrelid = {oid}), {oid})
  WHEN 'pg_constraint'::regclass THEN (SELECT c.conrelid FROM pg_constraint c WHERE c.oid = {oid})
  WHEN 'pg_trigger'::regclass THEN (SELECT t.tgrelid FROM pg_trigger t WHERE t.oid = {oid})
  WHEN 'pg_rewrite'::regclass THEN (SELECT w.ev_class FROM pg_rewrite w WHERE w.oid = {oid})
  WHEN 'pg_policy'::regclass THEN (SELECT p.polrelid FROM pg_policy p WHERE p.oid = {oid})
  WHEN 'pg_statistic_ext'::regclass THEN (SELECT x.stxrelid FROM pg_statistic_ext x WHERE x.oid = {oid}) ELSE 0 END
"""
_WORD = """
CASE WHEN o.type LIKE '% column' THEN 'COLUMN' WHEN o.type = 'table constraint' THEN 'CONSTRAINT'
  WHEN o.type = 'domain constraint' THEN 'CONSTRAINT' WHEN o.type IN ('composite type', 'range type') THEN 'TYPE'
  WHEN o.type = 'statistics object' THEN 'STATISTICS' WHEN o.type = 'foreign-data wrapper' THEN 'FOREIGN DATA WRAPPER'
  ELSE upper(o.type) END
"""
# Comments that an extension's script made come with it; that of `public` is the server's own, as long as it is.
COMMENTS = f"""
SELECT 'comment', o.type || ' ' || o.identity, ({_TABLE_OF.format(catalog="d.classoid", oid="d.objoid")})::oid,
  d.description, format('COMMENT ON %s %s IS %L', {_WORD}, o.identity, d.description), {_NOTHING}
FROM pg_description d CROSS JOIN LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) o
WHERE (d.objoid >= 16384 OR d.classoid = 'pg_namespace'::regclass AND d.objoid = 'public'::regnamespace
       AND d.description <> 'standard public schema')
  AND d.classoid <> 'pg_extension'::regclass
  AND NOT EXISTS (SELECT FROM hidden h WHERE h.catalog = d.classoid AND h.oid = d.objoid)
UNION ALL
SELECT 'comment', 'database', 0::oid, description,
  format('COMMENT ON DATABASE %I IS %L', current_database(), description), {_NOTHING}
FROM pg_shdescription WHERE classoid = 'pg_database'::regclass
  AND objoid = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

LABELS = f"""
SELECT 'security label', l.provider || ' on ' || o.type || ' ' || o.identity,
  ({_TABLE_OF.format(catalog="l.classoid", oid="l.objoid")})::oid, l.label,
  format('SECURITY LABEL FOR %I ON %s %s IS %L', l.provider, {_WORD}, o.identity, l.label), {_NOTHING}
FROM pg_seclabel l CROSS JOIN LATERAL pg_identify_object(l.classoid, l.objoid, l.objsubid) o
WHERE NOT EXISTS (SELECT FROM hidden h WHERE h.catalog = l.classoid AND h.oid = l.objoid)
"""

# What was given, or taken, compared with what an object has at birth; an owner's own rights are the owner's.
GRANTS = """
, extension(catalog, oid) AS (SELECT d.classid, d.objid FROM pg_depend d WHERE d.deptype = 'e'),
acls(catalog, oid, part, owner, acl, birth, word) AS (
  SELECT 'pg_class'::regclass, c.oid, 0, c.relowner, c.relacl,
    acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner),
    CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END FROM pg_class c WHERE c.relacl IS NOT NULL
  UNION ALL SELECT 'pg_class'::regclass, a.attrelid, a.attnum, c.relowner, a.attacl, NULL, 'TABLE'
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
  UNION ALL SELECT 'pg_proc'::regclass, oid, 0, proowner, proacl, acldefault('f', proowner), 'ROUTINE'
    FROM pg_proc WHERE proacl IS NOT NULL
  UNION ALL SELECT 'pg_namespace'::regclass, oid, 0, nspowner, nspacl, acldefault('n', nspowner), 'SCHEMA'
    FROM pg_namespace WHERE nspacl IS NOT NULL
  UNION ALL SELECT 'pg_type'::regclass, oid, 0, typowner, typacl, acldefault('T', typowner), 'TYPE'
    FROM pg_type WHERE typacl IS NOT NULL
  UNION ALL SELECT 'pg_language'::regclass, oid, 0, lanowner, lanacl, acldefault('l', lanowner), 'LANGUAGE'
    FROM pg_language WHERE lanacl IS NOT NULL
  UNION ALL SELECT 'pg_foreign_server'::regclass, oid, 0, srvowner, srvacl, acldefault('S', srvowner), 'FOREIGN SERVER'
    FROM pg_foreign_server WHERE srvacl IS NOT NULL
  UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid, 0, fdwowner, fdwacl, acldefault('F', fdwowner),
    'FOREIGN DATA WRAPPER' FROM pg_foreign_data_wrapper WHERE fdwacl IS NOT NULL
), users AS (
  SELECT a.catalog, a.oid, a.part, a.owner, a.acl, coalesce(i.initprivs, a.birth) AS birth, a.word FROM acls a
  LEFT JOIN pg_init_privs i ON i.classoid = a.catalog AND i.objoid = a.oid AND i.objsubid = a.part
  WHERE (a.oid >= 16384 OR i.objoid IS NOT NULL) AND a.acl IS DISTINCT FROM coalesce(i.initprivs, a.birth)
    AND (NOT EXISTS (SELECT FROM hidden h WHERE h.catalog = a.catalog AND h.oid = a.oid)
         OR EXISTS (SELECT FROM extension e WHERE e.catalog = a.catalog AND e.oid = a.oid))
), given AS (
  SELECT u.*, true AS granted, e.grantee, e.privilege_type, e.is_grantable FROM users u, LATERAL (
    SELECT grantee, privilege_type, is_grantable FROM aclexplode(u.acl)
    EXCEPT SELECT grantee, privilege_type, is_grantable FROM aclexplode(u.birth)) e WHERE e.grantee <> u.owner
  UNION ALL
  SELECT u.*, false, e.grantee, e.privilege_type, false FROM users u, LATERAL (
    SELECT grantee, privilege_type FROM aclexplode(u.birth)
    EXCEPT SELECT grantee, privilege_type FROM aclexplode(u.acl)) e WHERE e.grantee <> u.owner
), named AS (
  SELECT g.*, o.type, i.identity, coalesce(quote_ident(r.rolname), 'PUBLIC') AS whom, r.rolname,
    g.privilege_type || CASE WHEN g.part > 0 THEN format(' (%I)', (SELECT attname FROM pg_attribute
      WHERE attrelid = g.oid AND attnum = g.part)) ELSE '' END AS what
  FROM given g CROSS JOIN LATERAL pg_identify_object(g.catalog, g.oid, 0) o
  CROSS JOIN LATERAL (SELECT o.identity) i LEFT JOIN pg_roles r ON r.oid = g.grantee
)
SELECT 'grant', format(CASE WHEN granted THEN '%s on %s %s to %s' ELSE 'revoked: %s on %s %s from %s' END,
    what, type, identity, whom),
  CASE catalog WHEN 'pg_class'::regclass THEN oid ELSE 0::oid END,
  CASE WHEN is_grantable THEN 'WITH GRANT OPTION' ELSE '' END,
  format(CASE WHEN granted THEN 'GRANT %s ON %s %s TO %s%s' ELSE 'REVOKE %s ON %s %s FROM %s%s' END, what, word,
    identity, whom, CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END),
  array_remove(ARRAY['role ' || rolname], NULL)
FROM named
"""

DEFAULTS = """
, acls AS (
  SELECT d.*, r.rolname AS maker, n.nspname, CASE WHEN d.defaclnamespace <> 0 THEN NULL ELSE acldefault(
      CASE d.defaclobjtype WHEN 'S' THEN 's' ELSE d.defaclobjtype END, d.defaclrole) END AS birth,
    CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'ROUTINES' WHEN 'T' THEN 'TYPES'
      WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END AS word
  FROM pg_default_acl d JOIN pg_roles r ON r.oid = d.defaclrole LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
), given AS (
  SELECT a.*, true AS granted, e.* FROM acls a, LATERAL (
    SELECT grantee, privilege_type, is_grantable FROM aclexplode(a.defaclacl)
    EXCEPT SELECT grantee, privilege_type, is_grantable FROM aclexplode(a.birth)) e
  UNION ALL
  SELECT a.*, false, e.*, false FROM acls a, LATERAL (SELECT grantee, privilege_type FROM aclexplode(a.birth)
    EXCEPT SELECT grantee, privilege_type FROM aclexplode(a.defaclacl)) e
), named AS (
  SELECT g.*, coalesce(quote_ident(r.rolname), 'PUBLIC') AS whom, r.rolname,
    ' IN SCHEMA ' || quote_ident(g.nspname) AS place
  FROM given g LEFT JOIN pg_roles r ON r.oid = g.grantee
)
SELECT 'default privilege', format('%s%s on %s%s %s %s, of %I', CASE WHEN granted THEN '' ELSE 'revoked: ' END,
    privilege_type, lower(word), ' in schema ' || quote_ident(nspname), CASE WHEN granted THEN 'to' ELSE 'from' END,
    whom, maker), 0::oid, CASE WHEN is_grantable THEN 'WITH GRANT OPTION' ELSE '' END,
  format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s %s %s ON %s %s %s%s', maker, CASE WHEN nspname IS NULL THEN ''
    ELSE place END, CASE WHEN granted THEN 'GRANT' ELSE 'REVOKE' END, privilege_type, word,
    CASE WHEN granted THEN 'TO' ELSE 'FROM' END, whom,
    CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END),
  array_remove(ARRAY['member ' || maker, 'role ' || rolname], NULL)
FROM named
"""

# A sequence that belongs to a column goes with its table.
OWNERS = """
, owned(catalog, oid, owner) AS (
  SELECT 'pg_class'::regclass::oid, c.oid, c.relowner FROM pg_class c
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE c.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = c.oid
      AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i'))
  UNION ALL SELECT 'pg_proc'::regclass, oid, proowner FROM pg_proc
  UNION ALL SELECT 'pg_namespace'::regclass, oid, nspowner FROM pg_namespace
  UNION ALL SELECT 'pg_type'::regclass, oid, typowner FROM pg_type
)
SELECT 'owner', o.type || ' ' || o.identity, CASE WHEN w.catalog = 'pg_class'::regclass THEN w.oid ELSE 0::oid END,
  r.rolname::text, format('ALTER %s %s OWNER TO %I', CASE WHEN o.type IN ('function', 'procedure', 'aggregate')
    THEN 'ROUTINE' WHEN w.catalog = 'pg_type'::regclass THEN 'TYPE' ELSE upper(o.type) END, o.identity, r.rolname),
  ARRAY['member ' || r.rolname]
FROM owned w JOIN pg_roles r ON r.oid = w.owner CROSS JOIN LATERAL pg_identify_object(w.catalog, w.oid, 0) o
WHERE w.oid >= 16384 AND NOT EXISTS (SELECT FROM hidden h WHERE h.catalog = w.catalog AND h.oid = w.oid)
  AND NOT EXISTS (SELECT FROM part p WHERE p.catalog = w.catalog AND p.oid = w.oid)
"""

OF_DATABASE = f"""
SELECT 'database setting', split_part(c, '=', 1) || coalesce(' of role ' || r.rolname, ''), 0::oid,
  substr(c, strpos(c, '=') + 1),
  format('ALTER %sDATABASE %I SET %I = %L', coalesce('ROLE ' || quote_ident(r.rolname) || ' IN ', ''),
    current_database(), split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)),
  array_remove(ARRAY['role ' || r.rolname], NULL)
FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole CROSS JOIN unnest(s.setconfig) c
WHERE s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION ALL
SELECT 'subscription', s.subname::text, 0::oid, '', '', {_NOTHING} FROM pg_subscription s
WHERE s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION ALL
SELECT 'large objects', count(*) || ' large objects', 0::oid, '', '', {_NOTHING} FROM pg_largeobject_metadata
HAVING count(*) > 0
"""

# Tables in the schema that is called as ours, with their columns, by which ours are known.
OWN_TABLES = """
SELECT c.relname::text, array_agg(a.attname::text ORDER BY a.attnum) FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relnamespace = to_regnamespace('runbook') GROUP BY 1
"""
OUTSIDE = """
SELECT 'role ' || rolname FROM pg_roles UNION ALL SELECT 'tablespace ' || spcname FROM pg_tablespace
UNION ALL SELECT 'member ' || rolname FROM pg_roles WHERE pg_has_role(oid, 'USAGE')
UNION ALL SELECT 'extension ' || name FROM pg_available_extensions
"""


def queries(hidden: str, sequence: str) -> list[str]:
    """All of them.

    Args:
        hidden: The beginning of a query that knows what is not the user's.
        sequence: The expression that describes a row `s` of pg_sequence.
    """
    of_relations = "\nUNION ALL ".join(text.replace("{sequence}", sequence) for text in OF_RELATIONS)
    return [
        hidden + _RELATIONS + of_relations,
        *(hidden + text for text in (COMMENTS, LABELS, GRANTS, DEFAULTS, OWNERS)),
        OF_DATABASE,
    ]
