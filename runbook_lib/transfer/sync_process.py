"""The sync process: drains the links of a run until it is asked to stop, and says every second how far behind it is.

It runs beside the notebooks, because reads that were switched need a target that keeps up between two phases too.
An advisory lock on each reader is the truth about whether a sync is running: it dies with the process. Killed anywhere,
nothing is lost: the log rows are still there, and the next start resumes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from runbook_lib.errors import DatabaseError, JournalError, StepFailed, TransferError
from runbook_lib.journal import Journal, Sample
from runbook_lib.journal.kinds import SchemaChanged, SyncEnded, SyncStarted, SyncStopRequested
from runbook_lib.transfer import waiting_log
from runbook_lib.transfer.capture import pending
from runbook_lib.transfer.held import Held
from runbook_lib.transfer.links import Link
from runbook_lib.transfer.schema_watch import SchemaWatch
from runbook_lib.transfer.sync import drain_once, must_wait
from runbook_lib.transfer.user_triggers import hold_back

_FIRST_WAIT_S = 0.5  # after an error; doubled after each further one
IDLE_S = 0.02  # how long to wait when nothing is pending; also the floor of the lag
_LOOK_S = 5.0  # how often somebody who waits for its end looks what it does, and says so
START_WITHIN_S = 60.0  # a busy machine takes 10 s to start an interpreter

_started: list[subprocess.Popen[bytes]] = []  # they outlive the step that started them; reaped when they are stopped


def sync_forever(
    links: Sequence[Link],
    journal: Journal,
    run_id: str,
    direction: str,
    *,
    batch_keys: int,
    stop: Stop,
    since: int = -1,
    pause: Callable[[], str] = lambda: "",
) -> int:
    """Drain the links until a stop is asked for (`stop`, journal, or the watched parent gone); the keys applied.

    A database or a journal that does not answer is tried again, with the locks taken again. A table whose changes
    cannot be applied waits, and the others continue (held.py).

    Args:
        stop: Ends it; `stop_at_signals` sets one.
        since: The journal's last entry when this process was asked for: a stop after it counts. -1: now.
        pause: Asked before each round: a reason to wait ("" = none); the log grows meanwhile.
    Raises:
        TransferError: another sync holds a link.
    """
    since = last_entry(journal, run_id) if since < 0 else since

    def changed(text: str) -> None:
        sys.stderr.write(f"{text}\n")
        journal.append(run_id, SchemaChanged(text, direction))

    applied, wait_s, held, watch = 0, _FIRST_WAIT_S, Held(), SchemaWatch(links, changed)

    def over() -> bool:
        return stop.asked or _asked_to_stop(journal, run_id, direction, since) or _orphaned()

    while True:
        try:
            for keys in _drain_while_ours(links, journal, run_id, direction, batch_keys, over, pause, held, watch):
                if wait_s > _FIRST_WAIT_S:
                    sys.stderr.write(f"sync {direction}: resumes\n")
                applied, wait_s = applied + keys, _FIRST_WAIT_S
            return applied
        except (DatabaseError, JournalError) as error:
            sys.stderr.write(f"sync {direction}: {error}; trying again in {wait_s:g} s\n")
            if stop.wait(wait_s) or _orphaned():
                return applied
            wait_s = min(wait_s * 2, 10.0)


@dataclass
class Stop:
    """Whether the end was asked for. Not an Event: its `wait` holds a lock, for which a handler could wait for ever."""

    asked: bool = False

    def wait(self, seconds: float) -> bool:
        """Wait that long, or until it was asked for; whether it was."""
        until = time.monotonic() + seconds
        while not self.asked and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
        return self.asked


@contextmanager
def stop_at_signals(*, last: bool = False) -> Iterator[Stop]:
    """Asked for at the first SIGTERM or SIGINT; a second one interrupts. After that they mean again what they did.

    Args:
        last: The process ends after it: once a stop that was asked for is done, further signals are ignored. There is
            nothing left to interrupt, and half-closed connections would say so with tracebacks.
    """
    stop = Stop()

    def asked(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            signal.default_int_handler(number, frame)
        stop.asked = True

    numbers = (signal.SIGTERM, signal.SIGINT)
    before: list[Any] = [signal.signal(number, asked) for number in numbers]
    try:
        yield stop
        if last and stop.asked:
            before = [signal.SIG_IGN, signal.SIG_IGN]
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _drain_while_ours(
    links: Sequence[Link],
    journal: Journal,
    run_id: str,
    direction: str,
    batch_keys: int,
    over: Callable[[], bool],
    pause: Callable[[], str],
    held: Held,
    watch: SchemaWatch,
) -> Iterator[int]:
    """The keys of each round, until it is over or the locks are lost."""
    applied, looked = 0, 0.0
    with exclusive(links):
        if over():
            return
        for link in links:
            waiting_log.remove(link)  # of the sync before: each table is tried now
        held.waiting.clear()
        journal.append(run_id, SyncStarted(direction, os.getpid()))
        hold_back(links)
        waiting = {link.channel: must_wait(link) for link in links}
        while True:
            if time.monotonic() - looked >= 1.0:
                looked = time.monotonic()
                _tell(links, journal, run_id, direction, applied, throttled=bool(pause()))
                for database in {id(side): side for link in links for side in (link.reader, link.writer)}.values():
                    database.keep_up()  # the other direction's capture continues, and nobody drains it
                if over():
                    break
                if not running(links):  # our own session was ended: somebody else may hold the locks in a moment
                    raise DatabaseError(f"sync {direction}", "the session that holds its lock has ended")
                watch.look()
            keys = 0
            if not pause():
                batches = (
                    drain_once(ln, batch_keys=batch_keys, waiting=waiting[ln.channel], held=held) for ln in links
                )
                keys = sum(batch.keys for batch in batches)
            applied += keys
            yield keys
            if not keys:
                time.sleep(IDLE_S)  # nothing signals a new row in the log
        journal.append(run_id, SyncEnded(direction, applied))


@contextmanager
def exclusive(links: Sequence[Link]) -> Iterator[None]:
    """Be the only one who drains these links: two would let an older row overwrite a newer one.

    Raises:
        TransferError: a sync of these links is running.
    """
    with ExitStack() as locks:
        for link in links:
            _hold(locks, link)
        yield


def last_entry(journal: Journal, run_id: str) -> int:
    """The sequence number of the run's last entry."""
    return max((entry.seq for entry in journal.entries(run_id)), default=0)


def start_sync(links: Sequence[Link], command: Sequence[str], log: Path, environment: Mapping[str, str]) -> int:
    """Start the sync as a process of its own, and wait until it holds its links; its process id.

    Args:
        command: What starts it; its output goes to `log`.
    Raises:
        StepFailed: it ended, or did not take its links in time; the log's last line is in the message.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True, env=environment
        )
    _started.append(process)
    deadline = time.monotonic() + START_WITHIN_S
    while not running(links):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()  # were it slow, it would take its locks after we said that it did not start
            process.wait()
            last = (log.read_text(errors="replace").strip().splitlines() or ["no output"])[-1]
            raise StepFailed("sync", f"did not start: {last}", state="capture continues", action=f"read {log}")
        time.sleep(0.05)
    return process.pid


def stop_sync(links: Sequence[Link], journal: Journal, run_id: str, direction: str, *, within_s: float = 30.0) -> None:
    """Ask the sync of this direction to stop and wait until it has let go of its links. Idempotent.

    It ends between two batches, which take long on a busy machine: it is waited for as long as it makes progress.
    The stop is recorded even when none is running: one that was asked for before, and is still starting, sees it.

    Args:
        within_s: How long it may show no progress (seconds): no key applied, none gone from its log, no sign of life.
    Raises:
        StepFailed: it stands still; what it was seen to do last is named.
    """
    journal.append(run_id, SyncStopRequested(direction))
    began = still = told = time.monotonic()
    seen: tuple[float, int] | None = None
    while running(links):
        now = time.monotonic()
        if now - told >= _LOOK_S:
            told, before, seen = now, seen, _sign_of_life(links, journal, run_id, direction)
            still = now if seen != before else still
            waits = f"{seen[1]} keys pending, its last sign of life {max(0.0, time.time() - seen[0]):.0f} s ago"
            if now - still > within_s:
                raise StepFailed(
                    "sync",
                    f"did not stop, and has shown no progress for {within_s:.0f} s ({waits})",
                    state="it is asked to stop, and its log is kept",
                    action="see what its statement waits for at the database, or end its process, and run again",
                )
            sys.stderr.write(f"sync {direction}: waiting for its batch to end since {now - began:.0f} s; {waits}\n")
        time.sleep(0.02)
    _started[:] = [process for process in _started if process.poll() is None]


def _sign_of_life(links: Sequence[Link], journal: Journal, run_id: str, direction: str) -> tuple[float, int]:
    """When the sync last told how far it is (seconds since the epoch; 0: never), and the keys that are pending."""
    told = (s.at for s in journal.samples(run_id, "applied_keys") if s.labels.get("direction") == direction)
    return max(told, default=0.0), pending(links).keys


def running(links: Sequence[Link]) -> bool:
    """Whether a sync holds any of these links now."""
    for link in links:
        with link.reader.advisory_lock(_lock(link)) as granted:
            if not granted:
                return True
    return False


def this_command() -> list[str]:
    """How to start the command line with this very Python."""
    return [sys.executable, "-m", "runbook_lib.cli"]


def _hold(locks: ExitStack, link: Link) -> None:
    for _ in range(50):  # a `running()` elsewhere holds it for a moment
        if locks.enter_context(link.reader.advisory_lock(_lock(link))):
            return
        time.sleep(0.05)
    raise TransferError(f"sync {link.channel}", "another one is running", state="it continues", action="stop it first")


def lock_of(channel: str) -> str:
    """The advisory lock, at the database that is read, of whoever syncs this channel."""
    return f"runbook sync {channel}"


def _lock(link: Link) -> str:
    return lock_of(link.channel)


def _tell(
    links: Sequence[Link], journal: Journal, run_id: str, direction: str, applied: int, *, throttled: bool
) -> None:
    lag = pending(links)
    seen = {"lag_keys": lag.keys, "lag_s": lag.oldest_s, "applied_keys": applied, "throttled": float(throttled)}
    labels = {"direction": direction}
    journal.sample_many(run_id, [Sample(series, value, labels=labels) for series, value in seen.items()])


def _asked_to_stop(journal: Journal, run_id: str, direction: str, since: int) -> bool:
    return any(
        entry.seq > since and entry.read(SyncStopRequested).direction == direction
        for entry in journal.entries(run_id, SyncStopRequested)
    )


def _orphaned() -> bool:
    """Whether the process that this sync must not outlive (the demo) has gone."""
    parent = os.environ.get("RUNBOOK_PARENT_PID", "")
    return bool(parent) and not Path(f"/proc/{parent}").exists()
