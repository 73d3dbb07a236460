"""The pure judgement of rollback triggers, by example and by property."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbook_lib.monitoring.triggers import (
    AlarmProgress,
    Baseline,
    Observation,
    Reading,
    Rules,
    State,
    advance,
    evaluate,
    in_window,
)
from runbook_lib.plan.model import Trigger
from runbook_lib.traffic.port import TrafficSample
from runbook_lib.verdict import Outcome, Verdict

ERRORS = Trigger("error_rate", 0.01)
SLOW = Trigger("response_time", 2.0, relative_to_baseline=True)
DATA = Trigger("data_inconsistency")
CRITICAL = Trigger("critical_feature_failure")
BEFORE = Baseline(20.0, 80.0)
RULES = Rules()


def seen(*counters: tuple[int, int], p50: float | None = None, p99: float | None = None) -> list[Observation]:
    return [Observation(float(at), requests, errors, p50, p99) for at, (requests, errors) in enumerate(counters)]


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=20))
def test_error_rate_is_errors_over_requests_of_the_window_alone(steps: list[tuple[int, int]]) -> None:
    requests, errors, counters = 10_000, 9_000, []  # history before the window must not matter
    for good, bad in steps:
        requests, errors = requests + good + bad, errors + bad
        counters.append((requests, errors))
    reading = evaluate(ERRORS, seen(*counters), BEFORE, RULES)
    in_all = sum(good + bad for good, bad in steps[1:])
    bad_all = sum(bad for _, bad in steps[1:])
    if in_all < RULES.min_requests:
        assert reading.state is State.UNKNOWN
    else:
        assert reading.value == pytest.approx(bad_all / in_all)
        assert (reading.state is State.BREACHED) == (bad_all / in_all > 0.01)


@given(st.floats(1, 500), st.floats(1, 500), st.floats(1, 2000), st.floats(1, 2000))
def test_response_time_is_breached_exactly_when_a_quantile_is_over_twice_its_baseline_and_the_floor(
    p50_before: float, p99_before: float, p50: float, p99: float
) -> None:
    window = seen((0, 0), (100, 0), (200, 0), p50=p50, p99=p99)
    reading = evaluate(SLOW, window, Baseline(p50_before, p99_before), RULES)
    slow = [now / before for now, before in ((p50, p50_before), (p99, p99_before)) if now >= RULES.floor_ms]
    assert (reading.state is State.BREACHED) == any(ratio > 2.0 for ratio in slow)


def test_one_slow_look_among_many_is_not_slow() -> None:
    window = [*seen(*((n * 100, 0) for n in range(6)), p50=20, p99=80), Observation(6.0, 700, 0, 900.0, 900.0)]
    assert evaluate(SLOW, window, BEFORE, RULES).state is State.OK


def test_without_a_baseline_or_latency_response_time_is_unknown() -> None:
    window = seen((0, 0), (100, 0), p50=20, p99=80)
    assert evaluate(SLOW, window, Baseline(), RULES).text == "no baseline was measured"
    assert evaluate(SLOW, seen((0, 0), (100, 0)), BEFORE, RULES).text == "no latency was measured"


@pytest.mark.parametrize("trigger", [ERRORS, SLOW, DATA, CRITICAL])
@pytest.mark.parametrize("window", [[], seen((5, 0)), seen((5, 0), (24, 19))])
def test_too_few_samples_are_unknown_never_fine(trigger: Trigger, window: Sequence[Observation]) -> None:
    assert evaluate(trigger, window, BEFORE, RULES).state is State.UNKNOWN


def test_looks_at_a_silent_router_do_not_count_as_traffic() -> None:
    silent = Observation(0.0, 0, 0, silent=True)
    later = Observation(1.0, 50_000, 40_000)  # its whole history is not this window's
    assert evaluate(ERRORS, [silent, later], BEFORE, RULES).state is State.UNKNOWN


def test_a_router_started_anew_begins_a_new_window() -> None:
    observations = seen((1000, 900), (1100, 990), (10, 0), (60, 0))
    window = in_window(observations, 10.0)
    assert [one.requests for one in window] == [10, 60]
    assert evaluate(ERRORS, window, BEFORE, RULES).state is State.OK


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30).map(sorted), st.floats(0.5, 50))
def test_the_window_holds_exactly_the_last_seconds(times: list[float], window_s: float) -> None:
    window = in_window([Observation(at, n, 0) for n, at in enumerate(times)], window_s)
    assert [one.at for one in window] == [at for at in times if at >= times[-1] - window_s]


@pytest.mark.parametrize("trigger", [DATA, CRITICAL])
def test_a_probe_that_fails_is_a_breach_and_one_that_could_not_run_is_unknown(trigger: Trigger) -> None:
    for outcome, state in (
        (Outcome.PASS, State.OK),
        (Outcome.FAIL, State.BREACHED),
        (Outcome.COULD_NOT_RUN, State.UNKNOWN),
    ):
        window = [Observation(0.0, 0, 0, verdicts={trigger.metric: Verdict(outcome, "users: 3 rows differ")})]
        reading = evaluate(trigger, window, BEFORE, RULES)
        assert (reading.state, reading.text) == (state, "users: 3 rows differ")


def reading(state: State, value: float | None = None, metric: str = "error_rate") -> Reading:
    return Reading(metric, state, value, 0.01, 100, "")


@given(st.lists(st.sampled_from(list(State)), max_size=40))
def test_an_alarm_needs_the_confirmations_in_a_row_and_unknown_neither_helps_nor_hinders(states: list[State]) -> None:
    progress = AlarmProgress()
    for state in states:
        progress = advance(progress, reading(state, 0.009), RULES)  # OK, but not under 80 % of the limit
    runs = "".join("b" if s is State.BREACHED else "o" for s in states if s is not State.UNKNOWN).split("o")
    assert progress.alarmed == (max((len(run) for run in runs), default=0) >= RULES.confirm)
    assert progress.judged == sum(state is not State.UNKNOWN for state in states)


def test_an_alarm_is_over_only_well_below_its_limit() -> None:
    alarmed = AlarmProgress(3, 3, alarmed=True)
    assert advance(alarmed, reading(State.OK, 0.0081), RULES).alarmed
    assert not advance(alarmed, reading(State.OK, 0.0079), RULES).alarmed


def test_wrong_data_needs_no_second_opinion() -> None:
    assert advance(AlarmProgress(), reading(State.BREACHED, 1.0), RULES.of(DATA)).alarmed
    assert not advance(AlarmProgress(), reading(State.BREACHED, 1.0), RULES.of(CRITICAL)).alarmed


QUEUE = Trigger("queue", 100.0, source="http", window_s=10.0)


def answers(*found: tuple[float, float, float]) -> list[Observation]:
    """Looks at these times, each with an answer: its value, and its own time."""
    return [
        Observation(at, 0, 0, verdicts={"queue": Verdict(Outcome.PASS, "", {"value": value, "at": own})})
        for at, value, own in found
    ]


def test_a_number_from_elsewhere_is_the_median_of_the_answers_of_its_window() -> None:
    window = answers((0, 900, 0), (2, 101, 2), (4, 102, 4), (6, 5, 6))
    found = evaluate(QUEUE, window, BEFORE, RULES.of(QUEUE))
    assert (found.state, found.value) == (State.BREACHED, 101.5)
    assert found.text == "101.5 in 4 answers of http, limit 100"


def test_an_answer_with_an_old_time_or_always_the_same_one_could_not_be_measured() -> None:
    for own in (lambda at: at - 400, lambda at: at + 400, lambda at: 5):
        found = evaluate(QUEUE, answers(*((at, 900, own(at)) for at in (2, 4, 6, 8))), BEFORE, RULES.of(QUEUE))
        assert found.state is State.UNKNOWN and "need 3" in found.text
    silent = Observation(9.0, 0, 0, verdicts={"queue": Verdict(Outcome.COULD_NOT_RUN, "no answer")})
    late = [*answers((2, 900, 2), (4, 900, 4), (6, 900, 6)), silent]
    assert evaluate(QUEUE, late, BEFORE, RULES.of(QUEUE)).state is State.UNKNOWN


def test_a_canary_is_compared_with_its_neighbour_and_where_there_is_none_with_the_past() -> None:
    trigger = Trigger("response_time", 2.0, relative_to_baseline=True, baseline="neighbour")

    def look(at: int, new_ms: float, old_ms: float) -> Observation:
        pair = (
            TrafficSample(at, "new", 50 * at, 0, new_ms, new_ms),
            TrafficSample(at, "old", 50 * at, 0, old_ms, old_ms),
        )
        return Observation(at, 100 * at, 0, 400.0, 400.0, backends=pair)

    both = Baseline(20.0, 80.0, canary="new", neighbour="old")
    busy = [look(at, 380.0, 400.0) for at in range(4)]  # both are slow now: that is not the new one's fault
    assert evaluate(trigger, busy, both, RULES).state is State.OK
    slow = evaluate(trigger, [look(at, 100.0, 40.0) for at in range(4)], both, RULES)
    assert slow.state is State.BREACHED and "100.0 ms, 40.0 ms at old" in slow.text
    assert "400.0 ms, 20.0 ms before" in evaluate(trigger, busy, BEFORE, RULES).text
    assert evaluate(trigger, seen((0, 0), (100, 0)), both, RULES).state is State.UNKNOWN  # the router knows neither
