"""The house style of charts: readable type, a light grid, direct labels."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runbook_lib.display import palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_RC = {
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "axes.edgecolor": palette.RULE,
    "axes.labelcolor": palette.MUTED,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": palette.RULE,
    "grid.linewidth": 0.8,
    "xtick.color": palette.MUTED,
    "ytick.color": palette.MUTED,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "text.color": palette.INK,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "figure.facecolor": palette.PAPER,
    "savefig.facecolor": palette.PAPER,
    "svg.fonttype": "path",  # looks the same on a machine without the font
    "svg.hashsalt": "runbook",  # the same data gives the same bytes
}


@dataclass(frozen=True)
class Point:
    """One sample, whatever shape it came in. `at` in seconds since the epoch."""

    at: float
    value: float
    labels: Mapping[str, Any]

    def label(self, *names: str) -> str:
        """The first of these labels that the sample has, else empty."""
        return next((str(self.labels[name]) for name in names if name in self.labels), "")


def points(samples: Iterable[Any]) -> list[Point]:
    """Samples (mappings, dataclasses, rows) as points in the order of time."""
    return sorted((_point(sample) for sample in samples), key=lambda point: point.at)


def get(item: Any, name: str, default: Any = None) -> Any:
    """A field of a mapping or of an object."""
    return item.get(name, default) if isinstance(item, Mapping) else getattr(item, name, default)


def seconds(at: Any) -> float:
    """A time as seconds since the epoch: a number, a datetime, or ISO text."""
    if isinstance(at, str):
        from datetime import datetime

        return datetime.fromisoformat(at).timestamp()
    return float(at.timestamp()) if hasattr(at, "timestamp") else float(at)


def _point(sample: Any) -> Point:
    labels = get(sample, "labels")
    if labels is None:
        known = sample if isinstance(sample, Mapping) else vars(sample)
        labels = {key: value for key, value in known.items() if key not in ("at", "value")}
    return Point(seconds(get(sample, "at")), float(get(sample, "value")), labels)


def figure(title: str, subtitle: str = "", *, size: tuple[float, float] = (8.6, 3.5), rows: int = 1) -> tuple[Any, Any]:
    """A figure with its finding as the title. Not made through pyplot: nothing global, nothing to close."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(_RC):
        fig = Figure(figsize=size, dpi=110, layout="constrained")
        FigureCanvasAgg(fig)
        engine: Any = fig.get_layout_engine()
        engine.set(rect=(0.005, 0, 0.99, 1 - 0.62 / size[1]), w_pad=0.05, h_pad=0.04)
        fig.text(0.012, 1 - 0.10 / size[1], title, fontsize=12, fontweight="bold", va="top", color=palette.INK)
        fig.text(0.012, 1 - 0.36 / size[1], subtitle, fontsize=9, va="top", color=palette.MUTED)
        axes = fig.subplots(rows, 1, sharex=True)
    _self_showing(fig)
    return fig, axes


def empty(what: str, size: tuple[float, float] = (8.6, 1.6), why: str = "") -> Figure:
    """A figure that says that there is nothing to show, and why."""
    fig, axes = figure(what, why or "no data was recorded", size=size)
    axes.set_axis_off()
    if not why:
        axes.text(0.5, 0.5, "–", ha="center", va="center", color=palette.EDGE, fontsize=22, transform=axes.transAxes)
    return fig  # type: ignore[no-any-return]  # matplotlib's types are not followed


def elapsed_axis(axes: Axes, start: float, stop: float) -> None:
    """Label the x axis with the time since the start: seconds, minutes or hours."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    span = max(stop - start, 1e-9)
    unit, scale = ("s", 1.0) if span < 180 else ("min", 60.0) if span < 7200 else ("h", 3600.0)
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]) if scale == 1 else _every(span, scale))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / scale:g} {unit}"))
    axes.set_xlim(0, span)
    axes.grid(axis="x", visible=False)


def _every(span: float, scale: float) -> Any:
    from matplotlib.ticker import MultipleLocator

    steps = [1, 2, 5, 10, 15, 30, 60]
    return MultipleLocator(scale * next((step for step in steps if span / scale / step <= 8), 120))


def direct_labels(axes: Axes, labels: Sequence[tuple[float, float, str, str]]) -> None:
    """Write each line's name at its right end (x, y, text, colour), moved apart where they would overlap."""
    low, high = axes.get_ylim()
    gap, lowest = (high - low) * 0.09, low
    for x, y, text, colour in sorted(labels, key=lambda label: label[1]):
        place = max(y, lowest)
        lowest = place + gap
        axes.annotate(
            text, (x, place), (5, 0), textcoords="offset points", color=colour, fontsize=9, va="center", clip_on=False
        )


def compact(value: float) -> str:
    """1234567 as 1.2 M."""
    for limit, suffix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{suffix}"
    return f"{value:.3g}" if value < 10 else f"{value:.0f}"


def compact_axis(axis: Any) -> None:
    """Tick labels as 1.2 M."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: compact(value)))


def svg(fig: Figure) -> str:
    """The figure as an SVG element, ready to stand inside HTML; without a date, so that it is reproducible."""
    import matplotlib as mpl

    _settle(fig)
    buffer = io.StringIO()
    with mpl.rc_context(_RC):
        fig.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def png(fig: Figure, dpi: int = 110) -> bytes:
    """The figure as a PNG (dots per inch)."""
    _settle(fig)
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _settle(fig: Figure) -> None:
    """Lay out once: the layout engine moves things a little each time, and the same figure must give the same bytes."""
    if fig.get_layout_engine() is not None:
        fig.draw_without_rendering()
        fig.set_layout_engine("none")


def _self_showing(fig: Figure) -> None:
    """Show as SVG on a cell's last line, without pyplot and whatever backend the kernel has chosen."""
    # IPython asks for this name; matplotlib's class does not know it
    fig._repr_mimebundle_ = lambda **_: {"image/svg+xml": svg(fig), "text/plain": "chart"}  # type: ignore[attr-defined]
