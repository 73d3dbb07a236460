"""Default triggers over readings that Envoy gave of the demo estate on two busy cores, in simulated time.

`fixtures/router_readings.json`: each look as seconds, requests and errors since the one before, p50 and p99 (ms). The
estate was healthy in `calm`, and in `busy`, while compilers and tests took its cores; then 5 % errors, then answers
three times as slow, were injected.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

import pytest

from runbook_lib.monitoring.triggers import Alarm, Baseline, Observation, Rules
from runbook_lib.monitoring.watch import Watch
from runbook_lib.plan.model import Trigger

Look = Sequence[float]
READINGS: dict[str, list[Look]] = json.loads((Path(__file__).parents[1] / "fixtures/router_readings.json").read_text())
TRIGGERS = (Trigger("error_rate", 0.01), Trigger("response_time", 2.0, relative_to_baseline=True))
BLOCK = 20  # looks that stay together when the recording is prolonged: noise comes in bursts


def prolonged(name: str, seconds: float, seed: int) -> list[Look]:
    """Blocks of a recording, drawn with replacement, for so many seconds."""
    chosen, recorded, found = random.Random(seed), READINGS[name], list(READINGS[name][:BLOCK])
    while sum(look[0] for look in found) < seconds:
        begin = chosen.randrange(len(recorded))
        found += [recorded[(begin + n) % len(recorded)] for n in range(BLOCK)]
    return found


def first_alarm(looks: Iterable[Look], baseline: Baseline) -> tuple[float, Alarm] | None:
    """When a trigger fired (seconds since the first look), and what."""
    watch = Watch(TRIGGERS, baseline, Rules())
    at, requests, errors = 0.0, 0, 0
    for passed, more, failed, p50, p99 in looks:
        at, requests, errors = at + passed, requests + int(more), errors + int(failed)
        watch.observe(Observation(at, requests, errors, p50, p99))
        if watch.fired:
            return at, watch.fired[0]
    return None


def baseline_of(looks: Sequence[Look]) -> Baseline:
    """As `record_baseline` measures it, over 10 looks."""
    return Baseline(*(median(look[n] for look in looks[:10] if look[n] is not None) for n in (3, 4)))


@pytest.mark.parametrize("load", ["calm", "busy"])
def test_half_an_hour_of_healthy_noisy_load_gives_no_alarm(load: str) -> None:
    for seed in range(5):
        looks = prolonged(load, 1800, seed)
        assert first_alarm(looks, baseline_of(looks)) is None


@pytest.mark.parametrize(
    ("fault", "metric"), [("errors", "error_rate"), ("slow", "response_time"), ("dead", "error_rate")]
)
def test_a_fault_is_found_within_the_default_window(fault: str, metric: str) -> None:
    before = READINGS["busy"][:60]
    dead = [(passed, more, more, p50, p99) for passed, more, _, p50, p99 in READINGS["busy"][60:90]]
    found = first_alarm([*before, *READINGS.get(fault, dead)], baseline_of(READINGS["busy"]))
    assert found is not None
    at, alarm = found
    assert alarm.metric == metric
    assert 0 < at - sum(look[0] for look in before) < Rules().window_s, alarm
