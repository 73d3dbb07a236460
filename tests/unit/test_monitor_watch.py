"""A watch over scripted counters: the clock is real, the ticks are short."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence

from runbook_lib.errors import ConfigurationError
from runbook_lib.monitoring.watch import Baseline, Rules, WatchResult, measure_baseline, watch
from runbook_lib.plan.model import Trigger
from runbook_lib.traffic.port import TrafficSample
from runbook_lib.verdict import Outcome, Verdict

TRIGGERS = (Trigger("error_rate", 0.01), Trigger("response_time", 2.0, relative_to_baseline=True))
Source = Callable[[], Sequence[TrafficSample]]


def traffic(errors: Callable[[int], int] = lambda n: 0, p99: float = 40.0) -> Source:
    """A hundred requests a look, beginning with a long history that must not count."""
    looks = itertools.count(1)

    def source() -> list[TrafficSample]:
        n = next(looks)
        edge = TrafficSample(time.time(), "edge", 1_000_000 + 100 * n, 500_000 + errors(n), 10.0, p99)
        return [edge, TrafficSample(edge.at, "monolith", n, 0)]

    return source


def run(source: Source, triggers: Sequence[Trigger] = TRIGGERS, **settings: object) -> WatchResult:
    given = {"duration_s": 0.3, "interval_s": 0.02, "probe_interval_s": 0.05, "baseline": Baseline(10.0, 40.0)}
    return watch(source, triggers=triggers, **{**given, **settings})  # type: ignore[arg-type]


def test_calm_traffic_passes_and_says_over_how_much() -> None:
    result = run(traffic())
    assert result.outcome is Outcome.PASS
    assert "2 triggers watched" in result.text
    assert not result.fired
    assert result.samples[0].backends[0].backend == "monolith"
    assert result.verdict().passed


def test_errors_fire_with_the_figures_and_end_the_watch() -> None:
    result = run(traffic(errors=lambda n: 5 * n), duration_s=30)
    assert result.outcome is Outcome.FAIL
    assert result.elapsed_s < 5
    assert [alarm.metric for alarm in result.fired] == ["error_rate"]
    assert "(5.00%, limit 1.00%)" in result.text


def test_slowness_fires_by_the_baseline() -> None:
    result = run(traffic(p99=85.0), duration_s=30)
    assert result.fired[0].metric == "response_time"
    assert "p99 85.0 ms, 40.0 ms before" in result.text


def test_a_breach_that_begins_just_before_the_end_is_watched_until_it_is_confirmed() -> None:
    result = run(traffic(errors=lambda n: 5 * n), duration_s=0.0, rules=Rules(min_requests=40))
    assert result.outcome is Outcome.COULD_NOT_RUN  # one look: no window yet
    late = run(traffic(errors=lambda n: 0 if n < 5 else 40 * (n - 4)), duration_s=0.09)
    assert late.outcome is Outcome.FAIL


def test_too_little_traffic_could_not_be_judged() -> None:
    result = run(lambda: [TrafficSample(time.time(), "edge", 7, 0, 1.0, 1.0)])
    assert result.outcome is Outcome.COULD_NOT_RUN
    assert "error_rate: 0 requests in 10 s, need 20" in result.text


def test_a_router_that_falls_silent_could_not_be_judged() -> None:
    def silent() -> list[TrafficSample]:
        raise ConfigurationError("http://127.0.0.1:1", "no answer: refused")

    result = run(silent)
    assert result.outcome is Outcome.COULD_NOT_RUN
    assert "no answer: refused" in result.text
    talking, looks = traffic(), itertools.count()
    result = run(lambda: talking() if next(looks) < 4 else silent(), rules=Rules(window_s=0.1))
    assert result.outcome is Outcome.COULD_NOT_RUN


def test_probes_are_asked_again_and_a_failing_one_fires() -> None:
    asked = itertools.count()
    triggers = (Trigger("data_inconsistency"), Trigger("critical_feature_failure"))

    def data() -> Verdict:
        return Verdict(Outcome.PASS, "equal") if next(asked) < 2 else Verdict(Outcome.FAIL, "users: 3 rows differ")

    good = Verdict(Outcome.PASS, "6 smoke tests passed")
    probes = {"data_inconsistency": data, "critical_feature_failure": lambda: good}
    result = run(traffic(), triggers, probes=probes, duration_s=10)
    assert [alarm.text for alarm in result.fired] == ["data_inconsistency: users: 3 rows differ"]
    assert next(asked) >= 3


def test_a_slow_probe_does_not_hold_up_the_other_triggers() -> None:
    release = threading.Event()

    def slow() -> Verdict:
        release.wait(10)
        return Verdict(Outcome.PASS, "equal")

    looks: list[float] = []

    def on_sample(*_: object) -> None:
        looks.append(time.monotonic())
        if len(looks) == 10:
            release.set()

    triggers = (*TRIGGERS, Trigger("data_inconsistency"))
    result = run(traffic(), triggers, probes={"data_inconsistency": slow}, on_sample=on_sample, duration_s=1)
    assert result.outcome is Outcome.PASS
    assert len(looks) > 10


def test_a_trigger_without_its_probe_could_not_be_judged() -> None:
    result = run(traffic(), (*TRIGGERS, Trigger("data_inconsistency")))
    assert result.outcome is Outcome.COULD_NOT_RUN
    assert "data_inconsistency: was not probed" in result.text
    assert run(traffic(), ()).outcome is Outcome.COULD_NOT_RUN


def test_a_probe_that_cannot_ask_is_named() -> None:
    def broken() -> Verdict:
        raise ConfigurationError("users_db", "no answer")

    result = run(traffic(), (Trigger("data_inconsistency"),), probes={"data_inconsistency": broken})
    assert result.outcome is Outcome.COULD_NOT_RUN
    assert "users_db: no answer" in result.text


def test_the_result_shows_itself_and_is_json() -> None:
    import json

    result = run(traffic(errors=lambda n: 5 * n))
    html = result._repr_html_()
    assert "alarm" in html
    assert "error rate" in html
    assert json.loads(json.dumps(result.as_dict()))["fired"][0]["metric"] == "error_rate"


def test_the_baseline_is_the_median_of_several_looks() -> None:
    values = itertools.chain([900.0, 10.0, 12.0, 500.0, 11.0], itertools.repeat(11.0))

    def source() -> list[TrafficSample]:
        value = next(values)
        return [TrafficSample(time.time(), "edge", 1, 0, value, value * 4), TrafficSample(0.0, "monolith", 1, 0, 1, 1)]

    assert measure_baseline(source, duration_s=0.2, interval_s=0.02) == Baseline(11.0, 44.0)
    assert measure_baseline(list, duration_s=0.02, interval_s=0.01) == Baseline()


def test_a_trigger_that_is_only_to_be_seen_is_shown_and_fails_nothing() -> None:
    triggers = (Trigger("error_rate", 0.01, dry_run=True), TRIGGERS[1])
    result = run(traffic(errors=lambda n: 5 * n), triggers, duration_s=0.5)
    assert result.outcome is Outcome.PASS and not result.fired
    assert [alarm.metric for alarm in result.seen] == ["error_rate"]
    assert "only to be seen: error_rate: " in result.text
    assert "would fire" in result._repr_html_()


def test_a_router_that_answers_with_an_old_value_could_not_be_judged() -> None:
    old = time.time() - 60
    looks = itertools.count(1)

    def source() -> list[TrafficSample]:
        n = next(looks)
        return [TrafficSample(old, "edge", 100 * n, 50 * n, 10.0, 40.0)]

    result = run(source)
    assert result.outcome is Outcome.COULD_NOT_RUN and not result.fired
    assert "the router's answer is 6" in result.text


def test_a_number_of_another_source_fires_when_it_is_confirmed_and_never_while_it_is_not_there() -> None:
    queue = Trigger("queue", 10.0, source="http", window_s=0.5)

    def full() -> Verdict:
        return Verdict(Outcome.PASS, "", {"value": 50.0, "at": time.time()})

    def gone() -> Verdict:
        raise ConfigurationError("http://127.0.0.1:1", "no answer")

    [alarm] = run(traffic(), (queue,), probes={"queue": full}, duration_s=10).fired
    assert alarm.text.startswith("queue: 50 in ")
    vanished = run(traffic(), (queue,), probes={"queue": gone}, duration_s=0.3)
    assert vanished.outcome is Outcome.COULD_NOT_RUN and "no answer" in vanished.text
