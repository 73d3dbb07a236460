"""The watcher of a stability period: `runbook watch`. It acts on no step and holds no lease of the run but its own.

Killed anywhere it loses the sample under way, at most a minute; the next one begins at what is recorded, and the time
between the two counts for nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from runbook_lib.config.environment import Environment
from runbook_lib.config.options import read_options
from runbook_lib.errors import ConfigurationError, JournalError, LeaseHeld
from runbook_lib.journal import Journal, kinds
from runbook_lib.monitoring.long_watch import LEASE, LOOK_S, SAMPLE_S, LongWatch, Recorder, Sampler, standing
from runbook_lib.monitoring.probes import Probes
from runbook_lib.monitoring.watch import Watch, pauses_of
from runbook_lib.plan.yaml_value import shown
from runbook_lib.run.approvals import unanswered
from runbook_lib.run.context import RunContext
from runbook_lib.steps.traffic_watch import baseline, figures, rules_of, watched
from runbook_lib.traffic.port import TrafficSample

Show = Callable[[str], None]
PROBE_S = 300.0  # counts and a sample of every table, and the smoke requests: every five minutes


def watch_on(
    environment: Environment,
    journal: Journal,
    run_id: str,
    *,
    pause: Callable[[float], bool],
    show: Show,
    source: Callable[[], Sequence[TrafficSample]] | None = None,
    sample_s: float = SAMPLE_S,
) -> LongWatch | None:
    """Watch until the period is measured, a trigger fires, a rollback takes it back, or `pause` says to stop.

    Nothing is watched after a trigger that fired before, until somebody says to go on.

    Args:
        pause: Waits so many seconds; whether to stop.
        show: Gets a line every hour, and when something is not recorded.
        source: The router's counters; None: those of the environment's router.
        sample_s: How often it is recorded (seconds).
    Returns:
        LongWatch: as it stands then. None: a rollback took it back.
    Raises:
        ConfigurationError: no watch is open.
        LeaseHeld: another watcher is at work.
    """
    phase = open_watch(environment, journal, run_id).phase
    run = RunContext(environment, phase, run_id, journal, read_options(environment.options))
    with journal.lease(run_id, run.actor, run.options.lease_ttl_s, LEASE) as lease:
        begun = open_watch(environment, journal, run_id)  # as the one before us left it
        if unanswered(run.history()):
            return begun
        triggers, probes = watched(run, look_into_data=True)
        watch = Watch(tuple(triggers), baseline(run), rules_of(run), frozenset(probes))
        recorder, found = Recorder(journal, lease, begun, run.actor), standing(journal, run_id, begun.step)
        sampler = Sampler([one.metric for one in triggers if not one.dry_run], sample_s)
        show(begun.text(time.time()))
        with Probes(probes, PROBE_S, pauses_of(triggers)) as answers:
            while found is not None and not found.over:
                readings = watch.look(source or run.router.metrics, answers)
                watch.forget()
                if sample := sampler.look(watch.samples[-1], readings):
                    found = _record(recorder, sample, found, show)
                for alarm in watch.fired:
                    recorder.alarm(kinds.Alarm(alarm.text, figures(alarm)))
                if watch.fired or pause(LOOK_S):
                    break
        if found is not None:
            recorder.end(sampler.rest())
    return standing(journal, run_id, found.step) if found is not None else None


def open_watch(environment: Environment, journal: Journal, run_id: str) -> LongWatch:
    """The watch that the run waits for.

    Raises:
        ConfigurationError: there is none.
    """
    found = standing(journal, run_id)
    if found is None:
        action = f"runbook run -f {shown(environment.parameter_file)}: the clean-up opens it, where `after` is days"
        raise ConfigurationError(f"run {run_id}", "waits for no watch", state="nothing was done", action=action)
    return found


def _record(recorder: Recorder, sample: kinds.WatchSeen, found: LongWatch, show: Show) -> LongWatch | None:
    """The watch as it is recorded afterwards; a journal that does not answer gets it with the next sample."""
    try:
        condensed = recorder.sample(sample)
        now = recorder.standing()
    except LeaseHeld:
        raise
    except JournalError as error:
        show(f"not recorded yet: {error}")
        return found
    if condensed and now is not None:
        show(now.text(time.time()))
    return now
