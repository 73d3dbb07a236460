"""What every router keeps to, on the real programs with real backends and clients that never pause."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from router_estate import BLUE, ESTATES, GREEN, OTHER, READS, TESTER, WRITES, Estate, PgBouncerEstate, home

from runbook_lib.config.router_settings import KINDS
from runbook_lib.errors import ConfigurationError, RunbookError
from runbook_lib.traffic.capabilities import CAPABILITIES

TO_GREEN, TO_BLUE = ({READS: {side: 100}, WRITES: {side: 100}} for side in (GREEN, BLUE))
AT_GREEN, AT_BLUE = ({READS: side, WRITES: side} for side in (GREEN, BLUE))
TIMEOUT_S = 1.0


@pytest.fixture(scope="module", params=sorted(ESTATES))
def running(request: pytest.FixtureRequest, servers: Callable[[str], Any]) -> Iterator[Estate]:
    """One router of each kind for all tests; a missing program is a skip, but not in CI."""
    more = {"server": servers("postgresql"), "pause_s": TIMEOUT_S} if request.param == "pgbouncer" else {}
    with home() as directory:
        try:
            estate: Estate = ESTATES[request.param](directory, timeout_s=TIMEOUT_S, **more)
        except ConfigurationError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))
        yield estate
        estate.stop()


@pytest.fixture
def estate(running: Estate) -> Iterator[Estate]:
    """The router with everything at blue, before and after."""
    running.reset()
    yield running
    if not running.child.alive:
        running.start()
    running.reset()


def one_line(act: Callable[[], object]) -> str:
    """The line of the error that this act raises."""
    with pytest.raises(ConfigurationError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_set_up_of_the_docs_has_no_problems_and_its_routes_are_acknowledged(estate: Estate) -> None:
    assert estate.router.problems() == []
    assert estate.homes() == AT_BLUE
    assert all(state.acknowledged for state in estate.router.routes().values())
    assert estate.router.capabilities is CAPABILITIES[estate.kind]
    assert CAPABILITIES.keys() == KINDS.keys()


def test_no_request_fails_in_switches_and_drains_and_none_reaches_the_old_side_afterwards(estate: Estate) -> None:
    with estate.load() as load:
        for side, other in [(GREEN, BLUE), (BLUE, GREEN)] * 3:
            assert estate.router.set_weights({READS: {side: 100}, WRITES: {side: 100}}).elapsed_s < TIMEOUT_S
            assert {estate.ask(READS), estate.ask(WRITES)} == {side}
            estate.router.drain(other)
            load.wait_for(60)
    assert load.failed == []
    assert load.answered[BLUE] and load.answered[GREEN]


def test_a_drain_waits_for_what_is_in_flight_and_what_was_drained_comes_back(estate: Estate) -> None:
    with estate.in_flight(READS) as end:
        moved = threading.Thread(target=estate.router.set_weights, args=(TO_GREEN,))
        moved.start()
        if estate.kind != "pgbouncer":  # there the switch itself waits: a transaction is never cut
            moved.join()
        drained = threading.Thread(target=lambda: (moved.join(), estate.router.drain(BLUE)))
        drained.start()
        drained.join(0.3)
        assert drained.is_alive()
        end()
        drained.join(5)
        assert not drained.is_alive()
    assert estate.homes() == AT_GREEN
    estate.reset()
    assert {estate.ask(READS), estate.ask(WRITES)} == {BLUE}


def test_a_backend_that_still_gets_traffic_is_not_drained(estate: Estate) -> None:
    assert "sends it 100 %" in one_line(lambda: estate.router.drain(BLUE))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"nosuch.reads": {BLUE: 100}}, "no such route"),
        ({READS: {"green": 100}}, "no such backend"),
        ({READS: {BLUE: 50, GREEN: 40}}, "add up to 100"),
        ({READS: {BLUE: 110, GREEN: -10}}, "add up to 100"),
        ({WRITES: {BLUE: 50, GREEN: 50}}, "one backend"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_weights_are_refused_before_anything_changes(
    estate: Estate, changes: dict[str, dict[str, int]], named: str
) -> None:
    message = one_line(lambda: estate.router.set_weights(changes))
    assert named in message
    assert "nothing was changed" in message
    assert estate.homes() == AT_BLUE


HALFWAY = {
    "envoy": [("runbook_lib.traffic.envoy_files", "write_durably"), ("runbook_lib.traffic.envoy", "wait")],
    "haproxy": [("runbook_lib.traffic.haproxy", "write_durably"), ("haproxy_socket:Session", "carry_out")],
    "pgbouncer": [("runbook_lib.traffic.pgbouncer", "write_durably"), ("pgbouncer_console:Session", "run")],
}


def halfway(estate: Estate, monkeypatch: pytest.MonkeyPatch, told: bool, act: Callable[[], object]) -> list[bool]:
    """Do something once, when a switch has written its file or (`told`) the router has been told."""
    place, name = HALFWAY[estate.kind][told]
    module, _, owner = place.partition(":")
    holder: Any = importlib.import_module(module if not owner else f"runbook_lib.traffic.{module}")
    holder = getattr(holder, owner) if owner else holder
    real, done = getattr(holder, name), list[bool]()

    def doing(*arguments: Any) -> Any:
        found = real(*arguments)
        if not done and (name != "run" or arguments[1] == "RELOAD"):
            done.append(True)
            act()
        return found

    monkeypatch.setattr(holder, name, doing)
    return done


@pytest.mark.parametrize("moment", ["its file is written", "it was told"])
def test_a_switch_that_is_interrupted_leaves_the_state_before_and_fails_no_request(
    estate: Estate, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    interrupted = halfway(estate, monkeypatch, moment == "it was told", lambda: signal.raise_signal(signal.SIGINT))
    with estate.load() as load:
        with pytest.raises(KeyboardInterrupt):
            estate.router.set_weights(TO_GREEN)
        load.wait_for(60)
        assert estate.homes() == AT_BLUE
        assert all(state.acknowledged for state in estate.router.routes().values())
    assert interrupted and load.failed == []
    assert {estate.ask(READS), estate.ask(WRITES)} == {BLUE}


def test_a_router_that_is_down_is_one_line_and_it_comes_back_with_the_last_good_state(estate: Estate) -> None:
    estate.router.set_weights(TO_GREEN)
    estate.kill()
    for act in (estate.router.routes, estate.reset, estate.router.metrics, lambda: estate.router.drain(BLUE)):
        assert "no answer" in one_line(act)
    estate.start()
    assert estate.homes() == AT_GREEN
    assert all(state.acknowledged for state in estate.router.routes().values())
    assert {estate.ask(READS), estate.ask(WRITES)} == {GREEN}


def test_a_router_that_does_not_answer_in_time_is_one_line_and_nothing_is_changed(estate: Estate) -> None:
    with estate.stopped():
        begun = time.monotonic()
        assert "no answer" in one_line(lambda: estate.router.set_weights(TO_GREEN))
        assert time.monotonic() - begun < 6
    assert estate.homes() == AT_BLUE
    estate.router.set_weights(TO_GREEN)
    assert estate.homes() == AT_GREEN


def test_a_router_that_is_silent_for_a_while_in_a_switch_runs_the_state_before_when_the_error_is_told(
    estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.ExitStack() as silence:
        speaking = threading.Timer(1.4 * TIMEOUT_S, silence.close)
        halfway(estate, monkeypatch, False, lambda: (silence.enter_context(estate.stopped()), speaking.start()))
        assert "Next:" in one_line(lambda: estate.router.set_weights(TO_GREEN))
        speaking.join()
    assert estate.homes() == AT_BLUE
    assert all(state.acknowledged for state in estate.router.routes().values())
    assert {estate.ask(READS), estate.ask(WRITES)} == {BLUE}


def test_a_router_restarted_in_the_middle_of_switches_runs_what_was_acknowledged_last(estate: Estate) -> None:
    last, ended = [BLUE], threading.Event()

    def flip() -> None:
        for side in [GREEN, BLUE] * 200:
            if ended.is_set():
                return
            with contextlib.suppress(RunbookError):
                estate.router.set_weights({READS: {side: 100}, WRITES: {side: 100}})
                last[0] = side

    flipping = threading.Thread(target=flip)
    flipping.start()
    time.sleep(0.1)
    estate.kill()
    estate.start()
    ended.set()
    flipping.join()
    assert set(estate.homes().values()) == {last[0]}
    assert {estate.ask(READS), estate.ask(WRITES)} == {last[0]}
    assert all(state.acknowledged for state in estate.router.routes().values())


def test_a_change_that_the_router_refuses_is_one_line_and_the_last_good_state_stays(estate: Estate) -> None:
    with estate.refusing():
        message = one_line(lambda: estate.router.set_weights(TO_GREEN))
        assert "in force" in message
        assert "Next:" in message
        assert {estate.ask(READS), estate.ask(WRITES)} == {BLUE}
    assert estate.homes() == AT_BLUE


def test_reads_are_shared_by_weight_or_refused_as_found_and_needed(estate: Estate) -> None:
    shares = {READS: {BLUE: 70, GREEN: 30}}
    if not estate.router.capabilities.weights.can:
        assert "needed: weights for user_service.reads" in one_line(lambda: estate.router.set_weights(shares))
        return
    estate.router.set_weights(shares)
    line = estate.line(READS)
    seen = Counter(line.ask() for _ in range(200))
    line.close()
    assert 30 <= seen[GREEN] <= 90 and seen[BLUE] + seen[GREEN] == 200
    assert estate.router.routes()[READS].weights[GREEN] == 30


def test_a_tester_s_header_reaches_green_before_anybody_else(estate: Estate) -> None:
    homes = {READS: GREEN, WRITES: GREEN}
    if not estate.router.capabilities.header_match.can:
        assert "needed: header match" in one_line(lambda: estate.router.send_testers(homes))
        return
    with estate.load() as load:
        estate.router.send_testers(homes)
        assert {estate.ask(route, header=TESTER) for route in homes} == {GREEN}
        assert {estate.ask(route) for route in homes} == {BLUE}
        assert estate.router.routes()[READS].testers == GREEN
        assert "its testers" in one_line(lambda: estate.router.drain(GREEN))
    assert load.failed == [] and GREEN not in load.answered
    estate.kill_and_start()
    assert {estate.ask(route, header=TESTER) for route in homes} == {GREEN}
    estate.router.send_testers(dict.fromkeys(homes, ""))
    assert {estate.ask(route, header=TESTER) for route in homes} == {BLUE}


def test_reads_are_mirrored_and_writes_never(estate: Estate) -> None:
    copies = {READS: GREEN}
    if not estate.router.capabilities.mirroring.can:
        assert "needed: mirroring for user_service.reads" in one_line(lambda: estate.router.mirror(copies))
        return
    assert "carried out twice" in one_line(lambda: estate.router.mirror({WRITES: GREEN}))
    before = estate.backends.seen[GREEN]
    estate.router.mirror(copies)
    assert estate.router.routes()[READS].mirror == GREEN
    assert [estate.ask(READS) for _ in range(10)] + [estate.ask(WRITES)] == [BLUE] * 11
    deadline = time.monotonic() + 5
    while estate.backends.seen[GREEN] < before + 10 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert estate.backends.seen[GREEN] == before + 10
    estate.router.mirror({READS: ""})
    assert estate.ask(READS) == BLUE and estate.backends.seen[GREEN] == before + 10


def test_metrics_count_every_request_and_how_long_it_took(estate: Estate) -> None:
    before = {sample.backend: sample for sample in estate.router.metrics()}["edge"]
    for _ in range(20):
        estate.ask(READS)
    estate.ask(WRITES)
    can, after = estate.router.capabilities, []
    for _ in range(100):  # Envoy's histograms are merged a moment later
        after += [sample for sample in estate.router.metrics([OTHER]) if sample.backend == "edge"]
        if after[-1].p50_ms is not None or not can.quantiles.can:
            break
    assert after[-1].requests - before.requests == 21
    assert (after[-1].errors is not None) == can.errors.can
    assert (after[-1].p50_ms is not None and after[-1].p99_ms is not None) == can.quantiles.can
    assert can.quantiles.can or after[-1].mean_ms is not None


# -- PgBouncer alone ---


@pytest.fixture
def pooler(estate: Estate) -> PgBouncerEstate:
    if not isinstance(estate, PgBouncerEstate):
        pytest.skip("PgBouncer alone")
    return estate


def test_a_transaction_that_does_not_end_stops_the_switch_within_its_bound(pooler: PgBouncerEstate) -> None:
    with pooler.in_flight(WRITES):
        begun = time.monotonic()
        message = one_line(lambda: pooler.router.set_weights(TO_GREEN))
        assert time.monotonic() - begun < TIMEOUT_S + 1
        assert "a transaction of user_service.writes did not end within 1 s; nothing was changed" in message
        assert {pooler.ask(READS), pooler.ask(WRITES)} == {BLUE}  # resumed, beside it
    assert pooler.homes() == AT_BLUE


def test_session_pooling_is_refused_in_pre_flight_and_by_a_switch(pooler: PgBouncerEstate) -> None:
    with pooler.session_pooling():
        assert any("pooled by session" in problem for problem in pooler.router.problems())
        assert "session pooling; expected pool_mode" in one_line(lambda: pooler.router.set_weights(TO_GREEN))
    assert pooler.router.problems() == []


def test_a_route_that_a_killed_switch_left_paused_is_told_and_resumed(pooler: PgBouncerEstate) -> None:
    pooler.console(f'PAUSE "{WRITES}"')
    assert not pooler.router.routes()[WRITES].acknowledged
    pooler.router.set_weights(TO_BLUE)
    assert pooler.router.routes()[WRITES].acknowledged
    assert pooler.ask(WRITES) == BLUE
