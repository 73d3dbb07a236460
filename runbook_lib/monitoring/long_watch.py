"""A watch of days: looks become samples, samples become a few figures an hour in the journal.

Only time that was measured counts: between two looks that follow each other closely, with every trigger judged and
fine. A watcher that does not run, a source that is silent or too little traffic leave a gap, which counts for nothing.
Whether the period is over is asked of recorded milliseconds alone: what a process has beside them dies with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from runbook_lib.journal import Entry, Sample
from runbook_lib.journal.kinds import Alarm, RollbackResult, WatchOpened, WatchSeen
from runbook_lib.journal.renamed_steps import name_today
from runbook_lib.monitoring.triggers import Observation, Reading, State
from runbook_lib.plan.units import duration

if TYPE_CHECKING:
    from runbook_lib.journal import Journal, Lease

LEASE = "watch"  # one watcher of a run at a time
LOOK_S = 1.0
SAMPLE_S = 60.0  # what a kill may lose
CONDENSE_S = 3600.0  # 720 entries of a month: 0.4 MB (docs/decisions/0160)
FARTHEST_S = 15.0  # looks farther apart than this watched nothing between them


def merged(first: WatchSeen | None, then: WatchSeen) -> WatchSeen:
    """Both as one; a gap between them is counted by neither."""
    if first is None:
        return then
    errors = None if first.errors is None or then.errors is None else first.errors + then.errors
    worst = {name: max(m.get(name, 0.0) for m in (first.worst, then.worst)) for name in {**first.worst, **then.worst}}
    return WatchSeen(
        first.since,
        then.until,
        first.measured_ms + then.measured_ms,
        first.unjudged_ms + then.unjudged_ms,
        first.requests + then.requests,
        errors,
        worst,
        then.reason or first.reason,
    )


class Sampler:
    """Makes samples of looks.

    Args:
        acting: The triggers that have to be judged; those only to be seen do not hold it up.
        sample_s: Length of a sample (seconds).
    """

    _errors: int | None

    def __init__(self, acting: Iterable[str], sample_s: float = SAMPLE_S) -> None:
        self._acting, self._sample_s = frozenset(acting), sample_s
        self._last: Observation | None = None
        self._begin(0.0)

    def look(self, seen: Observation, readings: Sequence[Reading]) -> WatchSeen | None:
        """Take one look in; the sample that ends with it."""
        last, self._last = self._last, seen
        if last is None or not 0 <= seen.at - last.at <= FARTHEST_S:  # begun, slept, or the clock was set
            return self._ended(last.at if last else seen.at, seen.at)
        bad = [one for one in readings if one.metric in self._acting and one.state is not State.OK]
        if bad or not self._acting:
            self._unjudged_s += seen.at - last.at
            self._reason = "; ".join(f"{one.metric}: {one.text}" for one in bad) or "the plan has no triggers"
        else:
            self._measured_s += seen.at - last.at
        self._count(last, seen, readings)
        return self._ended(seen.at, seen.at) if seen.at - self._since >= self._sample_s else None

    def rest(self) -> WatchSeen | None:
        """The sample under way; the next look begins another."""
        last, self._last = self._last, None
        return self._ended(last.at, last.at) if last else None

    def _count(self, last: Observation, seen: Observation, readings: Sequence[Reading]) -> None:
        self._requests += max(0, seen.requests - last.requests)
        if seen.errors is None or last.errors is None:
            self._errors = None
        elif self._errors is not None:
            self._errors += max(0, seen.errors - last.errors)
        for one in readings:
            if one.value is not None:
                self._worst[one.metric] = round(max(one.value, self._worst.get(one.metric, 0.0)), 4)

    def _ended(self, until: float, begin: float) -> WatchSeen | None:
        """What was counted, if anything was; from `begin` on the next one counts."""
        measured_ms, unjudged_ms = round(self._measured_s * 1000), round(self._unjudged_s * 1000)
        since, counts = round(self._since, 3), (self._requests, self._errors, self._worst, self._reason)
        self._begin(begin)
        return (
            WatchSeen(since, round(until, 3), measured_ms, unjudged_ms, *counts) if measured_ms + unjudged_ms else None
        )

    def _begin(self, at: float) -> None:
        self._since, self._measured_s, self._unjudged_s = at, 0.0, 0.0
        self._requests, self._reason = 0, ""
        self._errors = 0
        self._worst: dict[str, float] = {}


@dataclass(frozen=True)
class LongWatch:
    """Where a watch of days stands, as recorded.

    Attributes:
        opened: When it began (seconds since the epoch).
        seen: All that was seen, the unfinished hour too; None: nothing yet.
        alarms: What fired.
    """

    step: str
    phase: str
    opened: float
    period_ms: int
    seen: WatchSeen | None = None
    alarms: tuple[Alarm, ...] = ()

    @property
    def measured_ms(self) -> int:
        return self.seen.measured_ms if self.seen else 0

    @property
    def over(self) -> bool:
        """Whether the period was measured, all of it."""
        return self.measured_ms >= self.period_ms

    def due(self, now: float) -> float:
        """When it is over at the earliest: if all is measured and fine from now on (seconds since the epoch)."""
        return now + max(0, self.period_ms - self.measured_ms) / 1000

    def text(self, now: float) -> str:
        """What was seen, in one line."""
        words = [f"measured {duration(self.measured_ms / 1000)} of {duration(self.period_ms / 1000)}"]
        if self.seen is not None:
            errors = "" if self.seen.errors is None else f", {self.seen.errors:,} failed"
            worst = [f"{name.replace('_', ' ')} at most {value:g}" for name, value in sorted(self.seen.worst.items())]
            words += [f"{self.seen.requests:,} requests{errors}", *worst]
        until = self.seen.until if self.over and self.seen else now
        unjudged_s = (self.seen.unjudged_ms if self.seen else 0) / 1000
        alone_s = max(0.0, until - self.opened - self.measured_ms / 1000 - unjudged_s)
        if unjudged_s >= 1 and self.seen:
            words.append(f"not fine, or not judged, for {duration(unjudged_s)} (last: {self.seen.reason})")
        if alone_s >= FARTHEST_S:
            words.append(f"nobody watched for {duration(alone_s)}")
        return "; ".join([*words, *(f"fired: {alarm.text}" for alarm in self.alarms)])

    def figures(self) -> dict[str, Any]:
        """JSON for the step's result."""
        seen = self.seen or WatchSeen(0.0, 0.0, 0)
        return {
            "elapsed_s": round(seen.until - self.opened, 3),
            "measured_s": self.measured_ms / 1000,
            "unjudged_s": seen.unjudged_ms / 1000,
            "requests": seen.requests,
            "errors": seen.errors,
            **{f"worst_{name}": value for name, value in seen.worst.items()},
        }


def when(at: float) -> str:
    """A moment (seconds since the epoch) for people."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="minutes")[:16].replace("T", " ") + " UTC"


def standing(journal: Journal, run_id: str, step: str = "") -> LongWatch | None:
    """The run's open watch (of this step, or the last one), as recorded; None where there is none."""
    kinds = (WatchOpened, WatchSeen, RollbackResult, Alarm)
    entries = [one for one in journal.entries(run_id, *kinds) if step in ("", name_today(one.step))]
    found: LongWatch | None = None
    for entry in entries:
        found = _with(found, entry)
    if found is None:
        return None
    tail = [point.labels for point in journal.samples(run_id, series_of(found.step))]
    return replace(found, seen=merged(found.seen, _read(tail[-1]))) if tail else found


def series_of(step: str) -> str:
    """The time series that has the hour under way, as one point."""
    return f"watch {step}"


def _with(found: LongWatch | None, entry: Entry) -> LongWatch | None:
    step = name_today(entry.step)
    match entry.content:
        case WatchOpened(period_ms=period_ms):
            if found is None or found.step != step:
                return LongWatch(step, entry.phase, entry.time.timestamp(), period_ms)
            return replace(found, period_ms=period_ms)
        case WatchSeen() as seen if found is not None and found.step == step:
            return replace(found, seen=merged(found.seen, seen))
        case Alarm() as alarm if found is not None and found.step == step:
            return replace(found, alarms=(*found.alarms, alarm))
        case RollbackResult(outcome="pass") if found is not None and found.step == step:
            return None
    return found


def _read(labels: Mapping[str, Any]) -> WatchSeen:
    return WatchSeen(**labels)


class Recorder:
    """Writes what a watcher sees; all it has is in the journal after each sample.

    Args:
        lease: On `LEASE` of the run, held.
        actor: Who watches.
        condense_s: So much becomes one entry (seconds).
    """

    def __init__(
        self, journal: Journal, lease: Lease, watch: LongWatch, actor: str, condense_s: float = CONDENSE_S
    ) -> None:
        self._journal, self._lease, self._actor, self._condense_s = journal, lease, actor, condense_s
        self._step, self._phase = watch.step, watch.phase
        tail = [point.labels for point in journal.samples(lease.run_id, series_of(watch.step))]
        self._tail: WatchSeen | None = _read(tail[-1]) if tail else None

    def sample(self, seen: WatchSeen) -> bool:
        """Record one sample, and say whether an hour was condensed with it.

        What could not be recorded for want of the journal comes with the next one.

        Raises:
            LeaseHeld: another one watches.
            JournalError: the journal does not answer.
        """
        self._tail = merged(self._tail, seen)
        if full := self._tail.until - self._tail.since >= self._condense_s:
            self._condense()
        else:
            point = Sample(series_of(self._step), self._tail.measured_ms / 1000, labels=vars(self._tail))
            self._journal.replace_sample(self._lease.run_id, point, token=self._lease.token, lease=LEASE)
        return full

    def end(self, rest: WatchSeen | None) -> None:
        """Record what was not, and let the hour under way be an entry of the chain."""
        self._tail = merged(self._tail, rest) if rest else self._tail
        if self._tail is not None:
            self._condense()

    def standing(self) -> LongWatch | None:
        """The watch as it is recorded."""
        return standing(self._journal, self._lease.run_id, self._step)

    def _condense(self) -> None:
        if self._tail is not None:
            self._append(self._tail, condenses=series_of(self._step))
            self._tail = None

    def alarm(self, alarm: Alarm) -> None:
        """Record that a trigger fired."""
        self._append(alarm)

    def _append(self, content: WatchSeen | Alarm, condenses: str = "") -> None:
        where = {"phase": self._phase, "step": self._step, "actor": self._actor}
        token = self._lease.token
        self._journal.append(self._lease.run_id, content, **where, token=token, lease=LEASE, condenses=condenses)
