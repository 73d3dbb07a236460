"""The queries of the inventory: (kind, name, table, definition, columns, statement, role), and how many of each kind.

All of information_schema that belongs to one database. What has a kind of its own there (a table's, a routine's, a
constraint's type) has that kind, whatever it is: a kind that no rule knows shows as unaccounted. Names of tables
compare there without regard to case, whatever the server does with them: BINARY tells `Case` from `case`.
"""

from __future__ import annotations

from runbook_lib.databases.mysql import own

_OF = "table_schema = database()"
_TABLE_KINDS = """
CASE table_type WHEN 'BASE TABLE' THEN 'table' WHEN 'SYSTEM VERSIONED' THEN 'table' ELSE lower(table_type) END
"""
# Options as they act: the server writes Aria's defaults out only in a table that was made by such a statement, and the
# row format that a table was asked for is not always the one that it has.
_OPTIONS = r"""
trim(regexp_replace(concat(' ', lower(coalesce(create_options, ''))),
  ' (partitioned|row_format=[^ ]*|(page_checksum|transactional)=1)(?= |$)', ''))
"""
TABLES = f"""
SELECT {_TABLE_KINDS}, table_name, table_name, concat_ws(' | ', engine, table_collation, row_format, {_OPTIONS},
         table_type), '', '', ''
FROM information_schema.tables WHERE {_OF} AND table_type NOT IN ('VIEW', 'SEQUENCE')
"""
# A period's start and end are the table's own.
HIDDEN = f"""
SELECT table_name, column_name, extra FROM information_schema.columns
WHERE {_OF} AND generation_expression IN ('ROW START', 'ROW END')
"""
# What a column does beside its type, default and collation: whether `SELECT *` shows it, whether versions are kept of
# it, how a number is padded, whether a computed value is stored.
COLUMN_OPTIONS = rf"""
SELECT 'column options', concat(table_name, '.', column_name), table_name, concat_ws(' ',
         nullif(trim(regexp_replace(extra,
           '(?i)auto_increment|on update [^ ]+|DEFAULT_GENERATED|(STORED|VIRTUAL|PERSISTENT) GENERATED|,', '')), ''),
         IF(column_type LIKE '%zerofill%', column_type, NULL)) AS said, '', '', ''
FROM information_schema.columns WHERE {_OF} AND coalesce(generation_expression, '') NOT IN ('ROW START', 'ROW END')
HAVING said <> ''
UNION ALL
SELECT 'generated column', concat(table_name, '.', column_name), table_name, regexp_substr(extra, '^[A-Z]+'), '', '', ''
FROM information_schema.columns WHERE {_OF} AND extra LIKE '% GENERATED%'
"""
VERSIONED = f"""
SELECT 'row history', table_name, table_name, concat('since ', create_time, ' in ', database()), '', '', ''
FROM information_schema.tables WHERE {_OF} AND table_type = 'SYSTEM VERSIONED'
"""
VIEWS = f"""
SELECT 'view', table_name, '', concat_ws(' | ', character_set_client, collation_connection), '', '', definer
FROM information_schema.views WHERE {_OF}
"""
PARTITIONS = f"""
SELECT 'partition', concat_ws('.', table_name, partition_name, subpartition_name), table_name,
       concat_ws(' | ', partition_ordinal_position, partition_method, partition_expression,
         nullif(partition_description, 'CURRENT'), subpartition_method, subpartition_expression, partition_comment),
       '', '', ''
FROM information_schema.partitions WHERE {_OF} AND partition_name IS NOT NULL
"""
_CONSTRAINT = """
CASE {type} WHEN 'PRIMARY KEY' THEN 'primary key' WHEN 'UNIQUE' THEN 'unique constraint'
  WHEN 'FOREIGN KEY' THEN 'foreign key' WHEN 'CHECK' THEN 'check constraint' ELSE lower({type}) END
"""
KEYS = f"""
SELECT CASE WHEN index_name = 'PRIMARY' THEN 'primary key' WHEN non_unique = 0 THEN 'unique constraint'
         ELSE 'index' END, concat(index_name, ' on ', table_name), table_name,
       concat(index_type, ' ', group_concat(concat(coalesce(column_name, {{expression}}, '?'),
         coalesce(concat('(', sub_part, ')'), ''), coalesce(collation, '')) ORDER BY seq_in_index SEPARATOR ', '),
         ' ', max({{unseen}}), ' ', max(index_comment)),
       group_concat(column_name ORDER BY seq_in_index SEPARATOR '\\0'), '', ''
FROM information_schema.statistics WHERE {_OF} GROUP BY BINARY table_name, index_name, non_unique, index_type
"""
FOREIGN_KEYS = """
SELECT 'foreign key', concat(k.constraint_name, ' on ', k.table_name), k.table_name,
       replace(concat_ws(' ', group_concat(k.column_name, '=', k.referenced_column_name ORDER BY k.ordinal_position),
         k.referenced_table_name, r.update_rule, r.delete_rule), 'NO ACTION', 'RESTRICT'),
       group_concat(k.column_name ORDER BY k.ordinal_position SEPARATOR '\\0'), '', ''
FROM information_schema.key_column_usage AS k JOIN information_schema.referential_constraints AS r
  ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name
  AND BINARY r.table_name = k.table_name
WHERE k.table_schema = database() AND k.referenced_table_name IS NOT NULL
GROUP BY BINARY k.table_name, k.constraint_name, k.referenced_table_name, r.update_rule, r.delete_rule
"""
CHECKS = {  # without the one that is MariaDB's type json
    "MariaDB": r"""
SELECT 'check constraint', concat(constraint_name, ' on ', table_name), table_name, check_clause, '', '', ''
FROM information_schema.check_constraints
WHERE constraint_schema = database() AND check_clause <> concat('json_valid(`', constraint_name, '`)')
""",
    "MySQL": """
SELECT 'check constraint', concat(t.constraint_name, ' on ', t.table_name), t.table_name,
       concat_ws(' ', c.check_clause, t.enforced), '', '', ''
FROM information_schema.check_constraints AS c JOIN information_schema.table_constraints AS t
  ON t.constraint_schema = c.constraint_schema AND t.constraint_name = c.constraint_name
WHERE c.constraint_schema = database() AND t.constraint_type = 'CHECK'
""",
}
CHECK_COUNT = {
    flavour: "SELECT 'check constraint', '', count(*) FROM information_schema.check_constraints"
    f" WHERE constraint_schema = database() {more}"
    for flavour, more in {
        "MariaDB": "AND check_clause <> concat('json_valid(`', constraint_name, '`)')",
        "MySQL": "",
    }.items()
}
COUNTERS = f"""
SELECT 'identity', concat(table_name, '.', column_name), table_name, '', '', '', ''
FROM information_schema.columns WHERE {_OF} AND extra LIKE '%auto_increment%'
"""
_SESSION = "sql_mode, character_set_client, collation_connection, database_collation"
ROUTINES = f"""
SELECT lower(routine_type), routine_name, '', concat_ws(' | ', dtd_identifier, is_deterministic, sql_data_access,
         security_type, routine_definition, routine_comment, {_SESSION}), '', '', definer
FROM information_schema.routines WHERE routine_schema = database()
"""
PARAMETERS = """
SELECT lower(routine_type), specific_name, concat_ws(' ', parameter_mode, parameter_name, dtd_identifier)
FROM information_schema.parameters WHERE specific_schema = database() AND ordinal_position > 0
ORDER BY routine_type, specific_name, ordinal_position
"""
# Our own are not counted in a trigger's place among those of its event.
TRIGGERS = f"""
SELECT 'trigger', trigger_name, event_object_table, concat_ws(' | ', action_timing, event_manipulation,
         row_number() OVER (PARTITION BY event_object_table, action_timing, event_manipulation ORDER BY action_order),
         action_statement, {_SESSION}), '', '', definer
FROM information_schema.triggers WHERE trigger_schema = database() AND NOT {own.TRIGGER}
"""
EVENTS = f"""
SELECT 'event', event_name, '', concat_ws(' | ', event_type, execute_at, interval_value, interval_field, starts, ends,
         on_completion, event_definition, event_comment, time_zone, {_SESSION}),
       IF(status = 'ENABLED', 'ENABLED', ''), concat('ALTER EVENT `', replace(event_name, '`', '``'), '` ENABLE'),
       definer
FROM information_schema.events WHERE event_schema = database()
"""
COMMENTS = f"""
SELECT 'comment', concat('table ', table_name), table_name, table_comment, '', '', '' FROM information_schema.tables
WHERE {_OF} AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') AND table_comment <> ''
UNION ALL
SELECT 'comment', concat('column ', c.table_name, '.', c.column_name), c.table_name, c.column_comment, '', '', ''
FROM information_schema.columns AS c JOIN information_schema.tables AS t
  ON t.table_schema = c.table_schema AND t.table_name = c.table_name
WHERE c.table_schema = database() AND c.column_comment <> '' AND t.table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')
"""
_OPTION = "IF(is_grantable = 'YES', ' WITH GRANT OPTION', '')"
GRANTS = rf"""
SELECT 'grant', concat(privilege_type, ' on database to ', grantee), '', {_OPTION}, '',
       concat('GRANT ', privilege_type, ' ON * TO ', grantee, {_OPTION}), grantee
FROM information_schema.schema_privileges
WHERE replace(table_schema, '\\_', '_') = database() AND privilege_type <> 'USAGE'
UNION ALL
SELECT 'grant', concat(privilege_type, ' on table ', table_name, ' to ', grantee), table_name, {_OPTION}, '',
       concat('GRANT ', privilege_type, ' ON `', replace(table_name, '`', '``'), '` TO ', grantee, {_OPTION}), grantee
FROM information_schema.table_privileges WHERE {_OF} AND privilege_type <> 'USAGE'
UNION ALL
SELECT 'grant', concat(privilege_type, ' on column ', table_name, '.', column_name, ' to ', grantee), table_name,
       {_OPTION}, '', concat('GRANT ', privilege_type, ' (`', replace(column_name, '`', '``'), '`) ON `',
         replace(table_name, '`', '``'), '` TO ', grantee, {_OPTION}), grantee
FROM information_schema.column_privileges WHERE {_OF}
"""
DATABASE = """
SELECT 'database setting', 'collation', '', default_collation_name, '',
       concat('ALTER DATABASE COLLATE ', default_collation_name), ''
FROM information_schema.schemata WHERE schema_name = database()
"""
HISTOGRAMS = """
SELECT 'histogram', concat(table_name, '.', column_name), table_name, '', '',
       concat('ANALYZE TABLE `', table_name, '` UPDATE HISTOGRAM ON `', column_name, '`'), ''
FROM information_schema.column_statistics WHERE schema_name = database()
"""  # MySQL only
# Accounts of the server, where the login may see them.
ACCOUNTS = r"SELECT concat('''', user, '''@''', host, '''') FROM mysql.user"

# By the type columns of the catalogs, and by nothing that the queries above select.
COUNTS = f"""
SELECT {_TABLE_KINDS}, table_name, count(*) FROM information_schema.tables WHERE {_OF} GROUP BY 1, 2
UNION ALL
SELECT 'partition', table_name, count(*) FROM information_schema.partitions
WHERE {_OF} AND partition_name IS NOT NULL GROUP BY 2
UNION ALL
SELECT {_CONSTRAINT.format(type="constraint_type")}, table_name, count(*) FROM information_schema.table_constraints
WHERE {_OF} AND constraint_type <> 'CHECK' GROUP BY 1, 2
UNION ALL
SELECT 'index', table_name, count(DISTINCT index_name) FROM information_schema.statistics
WHERE {_OF} AND non_unique = 1 GROUP BY BINARY table_name
UNION ALL
SELECT lower(routine_type), '', count(*) FROM information_schema.routines WHERE routine_schema = database() GROUP BY 1
UNION ALL
SELECT 'trigger', trigger_name, count(*) FROM information_schema.triggers WHERE trigger_schema = database() GROUP BY 2
UNION ALL
SELECT 'event', '', count(*) FROM information_schema.events WHERE event_schema = database()
UNION ALL
SELECT 'identity', table_name, count(*) FROM information_schema.columns
WHERE {_OF} AND extra LIKE '%auto_increment%' GROUP BY 2
"""
