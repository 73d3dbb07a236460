"""Copy every row that is at the source, while it is live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Database, Problem
from runbook_lib.errors import RollbackFailed
from runbook_lib.run.context import RunContext
from runbook_lib.steps.routes_and_links import BACK, links, origin, shares, throttle_of, verdict, writes
from runbook_lib.transfer.bulk_copy import copy_link
from runbook_lib.transfer.chunk_store import forget, unfinished
from runbook_lib.transfer.value_scan import problems
from runbook_lib.verdict import StepResult, Verdict


@dataclass(frozen=True)
class CopyHistory:
    """The bulk copy: key ranges, each with its progress mark in the same transaction."""

    name: str = "copy_history"
    reversible: bool = True
    requires: Sequence[str] = ("start_capture",)

    def check(self, run: RunContext) -> list[Problem]:
        needed = run.source.facts().size_bytes
        aside = run.plan.on_bad_row == "quarantine"
        return [each for link in links(run) for each in problems(link, quarantine=aside)] + [
            Problem(database.name, f"{free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB may be needed", "make room")
            for database in {s.database: run.databases[s.database] for s in run.plan.services}.values()
            for free in [database.facts().data_directory_free_bytes]
            if free is not None and free < needed
        ]

    def apply(self, run: RunContext) -> StepResult:
        every = links(run)
        total = sum(run.source.catalog(list(link.captured))[t].rows_estimate for link in every for t in link.captured)
        results, before, told = [], 0, [0]

        def waiting(reason: str) -> None:
            run.progress(told[0], max(total, told[0]), "rows", reason)

        pause = throttle_of(run.environment, run.options, every, waiting)
        for link in every:
            tell = partial(self._tell, run, before, total, told)
            results.append(
                copy_link(link, chunk_rows=run.options.chunk_rows, jobs=run.options.jobs, pause=pause, on_progress=tell)
            )
            before += results[-1].rows
        rows, elapsed = sum(r.rows for r in results), sum(r.elapsed_s for r in results)
        tables = {f"{r.channel}.{table}": n for r in results for table, n in r.tables.items()}
        throttled = sum(r.throttled_s for r in results)
        now = sum(r.rows_now for r in results)
        text = f"{now:,} rows in {elapsed:.1f} s ({now / max(elapsed, 1e-9):,.0f} rows/s)"
        text += f", {rows - now:,} were there from an earlier attempt" if rows > now else ""
        text += f"; throttled for {throttled:.0f} s of it" if throttled else ""
        aside = {f"{r.channel}.{table}": n for r in results for table, n in r.quarantined.items()}
        if aside:
            text += f"; {sum(aside.values()):,} refused by the target, in {run.environment.quarantine}"
        facts = {"rows_copied": rows, "elapsed_s": elapsed, "throttled_s": throttled, "tables": tables}
        changed = {f"{r.channel}.{what}": n for r in results for what, n in r.changed.items()}
        text += f"; {sum(changed.values()):,} values changed as the plan says" if changed else ""
        return StepResult(text, {**facts, "quarantined": aside, "changed": changed})

    def verify(self, run: RunContext) -> Verdict:
        left = [f"{link.channel}.{table}" for link in links(run) for table in unfinished(link)]
        return verdict(not left, f"not finished: {', '.join(left)}" if left else "every range of every table is done")

    def rollback(self, run: RunContext) -> StepResult:
        _refuse_while_in_use(run)
        tables = 0
        for link in links(run):
            tables_here = [flow.table for flow in link.flows]
            link.writer.lower_fence(tables_here)  # it rejects TRUNCATE too; its own undo comes next
            link.writer.execute(*_emptying(link.writer, tables_here))
            forget(link)
            for table in tables_here:
                if link.quarantine:
                    link.quarantine.forget(link.channel, table)
            tables += len(link.flows)
        return StepResult(f"{tables} tables emptied at the targets")

    def _tell(self, run: RunContext, before: int, total: int, told: list[int], done: int, _: int) -> None:
        told[0] = before + done
        run.progress(before + done, max(total, before + done), "rows")
        run.sample("rows_copied", before + done)


def _emptying(writer: Database, tables: Sequence[str]) -> list[str]:
    return dialect_of(writer.dialect).emptied([writer.quote(table) for table in tables])


def _refuse_while_in_use(run: RunContext) -> None:
    """What the services write to is never emptied, whatever the order of the undos; without a router the log tells."""
    services = run.plan.services if run.environment.router_settings else ()
    routes = run.router.routes() if services else {}
    used = [writes(s) for s in services if shares(routes[writes(s)]) != {origin(run): 100}]
    logged = [link.channel for link in links(run, BACK) if link.reader.capture_installed(link.channel)]
    if used or logged:
        raise RollbackFailed(
            "copy_history",
            f"the targets are in use: {', '.join([*used, *logged])}",
            expected="all writes at the source, and the rollback path closed",
            state="nothing was emptied",
            action="undo the cutover first",
        )
