"""Carry an approved change of the schema to the other side of a followed copy, without starting again.

What is missing at the side without the writers is found by comparing, so that a run that was killed anywhere is run
again and does what is left: there is no list of statements to lose. Order: what was logged before is applied; the DDL;
fence and capture of what is new; every row of the tables whose columns changed is compared and made equal (a new
column's values came by no trigger); new tables are captured, then copied. Then both sides as they are now are what the
next cutover compares with.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from runbook_lib.databases.dialect import Dialect, dialect_of
from runbook_lib.databases.identifiers import split
from runbook_lib.databases.port import CatalogObject, Database
from runbook_lib.errors import TransferError
from runbook_lib.journal import Entry, Journal, digest_of
from runbook_lib.journal.content import Content
from runbook_lib.journal.kinds import (
    ApplyDdlBegun,
    ApplyDdlDone,
    ApplyDdlStatement,
    CopyChanged,
    WritersMoved,
)
from runbook_lib.operations.agreement import SHAPES, Read, baseline, changed_other_objects, read_once
from runbook_lib.operations.gone_tables import freed_names, gone_of, left_behind, let_go, without
from runbook_lib.operations.pair import Pair, Tell, pair_of
from runbook_lib.operations.replicate import BACK, FORWARD, copy_of, followed_of
from runbook_lib.plan.model import Service
from runbook_lib.schema import create_target as made
from runbook_lib.schema.convert.left_behind import require_all_made
from runbook_lib.transfer.bulk_copy import copy_link
from runbook_lib.transfer.capture import enable_capture, fence_writer
from runbook_lib.transfer.foreign_keys import add_keys, settle
from runbook_lib.transfer.held import Held
from runbook_lib.transfer.links import Link
from runbook_lib.transfer.sync import apply_one_by_one, compare_all, drain, drain_once, make_equal, must_wait
from runbook_lib.transfer.sync_process import exclusive, stop_sync
from runbook_lib.transfer.user_triggers import hold_back
from runbook_lib.transfer.writers import Side
from runbook_lib.util.points import passed
from runbook_lib.util.text import one_line
from runbook_lib.validation import ValidationOptions, validate

# How an object of PostgreSQL is made, from its name and what the catalog says of it.
_MAKE = {
    "enum": "CREATE TYPE {name} AS ENUM ({definition})",
    "composite type": "CREATE TYPE {name} AS ({definition})",
    "domain": "CREATE DOMAIN {name} AS {definition}",
    "sequence": "CREATE SEQUENCE {name} {definition}",
    "view": "CREATE OR REPLACE VIEW {name} {definition}",
    "materialized view": "CREATE MATERIALIZED VIEW {name} {definition}",
    "function": "{definition}",
    "procedure": "{definition}",
}
_TYPES = ("enum", "composite type", "domain")
_NEEDED = (*_TYPES, "function")
_FIRST, _AFTER = (*_TYPES, "sequence", "partition"), ("function", "procedure", "view", "materialized view")


@dataclass(frozen=True)
class Work:
    """What is to be carried over.

    Attributes:
        statements: SQL for the side without the writers, in order: before new tables are taken in.
        after: The same for afterwards: routines and views, which may read them.
        tables: Followed tables whose rows are compared afterwards, by their names at the source.
        fresh: Tables that are taken in.
        replaced: Captured tables whose rows came or went with a whole table, and why: they are logged, then applied.
        gone: Followed tables that are not there any more: they are followed no longer, the other side keeps their rows.
        left: Differences that nothing here makes equal: approved, they are known from then on.
    """

    statements: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether both sides are as they are known."""
        return self == Work()


def foreseen(pair: Pair, journal: Journal, run_id: str) -> Work:
    """What `apply_ddl` would do now; nothing is changed.

    Raises:
        TransferError: the side with the writers refuses writes in part, or it is not known which one has them.
    """
    copy, to = copy_of(journal, run_id), _moved_to(journal, run_id)
    gone = gone_of(pair, to)
    pair = without(pair, gone)
    there = carrying(pair, to)
    fresh = _fresh(there) if there.source is pair.source and not copy.tables else ()
    work = work_of(
        pair, there, copy.baseline, fresh=fresh, undone=[t for t in undone(journal, run_id) if t not in gone]
    )
    left = left_behind(pair.forward if to == Side.SOURCE else pair.back)
    return replace(work, gone=tuple(dict.fromkeys([*gone, *left])))


def work_of(
    pair: Pair,
    origin: Pair,
    known: Mapping[str, Any],
    *,
    fresh: tuple[str, ...] = (),
    undone: Sequence[str] = (),
    read: Read | None = None,
) -> Work:
    """What differs since the baseline, and what carries it over.

    Args:
        origin: The pair from the side with the writers (`carrying`).
        known: The baseline.
        fresh: Tables that are to be taken in.
        undone: Tables whose rows a killed call may not have compared.
    """
    forward = origin.source is pair.source
    link = pair.forward if forward else pair.back
    report = validate(
        [origin.forward], ValidationOptions(checks=SHAPES, types=pair.plan.types, tolerances=pair.plan.tolerances)
    )
    new = [m for m in report.mismatches if f"{m.table}: {m.text}" not in set(known.get("differences", ()))]
    beside = changed_other_objects(pair, link, known, read)
    there = {f"{one.kind} {one.name}": one for one in (read or read_once())(origin.target).objects}
    dialect = dialect_of(origin.target.dialect)
    makeable = origin.source.dialect == dialect.name and dialect.repairs_objects
    theirs = {split(s.name)[-1] for s in origin.source.sequences(fresh)}  # these come along with them
    carried = [one for one in beside if makeable and not pair.plan.path]
    if pair.plan.path:  # what its tables need, and nothing of what the source's other tables need
        needed = _needs(origin) if makeable else ()
        carried = [one for one in beside if one.kind == "partition" or (one.kind in _NEEDED and one.name in needed)]
        beside = [one for one in beside if one in carried or one.kind not in ("table", *_NEEDED)]
    wanted = [o for o in carried if o.kind != "sequence" or split(o.name)[-1] not in theirs]
    ours = {f"table {one.name}" for one in beside if one.kind == "table"}
    unmade = [f"{o.kind} {o.name}" for o in beside if o not in carried and f"table {o.table or o.name}" not in ours]
    unmade += [f"{o.kind} {o.name}" for o in carried if _unmakeable(o, there, dialect)]
    first = _made(wanted, _FIRST, there, dialect)
    by_name = {f"{one.kind} {one.name}" for one in wanted}  # a sequence, and a partition, is known to both
    parts = {f"CREATE TABLE {one.name} {one.definition}" for one in wanted if one.kind == "partition"}
    mends = [m.mend for m in new if m.mend and m.table not in by_name and m.mend.rstrip(";") not in parts]
    counters = tuple(f"CREATE SEQUENCE IF NOT EXISTS {one.name} " for one in wanted if one.kind == "sequence")
    mends = [mend for mend in mends if "\n" in mend or not mend.startswith(counters)]  # `first` makes these
    followed = {name for mapping in pair.service.tables for name in (mapping.source, mapping.target)}
    tables = {m.table for m in new if m.check == "schemas"} & followed | set(undone)
    return Work(
        tuple(dict.fromkeys([*first, *mends])),
        tuple(_made(wanted, _AFTER, there, dialect)),
        tuple(sorted(tables)),
        fresh,
        tuple(
            f"{table}: {why}"
            for table, why in sorted(link.reader.capture_gaps(link.channel).items())
            if table in link.captured
        ),
        tuple([f"{m.table}: {m.text}" for m in new if not m.mend] + unmade),
    )


def _unmakeable(one: CatalogObject, there: Mapping[str, CatalogObject], dialect: Dialect) -> bool:
    """What no statement of ours makes, or a type that the target has otherwise and that none makes the same."""
    here = there.get(f"{one.kind} {one.name}")
    other = one.kind in _TYPES and here is not None and not dialect.repair_object(one, here)
    return other or one.kind not in {*_MAKE, "partition", "table"}


def _needs(pair: Pair) -> set[str]:
    """Types of the tables' columns, and functions of their triggers, by their names in the inventory."""
    tables = pair.source.catalog([mapping.source for mapping in pair.service.tables]).values()
    types = {re.sub(r"(\[\])+$", "", column.type) for table in tables for column in table.columns}
    called = " ".join(trigger for table in tables for trigger in table.triggers)
    return {
        one.name
        for one in pair.source.inventory().objects
        if (one.kind in _TYPES and types & {one.name, split(one.name)[-1]})
        or (one.kind == "function" and one.name.rpartition("(")[0].rpartition(".")[2] + "(" in called)
    }


def apply_ddl(pair: Pair, journal: Journal, run_id: str, *, at_origin: Sequence[str] = (), tell: Tell) -> Work:
    """Carry the change over; the same call again does what a kill has left.

    Args:
        at_origin: Statements for the side with the writers, run first; those that a killed call carried out are not run
            again: the schema has changed since it was about to.
    Returns:
        Work: what was carried over.
    Raises:
        DatabaseError: a statement was refused; it is named, and those before it are done.
        LeaseHeld: somebody moves this pair.
    """
    with journal.lease(run_id, "apply-ddl", ttl_s=15.0):
        to = _moved_to(journal, run_id)
        origin = carrying(without(pair, gone_of(pair, to)), to)
        for statement in at_origin:
            run_at_origin(origin.source, statement, journal, run_id, tell)
        work = foreseen(pair, journal, run_id)
        forward, whole = origin.source is pair.source, pair
        pair = without(pair, work.gone)
        stop_sync([pair.forward if forward else pair.back], journal, run_id, FORWARD if forward else BACK)
        if work.gone:
            copy = copy_of(journal, run_id)
            gone = tuple(dict.fromkeys((*copy.gone, *work.gone)))
            journal.append(run_id, CopyChanged(followed_of(pair), copy.baseline, gone))
            let_go(whole, pair, work.gone)
            tell(f"{', '.join(work.gone)}: followed no more, the rows stay at the other side")
        begin = partial(journal.append, run_id, ApplyDdlBegun(work.tables))
        pair = carry(pair, work, tell, forward=forward, begin=begin)
        gone = tuple(table for table in copy_of(journal, run_id).gone if table not in followed_of(pair))
        journal.append(run_id, CopyChanged(followed_of(pair), baseline(pair), gone))
        journal.append(run_id, ApplyDdlDone())
        return work


def carry(pair: Pair, work: Work, tell: Tell, *, forward: bool, begin: Callable[[], object]) -> Pair:
    """Carry this work over, as the only one who drains; its sync is stopped. The pair, with the tables taken in.

    Args:
        begin: Records that the act begins: whose rows are to be compared, should it be killed.
    """
    there = pair.forward if forward else pair.back
    with exclusive([there]):
        _drain_held(there)
        passed("apply-ddl:drained")
        begin()
        for statement in work.statements:
            _run(there.writer, statement, tell)
        passed("apply-ddl:applied")
        there = pair.forward if forward else pair.back
        fence_writer(there)
        hold_back([there])
        enable_capture(there)  # takes in what was replaced, or is new in a tree: it is applied as anything logged
        _compare(there, work.tables, tell)
        passed("apply-ddl:compared")
    if work.fresh:
        pair = _take_in(pair, work.fresh, tell)
        passed("apply-ddl:taken in")
    for statement in work.after:
        _run(there.writer, statement, tell)
    drain([there])
    return pair


def _moved_to(journal: Journal, run_id: str) -> str:
    """The side that the last move of the writers gave them to."""
    moves = journal.entries(run_id, WritersMoved)
    return moves[-1].read(WritersMoved).to if moves else Side.SOURCE


def carrying(pair: Pair, to: str) -> Pair:
    """The pair as the change is carried: from the side with the writers.

    Raises:
        TransferError: that side refuses writes.
    """
    writers = pair.writers()
    origin = writers.source if to == Side.SOURCE else writers.targets[0]
    other = writers.targets[0] if to == Side.SOURCE else writers.source
    if origin.fenced or not other.fenced:
        writers.require(f"{pair.source.name} to {pair.target.name}", Side.SOURCE, Side.TARGET)
        raise TransferError(
            f"{pair.source.name} to {pair.target.name}",
            f"the writers were moved to the {to}, and the fences say otherwise: {writers}",
            state="nothing was changed",
            action="see who moved a fence by hand",
        )
    if to == Side.SOURCE:
        return pair
    back = pair_of(pair.target, pair.source, known=[m.target for m in pair.service.tables])
    return back.named(f"{pair.service.name}_ddl")


def _fresh(pair: Pair) -> tuple[str, ...]:
    followed = {mapping.source for mapping in pair.service.tables}
    return tuple(name for name in pair.source.tables() if name not in followed)


def _made(
    objects: Sequence[CatalogObject], kinds: Sequence[str], there: Mapping[str, CatalogObject], dialect: Dialect
) -> list[str]:
    """The statements that make those of these kinds, in the order of the kinds.

    Args:
        there: What the target has, by kind and name: a sequence is altered, an enum gets the labels that it lacks.
    """
    found = []
    for one in sorted((o for o in objects if o.kind in kinds), key=lambda o: kinds.index(o.kind)):
        here = there.get(f"{one.kind} {one.name}")
        if one.kind == "sequence" and here:
            found.append(f"ALTER SEQUENCE {one.name} {one.definition}")
        elif one.kind == "partition":
            found.append(dialect.made_partition(one, there.values()))
        elif one.kind in _TYPES and here:
            found += filter(None, [dialect.repair_object(one, here)])
        else:
            found.append(one.statement or _MAKE[one.kind].format(name=one.name, definition=one.definition))
    return found


def undone(journal: Journal, run_id: str) -> list[str]:
    """Tables of a call before that was killed: their rows may not have been compared."""
    return [table for entry in _since(journal, run_id, ApplyDdlBegun) for table in entry.read(ApplyDdlBegun).tables]


def _since(journal: Journal, run_id: str, kind: type[Content]) -> list[Entry]:
    """Entries of this kind since a call came to its end."""
    done = max((entry.seq for entry in journal.entries(run_id, ApplyDdlDone)), default=-1)
    return [entry for entry in journal.entries(run_id, kind) if entry.seq > done]


def run_at_origin(database: Database, statement: str, journal: Journal, run_id: str, tell: Tell) -> None:
    """Run it, but where a killed call has: the schema is no longer what it was when that call was about to."""
    digest, marks = digest_of(statement), digest_of(database.schema_marks())
    begun = [entry.read(ApplyDdlStatement) for entry in _since(journal, run_id, ApplyDdlStatement)]
    known = [one for one in begun if one.statement == digest]
    if known and known[-1].marks != marks:
        tell(f"{database.name}: carried out before: {one_line(statement, 80)}")
        return
    journal.append(run_id, ApplyDdlStatement(digest, marks))
    database.run_script(f"{statement.strip().rstrip(';')};")
    tell(f"{database.name}: {one_line(statement, 80)}")
    passed("apply-ddl:at the origin")


def _drain_held(link: Link) -> None:
    """Apply what was logged before, as far as the other side takes it without the change."""
    held, waiting = Held(tell=lambda text: None), must_wait(link)
    while drain_once(link, waiting=waiting, held=held).keys:
        pass


def _compare(link: Link, tables: Sequence[str], tell: Tell) -> None:
    """Make the rows of these tables equal, whole: a new column's values were logged by nobody."""
    for flow in link.flows:
        if flow.table in tables or flow.feeds[0].table in tables:
            done = compare_all(link, flow, apply_one_by_one if link.quarantine else make_equal)
            tell(f"{flow.table}: every row compared, {done.upserted:,} written again")


def _take_in(pair: Pair, fresh: Sequence[str], tell: Tell) -> Pair:
    """Capture new tables, make and copy them; the pair with them. Idempotent: both databases know how far it is."""
    wider = pair_of(
        pair.source, pair.target, fresh, known=fresh, types=pair.plan.types, on_bad_row=pair.plan.on_bad_row
    )
    [service] = wider.plan.services
    apart = Service(f"{pair.service.name}_{service.name[5:]}", "target", tables=service.tables)
    for statement in () if made.made_here(apart, pair.target) else filter(None, freed_names(pair, fresh)):
        _run(pair.target, statement, tell)
    names = made.create_tables(apart, pair.source, pair.target, pair.plan.types)
    link = wider.named(pair.service.name).forward
    fence_writer(link)
    enable_capture(link)
    copied = copy_link(link)
    made.build_indexes(apart, pair.target, 1, partial(settle, link))
    with exclusive([link]):
        require_all_made(pair.target.name, add_keys(apart, link))
    tell(f"{', '.join(names or fresh)}: taken in, {copied.rows:,} rows copied")
    services = (replace(pair.service, tables=(*pair.service.tables, *service.tables)),)
    whole = replace(pair, plan=replace(pair.plan, services=services))
    report = validate([whole.forward], ValidationOptions(checks=("constraints",), types=pair.plan.types))
    for mend in dict.fromkeys(m.mend for m in report.mismatches if m.mend and m.table in fresh):
        _run(pair.target, mend, tell)  # foreign keys to the tables that were there before
    return whole


def _run(database: Database, statement: str, tell: Tell) -> None:
    """Nobody but the sync writes there: an index is built in the statement's own transaction, or not at all."""
    plain = re.sub(r"^(CREATE (?:UNIQUE )?INDEX) CONCURRENTLY", r"\1", statement.strip()).rstrip(";")
    database.run_script(f"{plain};")
    tell(f"{database.name}: {plain}")
