"""How tables that a copy finds there are handled: today's options outrank those of a half-made copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbook_lib.databases.port import OtherObjects, Problem
from runbook_lib.errors import TransferError
from runbook_lib.schema import create_target as made
from runbook_lib.schema.trial_ddl import Scripts, require_accepted
from runbook_lib.transfer.chunk_store import begun, forget_channel, unfinished

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbook_lib.databases.port import Database
    from runbook_lib.operations.pair import How, Pair
    from runbook_lib.schema.convert.target_schema import TargetSchema

_NAMED = 5  # of many


def make_room(pair: Pair, how: How, rest: OtherObjects, tell: Callable[[str], object]) -> None:
    """Drop, empty, keep or refuse the tables that are there, as requested; without a word a copy of ours resumes.

    A half-made copy of ours that was begun with other `--type` is started again: its tables are dropped.

    Raises:
        TransferError: tables that this copy did not make, or that it finished with other types; nothing was done.
    """
    service, target = pair.service, pair.target
    names = [mapping.target for mapping in service.tables]
    there = set(target.tables())
    present = [name for name in names if name in there]
    ours = made.made_here(service, target)
    if how.existing == "drop":
        made.forget_service(service, target)
        if present:
            target.run_script(rest.undo)
            target.drop_tables(present)
        elif rest.texts:
            target.run_script(rest.undo)
        forget_channel(target, service.name)
    elif how.existing == "empty":
        target.execute(*(f"DELETE FROM {target.quote(name)}" for name in reversed(names) if name in there))
        forget_channel(target, service.name)
    elif ours and _overridden_otherwise(pair):
        _restart(pair, tell)
    elif present and how.existing == "refuse" and not ours:
        raise TransferError(
            f"{target.name}: {', '.join(present[:5])}{' …' if len(present) > 5 else ''}",
            f"{len(present)} tables are there already, and this copy did not make them",
            expected="a target without them",
            state="nothing was done",
            action="--on-existing keep (empty tables of the right shape), empty, or drop",
        )


def tried(
    pair: Pair, how: How, rest: OtherObjects, tell: Callable[[str], object], schema: TargetSchema | None
) -> Scripts | None:
    """What makes the target's schema, tried there; None where nothing is to be made, or `make_room` will refuse.

    Raises:
        TransferError: the target refuses some of it; nothing was made.
    """
    if how.existing != "drop" and not made.made_here(pair.service, pair.target):
        _refuse_others(pair.target, rest)
    service, target, there = pair.service, pair.target, set(pair.target.tables())
    present = [mapping.target for mapping in service.tables if mapping.target in there]
    room = how.existing == "drop" or made.made_here(service, target)
    if goes_on(pair, how) or (present and not room):
        return None
    scripts = made.scripts_of(service, pair.source, target, pair.plan.types, rest, schema)
    require_accepted(pair.source, target, scripts, rest, gone=present, tell=tell)
    return scripts


def _refuse_others(target: Database, rest: OtherObjects) -> None:
    """Where DDL cannot be tried and undone: objects of the same name that are others would be taken for the copy's.

    Raises:
        TransferError: there are some; nothing was done.
    """
    here = target.dump_rest(target.tables()).texts if rest.texts else {}
    if others := [label for label, text in rest.texts.items() if here.get(label, text) != text]:
        more = " …" if len(others) > _NAMED else ""
        raise TransferError(
            f"{target.name}: {', '.join(others[:_NAMED])}{more}",
            f"{len(others)} objects of these names are there already, and are not the source's",
            expected="none, or the same",
            state="nothing was done",
            action="drop or rename them at the target, or --on-existing drop",
        )


def goes_on(pair: Pair, how: How) -> bool:
    """Whether this call resumes a copy that was begun before."""
    anew = how.existing in ("drop", "empty") or _overridden_otherwise(pair)
    return not anew and begun(pair.target, pair.service.name)


def spared(pair: Pair, how: How, problem: Problem) -> bool:
    """Whether what is said of a table of the target cannot touch this copy: it is another's, or its rows are there.

    Triggers are made when a table has all its rows, and a plain copy writes no row after that.
    """
    table = problem.detail.get("table", "")
    if not table:
        return False
    ours = table in {mapping.target for mapping in pair.service.tables}
    return not ours or how.existing == "drop" or (not how.follow and goes_on(pair, how))


def _overridden_otherwise(pair: Pair) -> bool:
    if pair.source.dialect == pair.target.dialect or not made.made_here(pair.service, pair.target):
        return False
    before = made.overrides_before(pair.service, pair.target)
    return before is not None and before != made.overrides_text(pair.plan.types)


def _restart(pair: Pair, tell: Callable[[str], object]) -> None:
    service, target = pair.service, pair.target
    if begun(target, service.name) and not unfinished(pair.forward):
        raise TransferError(
            f"{target.name}: {len(service.tables)} tables",
            "were copied with other --type than today's",
            state="nothing was done",
            action="the same --type to resume, or --on-existing drop to start again",
        )
    made.drop_tables(service, target)
    forget_channel(target, service.name)
    tell("the copy that was begun with other --type is started again: its tables were dropped")
