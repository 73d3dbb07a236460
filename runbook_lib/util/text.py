"""Words for people: one line of a text, a number with its noun."""

from __future__ import annotations


def one_line(text: str, limit: int = 200) -> str:
    """Text on one line, shortened to `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def counted(count: int, noun: str) -> str:
    """A number with its noun: "1 attempt", "2 attempts"."""
    return f"{count:,} {noun}{'s' * (count != 1)}"
