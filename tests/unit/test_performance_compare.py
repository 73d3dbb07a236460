"""Old against new: what passes, what fails, and what noise leaves open."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
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


def many(metric: str, *values: float | None) -> list[Measurement]:
    return rounds(metric, *values, *values, *values)


def test_equal_sides_pass_in_every_metric() -> None:
    comparison = compare([BASE] * 6, [BASE] * 6, 0.10)
    assert comparison.outcome is PASS
    assert [one.metric for one in comparison.metrics] == list(METRICS)
    assert comparison.text == "fine: 7 metrics within 10% of the baseline"


@pytest.mark.parametrize("metric", METRICS)
def test_clearly_worse_fails_and_clearly_better_passes_in_each_metric(metric: str) -> None:
    bad, good = (30.0, 60.0) if metric == "throughput_per_s" else (60.0, 30.0)
    middle = many(metric, 50.0, 51.0, 49.0)
    assert compare(middle, many(metric, bad, bad, bad), 0.10).outcome is FAIL
    assert compare(middle, many(metric, good, good, good), 0.10).outcome is PASS


def test_the_tolerance_is_the_border() -> None:
    old = many("p50_ms", 10, 10, 10)
    assert outcome(compare(old, many("p50_ms", 10.9, 11, 10.95), 0.10), "p50_ms") is PASS
    assert outcome(compare(old, many("p50_ms", 11.2, 11.1, 11.3), 0.10), "p50_ms") is FAIL
    assert outcome(compare(old, many("p50_ms", 11.2, 11.1, 11.3), 0.20), "p50_ms") is PASS


def test_an_interval_across_the_tolerance_is_left_open_and_more_rounds_may_decide() -> None:
    comparison = compare(many("p99_ms", 40, 90, 42), many("p99_ms", 60, 44, 61), 0.10)
    assert outcome(comparison, "p99_ms") is OPEN
    assert "too noisy" in next(one.text for one in comparison.metrics if one.metric == "p99_ms")
    assert (comparison.outcome, comparison.open) == (OPEN, True)
    assert comparison.text == "inconclusive: response time p99"


def test_noise_that_both_sides_of_a_pair_share_does_not_hide_a_difference() -> None:
    old, new = many("p50_ms", 10, 40, 20), many("p50_ms", 15, 60, 30)
    assert outcome(compare(old, new, 0.10), "p50_ms") is FAIL
    assert outcome(compare(old, new[1:] + new[:1], 0.10), "p50_ms") is OPEN


def test_one_round_in_which_the_machine_did_something_else_does_not_decide() -> None:
    old, new = rounds("p50_ms", *[10.0] * 20), rounds("p50_ms", *[10.1] * 19, 500.0)
    assert outcome(compare(old, new, 0.10), "p50_ms") is PASS


def test_errors_where_there_were_none_fail_whatever_the_tolerance() -> None:
    comparison = compare(many("error_rate", 0, 0, 0), many("error_rate", 0.01, 0.02, 0.01), 10.0)
    assert comparison.outcome is FAIL
    assert json.loads(json.dumps(comparison.as_dict(), allow_nan=False))["outcome"] == "fail"


def test_what_was_not_measured_or_too_seldom_could_not_run() -> None:
    blind = many("cpu_share", 0.5, None, 0.5)
    comparison = compare(blind, [BASE] * 9, 0.1)
    assert outcome(comparison, "cpu_share") is OPEN
    assert not comparison.open  # more rounds would not measure it either
    assert compare([BASE] * 9, blind, 0.1, metrics=("p50_ms",)).outcome is PASS
    assert compare([BASE] * 5, [BASE] * 5, 0.1).outcome is OPEN
    assert compare([], [], 0.1).outcome is OPEN
    assert compare([BASE] * 6, [BASE] * 6, 0.1, metrics=()).outcome is OPEN


def test_a_failure_outweighs_what_could_not_run() -> None:
    new = [replace(one, cpu_share=None) for one in many("p50_ms", 20, 20, 20)]
    assert compare([BASE] * 9, new, 0.1).outcome is FAIL


@given(
    st.lists(st.floats(1, 1000), min_size=6, max_size=9),
    st.floats(1.0, 5.0),
    st.floats(0.0, 0.5),
)
@settings(max_examples=40)
def test_a_factor_on_every_round_of_a_pair_is_judged_by_the_factor_alone(
    values: list[float], factor: float, tolerance: float
) -> None:
    new = [value * factor for value in values]
    found = outcome(compare(rounds("p50_ms", *values), rounds("p50_ms", *new), tolerance), "p50_ms")
    if abs(factor - 1 - tolerance) > 1e-6:
        assert found is (FAIL if factor - 1 > tolerance else PASS)


def test_it_shows_itself() -> None:
    html = compare([BASE] * 6, rounds("p50_ms", *[20] * 6), 0.1)._repr_html_()
    assert "response time p50 (ms)" in html
    assert "+100.0%" in html
    assert "degraded" in html
