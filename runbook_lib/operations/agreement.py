"""Whether both sides still agree, checked before the fence of every cutover and every return.

What differed when the copy was made, and was said then, is known (the *baseline*, in the journal); what has changed
since is named: a column, an index, a table, a partition, a view, a sequence. Writers are not moved away from what the
other side does not have, nor to rows that are not all there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runbook_lib.databases.port import CatalogObject, Catalogs, Database, Inventory
from runbook_lib.errors import Refused
from runbook_lib.operations.pair import Pair
from runbook_lib.plan.model import Tolerance
from runbook_lib.transfer.links import Link
from runbook_lib.transfer.quarantine import shown
from runbook_lib.transfer.sync_process import running
from runbook_lib.validation import Kind, Mismatch, Report, ValidationOptions, validate
from runbook_lib.validation.accounts import wordings

SHAPES = ("schemas", "indexes", "constraints")
LEAVE = Tolerance("", "they are left behind, as requested", kind="quarantined")
SHOWN = 6  # differences in a message
# Of a followed table the checks compare these column by column; who owns what is another's affair than the writers'.
_COMPARED = frozenset(
    {"table", "index", "primary key", "unique constraint", "check constraint", "foreign key", "not null", "identity"}
    | {"exclusion constraint", "trigger", "column", "default"}
)
_ASIDE = frozenset({"owner", "definer", "comment", "grant", "default privilege", "default privileges", "statistics"})

COMMAND = "runbook follow apply-ddl SOURCE TARGET"
_CARRY = f"{COMMAND} carries what changed to the other side, or takes it as it is"
_REPLACED = "{}, so that its rows are not those that were copied and logged"
_REPLAY = "correct these rows and `runbook replay`, or leave them behind with --leave-quarantined"
_COMPARE = (
    "runbook compare names the rows; `runbook repair` from the side that has the writers makes the other one equal"
)


@dataclass(frozen=True)
class Difference:
    """One thing that the sides do not agree in, and what to do about it."""

    text: str
    action: str


Read = Callable[[Database], Inventory]


def read_once() -> Read:
    """Inventories, each read when it is first asked for: several services have one source."""
    known: dict[int, Inventory] = {}

    def read(database: Database) -> Inventory:
        if id(database) not in known:
            known[id(database)] = database.inventory()
        return known[id(database)]

    return read


def baseline(pair: Pair, read: Read | None = None) -> dict[str, Any]:
    """What is known when the copy is made (JSON): differences that there are already, and what stands beside tables."""
    tolerances, types, read = pair.plan.tolerances, pair.plan.types, read or read_once()
    pair = pair.seen()
    there = pair.forward
    how: dict[str, Any] = {"types": types, "tolerances": tolerances, "catalogs": pair.catalogs(there)}
    report = validate([there], ValidationOptions(checks=SHAPES, under_writes=False, **how))
    beside = {role: _beside(pair, getattr(pair, role), role, read) for role in ("source", "target")}
    digests = {role: {name: _digest(one) for name, one in found.items()} for role, found in beside.items()}
    return {"differences": sorted(map(_said, report.mismatches)), **digests}


def refuse(there: Link, found: Sequence[Difference]) -> None:
    """Refuse for these differences; none: nothing happens.

    Raises:
        Refused: there are some.
    """
    if found:
        more = f"; {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise Refused(
            f"{there.reader.name} to {there.writer.name}",
            "; ".join(one.text for one in found[:SHOWN]) + more,
            expected="both sides as they were when the copy was made, or the same change on both",
            state="nothing was fenced, the writers stay where they are",
            action="; ".join(dict.fromkeys(one.action for one in found)),
        )


def disagreements(
    pair: Pair, there: Link, opposite: Link, known: Mapping[str, Any], *, whole: bool, leave_quarantined: bool = False
) -> list[Difference]:
    """Compare both sides while writes continue; nothing is fenced, and nothing written.

    Args:
        there: The link over which the writers move; its writer is the side without them.
        opposite: The link the other way: what its log has was written beside the fence.
        known: The baseline, as `baseline` gave it.
        whole: Every table of the source is followed: one that is not was made since.
        leave_quarantined: Rows in quarantine may stay behind.
    """
    tolerances = (LEAVE,) if leave_quarantined else ()
    objects = of_objects(pair, there, known, whole=whole)
    # One finding for one change: since when an object differs says more than that it does.
    told = [said for name in objects for said in wordings(name)]
    forward = pair.forward
    catalogs = pair.catalogs(forward, there)
    return [
        *in_quarantine((there, opposite), tolerances),
        *of_schema([forward], known.get("differences", ()), types=pair.plan.types, told=told, catalogs=catalogs),
        *objects.values(),
        *of_rows(there, opposite, tolerances, catalogs),
    ]


def in_quarantine(links: Sequence[Link], tolerances: Sequence[Tolerance] = ()) -> Iterator[Difference]:
    """Tables with rows that the other side has refused, but for those that somebody declared to be left behind."""
    tolerated = {(one.service, one.table) for one in tolerances if one.kind == Kind.QUARANTINED}
    for link in links:
        for flow in link.flows:
            if tolerated & {("", ""), (link.service, ""), ("", flow.table), (link.service, flow.table)}:
                continue
            if held := list(link.quarantine.held(link.channel, flow.table).values()) if link.quarantine else []:
                first = f"the first: key {shown(held[0].key)}: {held[0].reason}"
                yield Difference(f"{flow.table}: {len(held)} rows are in quarantine ({first})", _REPLAY)


def of_schema(
    forward: Sequence[Link],
    known: Sequence[str] = (),
    *,
    checks: Sequence[str] = SHAPES,
    types: Mapping[str, Any] | None = None,
    tolerances: Sequence[Tolerance] = (),
    told: Sequence[str] = (),
    catalogs: Mapping[str, Catalogs] | None = None,
) -> Iterator[Difference]:
    """What the tables differ in, but for what is known or tolerated, and findings reported otherwise."""
    report = validate(forward, ValidationOptions(checks=checks, types=types, tolerances=tolerances, catalogs=catalogs))
    before, elsewhere = {*known}, {*told}
    for mismatch in report.mismatches:
        if _said(mismatch) not in before and mismatch.text not in elsewhere:
            yield Difference(_said(mismatch), _CARRY)
    yield from _not_compared(report)


def of_objects(
    pair: Pair, there: Link, known: Mapping[str, Any], *, whole: bool, read: Read | None = None
) -> dict[str, Difference]:
    """By kind and name: what the side with the writers has got or changed since, and what the other side has lost.

    Args:
        whole: Every table of the source is followed: one that is not was made since.
    """
    found = dict[str, Difference]()
    before, both = known.get(_roles(there)[0], {}), _both_other_objects(pair, there, read)
    for one in _changed(there, known, *both):
        if whole or one.kind != "table":
            how = "changed" if _name(one) in before else "new"
            text = f"{_name(one)}: {how} at {there.reader.name} since the copy, not at {there.writer.name}"
            found[_name(one)] = Difference(text, _CARRY)
    leaving, taking = both
    for name in known.get(_roles(there)[1], {}):
        if name not in taking and name in leaving:
            found[name] = Difference(f"{name}: gone from {there.writer.name} since the copy", _CARRY)
    return found


def changed_other_objects(
    pair: Pair, there: Link, known: Mapping[str, Any], read: Read | None = None
) -> list[CatalogObject]:
    """What stands beside the tables at the link's reader, new or changed since the copy, and not so at its writer."""
    return _changed(there, known, *_both_other_objects(pair, there, read))


def _changed(
    there: Link, known: Mapping[str, Any], leaving: Mapping[str, CatalogObject], taking: Mapping[str, CatalogObject]
) -> list[CatalogObject]:
    before = known.get(_roles(there)[0], {})
    found = {name: _digest(one) for name, one in leaving.items()}
    same = {name: _digest(one) for name, one in taking.items()}
    return [leaving[name] for name, now in found.items() if now not in (before.get(name), same.get(name))]


def _both_other_objects(
    pair: Pair, there: Link, read: Read | None
) -> tuple[dict[str, CatalogObject], dict[str, CatalogObject]]:
    one, other = _roles(there)
    read = read or read_once()
    return _beside(pair, there.reader, one, read), _beside(pair, there.writer, other, read)


def _roles(link: Link) -> tuple[str, str]:
    return ("source", "target") if link.forward else ("target", "source")


def _name(one: CatalogObject) -> str:
    return f"{one.kind} {one.name}" if one.kind else one.name


def _digest(one: CatalogObject) -> str:
    return hashlib.sha256(one.definition.encode()).hexdigest()[:16]


def of_rows(
    there: Link, opposite: Link, tolerances: Sequence[Tolerance], catalogs: Mapping[str, Catalogs] | None = None
) -> Iterator[Difference]:
    """Counts of every table; row by row where the side without writers has logged a change, as by TRUNCATE."""
    gaps = there.reader.capture_gaps(there.channel)
    yield from (Difference(f"{table}: {_REPLACED.format(why)}", _CARRY) for table, why in sorted(gaps.items()))
    there = replace(there, flows=tuple(flow for flow in there.flows if not {f.table for f in flow.feeds} & gaps.keys()))
    settle_s = 5.0 if running([there]) else 0.5
    report = validate(
        [there], ValidationOptions(checks=("row_counts",), tolerances=tolerances, settle_s=settle_s, catalogs=catalogs)
    )
    touched = {table for table, part in opposite.reader.pending(opposite.channel).items() if part.keys}
    if flows := tuple(flow for flow in there.flows if flow.table in touched):
        link = replace(there, flows=flows)
        beside = validate([link], ValidationOptions(checks=("checksums",), tolerances=tolerances, settle_s=settle_s))
        found = {mismatch.table for mismatch in beside.mismatches}
        for table in sorted(found):
            yield Difference(f"{table}: written at {there.writer.name} beside its fence, and other rows than", _COMPARE)
        yield from _not_compared(beside)
    yield from (Difference(_said(mismatch), _COMPARE) for mismatch in report.mismatches)
    yield from _not_compared(report)


def _not_compared(report: Report) -> Iterator[Difference]:
    for result in report.results:
        for table, why in result.errors.items():
            yield Difference(f"{result.check} of {table} could not be compared: {why}", _CARRY)


def _said(mismatch: Mismatch) -> str:
    return f"{mismatch.table}: {mismatch.text}"


def _beside(pair: Pair, database: Database, role: str, read: Read) -> dict[str, CatalogObject]:
    """What stands beside the followed tables, and partitions, by kind and name."""
    followed = {getattr(mapping, role) for mapping in pair.service.tables}
    inventory = read(database)
    found = [
        each
        for each in inventory.objects
        if each.kind not in _ASIDE and (each.table in followed) <= (each.kind not in _COMPARED)
        if not each.table or each.table in followed or each.kind == "table"
    ]
    if set(inventory.counts) <= {"table"}:  # of an engine whose inventory knows no more yet
        found += [CatalogObject("", name, definition=text) for name, text in database.definitions().items()]
        found += [
            CatalogObject("sequence", s.name, definition=str(s.increment)) for s in database.standalone_sequences()
        ]
    return {_name(each): each for each in sorted(found, key=_name)}
