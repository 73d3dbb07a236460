"""Keep a cloned pair current, move its writers, and move them back: the cutover without a plan.

Which side has the writers is proven by the fences (writers.py), never remembered. The journal tells the follower, in
another terminal, to step aside while the writers move, and which way to sync afterwards.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from runbook_lib.databases.port import Database
from runbook_lib.errors import JournalError, LeaseHeld, TransferError
from runbook_lib.journal import Journal, RunRow
from runbook_lib.journal.kinds import CopyChanged, CopyOpened, Note, SyncStopRequested, WritersMoved
from runbook_lib.operations import switchover
from runbook_lib.operations.agreement import LEAVE, Difference, baseline, disagreements, refuse
from runbook_lib.operations.pair import Pair, Tell, pair_of
from runbook_lib.operations.predict_cutover import FENCE_S, SWITCH_S
from runbook_lib.operations.switchover import Pace, compare_touched
from runbook_lib.transfer import cutover as act
from runbook_lib.transfer.capture import capture_complete, disable_capture, enable_capture, fence_writer, pending
from runbook_lib.transfer.links import Link
from runbook_lib.transfer.schema_watch import SameSchema
from runbook_lib.transfer.sync import drain
from runbook_lib.transfer.sync_process import Stop, exclusive, last_entry, stop_at_signals, stop_sync, sync_forever
from runbook_lib.transfer.trial_apply import would_not_fit
from runbook_lib.transfer.user_triggers import hold_back, let_fire
from runbook_lib.transfer.writers import Side
from runbook_lib.util.child_process import why_not_started

FORWARD, BACK = "forward", "back"


@dataclass(frozen=True)
class Switch:
    """Commands that send the applications to the other side; empty: somebody does it by hand.

    Attributes:
        there: Run inside the write pause; a status other than 0 puts everything back.
        back: The compensation of `there`.
        timeout_s: Longest time for either (seconds).
    """

    there: Sequence[str] = ()
    back: Sequence[str] = ()
    timeout_s: float = 30.0

    def run(self, command: Sequence[str]) -> None:
        """Run one of the two.

        Raises:
            TransferError: it failed, or took too long.
        """
        if not command:
            return
        try:
            ran = subprocess.run(command, capture_output=True, text=True, timeout=self.timeout_s, check=False)
        except OSError as error:
            raise TransferError(f"switch `{command[0]}`", why_not_started(error, command[0])) from error
        except subprocess.TimeoutExpired as error:
            raise TransferError(f"switch `{command[0]}`", f"not finished after {self.timeout_s:g} s") from error
        if ran.returncode:
            said = (ran.stderr.strip() or ran.stdout.strip()).splitlines()
            raise TransferError(f"switch `{command[0]}`", f"status {ran.returncode}: {said[-1] if said else ''}")


def side_of(pair: Pair) -> Side:
    """Who has the writers, as far as the fences of both sides prove it."""
    return pair.writers().side


def open_clone(journal: Journal, pair: Pair, tables: Sequence[str], actor: str) -> str:
    """The run of this pair, opened now if there is none; its id."""
    name = pair.service.name
    run_id = f"{name}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
    row = journal.open_run(run_id, environment=name, plan_digest=pair.plan.digest, actor=actor)
    if row.run_id == run_id:
        how = {"on_bad_row": pair.plan.on_bad_row, "types": dict(pair.plan.types)}
        opened = CopyOpened(*_address(pair), tuple(tables), how, name, followed_of(pair), baseline(pair))
        journal.append(run_id, opened, actor=actor)
    return row.run_id


def find_clone(journal: Journal, pair: Pair) -> tuple[Pair, str]:
    """The pair as it was cloned (with its choice of tables), and its run.

    Raises:
        TransferError: no copy with --follow was made between these two.
    """
    found = known_clone(journal, pair)
    if found is None:
        raise TransferError(
            f"{pair.source.masked_url} to {pair.target.masked_url}",
            "no copy between them is being followed",
            state="nothing was moved",
            action="runbook copy SOURCE TARGET --follow in this folder, or change to the one where that was begun",
        )
    return found


def known_clone(journal: Journal, pair: Pair, tables: Sequence[str] | None = None) -> tuple[Pair, str] | None:
    """The same, or None where there is none (with this choice of tables)."""
    for row, copy in _open_copies(journal, *_address(pair)):
        if tables is None or tuple(tables) == copy.tables:
            return _as_followed(pair, copy), row.run_id
    return None


def service_of(journal: Journal, source: Database, target: Database) -> str:
    """The name of the followed copy between them, whatever tables the source got later; "" where there is none."""
    copies = _open_copies(journal, source.masked_url, target.masked_url)
    return next((copy.service or row.environment for row, copy in copies), "")


def _open_copies(journal: Journal, source: str, target: str) -> Iterator[tuple[RunRow, CopyOpened]]:
    """The copies between these addresses that are followed, the newest first."""
    for row in reversed(journal.runs()):
        copy = known_copy(journal, row.run_id) if row.state == "open" else None
        if copy and (copy.source, copy.target) == (source, target):
            yield row, copy


def resumed(journal: Journal, pair: Pair, tables: Sequence[str]) -> Pair:
    """The pair with the tables that are followed already, where this choice of tables is; else as it is."""
    known = known_clone(journal, pair, tables)
    return replace(pair, plan=replace(pair.plan, services=known[0].plan.services)) if known else pair


def followed_of(pair: Pair) -> tuple[str, ...]:
    """The tables that are followed now, whatever tables the source gets later."""
    return tuple(mapping.source for mapping in pair.service.tables)


def _as_followed(pair: Pair, copy: CopyOpened) -> Pair:
    chosen = copy.tables if copy.followed is None else ()
    found = pair_of(pair.source, pair.target, chosen, known=copy.followed, **copy.how)
    return found.named(copy.service) if copy.service else found


def _address(pair: Pair) -> tuple[str, str]:
    return pair.source.masked_url, pair.target.masked_url


def follow(
    pair: Pair,
    journal: Journal,
    run_id: str,
    tell: Tell,
    *,
    batch_keys: int = 2_000,
    pause: Callable[[], str] = lambda: "",
    last: bool = False,
) -> int:
    """Sync towards the side without writers until Ctrl-C; steps aside for a cutover and turns round after it.

    Args:
        pause: Asked before each round: a reason to wait ("" = none).
        last: The process ends afterwards (see `stop_at_signals`).
    Returns:
        int: keys applied.
    """
    applied = 0
    # For all of it: a signal that came as a cutover asked for the way would be lost.
    with stop_at_signals(last=last) as stop:
        while True:
            done, asked = _sync(pair, journal, run_id, tell, stop, batch_keys, pause)
            applied += done
            if not asked:
                break
            tell("stepping aside while the writers move, or a change of the schema is carried over")
            pair = _as_followed(pair, copy_of(journal, run_id))  # tables may have been taken in
        tell(f"stopped; {applied:,} keys applied. Capture continues: the same command resumes")
    return applied


def _sync(
    pair: Pair,
    journal: Journal,
    run_id: str,
    tell: Tell,
    stop: Stop,
    batch_keys: int,
    pause: Callable[[], str],
) -> tuple[int, bool]:
    """Sync until asked to stop; the keys applied, and whether somebody asked for the way (and no signal came)."""
    since = last_entry(journal, run_id)  # before looking: who moves the writers after that has asked us to stop
    side = _settled(pair, journal, run_id, stop)
    if side is None:
        return 0, False
    direction = BACK if side is Side.TARGET else FORWARD
    link = pair.back if direction == BACK else pair.forward
    where = f"{link.reader.name} → {link.writer.name}"
    tell(f"syncing {where}: {pending([link]).keys} keys pending; {_next(side)}")
    applied = sync_forever(
        [link], journal, run_id, direction, batch_keys=batch_keys, stop=stop, since=since, pause=pause
    )
    return applied, not stop.asked and any(one.seq > since for one in journal.entries(run_id, SyncStopRequested))


def _next(side: Side) -> str:
    if side is Side.BETWEEN:
        return "a move of the writers was interrupted, and nobody can write: `runbook cutover` or `return` again"
    return f"`runbook {'return' if side is Side.TARGET else 'cutover'}` moves the writers"


def _settled(pair: Pair, journal: Journal, run_id: str, stop: Stop) -> Side | None:
    """Who has the writers, once nobody is moving them: the mover holds the run's lease. None: stopped before that."""
    lease = journal.lease(run_id, "follow", ttl_s=15.0)
    while not stop.asked:
        try:
            lease.acquire()
        except LeaseHeld:
            stop.wait(0.2)  # the journal signals nothing
            continue
        try:
            subject = f"{pair.source.name} to {pair.target.name}"
            return pair.writers().require(subject, Side.SOURCE, Side.TARGET, Side.BETWEEN)
        finally:
            lease.release()
    return None


def move(
    pair: Pair,
    journal: Journal,
    run_id: str,
    to: Side,
    switch: Switch,
    *,
    budget_s: float,
    small_enough: int = 100,
    leave_quarantined: bool = False,
    tell: Tell = lambda text: None,
) -> act.CutoverResult | None:
    """Move the writers to that side within the budget, or put everything back. None: they are there already.

    Args:
        to: TARGET is the cutover, SOURCE the return.
        budget_s: The longest write pause allowed (seconds).
        small_enough: Pending keys that the final sync may begin with (count).
        leave_quarantined: Rows in quarantine may stay behind.
    Raises:
        Refused: the sides do not agree (schema, objects, rows in quarantine, row counts); nothing was fenced.
        CutoverAborted: the state before is restored.
        RollbackFailed: something could not be put back; named.
        TransferError: who has the writers is not proven; both sides' fences are named, and nothing was moved.
        LeaseHeld: somebody else moves this pair.
    """
    with journal.lease(run_id, f"{'cutover' if to is Side.TARGET else 'return'}", ttl_s=15.0) as lease:
        seen = pair.seen()
        there, back = (seen.forward, seen.back) if to is Side.TARGET else (seen.back, seen.forward)
        what = f"{pair.source.name} to {pair.target.name}"
        side = pair.writers().require(what, Side.SOURCE, Side.TARGET, Side.BETWEEN)
        if side is to:
            return None
        _refuse_incompatible_values(there)
        same = SameSchema([there])
        agreed = partial(disagreements_of, pair, journal, run_id, to, leave_quarantined=leave_quarantined)
        if side is not Side.BETWEEN:
            refuse(there, agreed())
        stop_sync([there], journal, run_id, FORWARD if to is Side.TARGET else BACK)
        with exclusive([there]):
            if side_of(pair) is Side.BETWEEN:
                _undo_interrupted(there, back, journal, run_id)
                tell(f"an interrupted move of the writers was undone first: the {there.reader.name} has them")
            _open_rollback_path(there, back)
            if side is Side.BETWEEN:  # only now it is known who has them
                refuse(there, agreed())
            compare = partial(compare_touched, [there], tolerances=(LEAVE,) if leave_quarantined else ())
            acts = _acts(compare, switch, same, lambda: _ours(journal, run_id, lease.token))
            pace = Pace(budget_s, small_enough, FENCE_S, SWITCH_S)
            result = switchover.move([there], [back], acts, compare, pace)
        journal.append(run_id, WritersMoved(str(to), result.as_dict()), token=lease.token)
        return result


def _undo_interrupted(there: Link, back: Link, journal: Journal, run_id: str) -> None:
    """Resume writes at the side they are to leave, with all that the other side took before it was fenced.

    It may have been a move the other way that was interrupted: then this side does not have its last writes yet.
    """
    stop_sync([back], journal, run_id, FORWARD if back.forward else BACK)
    with exclusive([back]):
        hold_back([back])
        drain([back])
    let_fire(back.writer, back.channel)
    there.reader.lower_fence(list(there.captured))


def leave(pair: Pair, journal: Journal, run_id: str) -> Side:
    """Remove the capture at both databases and close the run; who has the writes now, for good.

    Raises:
        TransferError: who has the writers is not proven, or the pair is still being synced; nothing was removed.
        LeaseHeld: somebody moves this pair.
    """
    pair = pair.seen()
    with journal.lease(run_id, "unfollow", ttl_s=15.0), exclusive([pair.forward, pair.back]):
        side = pair.writers().require(f"{pair.source.name} to {pair.target.name}", Side.SOURCE, Side.TARGET)
        for link in (pair.forward, pair.back):
            let_fire(link.writer, link.channel)  # nothing is replicated there any more
            disable_capture(link)
        journal.set_state(run_id, "done")
    return side


def _ours(journal: Journal, run_id: str, token: str) -> None:
    journal.append(run_id, Note("the lease is still ours"), token=token)


def _open_rollback_path(there: Link, back: Link) -> None:
    """Log the other side's writes from its first one on; fence it, whatever was made there since."""
    for link in (there, back):
        if not capture_complete(link):  # `there`: a partition made since is taken in
            enable_capture(link)
    fence_writer(there)


def disagreements_of(
    pair: Pair, journal: Journal, run_id: str, to: Side, *, leave_quarantined: bool = False
) -> list[Difference]:
    """What would keep the writers from being moved to that side now (agreement.py); nothing is fenced or written."""
    pair = pair.seen()  # now, whatever was seen before
    there, back = (pair.forward, pair.back) if to is Side.TARGET else (pair.back, pair.forward)
    copy = copy_of(journal, run_id)
    whole = not copy.tables
    return disagreements(pair, there, back, copy.baseline, whole=whole, leave_quarantined=leave_quarantined)


def known_copy(journal: Journal, run_id: str) -> CopyOpened | None:
    """A followed copy as it is now; None: this run is none."""
    found = None
    for entry in journal.entries(run_id, CopyOpened, CopyChanged):
        if isinstance(entry.content, CopyOpened):
            found = entry.content
        elif found:
            now = entry.read(CopyChanged)
            found = replace(found, followed=now.followed, baseline=now.baseline, gone=now.gone)
    return found


def copy_of(journal: Journal, run_id: str) -> CopyOpened:
    """The same, of a run that is one.

    Raises:
        JournalError: it is not.
    """
    if (found := known_copy(journal, run_id)) is None:
        raise JournalError(f"run {run_id}", "is not of a followed copy", action="runbook status")
    return found


def _acts(
    compare: switchover.Compare, switch: Switch, same: SameSchema, still_ours: Callable[[], object]
) -> act.CutoverActions:
    return act.CutoverActions(
        verify=lambda touched: compare(touched).raise_for_failure(),
        switch=lambda: switch.run(switch.there),
        switch_back=lambda: switch.run(switch.back),
        still_ours=still_ours,
        same_schema=same.require,
    )


def _refuse_incompatible_values(there: Link) -> None:
    """Nobody is moved while the other side refuses a row of theirs."""
    if unfit := would_not_fit(there):
        first = unfit[0]
        raise TransferError(
            f"{there.writer.name}.{first.table}, key ({', '.join(map(str, first.key))})",
            f"{len(unfit)} rows would be refused there: {first.reason}",
            state="nothing was moved",
            action="correct the rows, or the table they do not fit",
        )
