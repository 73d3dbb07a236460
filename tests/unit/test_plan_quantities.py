"""Durations and windows as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from runbook_lib.errors import PlanError
from runbook_lib.plan import vocabulary
from runbook_lib.plan.units import seconds
from runbook_lib.plan.window import Window, is_open, next_opening, read_window
from runbook_lib.plan.yaml_value import Value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 weeks", 1_209_600),
        ("30 days", 2_592_000),
        ("10 min", 600),
        ("2s", 2),
        ("500 ms", 0.5),
        ("1.5 hours", 5400),
        ("1 h 30 min", 5400),
        ("2 minutes, 3 seconds", 123),
        ("1 week", 604_800),
        ("0", 0),
    ],
)
def test_a_duration_is_read(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "5", "weeks", "2 fortnights", "-3 s", "1e3 s", "2 s x", "ten minutes"])
def test_what_is_no_duration_is_none(text: str) -> None:
    assert seconds(text) is None


@given(st.integers(0, 10**6), st.sampled_from(["ms", "s", "sec", "min", "minutes", "h", "hours", "days", "weeks"]))
def test_spacing_and_case_do_not_matter(number: int, unit: str) -> None:
    assert seconds(f"{number}{unit}") == seconds(f"  {number}  {unit.upper()} ") is not None


@given(st.text(max_size=30))
def test_no_text_breaks_the_reader(text: str) -> None:
    seconds(text)
    vocabulary.snake(text)
    vocabulary.step_of(text)


def window(text: str) -> Window:
    return read_window(Value(yaml.compose(f'"{text}"', Loader=yaml.SafeLoader), "plan.yaml"))


@pytest.mark.parametrize(
    ("text", "days", "start", "end", "zone"),
    [
        ("Sunday 02:00-06:00 Europe/Berlin", (6,), "02:00", "06:00", "Europe/Berlin"),
        ("Sunday 2am-6am", (6,), "02:00", "06:00", "UTC"),
        ("Sundays 2 AM - 6 AM America/New_York", (6,), "02:00", "06:00", "America/New_York"),
        ("Mon-Fri 22:00-02:00 Asia/Tokyo", (0, 1, 2, 3, 4), "22:00", "02:00", "Asia/Tokyo"),
        ("Sat, Sun 1:30 to 5:00 UTC", (5, 6), "01:30", "05:00", "UTC"),
        ("Fri-Mon 12am-12pm", (0, 4, 5, 6), "00:00", "12:00", "UTC"),
        ("daily 03:00-04:00", tuple(range(7)), "03:00", "04:00", "UTC"),
        ("Tues and Thurs 03:00\N{EN DASH}04:00", (1, 3), "03:00", "04:00", "UTC"),
    ],
)
def test_a_window_is_read(text: str, days: tuple[int, ...], start: str, end: str, zone: str) -> None:
    found = window(text)
    assert (found.days, found.start, found.end, found.timezone) == (days, start, end, zone)


@pytest.mark.parametrize(
    "text", ["Sunday", "02:00-06:00", "Sunday 2-6", "Su 02:00-06:00", "Sunday 13pm-14pm", "Sunday 02:00-02:00", "now"]
)
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match=r"plan\.yaml:1: window"):
        window(text)


def test_a_window_is_open_in_its_own_time_zone() -> None:
    sunday = window("Sunday 02:00-06:00 Europe/Berlin")
    assert is_open(sunday, datetime(2026, 11, 22, 1, 0, tzinfo=UTC))  # 02:00 in Berlin
    assert not is_open(sunday, datetime(2026, 11, 22, 5, 0, tzinfo=UTC))  # 06:00: over
    assert not is_open(sunday, datetime(2026, 11, 23, 3, 0, tzinfo=UTC))


def test_a_window_that_passes_midnight_belongs_to_its_first_day() -> None:
    friday = window("Friday 22:00-02:00 UTC")
    assert is_open(friday, datetime(2026, 11, 27, 23, 0, tzinfo=UTC))
    assert is_open(friday, datetime(2026, 11, 28, 1, 59, tzinfo=UTC))
    assert not is_open(friday, datetime(2026, 11, 27, 1, 0, tzinfo=UTC))


@given(st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1)), st.sampled_from(["Sunday", "Mon-Fri", "daily"]))
def test_the_next_opening_is_open_and_within_eight_days(at: datetime, days: str) -> None:
    found = window(f"{days} 04:00-06:00 Europe/Berlin")
    moment = at.replace(tzinfo=UTC)
    opening = next_opening(found, moment)
    assert is_open(found, opening)
    assert moment < opening < moment + timedelta(days=8)
    assert opening.tzinfo == ZoneInfo("Europe/Berlin")
