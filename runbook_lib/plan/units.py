"""Durations, counts and percentages as people write them."""

from __future__ import annotations

import re

from runbook_lib.plan.yaml_value import Value

_UNITS = {
    "ms": 0.001,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
}
_SPELLINGS = {
    "millisecond": "ms",
    "msec": "ms",
    "sec": "s",
    "second": "s",
    "m": "min",
    "minute": "min",
    "hr": "h",
    "hour": "h",
    "day": "d",
    "week": "w",
}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)[\s,]*")


def seconds(text: str) -> float | None:
    """Seconds of "2 weeks", "10 min", "500 ms", "1 h 30 min", "2s"; None when it is not a duration."""
    rest, total = text.strip().lower(), 0.0
    if rest == "0":
        return 0.0
    if not rest:
        return None
    while rest:
        match = _PART.match(rest)
        if not match:
            return None
        factor = _unit(match[2])
        if factor is None:
            return None
        total += float(match[1]) * factor
        rest = rest[match.end() :]
    return round(total, 6)


def _unit(word: str) -> float | None:
    for spelling in (word, word.removesuffix("s")):
        factor = _UNITS.get(_SPELLINGS.get(spelling, spelling))
        if factor is not None:
            return factor
    return None


def read_duration(value: Value, what: str) -> float:
    """A duration in seconds."""
    text = value.text(what)
    result = seconds(text)
    if result is None:
        raise value.error(f"{what} is `{text}`", expected="a number with a unit such as 500 ms, 2s, 10 min or 30 days")
    return result


def read_count(value: Value, what: str) -> int:
    """A number of rows."""
    text = value.text(what).replace("_", "")
    if not text.isdigit() or not int(text):
        raise value.error(f"{what} is `{text}`", expected="rows (count, at least 1)")
    return int(text)


def read_share(value: Value, what: str) -> float:
    """A share: "10%" is 0.10."""
    text = value.text(what)
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text)
    if not match or float(match[1]) > 100:
        raise value.error(f"{what} is `{text}`", expected="a percentage such as 10%")
    return round(float(match[1]) / 100, 9)


def read_percentages(value: Value, what: str) -> tuple[int, ...]:
    """Whole percentages that rise to 100, e.g. [1%, 10%, 50%, 100%]."""
    found: list[int] = []
    for text, at in value.texts(what):
        match = re.fullmatch(r"(\d{1,3})\s*%?", text)
        if not match or not 0 < int(match[1]) <= 100:
            raise at.error(f"{what} has `{text}`", expected="whole percentages from 1% to 100%")
        if found and int(match[1]) <= found[-1]:
            raise at.error(f"{what} goes from {found[-1]}% to {match[1]}%", expected="percentages that rise")
        found.append(int(match[1]))
    if found and found[-1] != 100:
        raise value.error(f"{what} ends at {found[-1]}%", expected="100% as the last one")
    return tuple(found)


def duration(length_s: float) -> str:
    """A duration (seconds) as people say it: "30 days", "10 min", "500 ms"."""
    for unit, size_s in (("days", 86_400), ("hours", 3_600), ("min", 60), ("s", 1)):
        if length_s >= size_s:
            count = f"{length_s / size_s:g}" if length_s % size_s == 0 else f"{length_s / size_s:.1f}"
            return f"{count} {unit.removesuffix('s') if count == '1' and unit.endswith('ys') else unit}"
    return f"{length_s * 1000:.0f} ms"
