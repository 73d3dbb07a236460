"""How far a step is: rate over a sliding window, time left, at most one report a second."""

from __future__ import annotations

import html
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

WINDOW_S = 15.0  # long enough to be calm, short enough to show a throttle
INTERVAL_S = 1.0


@dataclass(frozen=True)
class ProgressRow:
    """How far the step is: `rate` in units a second, `eta_s` in seconds (None before 1 %), `at` since the epoch."""

    phase: str
    step: str
    done: float
    total: float | None
    unit: str
    rate: float | None
    eta_s: float | None
    reason: str
    at: float


Listener = Callable[[ProgressRow], None]


class Progress:
    """Takes reports from any thread and passes on at most one a second, and always the last.

    Args:
        listeners: Get each report that is passed on: the journal, a notebook, a terminal.
    """

    def __init__(self, *listeners: Listener) -> None:
        self.listeners = list(listeners)
        self._lock = threading.Lock()
        self._points: deque[tuple[float, float]] = deque()
        self._subject = ("", "", "")
        self._due = 0.0

    def report(
        self, phase: str, step: str, done: float, total: float | None = None, unit: str = "rows", reason: str = ""
    ) -> None:
        """Say how far it is.

        Args:
            done: So far, in `unit`.
            total: At the end; None when unknown.
            reason: Why it is slow or waiting, e.g. `replica lag 12 s`.
        """
        now = time.monotonic()
        with self._lock:
            if (phase, step, unit) != self._subject or (self._points and done < self._points[-1][1]):
                self._subject, self._due = (phase, step, unit), 0.0
                self._points.clear()
            self._points.append((now, done))
            while now - self._points[0][0] > WINDOW_S and len(self._points) > 2:
                self._points.popleft()
            if now < self._due and not (total is not None and done >= total):
                return
            self._due = now + INTERVAL_S
            rate = self._rate()
        row = ProgressRow(phase, step, done, total, unit, rate, _eta(done, total, rate), reason, time.time())
        for listener in self.listeners:
            listener(row)

    def _rate(self) -> float | None:
        (since, first), (now, last) = self._points[0], self._points[-1]
        return (last - first) / (now - since) if now - since > 0.1 else None


def _eta(done: float, total: float | None, rate: float | None) -> float | None:
    """Seconds left; None before 1 %: a guess from so little is worse than none."""
    if not total or not rate or done < total / 100:
        return None
    return max(0.0, (total - done) / rate)


def line(row: ProgressRow) -> str:
    """One stable line: step, done of total, rate, time left, reason."""
    share = f" ({row.done / row.total:.0%})" if row.total else ""
    total = f" of {row.total:,.0f}" if row.total else ""
    rate = f", {row.rate:,.0f} {row.unit}/s" if row.rate and row.unit != "s" else ""  # seconds: a watch
    left = f", {row.eta_s:,.0f} s left" if row.eta_s else ""
    reason = f" – {row.reason}" if row.reason else ""
    return f"{row.step}: {row.done:,.0f}{total} {row.unit}{share}{rate}{left}{reason}"


def as_html(row: ProgressRow) -> str:
    """The same line under a static bar: it looks the same live, exported and printed."""
    share = min(1.0, row.done / row.total) if row.total else 0.0
    bar = (
        '<div style="height:6px;background:#e6e8eb;border-radius:3px;max-width:480px;margin:4px 0">'
        f'<div style="height:6px;width:{share:.1%};background:#3566a8;border-radius:3px"></div></div>'
    )
    text = f'<div style="font:13px/1.5 system-ui,sans-serif;color:#444">{html.escape(line(row))}</div>'
    return (bar if row.total else "") + text


def notebook_listener() -> Listener | None:
    """Shows reports in one display of the running cell; None outside a kernel."""
    if "IPython" not in sys.modules:  # a plain script: nothing to show it in, and nothing to import for it
        return None
    from IPython import get_ipython

    shell = get_ipython()
    return NotebookDisplay(shell) if shell is not None and hasattr(shell, "kernel") else None


class NotebookDisplay:
    """One display handle for each cell, updated in place: a bar for each refresh or step would bury the record."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._place = -1
        self._handle: Any = None

    def __call__(self, row: ProgressRow) -> None:
        from IPython.display import display

        place = self._shell.execution_count
        content = {"text/html": as_html(row), "text/plain": line(row)}
        if self._handle is None or place != self._place:
            self._place = place
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)
