"""What the library asks of a router (load balancer, proxy): weights per route, drain, status, metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class RouteState:
    """A route and its backends' weights (percent). `acknowledged`: the router runs what was asked of it."""

    route: str
    weights: Mapping[str, int]
    acknowledged: bool = True


@dataclass(frozen=True)
class Switch:
    """The outcome of a change: the router's version and how long until it was acknowledged (seconds)."""

    version: str
    elapsed_s: float


@dataclass(frozen=True)
class TrafficSample:
    """Counters of one backend since the router started; latency quantiles of the last window (milliseconds)."""

    at: float  # seconds since the epoch
    backend: str
    requests: int
    errors: int  # responses 5xx as the client saw them
    p50_ms: float | None = None
    p99_ms: float | None = None


class Router(Protocol):
    """The routes are named `<service>.reads` and `<service>.writes`; backends are the inventory's services."""

    name: str

    def routes(self) -> dict[str, RouteState]:
        """The weights as the router runs them now."""
        ...

    def set_weights(self, changes: Mapping[str, Mapping[str, int]]) -> Switch:
        """Set all these routes at once (route → backend → percent) and wait until the router acknowledges.

        Raises ConfigurationError when it refuses; the last good configuration stays in force.
        """
        ...

    def drain(self, backend: str) -> Switch:
        """Send the backend nothing new and let what is in flight end."""
        ...

    def metrics(self, backends: Sequence[str] = ()) -> list[TrafficSample]:
        """The current counters of these backends (all when empty), and of "edge": what clients saw."""
        ...
