"""How far a step is: rows, rate and time left, kept in the journal beside the entries."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

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
