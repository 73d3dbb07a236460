"""The colours, once: charts, pages, tables and boxes take them from here; tests hold their contrast.

A text's colour has at least 4.5 : 1 on paper and on its own wash (WCAG AA), so that a verdict is readable in print too.
"""

from __future__ import annotations

INK, MUTED, RULE, PAPER, WASH = "#1f2933", "#5f6b76", "#e3e7eb", "#ffffff", "#f6f8f9"
EMPTY, EDGE = "#edf0f2", "#c3cad1"  # a cell or a track without anything in it; the border of what is not chosen
PASS, FAIL, UNSURE, LINK = "#00735a", "#b3361b", "#8a5a00", "#0b5f96"
PASS_WASH, FAIL_WASH, UNSURE_WASH, LINK_WASH = "#e7f4ef", "#fcebe5", "#fdf3da", "#e3f0f9"

# Okabe and Ito's palette, slightly darker so that a thin line stays readable on white; distinguished by the
# colour-blind.
BLUE, ORANGE, GREEN, PURPLE, SKY, OLIVE = "#0b6aa8", "#d98200", "#00896a", "#a4528a", "#3c9fd4", "#8a7a00"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY, OLIVE)

_OUTCOMES = {
    "pass": (PASS, PASS_WASH),
    "fail": (FAIL, FAIL_WASH),
    "tolerated": (LINK, LINK_WASH),
} | dict.fromkeys(("could_not_run", "interrupted", "waived"), (UNSURE, UNSURE_WASH))  # fmt: skip
MARKS = {"pass": "✓", "fail": "✗", "could_not_run": "?", "tolerated": "≈", "undone": "↩"}


def tone(outcome: str) -> str:
    """The colour of an outcome's word or mark."""
    return _OUTCOMES.get(outcome, (MUTED, EMPTY))[0]


def tint(outcome: str) -> str:
    """The colour behind it."""
    return _OUTCOMES.get(outcome, (MUTED, EMPTY))[1]


def names() -> dict[str, str]:
    """Every colour by its name in the templates: `pass`, `pass_wash`."""
    return {name.lower(): value for name, value in globals().items() if str(value).startswith("#")}
