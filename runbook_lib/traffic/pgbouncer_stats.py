"""What PgBouncer counted: transactions of each entry and the time they took, so a mean, no quantiles and no errors."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from runbook_lib.traffic.pgbouncer_console import Console
from runbook_lib.traffic.port import EDGE, READS, WRITES, TrafficSample

Totals = tuple[int, int]  # transactions, and the time they and their waiting took (microseconds)


@dataclass
class Counters:
    """Reads PgBouncer's counters; keeps the last ones, which the next means are counted from."""

    console: Console
    previous: dict[str, Totals] = field(default_factory=dict)

    def samples(self) -> list[TrafficSample]:
        """The counters of each route, and of all together."""
        at, now = time.time(), dict[str, Totals]()
        for row in self.console.ask("SHOW STATS"):
            if (name := row["database"]).endswith((READS, WRITES)):
                now[name] = int(row["total_xact_count"]), int(row["total_xact_time"]) + int(row["total_wait_time"])
        now[EDGE] = sum(count for count, _ in now.values()), sum(taken for _, taken in now.values())
        before, self.previous = self.previous, now
        return [
            TrafficSample(at, name, count, None, mean_ms=_mean(before.get(name), (count, taken)))
            for name, (count, taken) in now.items()
        ]


def _mean(before: Totals | None, now: Totals) -> float | None:
    """Milliseconds a transaction since the look before; None of none, or at the first look."""
    if before is None:
        return None
    earlier = before if before[0] <= now[0] else (0, 0)  # it was restarted
    count, taken = now[0] - earlier[0], now[1] - earlier[1]
    return round(taken / count / 1000, 3) if count else None
