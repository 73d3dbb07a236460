"""The weekly window of a cutover: "Sunday 02:00-06:00 Europe/Berlin"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from runbook_lib.plan.yaml_value import Value, nearest

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_TIME = r"\d[\d:]*\s*(?:[ap]m)?"
_SHAPE = re.compile(
    rf"(?P<days>[A-Za-z ,-]+?)\s+(?P<start>{_TIME})\s*(?:-|to)\s*(?P<end>{_TIME})(?:\s+(?P<zone>\S+))?$", re.I
)
_EXAMPLE = "days, times and a time zone such as Sunday 02:00-06:00 Europe/Berlin"


@dataclass(frozen=True)
class Window:
    """A weekly window for the cutover, in its own time zone; days are 0 = Monday … 6 = Sunday, times "HH:MM"."""

    days: tuple[int, ...]
    start: str
    end: str
    timezone: str
    text: str


def read_window(value: Value, what: str = "window") -> Window:
    """A window; without a time zone it is UTC, and the linter says so."""
    text = value.text(what)
    match = _SHAPE.match(text.replace("\N{EN DASH}", "-"))
    if not match:
        raise value.error(f"window is `{text}`", expected=_EXAMPLE)
    start, end = _clock(match["start"].lower(), value), _clock(match["end"].lower(), value)
    if start == end:
        raise value.error(f"window `{text}` starts and ends at {start}", expected=_EXAMPLE)
    return Window(_days(match["days"], value), start, end, _zone(match["zone"] or "UTC", value), text)


def is_open(window: Window, at: datetime) -> bool:
    """Is the window open at this moment (an aware datetime)? One that passes midnight belongs to its first day."""
    here = at.astimezone(ZoneInfo(window.timezone))
    clock, day = f"{here:%H:%M}", here.weekday()
    if window.start < window.end:
        return day in window.days and window.start <= clock < window.end
    return (day in window.days and clock >= window.start) or ((day - 1) % 7 in window.days and clock < window.end)


def next_opening(window: Window, at: datetime) -> datetime:
    """When the window opens next after this moment, in its own time zone."""
    here = at.astimezone(ZoneInfo(window.timezone))
    hour, minute = map(int, window.start.split(":"))
    days = (here.replace(hour=hour, minute=minute, second=0, microsecond=0) + timedelta(days=n) for n in range(9))
    return next(day for day in days if day.weekday() in window.days and day > here)


def _days(text: str, value: Value) -> tuple[int, ...]:
    words = text.strip().lower()
    if words in ("daily", "every day"):
        return tuple(range(7))
    found: list[int] = []
    for part in re.split(r"[,\s]+(?:and\s+)?", words):
        first, _, last = part.partition("-")
        start = _day(first, value)
        end = _day(last, value) if last else start
        found += [(start + n) % 7 for n in range((end - start) % 7 + 1)]
    return tuple(sorted(set(found)))


def _day(word: str, value: Value) -> int:
    for number, name in enumerate(DAYS):
        if len(word) >= 3 and name.startswith(word.removesuffix("s")):
            return number
    raise value.error(f"window has the day `{word}`", expected=_EXAMPLE, action=nearest(word, DAYS))


def _clock(text: str, value: Value) -> str:
    match = re.fullmatch(r"(\d{1,2})(?::(\d{2}))?\s*([ap]m)?", text.strip())
    if match and (match[2] or match[3]):
        hour, minute = int(match[1]), int(match[2] or 0)
        if match[3]:
            hour = hour % 12 + (12 if match[3] == "pm" else 0) if 1 <= hour <= 12 else 99
        if hour < 24 and minute < 60:
            return f"{hour:02d}:{minute:02d}"
    raise value.error(f"window has the time `{text.strip()}`", expected=_EXAMPLE)


def _zone(name: str, value: Value) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        action = nearest_zone(name)
        raise value.error(f"window has the time zone `{name}`", expected="an IANA name", action=action) from error
    return name


def nearest_zone(name: str) -> str:
    """The advice that names the IANA zone nearest to this one."""
    zones = {zone.lower(): zone for zone in available_timezones()}
    advice = nearest(name, zones)
    return f"write `{zones[advice[7:-1]]}`" if advice else ""
