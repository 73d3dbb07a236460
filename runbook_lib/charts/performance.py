"""Charts of old against new: both distributions, the intervals against the tolerance, the rounds over time.

The sides are told apart by colour and by line; verdicts by colour and by mark.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runbook_lib.charts import style
from runbook_lib.display import palette
from runbook_lib.performance.compare import LABELS, WORDS, share, shown
from runbook_lib.verdict import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIDES = {"old": ("before", palette.BLUE, "-"), "new": ("now", palette.ORANGE, (0, (4, 1.5)))}
_MARKS = {"pass": "o", "fail": "X", "could_not_run": "D"}
_WIDEST = 1.0  # an interval that reaches farther is drawn to the edge


def response_times(performance: Any) -> Figure:
    """The share of answers that were there within a time, of both sides.

    Args:
        performance: What `steps.compare_performance` returned, or its `as_dict()`.
    """
    spread = _data(performance)["spread_ms"]
    if not all(spread.get(side) for side in _SIDES):
        return style.empty("Response times")
    medians = [spread[side][len(spread[side]) // 2] for side in _SIDES]
    title = f"Half of the answers came within {shown(medians[0])} ms before, and {shown(medians[1])} ms now"
    fig, axes = style.figure(title, "share of all answers that were there within a time, on a logarithmic scale")
    ends = []
    for side, (word, colour, line) in _SIDES.items():
        values = [max(value, 1e-3) for value in spread[side]]
        shares = [100 * place / (len(values) - 1 or 1) for place in range(len(values))]
        axes.plot(values, shares, color=colour, linestyle=line, label=word)
        ends.append(values)
    axes.set_xscale("log")
    axes.set_xlim(min(map(min, ends)) * 0.9, max(map(max, ends)) * 1.1)
    axes.xaxis.set_major_formatter(_milliseconds())
    axes.xaxis.set_minor_formatter(_milliseconds(few=True))
    axes.set_ylim(0, 101)
    axes.set_yticks([0, 25, 50, 75, 95])
    axes.set_ylabel("answers (%)")
    axes.set_xlabel("response time (ms)")
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    return fig  # type: ignore[no-any-return]  # matplotlib's types are not followed


def ratios(performance: Any) -> Figure:
    """Each metric's change with its interval, against the tolerance.

    Args:
        performance: What `steps.compare_performance` returned, or its `as_dict()`.
    """
    data = _data(performance)
    metrics: Sequence[Mapping[str, Any]] = data["metrics"]
    if not metrics:
        return style.empty("Change of each metric")
    fig, axes = style.figure(
        _title(metrics, data["tolerance"]),
        "by how much it is worse now (left: better), with the interval of all pairs of rounds",
        size=(8.6, 1.75 + 0.34 * len(metrics)),
    )
    bounds = [abs(m[key]) for m in metrics for key in ("worse_low", "worse_high") if m[key] is not None]
    edge = min(max([*bounds, data["tolerance"] * 1.6]) * 1.15, _WIDEST)
    for row, metric in enumerate(metrics):
        _interval(axes, row, metric, edge)
    axes.axvline(0, color=palette.EDGE, linewidth=1, zorder=1)
    axes.axvline(data["tolerance"], color=palette.FAIL, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.annotate(f"tolerance {data['tolerance']:.0%}", (data["tolerance"], 1), (3, -2), textcoords="offset points",
                  xycoords=("data", "axes fraction"), ha="left", va="top", fontsize=9, color=palette.FAIL)  # fmt: skip
    axes.set_xlim(-edge, edge)
    axes.set_ylim(len(metrics) - 0.4, -0.95)
    axes.set_yticks(range(len(metrics)), [LABELS[m["metric"]].partition(" (")[0] for m in metrics])
    axes.tick_params(axis="y", colors=palette.INK)
    axes.xaxis.set_major_formatter(_percent())
    axes.grid(axis="y", visible=False)
    return fig  # type: ignore[no-any-return]  # matplotlib's types are not followed


def rounds(performance: Any, metric: str = "p50_ms") -> Figure:
    """One metric of each round over time, of both sides.

    Args:
        performance: What `steps.compare_performance` returned, or its `as_dict()`.
        metric: A field of the measurements.
    """
    sides = _data(performance)["rounds"]
    found = {side: [(r["at"], r[metric]) for r in sides[side] if r[metric] is not None] for side in _SIDES}
    if not all(found.values()):
        return style.empty(f"Rounds: {LABELS[metric]}")
    start = min(at for points in found.values() for at, _ in points)
    stop = max(at for points in found.values() for at, _ in points)
    medians = [statistics.median(value for _, value in points) for points in found.values()]
    title = (
        f"{len(found['old'])} pairs of rounds: in the median {shown(medians[0])} before, and {shown(medians[1])} now"
    )
    fig, axes = style.figure(title, f"{LABELS[metric]} of each round, when it was measured")
    for side, (word, colour, line) in _SIDES.items():
        x, y = [at - start for at, _ in found[side]], [value for _, value in found[side]]
        axes.plot(x, y, color=colour, linestyle=line, linewidth=1.1, marker="o" if side == "old" else "s", markersize=3,
                  label=word)  # fmt: skip
    axes.set_ylim(bottom=0)
    style.elapsed_axis(axes, start, stop)
    axes.set_ylabel(LABELS[metric])
    axes.legend(loc="upper right", frameon=False, fontsize=9, ncols=2)
    return fig  # type: ignore[no-any-return]  # matplotlib's types are not followed


def _data(performance: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = performance if isinstance(performance, Mapping) else performance.as_dict()
    return found


def _title(metrics: Sequence[Mapping[str, Any]], tolerance: float) -> str:
    """The worst verdict with the number of its metrics; their names stand beside their intervals."""
    for outcome, said in (("fail", f"degraded by more than {tolerance:.0%}"), ("could_not_run", "inconclusive")):
        if count := sum(str(metric["outcome"]) == outcome for metric in metrics):
            return f"{count} of {len(metrics)} metrics {'is' if count == 1 else 'are'} {said}"
    return f"All {len(metrics)} metrics are within {tolerance:.0%}"


def _interval(axes: Axes, row: int, metric: Mapping[str, Any], edge: float) -> None:
    """A line between the bounds, a mark in the middle, and the figure at the right."""
    outcome = str(metric["outcome"])
    colour, words = palette.tone(outcome), WORDS[Outcome(outcome)]
    low, high, worse = (metric[key] for key in ("worse_low", "worse_high", "worse"))
    if low is None:
        text = f"{words}: not measured" if not metric["measured"] else words
    else:
        text = f"{share(worse)}  {words}"
        right = edge if high is None else high
        axes.plot([max(low, -edge), min(right, edge)], [row, row], color=colour, linewidth=2.2)
        if worse is not None and abs(worse) < edge:
            axes.plot([worse], [row], marker=_MARKS[outcome], color=colour, markersize=7)
    axes.annotate(text, (1, row), (6, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center",
                  fontsize=9, color=colour, annotation_clip=False)  # fmt: skip


def _percent() -> Any:
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda x, _: f"{x:+.0%}" if x else "0")


def _milliseconds(*, few: bool = False) -> Any:
    from matplotlib.ticker import FuncFormatter

    def text(x: float, _: object) -> str:
        first = f"{x:e}"[0]
        return "" if few and first not in "25" else f"{x:g}"

    return FuncFormatter(text)
