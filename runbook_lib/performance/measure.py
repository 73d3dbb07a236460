"""Measure a service or the whole edge: response time, throughput, errors, processor and memory, in rounds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from runbook_lib.errors import ConfigurationError, RunbookError
from runbook_lib.performance.load_generator import Results, Side, at_one_address, take_turns
from runbook_lib.performance.processes import Usage, usage
from runbook_lib.performance.workload import Load, Workload

__all__ = ["Load", "Measurement", "measure", "measure_interleaved"]


@dataclass(frozen=True)
class Measurement:
    """One round. None: could not be measured (nobody answered; processes elsewhere).

    Attributes:
        at: When it began (seconds since the epoch).
        p50_ms, p95_ms, p99_ms: Response time of good answers, from when a request was due (milliseconds).
        throughput_per_s: Good answers a second, at the offered rate (count).
        error_rate: Share of the requests without a good answer.
        cpu_share: Processor use of the processes (1.0 = one core busy).
        memory_bytes: Resident memory of the processes at the end (bytes).
        requests: Sent (count).
        errors: Kind of error → count.
    """

    at: float
    requests: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    throughput_per_s: float | None
    error_rate: float | None
    cpu_share: float | None = None
    memory_bytes: int | None = None
    errors: Mapping[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON for the journal; `Measurement(**that)` reads it back."""
        return asdict(self)


def measure(
    url: str, workload: Workload, load: Load | None = None, *, pids: Sequence[int] = (), rounds: int = 3
) -> tuple[Measurement, ...]:
    """Measure one side, `rounds` times; see `measure_interleaved`."""
    return measure_interleaved({"": url}, workload, load, pids={"": pids}, rounds=rounds)[""]


def measure_interleaved(
    urls: Mapping[str, str],
    workload: Workload,
    load: Load | None = None,
    *,
    pids: Mapping[str, Sequence[int]] | None = None,
    rounds: int = 3,
) -> dict[str, tuple[Measurement, ...]]:
    """Measure several sides in turn, round by round, with the same requests, so that noise meets all alike.

    Args:
        urls: Side → base address.
        pids: Side → its processes on this machine; their children count too.
        rounds: Of each side (count, from 1).
    Returns:
        Side → its measurements, in the order of the rounds.
    Raises:
        ConfigurationError: the workload has no requests, or an address is not http.
    """
    sides = {name: at_one_address(url, tuple((pids or {}).get(name, ()))) for name, url in urls.items()}
    found: dict[str, list[Measurement]] = {side: [] for side in urls}
    for number in range(rounds):
        for name, (measured, _) in measure_pair(sides, workload, load or workload.load, number).items():
            found[name].append(measured)
    return {name: tuple(measurements) for name, measurements in found.items()}


def measure_pair(
    sides: Mapping[str, Side], workload: Workload, load: Load, number: int
) -> dict[str, tuple[Measurement, Results]]:
    """One round of each side, with the same work; the side that begins changes with each `number`.

    Raises:
        ConfigurationError: the workload is empty, or an address is not http.
    """
    if not (workload.requests or workload.statements):
        raise ConfigurationError("workload", "has no requests", action="add `requests` or `sql` to the workload file")
    names = list(sides) if number % 2 == 0 else list(sides)[::-1]  # nobody is always first
    work = {name: workload.stream(number) for name in names}
    before, begun = {name: usage(side.pids) for name, side in sides.items()}, time.perf_counter()
    # A thread of its own: a notebook's kernel already runs an event loop in this one.
    with ThreadPoolExecutor(1) as pool:
        ordered = {name: sides[name] for name in names}
        found = pool.submit(lambda: asyncio.run(take_turns(ordered, work, load))).result()
    after, elapsed_s = {name: usage(side.pids) for name, side in sides.items()}, time.perf_counter() - begun
    measured = {name: _measurement(found[name], before[name], after[name], elapsed_s) for name in sides}
    return {name: (replace(measured[name], **_gauged(side)), found[name]) for name, side in sides.items()}


def _gauged(side: Side) -> dict[str, Any]:
    """What is measured elsewhere; a source that does not answer leaves the metric unmeasured in this round."""
    if side.gauges is None:
        return {}
    with suppress(RunbookError):
        return dict(side.gauges())
    return {}


def _measurement(results: Results, before: Usage | None, after: Usage | None, elapsed_s: float) -> Measurement:
    times, failed = sorted(results.times_ms), sum(results.errors.values())
    sent = len(times) + failed
    used = max(0.0, after.cpu_s - before.cpu_s) / elapsed_s if before and after else None
    return Measurement(
        at=results.at,
        requests=sent,
        p50_ms=quantile(times, 0.50),
        p95_ms=quantile(times, 0.95),
        p99_ms=quantile(times, 0.99),
        throughput_per_s=round(len(times) / results.elapsed_s, 3) if times else None,
        error_rate=failed / sent if sent else None,
        cpu_share=None if used is None else round(used, 4),
        memory_bytes=after.memory_bytes if after else None,
        errors=dict(results.errors),
    )


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The value at this share of ascending values, linear between neighbours; None of nothing."""
    if not ordered:
        return None
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return round(ordered[low] + (ordered[high] - ordered[low]) * (place - low), 3)
