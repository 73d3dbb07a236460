"""A stability period of days: what counts, what it costs the journal, and what a kill loses. In simulated time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest
from click.testing import CliRunner
from fix_run import SmallEnvironment, small_environment, small_plan, start
from nightly import short_of

from runbook_lib.cli import main
from runbook_lib.errors import LeaseHeld, NotDue
from runbook_lib.journal import Journal
from runbook_lib.journal.kinds import Alarm, WatchOpened, WatchSeen
from runbook_lib.monitoring.long_watch import LEASE, LongWatch, Recorder, Sampler, standing
from runbook_lib.monitoring.triggers import Observation, Reading, State
from runbook_lib.plan.model import Phase, Trigger
from runbook_lib.run.run import Run
from runbook_lib.steps import WatchTraffic
from runbook_lib.steps.watch_process import watch_on
from runbook_lib.traffic.port import EDGE, TrafficSample
from runbook_lib.verdict import Outcome, Verdict

LOOKS = json.loads((Path(__file__).parents[1] / "fixtures/router_readings.json").read_text())["busy"]
STEP, DAY = "watch_traffic:stability", 86_400
FINE = [Reading("error_rate", State.OK, 0.001, 0.01, 1_200, "fine")]
UNJUDGED = [Reading("error_rate", State.UNKNOWN, None, 0.01, 3, "3 requests in 10 s, need 20")]


def opened(folder: Path, period_s: float, begun: float = 0.0) -> tuple[Journal, LongWatch]:
    journal = Journal(f"sqlite:///{folder}/journal.sqlite")
    journal.open_run("r", environment="demo", plan_digest="p", actor="ada")
    journal.append("r", WatchOpened(round(period_s * 1000)), phase="cleanup", step=STEP)
    found = standing(journal, "r", STEP)
    assert found is not None
    return journal, replace(found, opened=begun or found.opened)


@pytest.mark.parametrize("days", short_of([3, 30], [3]))
def test_a_month_of_recorded_noise_is_less_than_a_megabyte_and_over_when_all_of_it_is_recorded(
    tmp_path: Path, days: int
) -> None:
    journal, watch = opened(tmp_path, days * DAY)
    at, requests, errors = 0.1, 0, 0  # a tenth that binary fractions do not have, added up
    sampler = Sampler(["error_rate"], sample_s=3_600)  # entries are by the hour; a sample a minute only takes longer
    with journal.lease("r", "ada", what=LEASE) as lease:
        recorder = Recorder(journal, lease, watch, "ada")
        for look in cycle(LOOKS):
            at, requests, errors = at + 14.9, requests + 14 * int(look[1]), errors + int(look[2])
            sample = sampler.look(Observation(at, requests, errors), FINE)
            if sample and recorder.sample(sample) and at > days * DAY and (found := recorder.standing()) and found.over:
                break
    assert days * DAY <= at <= days * DAY + 3_700
    assert found.measured_ms >= days * DAY * 1000 and found.seen and found.seen.requests > days * 1_000_000
    journal.close()
    assert sum(file.stat().st_size for file in tmp_path.glob("journal.sqlite*")) < 100_000 + days * 30_000


def test_what_was_not_judged_and_what_nobody_watched_counts_for_nothing(tmp_path: Path) -> None:
    journal, watch = opened(tmp_path, DAY, begun=1_000.0)
    with journal.lease("r", "ada", what=LEASE) as lease:
        recorder = Recorder(journal, lease, watch, "ada")
        sampler = Sampler(["error_rate"], sample_s=60)
        parts: list[tuple[float, int, Sequence[Reading]]] = [
            (1_000, 120, FINE),
            (1_121, 60, UNJUDGED),
            (5_000, 60, FINE),
        ]
        for begin, seconds, readings in parts:
            for second in range(seconds + 1):
                if sample := sampler.look(Observation(begin + second, second * 120, 0), readings):
                    recorder.sample(sample)
        recorder.end(sampler.rest())
    found = standing(journal, "r", STEP)
    journal.close()
    assert found is not None and found.seen is not None
    assert (found.measured_ms, found.seen.unjudged_ms) == (180_000, 61_000)
    text = replace(found, opened=1_000.0).text(now=5_060.0)
    assert "measured 3 min of 1 day" in text
    assert "not judged, for 1.0 min (last: error_rate: 3 requests in 10 s, need 20)" in text
    assert "nobody watched for 1.1 hours" in text


CHILD = """
import sys
from runbook_lib.journal import Journal
from runbook_lib.monitoring.long_watch import LEASE, Recorder, Sampler, standing
from runbook_lib.monitoring.triggers import Observation, Reading, State
journal = Journal(sys.argv[1])
sampler, fine = Sampler(["error_rate"], 5.0), [Reading("error_rate", State.OK, 0.0, 0.01, 9, "fine")]
with journal.lease("r", "bob", what=LEASE) as lease:
    recorder = Recorder(journal, lease, standing(journal, "r"), "bob")
    for second in range(1_000_000):
        if sample := sampler.look(Observation(float(second), second, 0), fine):
            recorder.sample(sample)
        print(second, flush=True)
"""


def test_a_watcher_killed_loses_one_sample_at_most_and_the_next_one_goes_on_at_once(tmp_path: Path) -> None:
    journal, watch = opened(tmp_path, DAY)
    command = [sys.executable, "-c", CHILD, f"sqlite:///{tmp_path}/journal.sqlite"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        seconds = [int(child.stdout.readline()) for _ in range(48)]
        with pytest.raises(LeaseHeld, match="bob acts on its watch"):
            journal.lease("r", "ada", what=LEASE).acquire()
        with journal.lease("r", "ada"):
            pass  # the run itself is free meanwhile
        child.send_signal(signal.SIGKILL)
        seconds += [int(line) for line in child.stdout]
    found = standing(journal, "r", STEP)
    assert found is not None and found.measured_ms >= (seconds[-1] - 5) * 1000
    with journal.lease("r", "ada", what=LEASE) as lease:
        Recorder(journal, lease, watch, "ada").end(None)
    after = standing(journal, "r", STEP)
    journal.close()
    assert after is not None and after.measured_ms == found.measured_ms


@pytest.fixture
def stability(tmp_path: Path) -> Iterator[tuple[SmallEnvironment, Run]]:
    phases = (Phase("cutover"), Phase("cleanup", after_s=600.0))
    plan = replace(small_plan(), phases=phases, triggers=(Trigger("error_rate", 0.01),))
    environment = small_environment(tmp_path, plan)
    with start(environment, "preflight") as run:
        for name in ("record_baseline", "cutover"):
            run.verdict(name, Verdict(Outcome.PASS, "", {"p50_ms": 5.0, "p99_ms": 9.0}))
        yield environment, run


class Clock:
    """Time that passes when somebody waits, and a router with traffic in it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.requests, self.errors, self.share = time.time(), 0, 0, 0.0
        self.stop_at = float("inf")
        monkeypatch.setattr(time, "time", lambda: self.now)

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        self.requests += 120
        self.errors += round(120 * self.share)
        return self.now >= self.stop_at

    def router(self) -> list[TrafficSample]:
        return [TrafficSample(self.now, EDGE, self.requests, self.errors, 5.0, 9.0)]


def test_a_period_of_days_is_no_cell_that_sleeps_it_waits_and_is_judged_from_what_was_recorded(
    stability: tuple[SmallEnvironment, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment, run = stability
    step = WatchTraffic("stability")
    with pytest.raises(
        NotDue, match=r"measured 0 ms of 10 min.*due .* UTC.*no watcher runs.*runbook watch -f"
    ) as waits:
        run.step(step)
    assert waits.value.exit_status == 1 and not run.journal.holder(run.run_id)
    assert run.journal.entries(run.run_id, WatchOpened)
    clock, said = Clock(monkeypatch), list[str]()

    def go_on() -> LongWatch:
        seen = watch_on(environment, run.journal, run.run_id, pause=clock.wait, show=said.append, source=clock.router)  # type: ignore[arg-type]
        assert seen is not None
        return seen

    clock.stop_at = clock.now + 200
    assert not go_on().over
    with pytest.raises(NotDue, match=r"measured 3\.\d min of 10 min; 23,\d+ requests"):
        run.step(step)
    clock.now, clock.stop_at = clock.now + 5_000, float("inf")
    assert go_on().over
    record = run.step(step)
    assert record.passed and "nobody watched for 1.4 hours" in record.text and record.data["errors"] == 0
    assert "watch_traffic:stability" not in {one.name for one in run.history().to_undo() if not one.result}


def test_a_trigger_that_fires_ends_the_watch_and_stays_until_somebody_says_to_go_on(
    stability: tuple[SmallEnvironment, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment, run = stability
    with pytest.raises(NotDue):
        run.step(WatchTraffic("stability"))
    clock = Clock(monkeypatch)
    clock.share = 0.05
    for _ in range(2):  # the second one does not begin
        seen = watch_on(  # type: ignore[arg-type]
            environment, run.journal, run.run_id, pause=clock.wait, show=print, source=clock.router
        )
        assert seen is not None and not seen.over and "error_rate: " in seen.text(clock.now)
    assert len(run.journal.entries(run.run_id, Alarm)) == 1
    assert run.history().alarms


def test_the_command_says_what_the_watch_came_to_by_its_status(
    stability: tuple[SmallEnvironment, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment, run = stability
    monkeypatch.setattr("runbook_lib.cli.watch.environment_of", lambda _: environment)

    def said() -> tuple[int, str]:
        done = CliRunner().invoke(main, ["watch", "-f", "parameters/demo.yaml"])
        return done.exit_code, done.output

    status, text = said()
    assert status == 2 and "waits for no watch" in text
    with pytest.raises(NotDue):
        run.step(WatchTraffic("stability"))
    seen = WatchSeen(0.0, 600.0, 600_000, 0, 72_000, 3)
    run.journal.append(run.run_id, seen, phase="cleanup", step=STEP)
    status, text = said()
    assert status == 0 and "the period is over: measured 10 min of 10 min; 72,000 requests, 3 failed" in text
    fired = Alarm("error_rate: 5 %", {"metric": "error_rate"})
    run.journal.append(run.run_id, fired, phase="cleanup", step=STEP)
    status, text = said()
    assert status == 1 and "a rollback trigger fired: error_rate: 5 %" in text and "runbook rollback -f" in text
