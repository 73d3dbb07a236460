"""A whole database moved without a plan: schema, rows, indexes, keys, sequences; then kept current, if wanted.

State is in the two databases alone: ranges done and scripts left at the target, capture at the source. Killed
anywhere, the same call resumes where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from runbook_lib.assessment.account import Account
from runbook_lib.assessment.fates import Route
from runbook_lib.assessment.key_values import folded, orphans
from runbook_lib.assessment.routes import route_of
from runbook_lib.databases.adapter_helpers import one_database
from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.identifiers import parts_of
from runbook_lib.databases.own_objects import needed
from runbook_lib.databases.port import Catalogs, Inventory, OtherObjects, Table
from runbook_lib.databases.values import NO_VALUE
from runbook_lib.errors import ConfigurationError, DatabaseError, TransferError
from runbook_lib.operations.accounting import expected, finish
from runbook_lib.operations.generated_values import require_same_values
from runbook_lib.operations.pair import How, Pair, Tell
from runbook_lib.operations.room import goes_on, make_room, spared, tried
from runbook_lib.schema import create_target as made
from runbook_lib.schema.convert.left_behind import LeftBehind, keep_account, make_each, make_one_by_one, remember
from runbook_lib.schema.convert.service_tables import UNMATCHED_OVERRIDE, decisions, strays, target_schema
from runbook_lib.schema.convert.target_schema import TargetSchema
from runbook_lib.schema.kept_scripts import KEYS, REST, Part
from runbook_lib.transfer.build_links import forward_links
from runbook_lib.transfer.bulk_copy import CopyResult, RowsListener, copy_link
from runbook_lib.transfer.capture import capture_complete, enable_capture, fence_writer, kept_up
from runbook_lib.transfer.chunk_store import begun
from runbook_lib.transfer.foreign_keys import add_keys, require_sync_keys, settle
from runbook_lib.transfer.implicit_plan import QUARANTINE
from runbook_lib.transfer.links import Link
from runbook_lib.transfer.readable import require_readable
from runbook_lib.transfer.rounded import rounded
from runbook_lib.transfer.sequences import advance_all, advance_sequences
from runbook_lib.transfer.sync_process import exclusive
from runbook_lib.transfer.user_triggers import AT_CUTOVER, WAITS, all_waiting, hold_back, let_fire
from runbook_lib.transfer.value_scan import problems
from runbook_lib.transfer.writers import Side

EXISTING = ("refuse", "keep", "empty", "drop")
_READ_AS = (
    "read times in other forms by --type TABLE.COLUMN=timestamp (or: timestamp with time zone), numbers by"
    " --type 'TABLE.COLUMN=timestamp from seconds' (milliseconds, microseconds, nanoseconds, ticks); or "
)


@dataclass(frozen=True)
class CopySummary:
    """What was done; rows and tables are counts, `rows` includes earlier attempts, `quarantined` those in quarantine.

    `left_behind`: what could not be made; everything else is there. `account`: how everything was handled.
    """

    tables: int
    rows: int
    rows_now: int
    elapsed_s: float
    account: Account
    quarantined: int = 0
    left_behind: tuple[LeftBehind, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON values only."""
        counts = {name: getattr(self, name) for name in ("tables", "rows", "rows_now", "quarantined")}
        return {**counts, "elapsed_s": round(self.elapsed_s, 3), "account": self.account.as_dict()}


def clone(
    pair: Pair,
    how: How,
    tell: Tell = lambda text: None,
    on_rows: RowsListener = lambda done, total: None,
    pause: Callable[[], str] = lambda: "",
) -> CopySummary:
    """Copy the source's tables with everything that belongs to them; with `follow`, ready to be synced.

    Args:
        tell: Told each stage in one line when it is done.
        on_rows: Told rows done and rows in all (an estimate).
        pause: Asked before each range: a reason to wait ("" = none).
    Raises:
        TransferError: the target has tables of these names, has the writers, or will refuse values that are there;
            nothing was done.
        PlanError: something cannot be translated and is not decided; nothing was done.
        RowRejected: the target refused a row.
    """
    started = time.monotonic()
    service, source, target = pair.service, pair.source, pair.target
    foreseen = _require_possible(pair, how, tell)
    _make_tables(pair, how, foreseen, tell)
    seen = pair.seen(foreseen.origin)
    link = seen.forward
    if how.follow:
        _require_no_gap(link)
        _capture(link)
        tell(f"capture: changes of {len(link.captured)} tables are logged at the source")
    # of a table as soon as it has its rows
    indexes = made.index_tasks(service, target, beside_writers=True)
    copied = copy_link(link, chunk_rows=how.chunk_rows, jobs=how.jobs, pause=pause, on_progress=on_rows, then=indexes)
    _report_rows(copied, tell)
    left = _complete(seen, link, how, tell)
    moved = advance_sequences(link) if how.tables else advance_all([link])
    remember(service.name, target, left)
    more = f", {len(foreseen.rest.names)} other objects made" if foreseen.rest.names and not left else ""
    tell(f"{'' if left else 'foreign keys proven, '}{moved} sequences set{more}")
    late = [LeftBehind("trigger", one.name, one.table, WAITS, AT_CUTOVER) for one in all_waiting(target, link.channel)]
    if late:
        tell(f"triggers: {len(late)} of the source's wait for the cutover: they would fire for the sync's rows")
    there = source.inventory() if how.follow else foreseen.there
    account = finish(there, target, foreseen.route, [*left, *late])
    keep_account(service.name, target, account.as_dict(columns=False))
    aside, elapsed_s = sum(copied.quarantined.values()), time.monotonic() - started
    return CopySummary(len(service.tables), copied.rows, copied.rows_now, elapsed_s, account, aside, tuple(left))


@dataclass(frozen=True)
class _Prediction:
    """What a copy knows before it makes anything: all that both sides say is asked once.

    Attributes:
        origin: The source's tables, by their names there.
        schema: What they become at a target of another engine; None for one of the same.
        route: From where to where everything goes.
        there: What the source has.
        rest: What it has beside its tables.
    """

    origin: Mapping[str, Table]
    schema: TargetSchema | None
    route: Route
    there: Inventory
    rest: OtherObjects


def _require_possible(pair: Pair, how: How, tell: Tell) -> _Prediction:
    """Refuse what cannot go well, and say what will not be the same; nothing is done."""
    service, source, target, types = pair.service, pair.source, pair.target, pair.plan.types
    _refuse_itself(pair)
    _refuse_own_names(pair)
    if how.follow and dialect_of(target.dialect).firing_triggers and goes_on(pair, how):
        hold_back([pair.forward])  # a killed cutover may have made them; the links read both catalogs
    _require_rights(pair, how, tell)
    origin = source.catalog([mapping.source for mapping in service.tables])  # for this whole command
    _require_keys(pair, how, origin)
    _refuse_moved(pair, how)
    schema = target_schema(service, source, target, types, origin)
    _require_known_types(schema)
    for decision in decisions(schema):
        chosen = "refused where one is found" if decision.chosen == "error" else decision.chosen or "not decided"
        tell(f"  {decision.subject}: {decision.what}: {chosen}")
    _refuse_incompatible_values(pair, how, origin, schema, tell)
    kept = how.existing in ("keep", "empty")
    route = route_of(service, source, target, types, whole=not how.tables, kept=kept, schema=schema)
    _, there = expected(source, target, route)
    return _Prediction(origin, schema, route, there, _rest(pair, how, tell))


def _make_tables(pair: Pair, how: How, foreseen: _Prediction, tell: Tell) -> None:
    service, source, target, rest = pair.service, pair.source, pair.target, foreseen.rest
    scripts = tried(pair, how, rest, tell, foreseen.schema)
    make_room(pair, how, rest, tell)
    kept = how.existing in ("keep", "empty")
    names = made.create_tables(service, source, target, pair.plan.types, rest, keep=kept, scripts=scripts)
    tell(f"schema: {len(names) or len(service.tables)} tables {'made' if names else 'are there'}")


def _complete(pair: Pair, link: Link, how: How, tell: Tell) -> list[LeftBehind]:
    """Make what belongs to tables with rows: indexes, keys, the rest; what could not be made."""
    service, target = pair.service, pair.target
    with kept_up(pair.source):
        refused = dict[Part, DatabaseError]()
        count = made.build_indexes(service, target, how.jobs, partial(settle, link) if how.follow else None, refused)
        tell(f"indexes: {count} built, statistics gathered")
        left = make_one_by_one(service.name, target, refused)
        if how.follow:
            require_sync_keys(link, left)
        _take_history(pair, tell)
        left += _add_keys(pair, link, how)
    if checked := require_same_values(link, pair.catalogs(link)[link.channel], under_writes=how.follow):
        tell(f"generated columns of {checked} tables: the same values on a sample")
    return left + make_each(service.name, target, REST)


def _report_rows(copied: CopyResult, tell: Tell) -> None:
    waited = f"; throttled for {copied.throttled_s:.0f} s" if copied.throttled_s else ""
    before = copied.rows - copied.rows_now
    earlier = f", {before:,} were there from an earlier attempt" if before else ""
    tell(f"rows: {copied.rows_now:,} copied, {copied.rate:,.0f} rows/s{earlier}{waited}")


def _refuse_itself(pair: Pair) -> None:
    """A copy onto itself would drop what it is to read."""
    if one_database(pair.source, pair.target):
        raise TransferError(
            f"{pair.source.name} and {pair.target.name}",
            f"both are {pair.source.masked_url}",
            expected="two databases",
            state="nothing was done",
            action="correct one of them",
        )


def _refuse_own_names(pair: Pair) -> None:
    """A user's table may not be at the target where the library's own are: one of them would be taken for the other."""
    dialect = pair.target.dialect
    for mapping in pair.service.tables:
        if needed(parts_of(mapping.target, dialect), dialect):
            raise TransferError(
                f"{pair.source.name}: {mapping.source}",
                f"its name at the target would be `{mapping.target}`, which is the library's own there",
                state="nothing was done",
                action="rename it for the time of the migration, or choose the others with --tables",
            )


def _refuse_moved(pair: Pair, how: How) -> None:
    """Nothing is fenced, emptied or dropped where the writers may be; a plain copy does none of that."""
    if not (how.follow or how.existing in ("empty", "drop")):
        return
    writers = pair.writers()
    if writers.source.fenced and not (writers.side is Side.BETWEEN and how.existing not in ("empty", "drop")):
        raise TransferError(
            f"{pair.source.name} to {pair.target.name}",
            "the source is fenced: its writers were moved away, and the target may have writes that it has not"
            f" ({writers})",
            state="nothing was done",
            action="runbook return first; to keep the source current for that: runbook copy … --follow, without"
            " --on-existing, in the folder of the copy",
        )


def _require_rights(pair: Pair, how: How, tell: Tell) -> None:
    """Ask both sides before anything is done."""
    require_readable(pair.source, [mapping.source for mapping in pair.service.tables] if how.tables else None, tell)
    problems = [each for each in pair.target.privileges_missing("target") if not spared(pair, how, each)]
    problems += pair.source.privileges_missing("source") if how.follow else []
    for problem in problems:
        if problem.blocking:
            raise DatabaseError(problem.subject, problem.text, state="nothing was done", action=problem.action)


def _require_keys(pair: Pair, how: How, known: Mapping[str, Table]) -> None:
    """What is followed is followed by key."""
    keyless = [name for name, table in known.items() if how.follow and not table.key]
    if keyless:
        raise ConfigurationError(
            f"{pair.source.name}: {', '.join(keyless)}",
            "no key to capture changes by",
            state="nothing was done",
            action="add a primary key, leave the table out with --tables, or copy without --follow",
        )


def _require_known_types(schema: TargetSchema | None) -> None:
    if unknown := strays([schema]):
        raise ConfigurationError(
            f"--type {unknown[0]}",
            UNMATCHED_OVERRIDE,
            expected="TABLE.COLUMN, a type as the source writes it, or a policy",
            state="nothing was done",
            action="correct the name",
        )


def _refuse_incompatible_values(
    pair: Pair, how: How, origin: Mapping[str, Table], schema: TargetSchema | None, tell: Tell
) -> None:
    """Look for values that the target will refuse, one pass over each table that may have some, before it is made."""
    service, source, target = pair.service, pair.source, pair.target
    if goes_on(pair, how):
        return
    if schema is None:
        same = {m.target: origin[m.source] for m in service.tables if m.source in origin}
        _report_orphans(pair, (origin, same), tell)
        return
    tables = schema.catalog
    if how.existing in ("keep", "empty"):  # then these are the columns
        here = target.catalog()
        tables |= {name: here[name] for name in tables if name in here}
    known = origin, tables
    [link] = forward_links(pair.plan, source, {"target": target}, QUARANTINE, known)
    found = problems(link, quarantine=link.quarantine is not None)
    for problem in found:
        tell(f"  {problem.subject.partition('.')[2]}: {problem.text}")
    if blocking := [problem for problem in found if problem.blocking]:
        first, more = blocking[0], len(blocking) - 1
        raise TransferError(
            f"{source.name}.{first.subject.partition('.')[2]}",
            first.text + (f" (and {more} more columns have such values)" if more else ""),
            state="nothing was done",
            action=_READ_AS * (dialect_of(source.dialect).loose_types and NO_VALUE in first.text)
            + "drop them with --type nul=strip; or " * ("NUL characters" in first.text and "JSON" not in first.text)
            + "correct them at the source, decide with --type, or quarantine them with --on-bad-row quarantine",
        )
    for line in rounded(link, known[0], pair.plan.types):
        tell(f"  {line}")
    _refuse_broken_keys(pair, known, tell)


def _refuse_broken_keys(pair: Pair, known: Catalogs, tell: Tell) -> None:
    """Rows that the target's keys refuse: a foreign key is left behind."""
    _report_orphans(pair, known, tell)
    if refused := list(folded(pair.service, pair.source, pair.target.dialect, *known)):
        more = f" (and {len(refused) - 1} more keys)" if len(refused) > 1 else ""
        raise TransferError(
            pair.source.name,
            refused[0].line + more,
            state="nothing was done",
            action="correct the rows at the source, or leave the table out (--tables)",
        )


def _report_orphans(pair: Pair, known: Catalogs, tell: Tell) -> None:
    for each in orphans(pair.service, pair.source, pair.target.dialect, *known):
        tell(f"  {each.line}: {'it is kept as unproven as it is there' if each.kept else 'it will be left behind'}")


def _rest(pair: Pair, how: How, tell: Tell) -> OtherObjects:
    """What the source has beside its tables; of another engine it is only named."""
    if how.tables:
        return OtherObjects()
    rest = pair.source.dump_rest([mapping.source for mapping in pair.service.tables])
    if pair.source.dialect == pair.target.dialect:
        for name in rest.names if how.follow else ():
            if name.startswith("virtual table "):
                tell(f"  {name}: as it is now; a sync does not follow its changes: make it again after the cutover")
        return rest
    for name in rest.names:
        tell(f"  {name}: stays behind; {pair.target.dialect} needs its own")
    return OtherObjects()


def _require_no_gap(link: Link) -> None:
    """Rows that were copied before the capture began may have changed in between, and nobody would know."""
    if not begun(link.writer, link.channel) or capture_complete(link):
        return
    if link.reader.pending(link.channel):  # it is captured: partitions made since are taken in, tampering is named
        enable_capture(link)
    else:
        raise TransferError(
            f"{link.reader.name} to {link.writer.name}",
            "its rows were copied without --follow: changes since then are not logged",
            state="nothing was done",
            action="copy again with --follow --on-existing drop",
        )


def _capture(link: Link) -> None:
    """Log changes at the source, and let nobody but the sync write at the target."""
    enable_capture(link)
    fence_writer(link)


def _take_history(pair: Pair, tell: Tell) -> None:
    """Old versions of rows, before anybody writes at the target."""
    if pair.source.dialect == pair.target.dialect:
        tables = {mapping.source: mapping.target for mapping in pair.service.tables if not mapping.derived}
        for table, why in pair.target.take_history(pair.source, tables).items():
            tell(f"  {table}: its old versions of rows stay behind: {why}")


def _add_keys(pair: Pair, link: Link, how: How) -> list[LeftBehind]:
    if not how.follow:
        left = make_each(pair.service.name, pair.target, KEYS)
        if not pair.target.fenced([flow.table for flow in link.flows]):  # else a sync's rows may still come
            let_fire(pair.target, link.channel)
        return left
    with exclusive([link]):
        return add_keys(pair.service, link)
