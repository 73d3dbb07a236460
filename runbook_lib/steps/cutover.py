"""Move the writers from the monolith to the services; the return is the same act in the other direction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from runbook_lib.databases.port import Problem
from runbook_lib.errors import CutoverAborted, RollbackFailed, TransferError
from runbook_lib.operations import switchover
from runbook_lib.operations.agreement import COMMAND, SHAPES, Difference, in_quarantine, of_rows, of_schema, refuse
from runbook_lib.operations.switchover import Pace, compare_touched
from runbook_lib.plan.window import is_open, next_opening
from runbook_lib.plan.yaml_value import shown
from runbook_lib.run.context import RunContext
from runbook_lib.steps.baseline import changed_objects
from runbook_lib.steps.routes_and_links import (
    BACK,
    FORWARD,
    backend,
    links,
    origin,
    reads,
    shares,
    verdict,
    writers_of_run,
    writes,
)
from runbook_lib.steps.start_sync import StartSync
from runbook_lib.traffic.port import WRITES
from runbook_lib.transfer import cutover as act
from runbook_lib.transfer.capture import capture_complete, enable_capture, fence_writer, pending
from runbook_lib.transfer.links import Link
from runbook_lib.transfer.schema_watch import SameSchema
from runbook_lib.transfer.sequences import advance_all
from runbook_lib.transfer.sync_process import exclusive, running, stop_sync
from runbook_lib.transfer.user_triggers import let_fire
from runbook_lib.transfer.writers import Writers
from runbook_lib.validation import Report
from runbook_lib.validation.accounts import wordings
from runbook_lib.verdict import StepResult, Verdict

Routes = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Cutover:
    """Fence, final sync, verify, sequences, switch, lift: within the plan's max_write_pause or not at all."""

    name: str = "cutover"
    reversible: bool = True
    barrier: bool = True
    requires: Sequence[str] = ("start_reverse_capture", "rehearse_fence", "verify_data:before_cutover")

    def check(self, run: RunContext) -> list[Problem]:
        ill = [name for s in run.plan.services for name in [backend(s, "target")] if not run.service(name).health().ok]
        return [Problem(name, "not healthy", "read its log; nothing was fenced") for name in ill]

    def apply(self, run: RunContext) -> StepResult:
        forward, back, writers = links(run), links(run, BACK), writers_of_run(run)
        if _lifted(writers):
            _refuse_written(forward, writers)
            return self._finish(run, forward)  # killed after the point of no return: resume there
        _refuse_written(back, writers)
        self._restore_source(run, forward)  # killed before it: begin again from the state before
        require_window(run)  # before the comparison: nobody waits for it in vain
        same = SameSchema(forward)
        _require_agreement(run, forward, forward, back)
        _fence(forward)  # a partition made since then has no fence yet
        was_running = running(forward)
        stop_sync(forward, run.journal, run.run_id, FORWARD)
        try:
            result = _move(run, forward, back, _to_targets(run), same, partial(require_window, run))
        except CutoverAborted:
            if was_running:  # the reads are at the targets already: the state before has a sync
                StartSync(FORWARD).apply(run)
            raise
        return StepResult(_told(result), result.as_dict())

    def verify(self, run: RunContext) -> Verdict:
        routes = run.router.routes()
        wrong = [route for route, weights in _to_targets(run).items() if shares(routes[route]) != weights]
        forward = links(run)
        fenced = [t for ln in forward for t in sorted(ln.writer.fenced([flow.table for flow in ln.flows]))]
        problems = [*wrong, *([] if _source_fenced(forward) else ["the source is writable"]), *fenced]
        return verdict(not problems, ", ".join(problems) or "the services have the writes, the source is fenced")

    def rollback(self, run: RunContext) -> StepResult:
        """The return: fence the services, sync their last writes back, and resume writes at the monolith.

        Where a kill may have left things is read from the databases, never guessed, and the targets decide: only when
        every table there is fenced and nothing is in the log back has no write of the services to be replicated back.
        """
        forward, back = links(run), links(run, BACK)
        if _open_at_targets(forward) and pending(back).keys:
            _refuse_written(forward, writers_of_run(run))
        was_running = running(back)
        stop_sync(back, run.journal, run.run_id, BACK)
        if not _open_at_targets(forward) and not pending(back).keys:
            moved = advance_all(back)
            self._restore_source(run, forward)
            return StepResult(f"the monolith has the writes; {moved} sequences set")
        for link in back:
            if link.reader.pending(link.channel):  # there is a log: a partition made since may lack a trigger
                enable_capture(link)
        _refuse_closed_rollback_path(back)
        same = SameSchema(back)
        _require_agreement(run, forward, back, forward)
        _fence(back)  # the source: a partition made since the cutover has no fence yet
        try:
            result = _move(run, back, [], _all_to_origin(run), same)
        except CutoverAborted:
            if was_running:
                StartSync(BACK).apply(run)
            raise
        return StepResult(f"returned: {_told(result)}", result.as_dict())

    def undone(self, run: RunContext) -> Verdict:
        routes = run.router.routes()
        wrong = [route for route, weights in _writes_to_origin(run).items() if shares(routes[route]) != weights]
        forward = links(run)
        fenced = sorted(forward[0].reader.fenced(_source_tables(forward)))
        return verdict(not wrong and not fenced, ", ".join([*wrong, *fenced]) or "the monolith has the writes again")

    def _restore_source(self, run: RunContext, forward: Sequence[Link]) -> None:
        run.router.set_weights(_writes_to_origin(run))
        for link in links(run, BACK):
            let_fire(link.writer, link.channel)
        forward[0].reader.lower_fence(_source_tables(forward))

    def _finish(self, run: RunContext, forward: Sequence[Link]) -> StepResult:
        run.router.set_weights(_to_targets(run))
        for link in forward:
            let_fire(link.writer, link.channel)
            link.writer.lower_fence([flow.table for flow in link.flows])
        stop_sync(forward, run.journal, run.run_id, FORWARD)  # the repetition has started one: nothing is to be carried
        return StepResult("finished after an interruption: the services had the writes already")


def require_window(run: RunContext) -> None:
    """Refuse a cutover outside the plan's window, where the inventory's policy enforces it; a return may come any time.

    Raises:
        CutoverAborted: the window is closed, or closes before the longest write pause would be over.
    """
    cutover = run.effective("cutover")
    window, now = cutover.window, datetime.now(UTC)
    if window is None or run.environment.policy.window == "ignore":
        return
    end = now + timedelta(seconds=cutover.max_write_pause_s)
    if is_open(window, now) and is_open(window, end):
        return
    opening = next_opening(window, now)
    closes = f", and the window closes within the longest write pause ({cutover.max_write_pause_s:g} s)"
    raise CutoverAborted(
        "cutover",
        f"it is {now.astimezone(opening.tzinfo):%A %H:%M}{closes if is_open(window, now) else ''}",
        expected=f"the plan's window, {window.text}",
        state="nothing was fenced; the source has the writes",
        action=f"run it again from {opening:%Y-%m-%d %H:%M} {window.timezone},"
        " or waive the window in the inventory (policy: {window: ignore})",
    )


def _move(
    run: RunContext,
    forward: Sequence[Link],
    back: Sequence[Link],
    there: Routes,
    same: SameSchema,
    may_fence: Callable[[], object] = lambda: None,
) -> act.CutoverResult:
    """Catch up, predict, and move the writers over these links within the plan's budget, as the only one who drains."""
    here = {name: shares(state) for name, state in run.router.routes().items() if name in there}
    options = run.options

    def compare(touched: act.Touched) -> Report:
        return compare_touched(forward, touched, tolerances=run.plan.tolerances, jobs=options.jobs)

    acts = act.CutoverActions(
        verify=lambda touched: compare(touched).raise_for_failure(),
        switch=lambda: run.router.set_weights(there),
        switch_back=lambda: run.router.set_weights(here),
        hold=lambda within_s: run.router.hold([route for route in there if route.endswith(WRITES)], within_s),
        release=run.router.release,
        still_ours=lambda: run.note("the lease on this run is still ours"),
        same_schema=same.require,
        may_fence=may_fence,
    )
    fence_s = float(run.record("rehearse_fence").data["fence_s"])
    budget_s = run.effective("cutover").max_write_pause_s
    with exclusive(forward):
        pace = Pace(budget_s, options.small_enough_keys, fence_s, options.switch_s)
        return switchover.move(forward, back, acts, compare, pace)


def _require_agreement(
    run: RunContext, forward: Sequence[Link], there: Sequence[Link], opposite: Sequence[Link]
) -> None:
    """Nobody is moved away from what the other side does not have; checked while the writers write (agreement.py)."""
    refuse(there[0], disagreements(run, forward, there, opposite))


def disagreements(
    run: RunContext, forward: Sequence[Link], there: Sequence[Link], opposite: Sequence[Link]
) -> list[Difference]:
    """What would keep the writers from being moved over `there` now; nothing is fenced or written.

    On the return an index that the source lacks keeps nobody from it: its rows are what counts there.
    """
    tolerances, types = run.plan.tolerances, run.plan.types
    checks = SHAPES if there is forward else ("schemas",)
    objects = changed_objects(run, forward=there is forward)
    told = [said for name in objects for said in wordings(name)]  # one finding for one change
    found = [*of_schema(forward, checks=checks, types=types, tolerances=tolerances, told=told), *objects.values()]
    ways = {link.service: link for link in opposite}
    for link in there:
        way = ways[link.service]
        found += [*in_quarantine([link, way], tolerances), *of_rows(link, way, tolerances)]
    return [replace(one, action=_of_a_plan(one.action, run)) for one in found]


def _of_a_plan(action: str, run: RunContext) -> str:
    """What to do about a difference, where there is a plan and no command of a copy."""
    action = action.replace(COMMAND, f"runbook follow apply-ddl -f {shown(run.environment.parameter_file)}")
    return action.replace("with --leave-quarantined", "by `tolerate` of the plan (kind: quarantined)")


def _told(result: act.CutoverResult) -> str:
    return (
        f"write pause {result.pause_s * 1000:.0f} ms (predicted {result.predicted.total_s * 1000:.0f}, "
        f"allowed {result.budget_s * 1000:.0f}); {result.drained_keys} last keys, {result.sequences} sequences"
    )


def _refuse_closed_rollback_path(back: Sequence[Link]) -> None:
    closed = [link.channel for link in back if not capture_complete(link)]
    if closed:
        raise RollbackFailed(
            "cutover",
            f"the rollback path is closed: nothing logs the writes of {', '.join(closed)}",
            expected="the reverse capture, in place since before the cutover",
            state="nothing was moved; the services have the writes",
            action="migrate back with a plan of its own; the source's backup and archive are as of the decommissioning",
        )


def _source_fenced(forward: Sequence[Link]) -> bool:
    tables = _source_tables(forward)
    return set(forward[0].reader.fenced(tables)) == set(tables)


def _lifted(writers: Writers) -> bool:
    """Whether the point of no return was passed: the source refuses every write, a target takes some."""
    return writers.source.closed and any(each.open for each in writers.targets)


def _refuse_written(over: Sequence[Link], writers: Writers) -> None:
    """Nobody is moved where the side that must take no writes has logged some: which of two rows counts is not known.

    Raises:
        TransferError: changes wait in these logs.
    """
    if left := pending(over).keys:
        raise TransferError(
            "cutover",
            f"both sides took writes: {left} changes are logged at {over[0].reader.name}, which should take none"
            f" ({writers})",
            state="nothing was moved or fenced",
            action="see who wrote there beside the fence, compare both sides, and repair the one that is wrong",
        )


def _open_at_targets(forward: Sequence[Link]) -> bool:
    """Whether a service may have taken a write: a table of its is not fenced, or a partition of one."""
    return any(set(ln.writer.fenced([f.table for f in ln.flows])) != {f.table for f in ln.flows} for ln in forward)


def _fence(over: Sequence[Link]) -> None:
    """See that everything on the side that has no writers is fenced, whatever was made there since."""
    for link in over:
        fence_writer(link)


def _source_tables(forward: Sequence[Link]) -> list[str]:
    return sorted({table for link in forward for table in link.captured})


def _to_targets(run: RunContext) -> Routes:
    return {writes(service): {backend(service, "target"): 100} for service in run.plan.services}


def _writes_to_origin(run: RunContext) -> Routes:
    return {writes(service): {origin(run): 100} for service in run.plan.services}


def _all_to_origin(run: RunContext) -> Routes:
    """Reads too: what the services hold is stale from the moment the monolith has the writes."""
    return _writes_to_origin(run) | {reads(service): {origin(run): 100} for service in run.plan.services}
