"""Rows that the target refuses, in quarantine or held back by the sync: named as that, and different all the same.

What waits in a capture log is on its way only where the sync can apply it. A row that it holds back is no row in
flight, and neither is a row count that such a table leaves open.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from runbook_lib.transfer import waiting_log
from runbook_lib.transfer.links import Flow, Link
from runbook_lib.transfer.quarantine import Refused, as_text
from runbook_lib.transfer.waiting_log import WaitingLog
from runbook_lib.validation.context import Context
from runbook_lib.validation.report.mismatches import CheckResult, Kind, Mismatch
from runbook_lib.validation.rows.recheck import logs

_ROWS = (Kind.MISSING_ON_TARGET, Kind.DIFFERENT, Kind.MISSING_ON_SOURCE, Kind.IN_FLIGHT)


@dataclass(frozen=True)
class _OfTable:
    """A written table's rows in quarantine by their key as text, and why its logs wait, with the written table's name
    in the direction of each log."""

    quarantined: Mapping[tuple[str, ...], Refused]
    held: tuple[tuple[str, WaitingLog], ...]


def with_refused(link: Link, result: CheckResult, context: Context) -> CheckResult:
    """The result, with the rows that the target refuses as what they are: of kind `quarantined` or `held_back`.

    They fail the check unless the plan tolerates this kind, whether or not changes of theirs wait. A row count is of
    the kind `quarantined` only where just the rows in quarantine are missing.
    """
    if not (result.mismatches or result.in_flight):
        return result
    flows = {flow.table: flow for flow in link.flows}
    named = {found.table for found in (*result.mismatches, *result.in_flight)}
    known = {table: _of_table(link, flows[table], context) for table in named if table in flows}
    found = [_said(each, known.get(each.table)) for each in result.mismatches]
    open_ = [_said(each, known.get(each.table)) for each in result.in_flight]
    refused = [each for each in open_ if each.kind is not Kind.IN_FLIGHT]
    return replace(
        result,
        mismatches=(*found, *refused),
        in_flight=tuple(each for each in open_ if each.kind is Kind.IN_FLIGHT),
    )


def _of_table(link: Link, flow: Flow, context: Context) -> _OfTable:
    quarantined = link.quarantine.held(link.channel, flow.table) if link.quarantine else {}
    return _OfTable(quarantined, tuple(_held(link, flow, context)))


def _held(link: Link, flow: Flow, context: Context) -> Iterator[tuple[str, WaitingLog]]:
    for way, table, _ in logs(link, flow, context):
        held = context.caches.held_back.of(way.channel, partial(waiting_log.read, way.reader, way.channel))
        if table in held:
            yield flow.table if way is link else flow.feeds[0].table, held[table]


def _said(found: Mismatch, table: _OfTable | None) -> Mismatch:
    if table is None:
        return found
    if found.kind in (Kind.ROW_COUNT, Kind.IN_FLIGHT) and not found.key:
        return _counted(found, table)
    if found.kind not in _ROWS:
        return found
    if row := table.quarantined.get(as_text(found.key)):
        return replace(found, kind=Kind.QUARANTINED, text=f"{found.text}, in quarantine: {row.reason}")
    for name, held in table.held:
        if held.holds(name, found.key) and (found.kind is Kind.IN_FLIGHT or held.keys is not None):
            return replace(found, kind=Kind.HELD_BACK, text=f"{found.text}; held back: {held.reason}")
    return found


def _counted(found: Mismatch, table: _OfTable) -> Mismatch:
    """A row count: in flight only where every change that waits can be applied."""
    if table.held and found.kind is Kind.IN_FLIGHT:
        return replace(found, kind=Kind.HELD_BACK, text=f"{found.text}; held back: {table.held[0][1].reason}")
    if not table.quarantined:
        return found
    many = len(table.quarantined)
    explained = int(found.source_value) - int(found.target_value) == many
    return replace(
        found, kind=Kind.QUARANTINED if explained else found.kind, text=f"{found.text}; {many} in quarantine"
    )
