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
from runbook_lib.transfer.links import Link
from runbook_lib.validation.checkpoint import Record
from runbook_lib.validation.checks.checksums import checksums
from runbook_lib.validation.checks.constraints import constraints
from runbook_lib.validation.checks.data_sample import data_sample
from runbook_lib.validation.checks.indexes import indexes
from runbook_lib.validation.checks.row_counts import row_counts
from runbook_lib.validation.checks.schemas import schemas
from runbook_lib.validation.concurrent_ddl import with_altered
from runbook_lib.validation.context import Context, could_not_run, working
from runbook_lib.validation.options import ALL, DATA, CheckProgress, ValidationOptions
from runbook_lib.validation.refused_rows import with_refused
from runbook_lib.validation.report.contents import Fingerprint, combined
from runbook_lib.validation.report.mismatches import CheckResult, Kind, Mismatch
from runbook_lib.validation.report.report import Report
from runbook_lib.validation.report.tolerance import Tolerated, tolerate
from runbook_lib.validation.stalled_sync import carried

__all__ = [
    "ALL",
    "DATA",
    "CheckProgress",
    "CheckResult",
    "Fingerprint",
    "Kind",
    "Mismatch",
    "Record",
    "Report",
    "Tolerated",
    "ValidationOptions",
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


def validate(links: Sequence[Link], options: ValidationOptions = ValidationOptions(), **changed: Any) -> Report:  # noqa: B008  frozen
    """Run every check over every table; one that fails or raises does not keep the others from running.

    Args:
        options: How to compare.
        changed: Single options by their names, in place of those: `validate(links, checks=("row_counts",))`.
    Returns:
        Report: every difference by name; `passed`, `failed`, `raise_for_failure()`.
    Raises:
        KeyError: a check's name is unknown.
        TypeError: there is no such option.
    """
    options = replace(options, **changed)
    options = replace(options, jobs=max(1, options.jobs))
    started, at = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
    with working(2 * options.jobs) as pool:
        context = Context(pool, options)
        context.caches.catalogs.update(options.catalogs or {})
        results = _results(links, context)
        whole = options.only_keys is None
        fingerprints = _fingerprints(links, context) if whole else ()
        sync = [carried(link) for link in links] if whole else []
    if options.record is not None and not any(result.errors for result in results):
        for link in links:
            options.record.forget(link)
    tolerated, counted = tolerate(combined(results, options.checks), options.tolerances)
    unknown = [each.unknown for link, each in zip(links, sync, strict=False) if _open(tolerated, link)]
    return Report(
        tolerated,
        at,
        time.perf_counter() - started,
        counted,
        fingerprints,
        options.seed,
        not whole,
        idle=tuple(each.idle for each in sync if each.idle),
        late=tuple(late for each in sync for late in (each.late,) if late) + tuple(filter(None, unknown)),
        waiting=sum(each.keys for each in sync),
        bearable=options.bearable,
    )


def _results(links: Sequence[Link], context: Context) -> list[CheckResult]:
    """Of every check over every link. The checksums come first: what they have read need not be counted again."""
    checks = sorted(context.options.checks, key=lambda name: name != "checksums")
    functions = [(name, CHECKS[name]) for name in checks]
    results = [_run(name, check, link, context) for name, check in functions for link in links]
    # The other checks are of the moment when the catalogs were read.
    whole = context.options.only_keys is None and context.options.reads_rows
    return with_altered(results, links, context) if whole else results


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


def _fingerprints(links: Sequence[Link], context: Context) -> tuple[Fingerprint, ...]:
    """Both sides' schema as it was validated; a side that cannot be read has failed its checks already."""
    found = []
    for link in links:
        read = list(dict.fromkeys(flow.feeds[0].table for flow in link.flows))
        written = [flow.table for flow in link.flows]
        known = (context.catalogs_now(link) if context.options.reads_rows else _at_first(link, context)) or (None, None)
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
