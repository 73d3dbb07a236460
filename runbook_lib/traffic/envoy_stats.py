"""What Envoy reports about itself: versions it runs, updates it refused, counters and latency histograms.

Counters are read by their full names as JSON: the Prometheus form cuts a cluster's name at its first dot
(`user_service.writes` becomes a metric of `user_service`), measured with Envoy 1.40.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runbook_lib.errors import ConfigurationError
from runbook_lib.traffic.histogram import Buckets, quantile, since
from runbook_lib.traffic.port import EDGE, TrafficSample
from runbook_lib.util.http import fetch

_COUNTERS = "%5E(cluster|http)%5C..*%5C.(up|down)stream_(rq_(5xx|completed|time)|cx_connect_fail)%24"
_REFUSED = "_cx_connect_fail"
_UPDATES = "%5C.(version_text|update_rejected|update_failure)%24"


@dataclass(frozen=True)
class Series:
    """The totals of one cluster, or of the edge, since Envoy started."""

    requests: int = 0
    errors: int = 0
    buckets: Buckets = ()

    def __add__(self, other: Series) -> Series:
        bounds = dict(self.buckets)
        for bound, count in other.buckets:
            bounds[bound] = bounds.get(bound, 0) + count
        return Series(self.requests + other.requests, self.errors + other.errors, tuple(sorted(bounds.items())))


@dataclass
class Admin:
    """Envoy's admin interface; keeps the last scrape, which the next latency quantiles are counted from."""

    url: str
    timeout_s: float = 5.0
    previous: dict[str, Series] = field(default_factory=dict)

    def get(self, path: str) -> bytes:
        """The answer to one admin request. ConfigurationError when there is none, or not 200."""
        response = fetch(self.url.rstrip("/") + path, timeout_s=self.timeout_s)
        if response.status != 200:
            raise ConfigurationError(self.url, f"HTTP {response.status}: {response.text()}", action="is this Envoy?")
        return response.body

    def updates(self) -> dict[str, str]:
        """Version texts and refusal counters by full name, e.g. `cluster.monolith.version_text`."""
        lines = self.get(f"/stats?filter={_UPDATES}").decode().splitlines()
        pairs = (line.partition(": ") for line in lines)
        return {name: value.strip('"') for name, _, value in pairs}

    def host_statuses(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Cluster name and host report of every endpoint that Envoy knows."""
        for cluster in json.loads(self.get("/clusters?format=json")).get("cluster_statuses", []):
            for host in cluster.get("host_statuses", []):
                yield cluster["name"], host

    def samples(self, backends: Sequence[str] = ()) -> list[TrafficSample]:
        """The counters of these clusters (all when empty) and of the edge, latency since the previous call."""
        totals = parse(json.loads(self.get(f"/stats?format=json&histogram_buckets=cumulative&filter={_COUNTERS}")))
        at = time.time()
        wanted = [*(backends or sorted(totals.keys() - {EDGE})), EDGE]
        samples = []
        for name in wanted:
            now = totals.get(name, Series())
            window = since(self.previous[name].buckets, now.buckets) if name in self.previous else ()
            p50, p99 = (quantile(window, share) for share in (0.50, 0.99))
            samples.append(TrafficSample(at, name, now.requests, now.errors, p50, p99))
        self.previous.update({name: totals.get(name, Series()) for name in wanted})
        return samples


def parse(report: Mapping[str, Any]) -> dict[str, Series]:
    """Totals per cluster and of `edge` from Envoy's JSON statistics; counters that do not exist yet are 0.

    A connection that a backend refuses is a failed request, at the edge too: Envoy tries again until the route's time
    is over, so that clients of a dead backend get no answer at all for longer than a trigger's window.
    """
    totals: dict[str, Series] = {}
    for entry in report.get("stats", []):
        for histogram in entry.get("histograms", []) if isinstance(entry.get("histograms"), list) else []:
            _add(totals, histogram["name"], buckets=_buckets(histogram))
        if "value" in entry:
            _add(totals, entry["name"], value=int(entry["value"]))
            if entry["name"].endswith(_REFUSED):
                _count(totals, EDGE, Series(int(entry["value"]), int(entry["value"])))
    return totals


def _add(totals: dict[str, Series], full_name: str, value: int = 0, buckets: Buckets = ()) -> None:
    scope, _, metric = full_name.rpartition(".")
    family, _, name = scope.partition(".")
    if name.endswith((".external", ".internal")) or (family == "http" and name == "admin"):
        return
    key = EDGE if family == "http" else name
    requests = value if metric.endswith(("_completed", _REFUSED)) else 0
    errors = value if metric.endswith(("_5xx", _REFUSED)) else 0
    _count(totals, key, Series(requests, errors, buckets))


def _count(totals: dict[str, Series], key: str, more: Series) -> None:
    totals[key] = totals.get(key, Series()) + more


def _buckets(histogram: Mapping[str, Any]) -> Buckets:
    return tuple((float(b["upper_bound"]), int(b["cumulative"])) for b in histogram.get("buckets", []))
