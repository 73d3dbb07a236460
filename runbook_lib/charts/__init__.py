"""Charts take plain data and return matplotlib figures; they never query.

In a notebook a chart is a cell's last line: `charts.throughput(run.samples("copy.rows"))`. A sample is any
object or mapping with `at` (seconds since the epoch), `value`, and `labels` or further keys. Data that is missing
gives a figure that says so.
"""

from __future__ import annotations

from runbook_lib.charts.fleet import capacity
from runbook_lib.charts.graph import boundaries
from runbook_lib.charts.grid import integrity, timeline
from runbook_lib.charts.of_steps import of_steps
from runbook_lib.charts.performance import ratios, response_times, rounds
from runbook_lib.charts.revisions import revisions
from runbook_lib.charts.rows import confidence, differences
from runbook_lib.charts.series import error_rate, lag, latency, pause, rates, throughput, traffic
from runbook_lib.charts.style import png, svg

__all__ = [
    "boundaries",
    "capacity",
    "confidence",
    "differences",
    "error_rate",
    "integrity",
    "lag",
    "latency",
    "of_steps",
    "pause",
    "png",
    "rates",
    "ratios",
    "response_times",
    "revisions",
    "rounds",
    "svg",
    "throughput",
    "timeline",
    "traffic",
]
