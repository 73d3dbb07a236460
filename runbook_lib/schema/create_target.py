"""Make the schema that a service's tables have at the target.

Another engine: the catalog is translated (`TargetSchema`). The same: the engine works out what depends on what. The
source's tables are made at the (empty) target with everything that belongs to them, omitted columns are dropped there
with all that hangs on them, derived tables are added, and the result is dumped again in two parts. The first part
(tables) is made now; the second (indexes, constraints, triggers) is kept in the target and run after the bulk load.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Database, OtherObjects, Table
from runbook_lib.errors import DatabaseError, TransferError
from runbook_lib.plan.model import Service, TableMapping
from runbook_lib.schema.convert import service_tables
from runbook_lib.schema.convert.left_behind import refresh
from runbook_lib.schema.convert.target_schema import TargetSchema
from runbook_lib.schema.kept_scripts import (
    BEING_MADE,
    KEYS,
    MADE,
    OBJECTS,
    REST,
    TOLD,
    Part,
    cut,
    forget,
    kept,
    portions,
    run_part,
    run_together,
    state,
    store,
)
from runbook_lib.schema.mapped_columns import forward_expressions
from runbook_lib.schema.trial_ddl import Scripts, require_accepted
from runbook_lib.util.thread_pool import Task, batches, run_all

SMALL_BYTES = 2**20  # an index on so much is made in no time: several share a transaction
_ROUNDS = 5  # of settling what the rows do not allow yet; one is enough unless values move without pause


def create_tables(
    service: Service,
    source: Database,
    target: Database,
    types: Mapping[str, str] | None = None,
    rest: OtherObjects | None = None,
    *,
    keep: bool = False,
    scripts: Scripts | None = None,
) -> tuple[str, ...]:
    """Create the service's tables at the target, without indexes and constraints; the tables created.

    Idempotent: tables that this function made before are left as they are.

    Args:
        types: The plan's `types:`, for a target of another engine.
        rest: Objects beside the tables, made by `run_rest` when the tables are complete.
        keep: Tables that are there stay as they are, if all of them are.
        scripts: What makes them, where it was tried already (`scripts_of`).
    Raises:
        TransferError: the target has a table of this name that was not made by this function, or refuses the schema.
        PlanError: something cannot be translated, and the plan does not say how to handle it.
    """
    wanted = tuple(mapping.target for mapping in service.tables)
    if keep and not state(target, service.name) and set(_present(service, target)) >= set(wanted):
        store(target, service.name, MADE, _cut_rest(target, rest))
        return ()
    if not _to_make(service, target):
        refresh(service.name, target, rest)
        return ()
    scripts = scripts or _accepted(service, source, target, types or {}, rest)
    store(target, service.name, BEING_MADE)
    before, objects, keys = scripts
    parts = [*cut(target, OBJECTS, objects), *cut(target, KEYS, keys), *_cut_rest(target, rest)]
    parts.append(Part(TOLD, script=overrides_text(types or {})))
    store(target, service.name, BEING_MADE, [part for part in parts if part.kind == OBJECTS])
    _make(service, target, portions(before))
    store(target, service.name, MADE, parts)
    return wanted


def accepted_scripts(
    service: Service, source: Database, target: Database, types: Mapping[str, str] | None = None
) -> Scripts | None:
    """What makes the service's tables, tried at the target, which is left as it was; None: they are made already.

    Raises:
        TransferError: the target has such a table, or refuses some of it, if only an index: each by name.
        PlanError: something cannot be translated, and the plan does not say how to handle it.
    """
    return _accepted(service, source, target, types or {}, None) if _to_make(service, target) else None


def _to_make(service: Service, target: Database) -> bool:
    """Whether the tables are still to be made; what a kill has left of them is dropped.

    Raises:
        TransferError: some are there, and are somebody else's.
    """
    made = state(target, service.name)
    if made == BEING_MADE:
        _clear(service, target)
    present = _present(service, target)
    if made == MADE and set(present) >= {mapping.target for mapping in service.tables}:
        return False
    if present:
        raise TransferError(
            f"{target.name}: {', '.join(present)}",
            "already there, and not made by this run",
            expected="a database without the service's tables",
            state="nothing was created",
            action="drop them, or give the service an empty database",
        )
    return True


def _accepted(
    service: Service, source: Database, target: Database, types: Mapping[str, str], rest: OtherObjects | None
) -> Scripts:
    store(target, service.name, BEING_MADE)  # a changed table's shape is worked out there: a kill is cleared up
    scripts = scripts_of(service, source, target, types, rest)
    try:
        require_accepted(source, target, scripts, rest, whole=rest is None)
    finally:
        forget(target, service.name)
    return scripts


def scripts_of(
    service: Service,
    source: Database,
    target: Database,
    types: Mapping[str, str],
    rest: OtherObjects | None,
    schema: TargetSchema | None = None,
) -> Scripts:
    """What makes the tables; then indexes, constraints, triggers; then foreign keys.

    Args:
        schema: What the tables become at a target of another engine, where that is worked out already.
    """
    schema = schema or service_tables.target_schema(service, source, target, types)
    if schema is None:
        return _shape(service, source, target, rest.tables if rest else None)
    return service_tables.scripts(service, schema)


def _make(service: Service, target: Database, scripts: Sequence[str]) -> None:
    made = 0
    try:
        for script in scripts:
            target.run_script(script)
            made += 1
    finally:
        if 0 < made < len(scripts):  # a kill here is cleared up by the next attempt
            _clear(service, target)


def overrides_text(types: Mapping[str, str]) -> str:
    """The plan's `types:` as one text, to tell whether a copy was begun with others."""
    return json.dumps(dict(sorted(types.items())))


def overrides_before(service: Service, target: Database) -> str | None:
    """The types that the tables were made by; None where that is not known."""
    return next((part.script for part in kept(target, service.name, TOLD)), None)


def _cut_rest(target: Database, rest: OtherObjects | None) -> list[Part]:
    return cut(target, REST, rest.script if rest else "")


def index_tasks(
    service: Service, target: Database, *, beside_writers: bool = False
) -> Callable[[Sequence[str]], Sequence[Task]]:
    """What can be made when tables have all their rows, as `build_indexes` would: their keys, then their indexes.

    What was kept is read and split once, for all the tables.

    Args:
        beside_writers: What the rows do not allow yet is left to `build_indexes`.
    Returns:
        The tasks of one table, or of several small ones, by their names.
    """
    parts = kept(target, service.name, OBJECTS)
    of_table: dict[str, list[Part]] = {}
    for part, table in zip(parts, _about(service, target, parts), strict=True):
        of_table.setdefault(table, []).append(part)
    task = partial(_task, target, service.name, (DatabaseError,) if beside_writers else ())

    def tasks(tables: Sequence[str]) -> Sequence[Task]:
        mine = [part for table in tables for part in of_table.get(table, [])]
        if len(tables) > 1:  # small ones
            return [partial(task, sorted(mine, key=lambda part: part.stage))] if mine else []
        last = max((part.stage for part in mine), default=0)
        plain: list[Task] = [partial(task, [part]) for part in mine if part.stage == last]
        first = [part for part in mine if part.stage < last]
        return [partial(task, first, plain)] if first else plain

    return tasks


def _about(service: Service, target: Database, parts: Sequence[Part]) -> list[str]:
    return target.about([part.script for part in parts], [mapping.target for mapping in service.tables])


def _task(
    target: Database,
    service: str,
    left: tuple[type[DatabaseError], ...],
    parts: Sequence[Part],
    more: Sequence[Task] = (),
) -> Sequence[Task]:
    for error in run_together(target, service, parts).values():
        if not isinstance(error, left):
            raise error
    return more


def build_indexes(
    service: Service,
    target: Database,
    jobs: int = 2,
    settle: Callable[[], object] | None = None,
    refused: dict[Part, DatabaseError] | None = None,
) -> int:
    """Run what was kept for after the load, but for the foreign keys: indexes, constraints, triggers; the indexes.

    Idempotent: a script that ran is forgotten in the same transaction.

    Args:
        jobs: Tables worked on at a time (count).
        settle: Applies what was logged at the source. Ranges are read one after the other while writes continue, so a
            unique value that moved from row to row may be there twice until then.
        refused: Takes what the database refuses; None: the first is an error, when all of its stage were tried.
    Raises:
        DatabaseError: the rows do not allow something; what was made stays.
    """
    tables = [mapping.target for mapping in service.tables]
    small = set(target.small_tables(tables, SMALL_BYTES))
    for _, stage in groupby(kept(target, service.name, OBJECTS), key=lambda part: part.stage):
        parts = list(stage)
        about = target.about([part.script for part in parts], list(small))
        of_small = {part for part, table in zip(parts, about, strict=True) if table}
        groups = batches(parts, of_small.__contains__, jobs)
        left, attempt = _refused_of(target, service.name, groups, jobs), 0
        while left:
            attempt += 1
            if settle is None or attempt > _ROUNDS:
                if refused is None:
                    raise next(iter(left.values()))
                refused |= left
                break
            settle()
            left = _refused_of(target, service.name, [[part] for part in left], jobs)
    for _ in run_all(target.analyze, batches(tables, small.__contains__, jobs), jobs=jobs):
        pass
    return sum(len(table.indexes) for table in target.catalog(tables).values())


def _refused_of(
    target: Database, service: str, groups: Sequence[Sequence[Part]], jobs: int
) -> dict[Part, DatabaseError]:
    """Run all of these, even when some of them fail; those that the database refused."""
    refused: dict[Part, DatabaseError] = {}
    for _, errors in run_all(partial(run_together, target, service), groups, jobs=jobs):
        refused |= errors
    return refused


def add_foreign_keys(service: Service, target: Database) -> None:
    """Add the foreign keys within the service, proven over all rows. Idempotent.

    Raises:
        DatabaseError: parents and children do not agree now; nothing was added.
    """
    for part in kept(target, service.name, KEYS):
        run_part(target, service.name, part)


def made_here(service: Service, target: Database) -> bool:
    """Whether `create_tables` made this service's tables, or began to."""
    return bool(state(target, service.name))


def left(service: Service, target: Database) -> int:
    """Scripts that are still to be run (count)."""
    return sum(len(kept(target, service.name, kind)) for kind in (BEING_MADE, OBJECTS, KEYS, REST))


def forget_service(service: Service, target: Database) -> None:
    """Forget what was kept for this service; its tables stay."""
    if state(target, service.name):
        forget(target, service.name)


def drop_tables(service: Service, target: Database) -> tuple[str, ...]:
    """Drop what `create_tables` made, and nothing when it made nothing; the tables dropped."""
    if not state(target, service.name):
        return ()
    present = _clear(service, target)
    forget(target, service.name)
    return tuple(present)


def _clear(service: Service, target: Database) -> list[str]:
    """Drop the service's tables and all that came with them; the tables dropped.

    What belongs to a table is read from the catalog, where a trigger's function belongs to it only once the trigger is
    there: what was kept for later is made first (in no time: the tables are emptied).
    """
    present = _present(service, target)
    left = kept(target, service.name, OBJECTS)
    if present and any("FUNCTION" in part.script for part in left):
        target.run_script(f"TRUNCATE {', '.join(target.quote(table) for table in present)};")
        for part in left:
            run_part(target, service.name, part)
    target.drop_tables(present)
    return present


def _shape(
    service: Service, source: Database, target: Database, dumped: tuple[str, str] | None
) -> tuple[str, str, str]:
    """The three scripts of the service's tables as the plan wants them (nothing of it stays at the target)."""
    plain = [mapping for mapping in service.tables if not mapping.derived]
    before, after = dumped or source.dump_schema([mapping.source for mapping in plain])
    if all(m == TableMapping(m.source, m.source, where=m.where, line=m.line) for m in service.tables):
        return before, *source.split_references(after)  # as they are: no need to try them out
    origin = source.catalog([mapping.source for mapping in service.tables])
    try:
        try:
            target.run_script(f"{before}\n{after}")  # one transaction: a trigger's function never stays without it
        except DatabaseError:
            require_accepted(source, target, (before, after, ""), whole=True)  # says all that is refused, by name
            raise
        for mapping in plain:
            _trim(mapping, target)
        for mapping in service.tables:
            if mapping.derived:
                target.run_script(_derived(service, mapping, source, target, origin[mapping.source]))
        before, after = target.dump_schema([mapping.target for mapping in service.tables])
        return before, *target.split_references(after)
    finally:
        target.drop_tables(_present(service, target))


def _trim(mapping: TableMapping, target: Database) -> None:
    table = target.quote(mapping.source)
    dialect = dialect_of(target.dialect)
    for column in mapping.omit:
        indexes = target.catalog([mapping.source])[mapping.source].indexes
        held = [target.ident(index.name) for index in indexes if column in index.columns]
        target.execute(*dialect.drop_column(table, target.ident(column), held))
    if mapping.target != mapping.source:
        target.execute(f"ALTER TABLE {table} RENAME TO {target.quote(mapping.target)}")


def _derived(service: Service, mapping: TableMapping, source: Database, target: Database, origin: Table) -> str:
    """A derived table: types from its expressions; its key refers to the table it was taken from, if that moves too."""
    expressions = forward_expressions(mapping, source, origin)
    types = source.expression_types(source.quote(mapping.source), tuple(expressions.values()))
    key = tuple(mapping.key) or origin.key
    lines = [f"{target.ident(c)} {kind}" for c, kind in zip(expressions, types, strict=True)]
    names = ", ".join(target.ident(column) for column in key)
    lines.append(f"PRIMARY KEY ({names})")
    main = next((m for m in service.tables if not m.derived and m.source == mapping.source), None)
    referenced = tuple(mapping.key.get(column, column) for column in key)
    if main and set(referenced) == set(origin.key):
        columns = ", ".join(target.ident(column) for column in referenced)
        lines.append(f"FOREIGN KEY ({names}) REFERENCES {target.quote(main.target)} ({columns}) ON DELETE CASCADE")
    return f"CREATE TABLE {target.quote(mapping.target)} ({', '.join(lines)})"


def _present(service: Service, target: Database) -> list[str]:
    """The service's tables that are there, under the source's or their own names."""
    names = dict.fromkeys(name for m in service.tables for name in (m.target, *(() if m.derived else (m.source,))))
    there = set(target.tables())
    return [name for name in names if name in there]
