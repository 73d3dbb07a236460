"""Validation: six checks over every table of the links, one verdict, right while writes continue."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from runbook_lib.databases.port import Catalogs, Database, Table
from runbook_lib.errors import RunbookError
from runbook_lib.plan.model import Tolerance
from runbook_lib.transfer.links import Link
from runbook_lib.validation.checkpoint import Record
from runbook_lib.validation.checks.checksums import checksums
from runbook_lib.validation.checks.constraints import constraints
from runbook_lib.validation.checks.data_sample import data_sample
from runbook_lib.validation.checks.indexes import indexes
from runbook_lib.validation.checks.row_counts import row_counts
from runbook_lib.validation.checks.schemas import schemas
from runbook_lib.validation.concurrent_ddl import with_altered
from runbook_lib.validation.context import Context, Progress, could_not_run, working
from runbook_lib.validation.refused_rows import with_refused
from runbook_lib.validation.report.contents import BEARABLE, Fingerprint, combined
from runbook_lib.validation.report.mismatches import CheckResult, Kind, Mismatch
from runbook_lib.validation.report.report import Report
from runbook_lib.validation.report.tolerance import Tolerated, tolerate
from runbook_lib.validation.stalled_sync import carried

__all__ = [
    "ALL",
    "DATA",
    "CheckResult",
    "Fingerprint",
    "Kind",
    "Mismatch",
    "Progress",
    "Record",
    "Report",
    "Tolerated",
    "validate",
]

CHECKS: Mapping[str, Callable[[Link, Context], CheckResult]] = {
    "row_counts": row_counts,
    "schemas": schemas,
    "indexes": indexes,
    "constraints": constraints,
    "data_sample": data_sample,
    "checksums": checksums,
}
ALL = tuple(CHECKS)
DATA = ("row_counts", "data_sample", "checksums")  # those that make sense over reverse links and given keys, too
SEED = 20_261_122


def validate(
    links: Sequence[Link],
    *,
    checks: Sequence[str] = ALL,
    tolerances: Sequence[Tolerance] = (),
    jobs: int = 2,
    under_writes: bool = True,
    settle_s: float = 5.0,
    chunk_rows: int = 0,
    sample_rows: int = 1000,
    seed: int = SEED,
    only_keys: Mapping[tuple[str, str], Any] | None = None,
    bearable: int = BEARABLE,
    sequences: bool = False,
    types: Mapping[str, Any] | None = None,
    require: Sequence[str] = (),
    record: Record | None = None,
    catalogs: Mapping[str, Catalogs] | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Report:
    """Run every check over every table; one that fails or raises does not keep the others from running.

    Args:
        checks: Names out of `ALL`; over reverse links use `DATA` (the schemas are the forward links' affair).
        tolerances: The plan's declared differences; nothing else is tolerated.
        jobs: Statements at a time on each side (count).
        under_writes: The source, the target or both are written to: differences are checked again until stable.
        settle_s: The longest time a check waits for differences of a link to settle (seconds); of a table, where no log
            tells what is on its way.
        chunk_rows: Rows in a checksum's range (count, about); 0: what takes about a second.
        sample_rows: Rows sampled in a table (count).
        seed: Of the sample: the same seed draws the same keys of the same rows.
        only_keys: (service, table) → keys: compare just these rows, as inside a cutover's fence; tables that are not
            named have none. Schema checks are not touched by it.
        bearable: Differences under way that a sync which runs may leave open (count).
        sequences: Check, too, that no sequence at the target is behind its column (after the cutover).
        types: The plan's `types:`: what a source's types become in another engine.
        require: What is otherwise only reported: `privileges`, `column_order`.
        record: Where key ranges that agreed are noted, so that a comparison that was interrupted is taken up.
        catalogs: What was read of a link's tables just now, by its channel; otherwise they are read here.
        on_progress: Called before each table.
    Returns:
        Report: every difference by name; `passed`, `failed`, `raise_for_failure()`.
    Raises:
        KeyError: a check's name is unknown.
    """
    started, at = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
    # The checksums come first: what they have read through need not be counted again.
    functions = [(name, CHECKS[name]) for name in sorted(checks, key=lambda name: name != "checksums")]
    keys = None if only_keys is None else {place: list(found) for place, found in only_keys.items()}
    with working(2 * max(1, jobs)) as pool:
        context = Context(
            pool=pool,
            jobs=max(1, jobs),
            under_writes=under_writes,
            settle_s=settle_s,
            chunk_rows=chunk_rows,
            sample_rows=sample_rows,
            seed=seed,
            only_keys=keys,
            sequences=sequences,
            types=types or {},
            require=require,
            record=record,
            on_progress=on_progress,
            memo={("catalogs", channel): both for channel, both in (catalogs or {}).items()},
        )
        results = [_run(name, check, link, context) for name, check in functions for link in links]
        if only_keys is None and set(checks) & set(DATA):  # the others are of the moment when the catalogs were read
            results = with_altered(results, links, context)
        fingerprints = (
            () if only_keys is not None else _fingerprints(links, context, rows=bool(set(checks) & set(DATA)))
        )
        sync = [] if only_keys is not None else [carried(link) for link in links]
    if record is not None and not any(result.errors for result in results):
        for link in links:
            record.forget(link)
    tolerated, counted = tolerate(combined(results, checks), tolerances)
    unknown = [each.unknown for link, each in zip(links, sync, strict=False) if _open(tolerated, link)]
    elapsed = time.perf_counter() - started
    return Report(
        tolerated,
        at,
        elapsed,
        counted,
        fingerprints,
        seed,
        only_keys is not None,
        idle=tuple(each.idle for each in sync if each.idle),
        late=tuple(late for each in sync for late in (each.late,) if late) + tuple(filter(None, unknown)),
        waiting=sum(each.keys for each in sync),
        bearable=bearable,
    )


def _open(results: Sequence[CheckResult], link: Link) -> bool:
    """Whether some difference of this link is in flight."""
    return any(mismatch.service == link.service for result in results for mismatch in result.in_flight)


def _run(name: str, check: Callable[[Link, Context], CheckResult], link: Link, context: Context) -> CheckResult:
    started = time.perf_counter()
    try:
        return replace(with_refused(link, check(link, context), context), elapsed_s=time.perf_counter() - started)
    except Exception as error:
        return could_not_run(name, link, error)


def _at_first(link: Link, context: Context) -> Catalogs | None:
    try:
        return context.catalogs(link)
    except RunbookError:
        return None


def _fingerprints(links: Sequence[Link], context: Context, *, rows: bool) -> tuple[Fingerprint, ...]:
    """Both sides' schema as it was validated; a side that cannot be read has failed its checks already."""
    found = []
    for link in links:
        read = list(dict.fromkeys(flow.feeds[0].table for flow in link.flows))
        written = [flow.table for flow in link.flows]
        known = (context.catalogs_now(link) if rows else _at_first(link, context)) or (None, None)
        there, here = context.both(
            partial(_fingerprint, link.reader, read, known[0]), partial(_fingerprint, link.writer, written, known[1])
        )
        found.append(Fingerprint(link.service, "source", link.reader.name, there))
        found.append(Fingerprint(link.service, "target", link.writer.name, here))
    return tuple(found)


def _fingerprint(database: Database, tables: Sequence[str], known: Mapping[str, Table] | None) -> str:
    try:
        return database.fingerprint(tables, known)
    except Exception as error:
        return f"could not be read ({type(error).__name__})"
