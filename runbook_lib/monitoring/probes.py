"""Probes that run beside a watch: slow questions must not hold up the quick ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from runbook_lib.errors import RunbookError
from runbook_lib.verdict import Outcome, Verdict

Probe = Callable[[], Verdict]


class Probes:
    """Each probe in a thread of its own, asked again `interval_s` seconds after a good answer, sooner after a bad one.

    `others`: probes that are asked again after these seconds, whatever they answered.

    Use as a context manager: leaving it waits for the questions under way.
    """

    def __init__(self, probes: Mapping[str, Probe], interval_s: float, others: Mapping[str, float] | None = None):
        self._probes, self._interval_s, self._others = dict(probes), interval_s, dict(others or {})
        self._pool = ThreadPoolExecutor(max(1, len(self._probes)), thread_name_prefix="probe")
        self._asked: dict[str, Future[Verdict]] = {}
        self._answers: dict[str, Verdict] = {}
        self._due: dict[str, float] = {}
        self._fresh: set[str] = set()

    def __enter__(self) -> Probes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True)

    def answers(self) -> dict[str, Verdict]:
        """The newest answer of each probe; asks again those that are due. Never waits."""
        self._fresh = set()
        for name, probe in self._probes.items():
            asked = self._asked.get(name)
            if asked is not None and asked.done():
                self._answers[name] = _answer(name, asked)
                self._fresh.add(name)
                pause_s = self._others.get(name) or self._interval_s
                pause_s = pause_s if name in self._others or self._answers[name].passed else pause_s / 5  # confirm soon
                self._due[name] = time.monotonic() + pause_s
                del self._asked[name]
            if name not in self._asked and time.monotonic() >= self._due.get(name, 0.0):
                self._asked[name] = self._pool.submit(probe)
        return dict(self._answers)

    def unanswered(self) -> bool:
        """Whether a probe has not answered even once."""
        return any(name not in self._answers for name in self._probes)

    def fresh(self, name: str) -> bool:
        """Whether the last `answers()` brought a new answer of this probe."""
        return name in self._fresh


def _answer(name: str, asked: Future[Verdict]) -> Verdict:
    try:
        return asked.result()
    except RunbookError as error:
        return Verdict(Outcome.COULD_NOT_RUN, f"{name}: {error}")
