"""The verdict on noise as it is: 670 pairs of rounds of two equal servers, recorded on two cores that others kept busy.

Two PostgreSQL 18 with the same rows, 100 queries a second, rounds of 1 s in turns of 0.1 s, load average 10 to 16, on
2026-12-01 (`python -m benchmarks.performance_verdict record`). A repetition draws stretches of the recording, and every
other pair changes its sides, so that both are equal whatever the servers were.
"""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from random import Random

from nightly import EVERY

from runbook_lib.performance.compare import ALPHA, compare
from runbook_lib.performance.measure import Measurement
from runbook_lib.plan.model import PerformanceGoal
from runbook_lib.verdict import Outcome

METRICS = ("p50_ms", "p95_ms", "p99_ms", "throughput_per_s", "cpu_share")
GOAL = PerformanceGoal(metrics=METRICS)
REPETITIONS = 100 if EVERY else 40
STRETCH = 25  # pairs that are drawn as they came, on average
SLOWER = {"p50_ms": 1.15, "p95_ms": 1.15, "p99_ms": 1.15, "throughput_per_s": 1.0, "cpu_share": 1.15}

Pair = tuple[Measurement, Measurement]


def recorded() -> list[Pair]:
    with (Path(__file__).parents[1] / "fixtures/performance_rounds.csv").open() as file:
        return [tuple(measured(row, side) for side in ("one", "other")) for row in csv.DictReader(file)]  # type: ignore[misc]


def measured(row: dict[str, str], side: str, factors: dict[str, float] | None = None) -> Measurement:
    values = {name: float(row[f"{side}.{name}"]) * (factors or {}).get(name, 1.0) for name in METRICS}
    return Measurement(at=0.0, requests=100, error_rate=0.0, **values)  # type: ignore[arg-type]


def slower(one: Measurement) -> Measurement:
    values = {name: getattr(one, name) * SLOWER[name] for name in METRICS}
    return Measurement(at=0.0, requests=100, error_rate=0.0, **values)


def drawn(pairs: list[Pair], count: int, pick: Random) -> list[Pair]:
    place, found = pick.randrange(len(pairs)), []
    for number in range(count):
        place = pick.randrange(len(pairs)) if pick.random() < 1 / STRETCH else (place + 1) % len(pairs)
        found.append(pairs[place] if number % 2 else pairs[place][::-1])
    return found


def verdict(pairs: list[Pair], work: object) -> Outcome:
    outcome = Outcome.COULD_NOT_RUN
    for look in GOAL.rounds:
        old, new = zip(*pairs[:look], strict=True)
        new = new if work is None else tuple(map(slower, new))
        found = compare(old, new, GOAL.tolerance, metrics=METRICS, alpha=ALPHA / len(GOAL.rounds))
        outcome = found.outcome
        if not found.open:
            break
    return outcome


def verdicts(work: object) -> Counter[Outcome]:
    pairs, pick = recorded(), Random(7)
    return Counter(verdict(drawn(pairs, GOAL.rounds[-1], pick), work) for _ in range(REPETITIONS))


def test_an_equal_system_is_fine_in_95_of_100_repetitions_and_degraded_in_no_more_than_2() -> None:
    found = verdicts(None)
    assert found[Outcome.PASS] >= 0.95 * REPETITIONS, found
    assert found[Outcome.FAIL] <= 0.02 * REPETITIONS, found


def test_a_system_that_is_15_percent_slower_is_degraded_in_95_of_100_repetitions() -> None:
    found = verdicts(slower)
    assert found[Outcome.FAIL] >= 0.95 * REPETITIONS, found
