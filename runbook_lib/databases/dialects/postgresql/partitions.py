"""A partition that is made where the DEFAULT partition may have its rows: they move into it, in one transaction.

PostgreSQL refuses it otherwise (23514). The condition is the server's own, of an empty table that is partitioned
alike; nothing is detached, so that foreign keys and triggers stay as they are, and none fires.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from runbook_lib.databases.model import CatalogObject

_BOUND = re.compile(r"PARTITION OF (?P<parent>.+?) (?P<bound>FOR VALUES .+|DEFAULT)", re.DOTALL)
_MOVED = """
SET LOCAL session_replication_role = replica;
DO $runbook$
DECLARE
  part text;
  columns text := (SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute
    WHERE attrelid = {parent}::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '');
BEGIN
  EXECUTE format('CREATE TEMP TABLE runbook_parted (LIKE %s) PARTITION BY %s ON COMMIT DROP',
    {parent}, pg_get_partkeydef({parent}::regclass));
  CREATE TEMP TABLE runbook_part PARTITION OF runbook_parted {bound};
  part := pg_get_partition_constraintdef('runbook_part'::regclass);
  EXECUTE format('CREATE TEMP TABLE runbook_rows ON COMMIT DROP AS SELECT %s FROM {default} WHERE %s', columns, part);
  EXECUTE format('DELETE FROM {default} WHERE %s', part);
  CREATE TABLE {name} {definition};
  EXECUTE format('INSERT INTO {made} (%1$s) OVERRIDING SYSTEM VALUE SELECT %1$s FROM runbook_rows', columns);
END $runbook$"""


def made_partition(new: CatalogObject, there: Iterable[CatalogObject]) -> str:
    """The statements, for one transaction, that make a partition; one that is parted again gets no rows.

    Args:
        there: What the database has.
    """
    plain = f"CREATE TABLE {new.name} {new.definition}"
    found = _BOUND.match(new.definition)
    if found is None or found["bound"] == "DEFAULT" or " PARTITION BY " in found["bound"]:
        return plain
    whole = f"PARTITION OF {found['parent']} DEFAULT"
    defaults = [one.name for one in there if one.kind == "partition" and one.definition.startswith(whole)]
    if not defaults:
        return plain
    parent, default, made = (name.replace("'", "''") for name in (found["parent"], defaults[0], new.name))
    return _MOVED.format(
        parent=f"'{parent}'",
        bound=found["bound"],
        default=default.replace("%", "%%"),
        name=new.name,
        made=made.replace("%", "%%"),
        definition=new.definition,
    ).strip()
