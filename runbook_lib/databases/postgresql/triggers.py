"""Triggers that log keys: a row trigger for each change, a statement trigger for TRUNCATE.

They never make a writer fail (docs/correctness.md#writers-never-fail-for-a-capture). The key is read into variables of
the log's types inside an exception block: nothing is written there, so it costs no transaction number. What cannot be
logged is noted as lost. Each trigger depends on the log's row type, so DROP TABLE … CASCADE takes the triggers along.
TRUNCATE of a partition that was attached after the capture was installed fires none: `take_in` logs a marker for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from runbook_lib.databases.postgresql import quoting
from runbook_lib.databases.postgresql.table_facts import SCHEMA, TEXT, as_key, listed, logged_types, members, own_name

# Each member of a partition tree has its row trigger (a clone of the root's) and its own one for TRUNCATE.
_COMPLETE = f"""
SELECT c.table_name FROM {SCHEMA}.captures AS c
WHERE c.channel = %s AND to_regclass(c.relation) IS NOT NULL AND to_regclass(c.log) IS NOT NULL AND NOT EXISTS (
  SELECT FROM (SELECT to_regclass(c.relation)::oid AS relid
               UNION SELECT relid::oid FROM pg_partition_tree(to_regclass(c.relation))) AS m
  WHERE 2 > (SELECT count(*) FROM pg_trigger AS t WHERE t.tgrelid = m.relid AND t.tgenabled IN ('O', 'A')
             AND t.tgfoid = to_regprocedure(c.function || '()')))
"""
_FUNCTION = """
CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $capture$
DECLARE
  {variables}
  why text;
BEGIN
  BEGIN
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
      {olds}
    END IF;
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
      {news}
    END IF;
    IF has_table_privilege({oid}, 'INSERT') IS NOT TRUE THEN
      why := 'its log is gone, or may not be written';
    END IF;
  EXCEPTION WHEN OTHERS THEN  -- a query that is cancelled is none of these
    why := 'a change could not be logged: ' || SQLERRM;
  END;
  IF why IS NOT NULL THEN
    BEGIN
      INSERT INTO {losses} (channel, table_name, why) SELECT {channel}, {table}, why
        WHERE NOT EXISTS (SELECT FROM {losses} WHERE channel = {channel} AND table_name = {table});
    EXCEPTION WHEN serialization_failure OR deadlock_detected THEN
      RAISE;
    WHEN OTHERS THEN
      RAISE LOG 'runbook: a change of % was not logged: %; nor could that be noted: %', {table}, why, SQLERRM;
    END;
  ELSIF TG_OP = 'INSERT' THEN
    INSERT INTO {log} ({keys}) VALUES ({new});
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO {log} ({keys}) VALUES ({old});
  ELSIF TG_OP = 'TRUNCATE' THEN
    INSERT INTO {log} (truncated) VALUES (true);
  ELSIF record_image_ne(ROW({old}), ROW({new})) THEN  -- binary: 'a' and 'A' are two keys, always
    INSERT INTO {log} ({keys}) VALUES ({old}), ({new});
  ELSE
    INSERT INTO {log} ({keys}) VALUES ({new});
  END IF;
  RETURN NULL;
END $capture$
"""
# A condition that always holds, and makes a trigger depend on its log.
_NEEDS = "WHEN (NULL::{log} IS NULL)"


def on_all(driver: psycopg.Connection[Any], channel: str) -> frozenset[str]:
    """The channel's tables that have their log, and enabled triggers on every partition."""
    return frozenset(table for (table,) in driver.execute(_COMPLETE.encode(), (channel,)))


_UNTRUNCATED = f"""
SELECT c.function, c.log, array_agg(format('%%I.%%I', n.nspname, p.relname) ORDER BY p.oid)
FROM {SCHEMA}.captures AS c, pg_partition_tree(to_regclass(c.relation)) AS m
JOIN pg_class AS p ON p.oid = m.relid JOIN pg_namespace AS n ON n.oid = p.relnamespace
WHERE c.channel = %s AND c.table_name = %s AND 1 = (
  SELECT count(*) FROM pg_trigger AS t WHERE t.tgrelid = p.oid AND t.tgenabled IN ('O', 'A') AND t.tgtype & 1 = 1
    AND t.tgfoid = to_regprocedure(c.function || '()'))
  AND NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = p.oid AND t.tgtype & 1 = 0
                  AND t.tgfoid = to_regprocedure(c.function || '()'))
GROUP BY 1, 2
"""


def take_in(driver: psycopg.Connection[Any], channel: str, table: str) -> None:
    """Give partitions that were made or attached since what they lack, the TRUNCATE trigger.

    They have the root's row trigger. A marker is logged for rows that a TRUNCATE took before.
    """
    found = driver.execute(_UNTRUNCATED.encode(), (channel, table)).fetchall()
    for function, log, fresh in found:
        trigger = own_name("runbook_truncate", channel, table)
        for member in fresh:
            made = f"{trigger} AFTER TRUNCATE ON {member} FOR EACH STATEMENT {_NEEDS.format(log=log)}"
            driver.execute(f"CREATE TRIGGER {made} EXECUTE FUNCTION {function}()".encode())
        driver.execute(f"INSERT INTO {log} (truncated) VALUES (true)".encode())


def _function_sql(
    driver: psycopg.Connection[Any], channel: str, table: str, key: Sequence[str], log: str, function: str
) -> str:
    types, count = logged_types(driver, table), range(len(key))
    [(oid,)] = driver.execute("SELECT to_regclass(%s)::oid::text", (log,)).fetchall()
    old, new = ([f"{record}{i}" for i in count] for record in ("old", "new"))
    olds, news = (
        " ".join(
            f"{record}{i} := {_value(f'{record.upper()}.{quoting.ident(column)}', types[column])};"
            for i, column in enumerate(key)
        )
        for record in ("old", "new")
    )
    return _FUNCTION.format(
        function=function,
        variables=" ".join(f"{name}{i} {types[key[i]]};" for name in ("old", "new") for i in count),
        olds=olds,
        news=news,
        oid=oid,
        losses=f"{SCHEMA}.losses",
        channel=quoting.literal(channel),
        table=quoting.literal(table),
        log=log,
        keys=listed([f"k{i}" for i in count]),
        old=listed(old),
        new=listed(new),
    )


def _value(expression: str, kind: str) -> str:
    return as_key(expression, kind) if kind == TEXT else expression


def remove(driver: psycopg.Connection[Any], channel: str, table: str) -> None:
    """Drop what `create` has made, on whatever tables it is."""
    driver.execute(f"DROP FUNCTION IF EXISTS {SCHEMA}.{own_name('capture', channel, table)}() CASCADE".encode())


def create(driver: psycopg.Connection[Any], channel: str, table: str, key: Sequence[str], log: str) -> str:
    """Make the function that logs this table's keys, and its triggers on the table and its partitions; its name."""
    function = f"{SCHEMA}.{own_name('capture', channel, table)}"
    driver.execute(_function_sql(driver, channel, table, key, log, function).encode())
    driver.execute(f"REVOKE ALL ON FUNCTION {function}() FROM PUBLIC".encode())
    rows, truncate = (own_name(kind, channel, table) for kind in ("runbook_rows", "runbook_truncate"))
    root = quoting.quote(table)
    made = [f"{rows} AFTER INSERT OR UPDATE OR DELETE ON {root} FOR EACH ROW"]
    made += [f"{truncate} AFTER TRUNCATE ON {member} FOR EACH STATEMENT" for member in members(driver, table)]
    for trigger in made:
        driver.execute(f"CREATE TRIGGER {trigger} {_NEEDS.format(log=log)} EXECUTE FUNCTION {function}()".encode())
    return function
