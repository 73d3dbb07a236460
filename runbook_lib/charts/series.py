"""Charts of what was measured over time: throughput, lag, write pause, latency, errors, traffic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from runbook_lib.charts import style
from runbook_lib.charts.style import Point, points
from runbook_lib.display import palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAMES = ("table", "service", "backend", "channel", "direction", "series", "kind")


def throughput(samples: Iterable[Any], unit: str = "rows") -> Figure:
    """Rows (or requests) per second over time, one line per table or service.

    Args:
        samples: `at`, `value` (per second), a label such as `table`.
        unit: What is counted.
    """
    groups = _groups(points(samples))
    if not groups:
        return style.empty(f"Throughput ({unit}/s)")
    everything = [point for group in groups.values() for point in group]
    peak = max(point.value for point in everything)
    span = max(p.at for p in everything) - min(p.at for p in everything)
    title = f"Throughput peaked at {style.compact(peak)} {unit}/s"
    fig, axes = style.figure(title, f"{unit} per second over {_duration(span)}")
    _lines(axes, groups, filled=len(groups) == 1)
    style.compact_axis(axes.yaxis)
    axes.set_ylabel(f"{unit}/s")
    return fig  # type: ignore[no-any-return]  # matplotlib's types are not followed


def rates(samples: Iterable[Any], parts: int = 12) -> list[Point]:
    """A growing count as its rate: the growth per second over equal parts of the whole time.

    Counts come in jumps (a whole range at once), so the rate between two neighbours says nothing.

    Args:
        samples: `at`, `value` (the count so far).
        parts: How many points to give (count).
    """
    found = points(samples)
    if len(found) < 2 or found[-1].at <= found[0].at:
        return []
    width = (found[-1].at - found[0].at) / parts
    moments = [found[0].at + width * part for part in range(parts + 1)]
    counts = [_value_at(found, at) for at in moments]
    return [
        Point(at, max(0.0, now - before) / width, found[-1].labels)
        for at, (before, now) in zip(moments[1:], pairwise(counts), strict=True)
    ]


def lag(samples: Iterable[Any]) -> Figure:
    """Keys that wait to be synchronized, over time, one line per channel or table.

    Args:
        samples: `at`, `value` (keys), a label such as `channel`.
    """
    groups = _groups(points(samples))
    if not groups:
        return style.empty("Keys waiting to be synchronized")
    last = sum(group[-1].value for group in groups.values())
    most = max(point.value for group in groups.values() for point in group)
    title = f"The lag ended at {style.compact(last)} keys" if last else "The lag was brought to zero"
    fig, axes = style.figure(title, f"keys waiting in the capture log; at most {style.compact(most)}")
    _lines(axes, groups, filled=len(groups) == 1, stepped=True)
    style.compact_axis(axes.yaxis)
    axes.set_ylabel("keys")
    return fig  # type: ignore[no-any-return]  # matplotlib's types are not followed


def pause(events: Iterable[Any], samples: Iterable[Any], budget_s: float | None = None) -> Figure:
    """Write latency around the cutover: each write a dot, fence and switch marked.

    Args:
        events: `at`, `name` ("fence", "drained", "switch", …): the moments of the cutover.
        samples: `at`, `value` (milliseconds): the writes as the client saw them.
        budget_s: The longest write pause that the plan allows (seconds).
    """
    writes = points(samples)
    marks = sorted((style.seconds(style.get(event, "at")), str(style.get(event, "name"))) for event in events)
    if not writes or not marks:
        return style.empty("Write pause at the cutover")
    middle, margin = (marks[0][0] + marks[-1][0]) / 2, max(3 * (marks[-1][0] - marks[0][0]), 2.5)
    near = [write for write in writes if abs(write.at - middle) <= margin] or writes
    start = near[0].at
    longest = max(near, key=lambda write: write.value)
    title = f"The longest write around the cutover took {longest.value:.0f} ms"
    fig, axes = style.figure(title, f"latency of {len(near)} writes; none is left out", size=(8.6, 3.8))
    x, y = [write.at - start for write in near], [write.value for write in near]
    many = len(near) > 1000  # as a picture inside the SVG: thousands of dots would make it megabytes
    axes.vlines(x, 0, y, color=palette.BLUE, linewidth=0.8, alpha=0.35, rasterized=many)
    axes.plot(x, y, "o", color=palette.BLUE, markersize=3.2, rasterized=many)
    axes.set_ylim(0, max(longest.value * 1.35, 1))
    _budget(axes, budget_s)
    axes.axvspan(marks[0][0] - start, marks[-1][0] - start, color=palette.ORANGE, alpha=0.13, linewidth=0)
    style.elapsed_axis(axes, start, near[-1].at)
    _marks(axes, [(at - start, name) for at, name in marks])
    axes.set_ylabel("write latency (ms)")
    return fig  # type: ignore[no-any-return]  # matplotlib's types are not followed


def latency(samples: Iterable[Any]) -> Figure:
    """Response time over time: p50 and p99 as the clients saw them.

    Args:
        samples: `at`, `value` (milliseconds), label `quantile` ("p50", "p99"); or `at`, `p50_ms`, `p99_ms`.
    """
    groups = _groups(_quantiles(samples), ("quantile", "series"))
    if not groups:
        return style.empty("Response time")
    high = groups.get("p99") or list(groups.values())[-1]
    worst = max(high, key=lambda point: point.value)
    fig, axes = style.figure(
        f"Response time stayed under {_round_up(worst.value)} ms at p99", "milliseconds as the clients saw them"
    )
    _lines(axes, groups, colours={"p50": palette.BLUE, "p99": palette.ORANGE})
    axes.set_ylabel("response time (ms)")
    return fig  # type: ignore[no-any-return]  # matplotlib's types are not followed


def error_rate(samples: Iterable[Any], threshold: float | None = None) -> Figure:
    """Share of failed requests over time, with the plan's threshold.

    Args:
        samples: `at`, `value` (share, 0.01 = 1 %), a label such as `backend`.
        threshold: The rollback trigger's share.
    """
    groups = _groups(points(samples))
    if not groups:
        return style.empty("Error rate")
    worst = max(point.value for group in groups.values() for point in group)
    title = f"The error rate reached {worst:.2%}" if worst else "No request failed"
    fig, axes = style.figure(title, "share of requests that failed", size=(8.6, 2.9))
    shares = {name: [Point(p.at, p.value * 100, p.labels) for p in group] for name, group in groups.items()}
    _lines(axes, shares, stepped=True)
    top = max(worst * 100, (threshold or 0.01) * 100) * 1.3
    axes.set_ylim(-top * 0.03, top)
    if threshold is not None:
        axes.axhline(threshold * 100, color=palette.FAIL, linewidth=1, linestyle=(0, (4, 3)))
        text = f"rollback trigger {threshold:.2%}"
        axes.annotate(text, (0, threshold * 100), (4, 4), textcoords="offset points", color=palette.FAIL, fontsize=9)
    axes.set_ylabel("failed requests (%)")
    return fig  # type: ignore[no-any-return]  # matplotlib's types are not followed


def traffic(weights: Iterable[Any]) -> Figure:
    """Who answers: percent of the traffic per backend over time, as the router ran it.

    Args:
        weights: `at`, `value` (percent), label `backend`; optional label `route`: the routes are averaged.
    """
    groups = _groups(_averaged(points(weights)), ("backend",))
    if not groups:
        return style.empty("Traffic by backend")
    last = {name: group[-1].value for name, group in groups.items()}
    start = min(group[0].at for group in groups.values())
    stop = max(group[-1].at for group in groups.values())
    winners = [f"{name} {value:.0f} %" for name, value in last.items() if value >= 0.5]
    title = " and ".join(winners) if len(winners) < 4 else f"{len(winners)} backends"
    fig, axes = style.figure(f"Traffic ended at {title}", "percent of requests per backend, as the router ran it")
    stop += max(1.0, (stop - start) / 20)  # the last move holds from there on; without a width it would not be seen
    moments = [*sorted({point.at for group in groups.values() for point in group}), stop]
    layers = [[_value_at(group, at) for at in moments] for group in groups.values()]
    named = {"blue": palette.BLUE, "green": palette.GREEN}  # a release's sides are what they are called
    colours = [named.get(name, palette.SERIES[index % len(palette.SERIES)]) for index, name in enumerate(groups)]
    axes.stackplot(
        [at - start for at in moments],
        layers,
        step="post",
        colors=colours,
        alpha=0.85,
        linewidth=0.6,
        edgecolor="white",
    )
    axes.set_ylim(0, 100)
    axes.set_ylabel("traffic (%)")
    style.elapsed_axis(axes, start, stop)
    _legend(axes, list(groups)[::-1], colours[::-1])  # top-down, as the layers lie
    return fig  # type: ignore[no-any-return]  # matplotlib's types are not followed


def _groups(samples: Sequence[Point], names: Sequence[str] = _NAMES) -> dict[str, list[Point]]:
    groups: dict[str, list[Point]] = {}
    for point in samples:
        groups.setdefault(point.label(*names), []).append(point)
    return groups


def _lines(
    axes: Axes,
    groups: Mapping[str, Sequence[Point]],
    *,
    filled: bool = False,
    stepped: bool = False,
    colours: Mapping[str, str] | None = None,
) -> None:
    start = min(group[0].at for group in groups.values())
    stop = max(group[-1].at for group in groups.values())
    look: dict[str, Any] = {"drawstyle": "steps-post"} if stepped else {}
    ends = []
    for index, (name, group) in enumerate(groups.items()):
        colour = (colours or {}).get(name, palette.SERIES[index % len(palette.SERIES)])
        x, y = [point.at - start for point in group], [point.value for point in group]
        dots: dict[str, Any] = {"marker": "o", "markersize": 3} if len(group) < 3 else {}
        axes.plot(x, y, color=colour, **look, **dots)
        if filled:
            axes.fill_between(x, y, color=colour, alpha=0.12, linewidth=0, step="post" if stepped else None)
        ends.append((x[-1], y[-1], name, colour))
    axes.set_ylim(bottom=0)
    style.elapsed_axis(axes, start, stop)
    if len(groups) > 1 or ends[0][2]:
        style.direct_labels(axes, ends)


def _budget(axes: Axes, budget_s: float | None) -> None:
    if budget_s is None:
        return
    limit = budget_s * 1000
    if limit > axes.get_ylim()[1] * 2.5:  # far away: say so instead of squeezing what was measured
        text = f"the plan allows {limit:.0f} ms"
        axes.annotate(text, (1, 1), (-4, -4), xycoords="axes fraction", textcoords="offset points", **_NOTE)
        return
    axes.set_ylim(0, max(axes.get_ylim()[1], limit * 1.2))
    axes.axhline(limit, color=palette.FAIL, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate(f"the plan allows {limit:.0f} ms", (1, limit), (-4, 4), xycoords=("axes fraction", "data"),
                  textcoords="offset points", ha="right", fontsize=9, color=palette.FAIL)  # fmt: skip


_ON_WHITE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0}
_NOTE: dict[str, Any] = {"ha": "right", "va": "top", "fontsize": 9, "color": palette.MUTED}


def _marks(axes: Axes, marks: Sequence[tuple[float, str]]) -> None:
    """Vertical lines with names above; names that would collide step down."""
    width = axes.get_xlim()[1] - axes.get_xlim()[0]
    level, before = 0, float("-inf")
    for at, name in marks:
        level = level + 1 if at - before < width * 0.13 else 0
        before = at
        axes.axvline(at, color=palette.INK, linewidth=0.9, linestyle=(0, (2, 2)))
        axes.annotate(name, (at, 1), (5, -10 - 13 * level), xycoords=("data", "axes fraction"), bbox=_ON_WHITE,
                      textcoords="offset points", fontsize=9, color=palette.INK, zorder=6)  # fmt: skip


def _quantiles(samples: Iterable[Any]) -> list[Point]:
    found = []
    for sample in samples:
        if style.get(sample, "value") is not None:
            found += points([sample])
            continue
        at = style.seconds(style.get(sample, "at"))
        for name in ("p50", "p99"):
            value = style.get(sample, f"{name}_ms")
            if value is not None:
                found.append(Point(at, float(value), {"quantile": name}))
    return sorted(found, key=lambda point: point.at)


def _averaged(samples: Sequence[Point]) -> list[Point]:
    """Routes change one by one: at every moment the mean over the routes of their last known weight."""
    routes = sorted({point.label("route") for point in samples})
    backends = list(dict.fromkeys(point.label("backend") for point in samples))
    known: dict[tuple[str, str], float] = {}
    found: list[Point] = []
    for this, after in [*pairwise(samples), *([(samples[-1], None)] if samples else [])]:
        known[this.label("route"), this.label("backend")] = this.value
        if after is not None and after.at == this.at:
            continue
        seen = [route for route in routes if any((route, backend) in known for backend in backends)]
        for backend in backends:
            mean = sum(known.get((route, backend), 0.0) for route in seen) / len(seen)
            found.append(Point(this.at, mean, {"backend": backend}))
    return found


def _value_at(group: Sequence[Point], at: float) -> float:
    return next((point.value for point in reversed(group) if point.at <= at), 0.0)


def _legend(axes: Axes, names: Sequence[str], colours: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    patches = [Patch(color=colour, label=name) for name, colour in zip(names, colours, strict=True)]
    axes.legend(handles=patches, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9,
                handlelength=0.9, handleheight=0.9)  # fmt: skip


def _duration(span_s: float) -> str:
    return f"{span_s:.0f} s" if span_s < 180 else f"{span_s / 60:.0f} min"


def _round_up(value: float) -> str:
    import math

    if value <= 0:
        return "1"
    unit = 10 ** math.floor(math.log10(value))
    return f"{math.ceil(value / unit * 2 + 1e-9) / 2 * unit:g}"
