"""What HAProxy counted: requests and failures from `show stat`, response times from a stick table of milliseconds.

`show stat` has means alone, of the last 1,024 responses. The table counts each response under its milliseconds
(docs/routers.md), so that quantiles of any window can be told.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runbook_lib.traffic.haproxy_socket import RuntimeApi
from runbook_lib.traffic.histogram import Buckets, quantile, since
from runbook_lib.traffic.port import EDGE, READS, WRITES, TrafficSample

_ENTRY = re.compile(r"key=(\d+) .*?conn_cnt=(\d+)")
_FRONTEND, _SERVER = "0", "2"  # the column `type`
_CODES = ("hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other")
Row = Mapping[str, str]


@dataclass
class Counters:
    """Reads HAProxy's counters; keeps the last histogram, which the next quantiles are counted from."""

    api: RuntimeApi
    table: str
    previous: Buckets | None = field(default=None)

    def samples(self, backends: Sequence[str] = ()) -> list[TrafficSample]:
        """The counters of these backends over all routes (all when empty), and of the edge."""
        at, rows = time.time(), list(self.api.table("show stat"))
        by_backend: dict[str, list[Row]] = {}
        for row in rows:
            if row["type"] == _SERVER and row["pxname"].endswith((READS, WRITES)):
                by_backend.setdefault(row["svname"].replace(":", "@"), []).append(row)
        found = [_sample(at, name, by_backend.get(name, [])) for name in backends or sorted(by_backend)]
        edges = [row for row in rows if row["type"] == _FRONTEND and row["mode"] == "http"]
        window = self._window()
        edge = _sample(at, EDGE, edges)
        p50, p99 = quantile(window, 0.50), quantile(window, 0.99)
        return [*found, TrafficSample(at, EDGE, edge.requests, edge.errors, p50, p99)]

    def in_flight(self, backend: str) -> int:
        """Requests that this backend is working on, or that wait for it, over all routes."""
        rows = [row for row in self.api.table("show stat") if row["svname"].replace(":", "@") == backend]
        return sum(_number(row, "scur") + _number(row, "qcur") for row in rows)

    def has_table(self) -> bool:
        """Whether response times are counted."""
        return self.api.ask(f"show table {self.table}").lstrip().startswith("# table:")

    def _window(self) -> Buckets:
        """What was counted since the look before; nothing at the first one."""
        counts = sorted((int(ms), int(n)) for ms, n in _ENTRY.findall(self.api.ask(f"show table {self.table}")))
        total, now = 0, list[tuple[float, int]]()
        for ms, count in counts:
            total += count
            now += [(float(ms), total - count), (ms + 1.0, total)]  # a response of 3.7 ms is counted under 3
        before, self.previous = self.previous, tuple(now)
        return () if before is None else since(before, self.previous)


def _sample(at: float, name: str, rows: Sequence[Row]) -> TrafficSample:
    requests = [sum(_number(row, code) for code in _CODES) for row in rows]
    taken = sum(n * _number(row, "ttime") for n, row in zip(requests, rows, strict=True))
    mean = round(taken / sum(requests), 3) if sum(requests) else None
    return TrafficSample(at, name, sum(requests), sum(_number(row, "hrsp_5xx") for row in rows), mean_ms=mean)


def _number(row: Row, column: str) -> int:
    return int(row[column] or 0)
