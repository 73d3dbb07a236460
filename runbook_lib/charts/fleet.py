"""Charts of a rolling upgrade: how many instances were healthy and in rotation, and the plan's minimum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from runbook_lib.charts import style
from runbook_lib.charts.style import points
from runbook_lib.display import palette

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def capacity(samples: Iterable[Any], minimum: float = 0) -> Figure:
    """Instances that were healthy and in rotation, over time.

    Args:
        samples: `at`, `value` (count).
        minimum: The plan's (count); 0: none is shown.
    """
    found = points(samples)
    if not found:
        return style.empty("Healthy instances")
    least = int(min(point.value for point in found))
    kept = f", never fewer than the minimum of {minimum:.0f}" if 0 < minimum <= least else ""
    title = f"{least} instances or more were healthy{kept}"
    fig, axes = style.figure(title, "instances that were healthy and in rotation", size=(8.6, 2.9))
    start, stop = found[0].at, found[-1].at
    x, y = [point.at - start for point in found], [point.value for point in found]
    axes.plot(x, y, color=palette.BLUE, drawstyle="steps-post")
    axes.fill_between(x, y, color=palette.BLUE, alpha=0.12, linewidth=0, step="post")
    axes.set_ylim(0, max(y) * 1.2)
    if minimum:
        axes.axhline(minimum, color=palette.FAIL, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate("the plan's minimum", (0, minimum), (4, 4), textcoords="offset points", color=palette.FAIL,
                      fontsize=9)  # fmt: skip
    style.elapsed_axis(axes, start, stop)
    axes.set_ylabel("instances")
    return fig  # type: ignore[no-any-return]  # matplotlib's types are not followed
