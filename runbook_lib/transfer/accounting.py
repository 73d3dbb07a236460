"""The account of a copy without a plan: predicted before the first table is made, measured when it has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from runbook_lib.assessment.account import Account
from runbook_lib.assessment.fates import Route, loose_name, measure, predict
from runbook_lib.assessment.kinds import BY_STATEMENT
from runbook_lib.databases.port import Database, Inventory, Table
from runbook_lib.errors import DatabaseError, TransferError
from runbook_lib.plan.model import Service
from runbook_lib.schema.across import foreseen
from runbook_lib.schema.left_behind import LeftBehind

_CONSTRAINTS = {
    "primary": "primary key",
    "unique": "unique constraint",
    "foreign": "foreign key",
    "check": "check constraint",
    "exclusion": "exclusion constraint",
}


def route_of(
    service: Service, source: Database, target: Database, types: Mapping[str, str], *, whole: bool, kept: bool = False
) -> Route:
    """From where to where a service's tables are moved.

    Args:
        types: As in a plan, for a target of another engine.
        whole: Whether all else that the source has is to be moved too.
        kept: Whether tables that the target has are left as they are.
    """
    tables = {mapping.source: mapping.target for mapping in service.tables if not mapping.derived}
    if source.dialect == target.dialect:
        return Route(source.dialect, target.dialect, tables, whole, kept)
    origin = {there: here for here, there in tables.items()}
    promised = foreseen(service, source, target, types)
    carried = frozenset(
        (kind, origin[name], own) for name, table in promised.items() if name in origin for kind, own in _parts(table)
    )
    return Route(source.dialect, target.dialect, tables, whole, kept, carried)


def _parts(table: Table) -> list[tuple[str, str]]:
    """Indexes and constraints by their names, and by their columns: an engine may know no name, or have its own."""
    listed = [("index", index.name, index.columns) for index in table.indexes]
    listed += [(_CONSTRAINTS[c.kind], c.name, c.columns) for c in table.constraints if c.kind in _CONSTRAINTS]
    return [(kind, name) for kind, named, columns in listed for name in (named, "\0".join(columns))]


def expected(source: Database, target: Database, route: Route) -> Account:
    """What will become of everything that the source has.

    Raises:
        TransferError: something that the tables cannot be without is missing at the target; nothing was done.
    """
    account = predict(source.inventory(), target.inventory(), route)
    if account.refused:
        first, more = account.refused[0], len(account.refused) - 1
        raise TransferError(
            f"{source.name}: {first.kind} {first.name}",
            first.why + (f" (and {more} more objects cannot be made there)" if more else ""),
            state="nothing was done",
            action=first.action,
        )
    return account


def finish(source: Database, target: Database, route: Route, left: Sequence[LeftBehind] = ()) -> Account:
    """Give owners and privileges, then say what became of everything that the source has.

    Args:
        left: What could not be made, with the database's reasons.
    """
    there = source.inventory()
    said = _given(there, target, route) if route.same_engine else {}
    refused = {loose_name(one.name): (one.why, one.action) for one in left if one.name}
    return measure(there, target.inventory(), replace(route, said={**route.said, **said}, refused=refused))


def _given(there: Inventory, target: Database, route: Route) -> dict[tuple[str, str], str]:
    """Run the statements of what is not there yet and can be; (kind, name) → why one was refused."""
    account = measure(there, here := target.inventory(), route)
    lost = {(line.kind, line.name) for line in account.unaccounted if line.kind in BY_STATEMENT}
    items = sorted(
        (item for item in there.objects if (item.kind, item.name) in lost and here.outside.issuperset(item.needs)),
        key=lambda item: BY_STATEMENT.index(item.kind),
    )
    with suppress(DatabaseError):  # one of them is refused: which, is found out below
        target.execute(*(item.statement for item in items))
        return {}
    said = {}
    for item in items:
        try:
            target.execute(item.statement)
        except DatabaseError as error:
            said[item.kind, item.name] = error.observed
    return said
