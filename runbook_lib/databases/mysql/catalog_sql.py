"""Catalog queries, for MySQL and MariaDB alike; identifiers compare as the server compares them."""

from __future__ import annotations

from runbook_lib.databases.mysql import own

# Our own tables are among them (`own.tables`); views and sequences are no tables.
TABLES = """
SELECT table_name, coalesce(table_rows, 0), coalesce(data_length, 0) + coalesce(index_length, 0), table_comment,
       coalesce(create_options, '') LIKE '%partitioned%', coalesce(engine, ''), create_time
FROM information_schema.tables
WHERE table_schema = database() AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY table_name
"""
COLUMNS = """
SELECT table_name, column_name, column_type, is_nullable = 'YES', column_default, extra,
       coalesce(collation_name, ''), ordinal_position, coalesce(generation_expression, ''), character_set_name
FROM information_schema.columns WHERE table_schema = database() ORDER BY table_name, ordinal_position
"""
INDEXES = """
SELECT table_name, index_name, column_name, {expression}, non_unique = 0, sub_part, index_type, coalesce(collation, '')
FROM information_schema.statistics WHERE table_schema = database() ORDER BY table_name, index_name, seq_in_index
"""
REFERENCES = """
SELECT k.table_name, k.constraint_name, k.column_name, k.referenced_table_name, k.referenced_column_name,
       r.update_rule, r.delete_rule
FROM information_schema.key_column_usage AS k JOIN information_schema.referential_constraints AS r
  ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name
  AND BINARY r.table_name = k.table_name
WHERE k.table_schema = database() AND k.referenced_table_name IS NOT NULL
ORDER BY k.table_name, k.constraint_name, k.ordinal_position
"""
CHECKS = {
    "MariaDB": """
SELECT table_name, constraint_name, check_clause, 1 FROM information_schema.check_constraints
WHERE constraint_schema = database() ORDER BY 1, 2
""",
    "MySQL": """
SELECT t.table_name, c.constraint_name, c.check_clause, t.enforced = 'YES'
FROM information_schema.check_constraints AS c JOIN information_schema.table_constraints AS t
  ON t.constraint_schema = c.constraint_schema AND t.constraint_name = c.constraint_name
WHERE c.constraint_schema = database() AND t.constraint_type = 'CHECK' ORDER BY 1, 2
""",
}
TRIGGERS = f"""
SELECT event_object_table, trigger_name, action_timing, event_manipulation, action_statement, sql_mode
FROM information_schema.triggers WHERE trigger_schema = database() AND NOT {own.TRIGGER}
ORDER BY event_object_table, action_timing, event_manipulation, action_order
"""
# Without rights on it a routine has no text.
DEFINITIONS = """
SELECT concat('view ', table_name), view_definition FROM information_schema.views WHERE table_schema = database()
UNION ALL
SELECT concat(lower(r.routine_type), ' ', r.routine_name), concat_ws(' ', r.dtd_identifier,
  (SELECT group_concat(p.parameter_mode, ' ', p.parameter_name, ' ', p.dtd_identifier ORDER BY p.ordinal_position)
   FROM information_schema.parameters AS p WHERE p.specific_schema = r.routine_schema
     AND p.specific_name = r.specific_name AND p.ordinal_position > 0), r.routine_definition)
FROM information_schema.routines AS r WHERE r.routine_schema = database()
UNION ALL
SELECT concat('event ', event_name),
       concat_ws(' ', interval_value, interval_field, execute_at, status, event_definition)
FROM information_schema.events WHERE event_schema = database()
"""
# Those of a whole database or server are not among them: they are no table's.
GRANTS = """
SELECT table_name, grantee, privilege_type FROM information_schema.table_privileges WHERE table_schema = database()
"""

MARKS = r"""
SELECT t.table_name, t.table_type, c.sum, coalesce(i.sum, 0) FROM information_schema.tables AS t
JOIN (SELECT table_name, sum(crc32(concat_ws('|', ordinal_position, column_name, column_type, is_nullable,
        coalesce(column_default, '-'), extra, coalesce(collation_name, '')))) AS sum
      FROM information_schema.columns WHERE table_schema = database() GROUP BY BINARY table_name) AS c
  ON BINARY c.table_name = t.table_name
LEFT JOIN (SELECT table_name, sum(crc32(concat_ws('|', index_name, seq_in_index, column_name, non_unique, sub_part)))
             AS sum
           FROM information_schema.statistics WHERE table_schema = database() GROUP BY BINARY table_name) AS i
  ON BINARY i.table_name = t.table_name
WHERE t.table_schema = database() AND t.table_name NOT LIKE 'runbook\_%'
"""
