"""Charts of outcomes: the checks by table, and the run's timeline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runbook_lib.charts import style
from runbook_lib.charts.style import get
from runbook_lib.display import palette
from runbook_lib.evidence.checks_by_table import checks_grid
from runbook_lib.verdict import words_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WORDS = {"pass": "pass", "fail": "fail", "could_not_run": "could not run", "tolerated": "declared difference"}


def integrity(report: Any) -> Figure:
    """Checks × tables: what passed, what failed, what could not run, what the plan tolerates.

    Args:
        report: A validation report, its `as_dict()`, or {check: {table: outcome}}.
    """
    grid = checks_grid(report)
    tables = list(dict.fromkeys(table for row in grid.values() for table in row))
    if not grid or not tables:
        return style.empty("Integrity checks")
    cells = [outcome for row in grid.values() for outcome in row.values()]
    bad = [f"{check} of {table}" for check, row in grid.items() for table, cell in row.items() if cell == "fail"]
    title = f"All {len(grid)} checks agree on all {len(tables)} tables" if not bad else _failures(bad)
    if not bad and "could_not_run" in cells:
        title = f"{cells.count('could_not_run')} checks could not run"
    height = 1.35 + 0.36 * len(grid)
    fig, axes = style.figure(title, "six checks, every one run; a cell is one check of one table", size=(8.6, height))
    for row, check in enumerate(grid):
        for column, table in enumerate(tables):
            _cell(axes, column, row, grid[check].get(table, ""))
    axes.set(xlim=(-0.02, len(tables)), ylim=(len(grid), 0))
    axes.set_yticks([row + 0.5 for row in range(len(grid))], [check.replace("_", " ") for check in grid])
    axes.set_xticks([column + 0.5 for column in range(len(tables))], [_wrapped(table) for table in tables])
    axes.xaxis.set_ticks_position("bottom")
    axes.tick_params(colors=palette.INK, labelsize=9, pad=3)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    seen = [outcome for outcome in _WORDS if outcome in cells]
    text = "     ".join(f"{palette.MARKS[outcome]} {_WORDS[outcome]}" for outcome in seen)
    fig.text(0.988, 1 - 0.36 / height, text, fontsize=9, va="top", ha="right", color=palette.MUTED)
    return fig  # type: ignore[no-any-return]  # matplotlib's types are not followed


@dataclass(frozen=True)
class _Bar:
    name: str
    phase: str
    start: float
    stop: float
    outcome: str


def timeline(steps: Iterable[Any]) -> Figure:
    """The run as bars over time, one per phase or step; a failed one is red, one that was undone grey.

    Args:
        steps: `name`, `started` and `ended` (seconds since the epoch or ISO text), optional `outcome`, `phase`.
    """
    bars = [_bar(step) for step in steps if get(step, "started") is not None]
    if not bars:
        return style.empty("Timeline of the run")
    start, stop = min(bar.start for bar in bars), max(bar.stop for bar in bars)
    undone = [bar.name for bar in bars if bar.outcome == "undone"]
    failed = [bar.name for bar in bars if bar.outcome not in ("", "pass", "undone")]
    title = f"The run took {_long(stop - start)}{_listed('not passed', failed)}{_listed('undone', undone)}"
    height = 1.15 + 0.27 * len(bars)
    fig, axes = style.figure(title, "when each ran, and how long it took", size=(8.6, height))
    phases = list(dict.fromkeys(bar.phase for bar in bars))
    span = max(stop - start, 1e-9)
    for row, bar in enumerate(bars):
        colour = palette.SERIES[phases.index(bar.phase) % len(palette.SERIES)]
        colour = palette.FAIL if bar.name in failed else palette.MUTED if bar.name in undone else colour
        width = max(bar.stop - bar.start, span * 0.003)
        axes.barh(row, width, left=bar.start - start, height=0.58, color=colour)
        _bar_label(axes, bar, row, start, span, width)
    axes.set_yticks(range(len(bars)), [words_of(bar.name) for bar in bars])
    axes.tick_params(axis="y", colors=palette.INK)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    style.elapsed_axis(axes, start, stop)
    axes.set_xlim(0, span * 1.02)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", visible=True)
    axes.spines["left"].set_visible(False)
    return fig  # type: ignore[no-any-return]  # matplotlib's types are not followed


def _listed(what: str, names: Sequence[str]) -> str:
    """Two by their names; of more the title's line has room for the number only, and the bars tell which."""
    if not names:
        return ""
    return f"; {what}: {', '.join(map(words_of, names)) if len(names) < 3 else len(names)}"


def _bar_label(axes: Any, bar: _Bar, row: int, start: float, span: float, width: float) -> None:
    """How long it took: behind the bar, or before it where the right edge is near."""
    late = bar.start - start + width > span * 0.9
    x, offset, align = (bar.start - start, -4, "right") if late else (bar.start - start + width, 4, "left")
    if late and bar.start - start < span * 0.1:  # it fills the whole axis
        axes.annotate(_long(bar.stop - bar.start), (x + width / 2, row), ha="center", va="center", fontsize=8.5,
                      color="white")  # fmt: skip
        return
    axes.annotate(_long(bar.stop - bar.start), (x, row), (offset, 0), textcoords="offset points", ha=align, va="center",
                  fontsize=8.5, color=palette.MUTED)  # fmt: skip


def _bar(step: Any) -> _Bar:
    started = style.seconds(get(step, "started"))
    ended = get(step, "ended")
    return _Bar(
        name=str(get(step, "name")),
        phase=str(get(step, "phase", "")),
        start=started,
        stop=max(style.seconds(ended), started) if ended is not None else started,
        outcome=str(get(step, "outcome", "") or ""),
    )


def _cell(axes: Any, column: int, row: int, outcome: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    colour = palette.tone(outcome) if outcome else palette.EMPTY
    box = FancyBboxPatch((column + 0.04, row + 0.07), 0.92, 0.86, boxstyle="round,pad=0,rounding_size=0.06",
                         mutation_aspect=1.5, facecolor=colour, edgecolor="none", alpha=0.92)  # fmt: skip
    axes.add_patch(box)
    axes.text(
        column + 0.5,
        row + 0.5,
        palette.MARKS.get(outcome, ""),
        ha="center",
        va="center",
        color="white",
        fontsize=11,
        fontweight="bold",
    )


def _failures(bad: Sequence[str]) -> str:
    more = f" and {len(bad) - 2} more" if len(bad) > 2 else ""
    return f"Differences found: {', '.join(bad[:2]).replace('_', ' ')}{more}"


def _wrapped(table: str) -> str:
    return table.replace(".", ".\n").replace("_", "_\n") if len(table) > 12 else table


def _long(span_s: float) -> str:
    if span_s < 1:
        return f"{span_s * 1000:.0f} ms"
    if span_s < 90:
        return f"{span_s:.1f} s"
    return f"{int(span_s // 60)} min {int(span_s % 60)} s"
