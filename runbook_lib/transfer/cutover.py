"""Cutover: writers move from the reader's side of the links to the writer's side, without a lost write.

See docs/correctness.md#order-of-a-cutover.
Order: reverse capture → catch up while writes continue → predict → FENCE (writers in flight are drained) → final sync →
verify the keys of the final sync → sequences → switch → LIFT on the new side. What is between the capitals is the
write pause; its length does not depend on the size of the tables. Each act has its compensation: up to the first lift
everything is put back as it was, and the error says so. From the first lift on the new side has the writes, and the
only way is forward (or the return, which is this same function over the reverse links).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from runbook_lib.databases.port import Database
from runbook_lib.errors import CutoverAborted, JournalError, LeaseHeld, RollbackFailed, TransferError
from runbook_lib.transfer.capture import capture_complete, pending
from runbook_lib.transfer.links import Link
from runbook_lib.transfer.sequences import advance_all
from runbook_lib.transfer.sync import Key, drain, drain_once, must_wait
from runbook_lib.transfer.user_triggers import hold_back, let_fire
from runbook_lib.util.points import passed

Touched = Mapping[tuple[str, str], frozenset[Key]]  # (service, table) → keys


@dataclass(frozen=True)
class Prediction:
    """The write pause expected from what was measured while writes continued (seconds; rate in keys per second)."""

    pending_keys: int
    drain_rate: float
    fence_s: float
    drain_s: float
    verify_s: float
    switch_s: float

    @property
    def total_s(self) -> float:
        return self.fence_s + self.drain_s + self.verify_s + self.switch_s


@dataclass(frozen=True)
class CutoverResult:
    """What happened: `pause_s` from the first rejected write to the first lift on the new side (seconds)."""

    predicted: Prediction
    budget_s: float
    pause_s: float
    drained_keys: int
    events: tuple[tuple[str, float], ...]  # (what, seconds since the epoch)
    sequences: int

    def as_dict(self) -> dict[str, Any]:
        """JSON for the journal and the charts."""
        events = [{"name": name, "at": at} for name, at in self.events]
        pause = {"write_pause_ms": self.pause_s * 1000, "predicted_ms": self.predicted.total_s * 1000}
        return {**asdict(self), **pause, "events": events}


@dataclass(frozen=True)
class CutoverActions:
    """What the cutover is given to act on the world outside the databases.

    Attributes:
        verify: Checks the touched keys on both sides; raises when they differ.
        switch: Sends writers to the new side; returns when the router acknowledged.
        switch_back: The compensation of `switch`; idempotent.
        same_schema: Raises CutoverAborted when a schema is no longer what was compared before the fence.
        may_fence: Raises CutoverAborted when it is not the time for it; asked last, right before the fence.
        hold: Lets new requests of writers wait until `release`, where their router can; given how long it may take (s).
        release: Lets them through again; idempotent.
        still_ours: Raises LeaseHeld when somebody else acts on the run by now: then nothing is touched any more.
    """

    verify: Callable[[Touched], object]
    switch: Callable[[], object]
    switch_back: Callable[[], object]
    hold: Callable[[float], object] = lambda within_s: None
    release: Callable[[], object] = lambda: None
    still_ours: Callable[[], object] = lambda: None
    same_schema: Callable[[], object] = lambda: None
    may_fence: Callable[[], object] = lambda: None


@dataclass
class _Pause:
    """The write pause under way: its events, what puts back what was done so far, and its budget (seconds)."""

    budget_s: float
    events: list[tuple[str, float]] = field(default_factory=list)
    undo: list[Callable[[], object]] = field(default_factory=list)

    def mark(self, event: str) -> None:
        self.events.append((event, time.time()))
        passed(f"cutover:{event}")

    @property
    def elapsed_s(self) -> float:
        return time.time() - self.events[0][1]

    def refuse_late(self, what: str, left: int = 0) -> None:
        elapsed_s = self.elapsed_s
        if elapsed_s > self.budget_s or left:
            raise CutoverAborted(
                "cutover",
                f"{what} took the write pause to {elapsed_s:.2f} s" + (f" with {left} keys left" if left else ""),
                expected=f"at most {self.budget_s:.2f} s (max_write_pause)",
                state="the state before the cutover is restored",
                action="run it again when fewer writes arrive, or allow a longer max_write_pause",
            )


@dataclass(frozen=True)
class CaughtUp:
    """`rate`: keys applied per second while writes continued; `touched`: the keys of the last rounds."""

    rate: float
    touched: Touched


def catch_up(links: Sequence[Link], *, small_enough: int, within_s: float, batch_keys: int = 2_000) -> CaughtUp:
    """Drain until at most `small_enough` keys are pending, and measure how fast that went.

    Args:
        small_enough: Pending keys (count) that the fenced sync can be left with.
        within_s: How long to try (seconds).
    Raises:
        CutoverAborted: the writers are faster than the sync.
    """
    started, keys, busy_s, touched = time.monotonic(), 0, 0.0, dict[tuple[str, str], frozenset[Key]]()
    while True:
        for link in links:
            done = drain_once(link, batch_keys=batch_keys)
            keys, busy_s = keys + done.keys, busy_s + (done.elapsed_s if done.keys else 0.0)
            touched.update({(link.service, table): some for table, some in done.touched.items()})
        left = pending(links).keys
        if left <= small_enough and keys:
            return CaughtUp(keys / busy_s, touched)
        elapsed = time.monotonic() - started
        if left <= small_enough and elapsed > 1.0:
            return CaughtUp(float(batch_keys), touched)  # nobody writes: there will be nothing to drain
        if elapsed > within_s:
            raise CutoverAborted(
                "cutover",
                f"{left} keys are still pending after {elapsed:.0f} s of catching up",
                expected=f"at most {small_enough}",
                state="nothing was fenced or switched",
                action="run the cutover when fewer writes arrive, or raise options.batch_keys",
            )


def predict(
    links: Sequence[Link], *, drain_rate: float, fence_s: float, verify_s: float, switch_s: float
) -> Prediction:
    """The pause to expect now; the fixed parts come from the rehearsal (seconds)."""
    waiting = pending(links).keys
    return Prediction(waiting, drain_rate, fence_s, waiting / drain_rate if drain_rate else 0.0, verify_s, switch_s)


def cutover(
    links: Sequence[Link],
    back: Sequence[Link],
    acts: CutoverActions,
    predicted: Prediction,
    *,
    budget_s: float,
) -> CutoverResult:
    """Move the writers within the budget, or put everything back.

    Args:
        links: What was synced so far; their reader is fenced.
        back: The links in the other direction, whose capture is already installed (none: no rollback path is kept).
        budget_s: The longest write pause allowed (seconds); passed before the first lift, the cutover is undone.
    Raises:
        CutoverAborted: the state before the cutover is restored; the message says why.
        RollbackFailed: it did not happen, and something could not be put back; every error is named.
        TransferError: it happened, but a fence of the new side is still up; running it again lowers it.
    """
    _refuse_if_too_long(predicted, budget_s)
    _refuse_without_rollback_path(back)
    _refuse_without_capture(links)
    _refuse_unfinished(links)
    pause = _Pause(budget_s)
    opened = _tables(links, lambda link: (link.writer, [flow.table for flow in link.flows]))
    pause.mark("fence requested")
    try:
        touched, moved = _up_to_the_lift(links, acts, pause)
    except LeaseHeld:
        raise  # the run is somebody else's: what we would put back may be theirs by now
    except BaseException as error:  # Ctrl-C too leaves the state before
        _require_ours(acts)
        _put_back(pause.undo, error)
        if not isinstance(error, Exception):
            error.add_note("the state before the cutover is restored")
        if isinstance(error, CutoverAborted) or not isinstance(error, Exception):
            raise
        raise CutoverAborted(
            "cutover",
            f"{error}",
            state="the state before the cutover is restored",
            action="correct it, then run it again",
        ) from error
    try:
        _resume_writes(opened)  # from here on the new side has the writes: nothing is undone any more
    finally:
        acts.release()
    pause.mark("writers let in at the new side")
    keys, pause_s = sum(len(keys) for keys in touched.values()), pause.events[-1][1] - pause.events[0][1]
    return CutoverResult(predicted, budget_s, pause_s, keys, tuple(pause.events), moved)


def _up_to_the_lift(links: Sequence[Link], acts: CutoverActions, pause: _Pause) -> tuple[Touched, int]:
    """All that can be put back: fence, final sync, verification, sequences, switch; keys touched, sequences set."""
    acts.may_fence()
    pause.undo.append(acts.release)
    acts.hold(pause.budget_s)
    for database, tables in _tables(links, lambda link: (link.reader, list(link.captured))):
        pause.undo.append(partial(database.lower_fence, tables))
        database.raise_fence(tables, timeout_s=pause.budget_s - pause.elapsed_s)
    pause.mark("writes rejected")
    acts.same_schema()
    touched = drain(links, until=lambda: pause.elapsed_s > pause.budget_s, copied=True)
    pause.refuse_late("the final sync", pending(links).keys)
    pause.mark("final sync done")
    acts.verify(touched)
    pause.mark("last keys verified")
    moved = advance_all(links)
    pause.refuse_late("verification and sequences")
    pause.mark("sequences set")
    acts.still_ours()
    if sum(_with_triggers(link, pause.undo) for link in links):
        pause.mark("triggers made")
    acts.still_ours()
    pause.undo.append(acts.switch_back)
    acts.switch()
    pause.refuse_late("the switch")
    _refuse_without_capture(links)  # it was on all the time: nothing was written beside it
    acts.still_ours()
    pause.mark("traffic switched")
    return touched, moved


def _require_ours(acts: CutoverActions) -> None:
    """Raise LeaseHeld when the run is somebody else's; a silent journal keeps nobody from putting back."""
    try:
        acts.still_ours()
    except LeaseHeld:
        raise
    except JournalError as error:
        sys.stderr.write(f"cutover: {error}; putting the state before back all the same\n")


def _put_back(undo: Sequence[Callable[[], object]], error: BaseException) -> None:
    """Undo what was done, the last act first, all of it even where one fails.

    Raises:
        RollbackFailed: something could not be undone; both errors are named.
    """
    failed = _all_of(reversed(undo))
    if failed:
        refused = RollbackFailed(
            "cutover",
            f"{error}; and the state before could not be restored: {'; '.join(map(str, failed))}",
            state="the targets stay fenced, so that no write is taken there",
            action="see who may write at the source, then run the phase again: it begins by restoring the source",
        )
        for other in failed:
            refused.add_note(f"not undone: {other}")
        raise refused from error


def _resume_writes(opened: Sequence[tuple[Database, list[str]]]) -> None:
    failed = _all_of([partial(database.lower_fence, tables) for database, tables in opened])
    if failed:
        raise TransferError(
            "cutover",
            f"the new side's fence was not lowered everywhere: {'; '.join(map(str, failed))}",
            state="the traffic is switched, and the side before stays fenced",
            action="run the phase again: it resumes there",
        ) from failed[0]


def _all_of(acts: Iterable[Callable[[], object]]) -> list[Exception]:
    """Do every act, even when some of them fail; their errors."""
    failed = []
    for act in acts:
        try:
            act()
        except Exception as error:
            failed.append(error)
    return failed


def _tables(
    links: Sequence[Link], of: Callable[[Link], tuple[Database, list[str]]]
) -> list[tuple[Database, list[str]]]:
    """Tables by database, each database once: one fence transaction per database."""
    grouped: dict[str, tuple[Database, dict[str, None]]] = {}
    for link in links:
        database, tables = of(link)
        grouped.setdefault(database.name, (database, {}))[1].update(dict.fromkeys(tables))
    return [(database, sorted(tables)) for database, tables in grouped.values()]


def _with_triggers(link: Link, undo: list[Callable[[], object]]) -> int:
    """Make the triggers that wait for the writers; how many."""
    undo.append(partial(hold_back, [link]))
    return let_fire(link.writer, link.channel)


def _refuse_if_too_long(predicted: Prediction, budget_s: float) -> None:
    if predicted.total_s > budget_s:
        raise CutoverAborted(
            "cutover",
            f"a write pause of {predicted.total_s:.2f} s is predicted ({predicted.pending_keys} keys pending)",
            expected=f"at most {budget_s:.2f} s (max_write_pause)",
            state="nothing was fenced or switched",
            action="wait for fewer writes, or allow a longer max_write_pause",
        )


def _refuse_without_rollback_path(back: Sequence[Link]) -> None:
    missing = [link.channel for link in back if not capture_complete(link)]
    if missing:
        raise CutoverAborted(
            "cutover",
            f"the reverse capture of {', '.join(missing)} is not complete",
            expected="the rollback path open before the cutover",
            state="nothing was fenced or switched",
            action="run the phase again: its first step installs it",
        )


def _refuse_unfinished(links: Sequence[Link]) -> None:
    """Rows that are still to be copied would be missing at the new side. Asked before the fence: looking takes time."""
    if waiting := [table for link in links for table in must_wait(link)]:
        raise CutoverAborted(
            "cutover",
            f"the bulk copy of {', '.join(waiting)} has not ended",
            state="nothing was fenced or switched",
            action="let the copy end, then run it again",
        )


def _refuse_without_capture(links: Sequence[Link]) -> None:
    missing = [link.channel for link in links if not capture_complete(link)]
    if missing:
        listed = ", ".join(missing)
        raise CutoverAborted(
            "cutover",
            f"the capture of {listed} is not complete: a trigger is missing or disabled, or its slot is lost",
            expected="every change logged, up to the last one",
            state="the writers stay where they were",
            action="see who disabled it; then go back with 90_rollback and migrate again: changes may be missing",
        )
