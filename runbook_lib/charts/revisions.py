"""The revisions of a schema as a line: where the database is, and which way it is to go."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from runbook_lib.charts import style
from runbook_lib.display import palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from runbook_lib.schema.revisions.dry_run import Preview

_STEP, _WIDTH, _HEIGHT, _ROW = 2.7, 2.0, 0.5, 2.4
_BEYOND = 2  # versions shown before and behind the path; the others are only counted
_PER_LINE = 5


def revisions(preview: Preview) -> Figure:
    """Versions as boxes in their order: those that the database has are filled, the path is drawn as arrows.

    Args:
        preview: From `steps.schema_path`.
    """
    names, titles, before, behind = _shown(preview)
    path = preview.path
    place = {name: _place(number) for number, name in enumerate(names)}
    lines = (len(names) - 1) // _PER_LINE + 1
    count = len(path.revisions)
    title = f"{preview.database} is at {path.wanted}: nothing to do"
    if count:
        title = f"{preview.database} goes {path.direction} from {path.current} to {path.wanted}"
    left_out = [f"{before} earlier ones" if before else "", f"{behind} later ones" if behind else ""]
    words = f"{count} revision{'s' * (count != 1)}; " if count else ""
    words += "filled: what the database has" + "".join(f"; {text} are not shown" for text in left_out if text)
    fig, axes = style.figure(title, words, size=(8.6, 0.8 + 1.2 * lines))
    have = _below(preview, path.current)
    moved = {revision.id for revision in path.revisions}
    for one, next_one in pairwise(names):
        if next_one in moved:
            continue
        _arrow(axes, place[one], place[next_one], palette.EDGE, 1.1)
    for revision in path.revisions:
        low, high = place[revision.down], place[revision.id]
        colour = palette.BLUE if path.direction == "up" else palette.ORANGE
        _arrow(axes, *((low, high) if path.direction == "up" else (high, low)), colour, 2.2)
    for name in names:
        _box(axes, place[name], name, titles.get(name, ""), filled=name in have, here=name == path.current,
             edge=palette.BLUE if name in moved else palette.EDGE)  # fmt: skip
    axes.set(xlim=(-_WIDTH / 2 - 0.1, (min(len(names), _PER_LINE) - 1) * _STEP + _WIDTH / 2 + 0.1))
    axes.set_ylim(-(lines - 1) * _ROW - 1.55, 0.75)
    axes.set_axis_off()
    return fig  # type: ignore[no-any-return]  # matplotlib's types are not followed


def _place(number: int) -> tuple[float, float]:
    """Along a line and back along the next, so that every arrow is short."""
    line, column = divmod(number, _PER_LINE)
    return (column if line % 2 == 0 else _PER_LINE - 1 - column) * _STEP, -line * _ROW


def _shown(preview: Preview) -> tuple[list[str], dict[str, str], int, int]:
    """The versions to draw, their titles, and how many before and behind them are left out."""
    ends = [end for revision in preview.path.revisions for end in (revision.id, revision.down)]
    line = _line(preview, [*ends, preview.path.current])
    titles = {revision.id: revision.title for revision in preview.known if revision.title != revision.id}
    marked = [line.index(end) for end in [*ends, preview.path.current]]
    first, last = max(0, min(marked) - _BEYOND), min(len(line), max(marked) + _BEYOND + 1)
    return line[first:last], titles, first, len(line) - last


def _line(preview: Preview, through: Sequence[str]) -> list[str]:
    """From the first version to the last one on the branch that the path is on."""
    below = {revision.id: revision.down for revision in preview.known}
    depth = {name: len(_below(preview, name)) for name in below}
    tops = [name for name in below if set(through) <= set(_below(preview, name))]
    top = max(tops, key=lambda name: depth[name], default="base")
    line = [top]
    while line[-1] in below:
        line.append(below[line[-1]])
    return line[::-1]


def _below(preview: Preview, version: str) -> list[str]:
    """The version and all those under it."""
    below = {revision.id: revision.down for revision in preview.known}
    found = [version]
    while found[-1] in below:
        found.append(below[found[-1]])
    return found


def _arrow(axes: Axes, start: tuple[float, float], stop: tuple[float, float], colour: str, width: float) -> None:
    from matplotlib.patches import FancyArrowPatch

    if start[1] == stop[1]:
        side = _WIDTH / 2 if stop[0] > start[0] else -_WIDTH / 2
        ends: Any = ((start[0] + side, start[1]), (stop[0] - side, stop[1]))
    else:  # to the next line, or back to the one before: beside the words
        side, x = (_HEIGHT / 2 if stop[1] > start[1] else -_HEIGHT / 2), start[0] + _WIDTH * 0.45
        ends = ((x, start[1] + side), (x, stop[1] - side))
    look: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 11, "color": colour, "linewidth": width}
    axes.add_patch(FancyArrowPatch(*ends, shrinkA=0, shrinkB=1, zorder=2, **look))


def _box(axes: Axes, place: tuple[float, float], name: str, title: str, *, filled: bool, here: bool, edge: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y = place
    look: dict[str, Any] = {"boxstyle": "round,pad=0,rounding_size=0.08", "linewidth": 1.6 if here else 1.0}
    look |= {
        "facecolor": palette.PASS_WASH if filled else "white",
        "edgecolor": palette.PASS if here else edge,
        "zorder": 3,
    }
    axes.add_patch(FancyBboxPatch((x - _WIDTH / 2, y - _HEIGHT / 2), _WIDTH, _HEIGHT, **look))
    shown = name if len(name) <= 20 else f"{name[:19]}…"
    axes.text(x, y, shown, ha="center", va="center", fontsize=7.8, zorder=4)
    words = textwrap.shorten(title, 84, placeholder=" …")
    axes.text(x, y - _HEIGHT / 2 - 0.1, textwrap.fill(words, 23), ha="center", va="top", fontsize=7.8,
              color=palette.MUTED)  # fmt: skip
    if here:
        axes.text(x, y + _HEIGHT / 2 + 0.08, "here", ha="center", va="bottom", fontsize=8.5, fontweight="bold",
                  color=palette.PASS)  # fmt: skip
