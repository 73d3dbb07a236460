"""Progress: once a second, a rate over a window, no time left before 1 %."""

from __future__ import annotations

import pytest

from runbook_lib.display.progress import as_html, line
from runbook_lib.journal import ProgressRow
from runbook_lib.journal import progress as module
from runbook_lib.journal.progress import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_reports_are_passed_on_once_a_second_and_at_the_end(clock: Clock) -> None:
    seen: list[ProgressRow] = []
    progress = Progress(seen.append)
    for number in range(41):  # four seconds, ten reports each
        progress.report("data_migration", "copy", number * 100, 4000)
        clock.now += 0.1
    assert [row.done for row in seen] == [0, 1000, 2000, 3000, 4000] or len(seen) <= 6
    assert seen[-1].done == 4000


def test_the_rate_is_that_of_the_last_seconds(clock: Clock) -> None:
    seen: list[ProgressRow] = []
    progress = Progress(seen.append)
    done = 0.0
    for second in range(60):
        progress.report("p", "copy", done, 1_000_000)
        done += 1000 if second < 30 else 100
        clock.now += 1
    assert seen[10].rate == pytest.approx(1000)
    assert seen[-1].rate == pytest.approx(100)


def test_there_is_no_time_left_before_one_percent(clock: Clock) -> None:
    seen: list[ProgressRow] = []
    progress = Progress(seen.append)
    for done in (0, 50, 100, 200):
        progress.report("p", "copy", done, 10_000)
        clock.now += 1
    assert [row.eta_s is None for row in seen] == [True, True, False, False]
    assert seen[-1].eta_s == pytest.approx(9800 / (200 / 3))


def test_a_new_step_starts_afresh(clock: Clock) -> None:
    seen: list[ProgressRow] = []
    progress = Progress(seen.append)
    progress.report("p", "one", 500, 1000)
    progress.report("p", "two", 0, 1000)
    assert [row.step for row in seen] == ["one", "two"] and seen[-1].rate is None


def test_the_line_is_stable_and_names_the_reason() -> None:
    row = ProgressRow("p", "copy", 1500, 3000, "rows", 500.0, 3.0, "replica lag <12 s>", 0.0)
    assert line(row) == "copy: 1,500 of 3,000 rows (50%), 500 rows/s, 3 s left – replica lag <12 s>"
    assert "width:50.0%" in as_html(row) and "&lt;12 s&gt;" in as_html(row)
    assert line(ProgressRow("p", "watch", 5, None, "s", None, None, "", 0.0)) == "watch: 5 s"


def test_seconds_that_are_watched_have_no_rate() -> None:
    row = ProgressRow("p", "watch", 120, 600, "s", 1.0, 480.0, "error rate: 0 of 84 requests", 0.0)
    assert line(row) == "watch: 120 of 600 s (20%), 480 s left – error rate: 0 of 84 requests"
