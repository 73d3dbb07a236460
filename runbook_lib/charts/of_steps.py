"""The pictures of what a phase has found, for a notebook whose phase is a parameter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from runbook_lib.charts.grid import integrity
from runbook_lib.charts.performance import ratios, response_times

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def of_steps(records: Iterable[Any]) -> list[Figure]:
    """A picture of each comparison and each measurement, in their order; of other steps there is none.

    Args:
        records: Steps with `name` and `data`, e.g. `run.results(phase)`.
    """
    figures = []
    for record in records:
        if "report" in record.data:
            figures.append(integrity(record.data["report"]))
        elif "spread_ms" in record.data:
            figures += [ratios(record.data), response_times(record.data)]
    return figures
