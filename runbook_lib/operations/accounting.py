"""The account of a copy without a plan: predicted before the first table is made, measured when it has ended."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from runbook_lib.assessment.account import Account
from runbook_lib.assessment.fates import Route, comparable_name, measure, predict
from runbook_lib.assessment.kinds import BY_STATEMENT
from runbook_lib.databases.port import CatalogObject, Database, Inventory
from runbook_lib.errors import DatabaseError, TransferError
from runbook_lib.schema.convert.left_behind import LeftBehind


def expected(source: Database, target: Database, route: Route) -> tuple[Account, Inventory]:
    """How everything that the source has will be handled, and what it has.

    Raises:
        TransferError: something that the tables cannot be without is missing at the target; nothing was done.
    """
    there = source.inventory()
    account = predict(there, target.inventory(), route)
    if account.refused:
        first, more = account.refused[0], len(account.refused) - 1
        raise TransferError(
            f"{source.name}: {first.kind} {first.name}",
            first.why + (f" (and {more} more objects cannot be made there)" if more else ""),
            state="nothing was done",
            action=first.action,
        )
    return account, there


def finish(there: Inventory, target: Database, route: Route, left: Sequence[LeftBehind] = ()) -> Account:
    """Give owners and privileges, then say how everything that the source has was handled.

    Args:
        left: What could not be made, with the database's reasons.
    """
    refused = {comparable_name(one.name): (one.why, one.action) for one in left if one.name}
    route, here = replace(route, refused=refused), target.inventory()
    account = measure(there, here, route)
    lost = {(line.kind, line.name) for line in account.unaccounted if line.kind in BY_STATEMENT}
    items = [o for o in there.objects if (o.kind, o.name) in lost and here.outside.issuperset(o.needs)]
    if not items or not route.same_engine:
        return account
    said = _given(sorted(items, key=lambda item: BY_STATEMENT.index(item.kind)), target)
    return measure(there, target.inventory(), replace(route, said={**route.said, **said}))


def _given(items: Sequence[CatalogObject], target: Database) -> dict[tuple[str, str], str]:
    """Run the statements of these; (kind, name) → why one was refused."""
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
