"""Old against new: what passes, what fails, and what noise leaves open."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbook_lib.performance.compare import METRICS, Comparison, compare
from runbook_lib.performance.measure import Measurement
from runbook_lib.verdict import Outcome

BASE = Measurement(0.0, 200, 10.0, 20.0, 40.0, 50.0, 0.0, 0.5, 100_000_000)
PASS, FAIL, OPEN = Outcome.PASS, Outcome.FAIL, Outcome.COULD_NOT_RUN


def rounds(metric: str, *values: float | None) -> list[Measurement]:
    return [replace(BASE, **{metric: value}) for value in values]


def outcome(comparison: Comparison, metric: str) -> Outcome:
    return next(one.outcome for one in comparison.metrics if one.metric == metric)


def test_equal_sides_pass_in_every_metric() -> None:
    comparison = compare([BASE] * 3, [BASE] * 3, 0.10)
    assert comparison.outcome is PASS
    assert [one.metric for one in comparison.metrics] == list(METRICS)
    assert "7 metrics within 10% of the baseline" in comparison.text


@pytest.mark.parametrize("metric", METRICS)
def test_clearly_worse_fails_and_clearly_better_passes_in_each_metric(metric: str) -> None:
    bad, good = (30.0, 60.0) if metric == "throughput_per_s" else (60.0, 30.0)
    middle = [50.0, 51.0, 49.0]
    assert compare(rounds(metric, *middle), rounds(metric, bad, bad, bad), 0.10).outcome is FAIL
    assert compare(rounds(metric, *middle), rounds(metric, good, good, good), 0.10).outcome is PASS


def test_the_tolerance_is_the_border() -> None:
    old = rounds("p50_ms", 10, 10, 10)
    assert outcome(compare(old, rounds("p50_ms", 10.9, 11, 10.95), 0.10), "p50_ms") is PASS
    assert outcome(compare(old, rounds("p50_ms", 11.2, 11.1, 11.3), 0.10), "p50_ms") is FAIL
    assert outcome(compare(old, rounds("p50_ms", 11.2, 11.1, 11.3), 0.20), "p50_ms") is PASS


def test_worse_in_the_median_but_not_in_every_round_is_left_open() -> None:
    comparison = compare(rounds("p99_ms", 40, 90, 42), rounds("p99_ms", 60, 44, 61), 0.10)
    assert outcome(comparison, "p99_ms") is OPEN
    assert "too noisy" in next(one.text for one in comparison.metrics if one.metric == "p99_ms")
    assert comparison.outcome is OPEN


def test_noise_that_both_sides_of_a_pair_share_does_not_hide_a_difference() -> None:
    old, new = rounds("p50_ms", 10, 40, 20), rounds("p50_ms", 15, 60, 30)
    assert outcome(compare(old, new, 0.10, paired=True), "p50_ms") is FAIL
    assert outcome(compare(old, new, 0.10), "p50_ms") is OPEN


def test_errors_where_there_were_none_fail_whatever_the_tolerance() -> None:
    comparison = compare(rounds("error_rate", 0, 0, 0), rounds("error_rate", 0.01, 0.02, 0.01), 10.0)
    assert comparison.outcome is FAIL
    assert json.loads(json.dumps(comparison.as_dict(), allow_nan=False))["outcome"] == "fail"


def test_what_was_not_measured_or_too_seldom_could_not_run() -> None:
    blind = rounds("cpu_share", 0.5, None, 0.5)
    assert outcome(compare(blind, [BASE] * 3, 0.1), "cpu_share") is OPEN
    assert compare([BASE] * 3, blind, 0.1, metrics=("p50_ms",)).outcome is PASS
    assert compare([BASE] * 2, [BASE] * 3, 0.1).outcome is OPEN
    assert compare([], [], 0.1).outcome is OPEN
    assert compare([BASE] * 3, [BASE] * 3, 0.1, metrics=()).outcome is OPEN


def test_a_failure_outweighs_what_could_not_run() -> None:
    new = [replace(one, cpu_share=None) for one in rounds("p50_ms", 20, 20, 20)]
    assert compare([BASE] * 3, new, 0.1).outcome is FAIL


@given(
    st.lists(st.floats(1, 1000), min_size=3, max_size=9),
    st.floats(1.0, 5.0),
    st.floats(0.0, 0.5),
)
def test_a_factor_on_every_round_of_a_pair_is_judged_by_the_factor_alone(
    values: list[float], factor: float, tolerance: float
) -> None:
    new = [value * factor for value in values]
    found = outcome(compare(rounds("p50_ms", *values), rounds("p50_ms", *new), tolerance, paired=True), "p50_ms")
    if abs(factor - 1 - tolerance) > 1e-6:
        assert found is (FAIL if factor - 1 > tolerance else PASS)


def test_it_shows_itself() -> None:
    html = compare([BASE] * 3, rounds("p50_ms", 20, 20, 20), 0.1)._repr_html_()
    assert "response time p50 (ms)" in html
    assert "+100.0%" in html
    assert "fail" in html
