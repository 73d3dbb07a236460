"""What the library asks of a router (load balancer, proxy, pooler): weights per route, drain, status, metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from runbook_lib.traffic.capabilities import Capabilities

EDGE = "edge"  # what clients see, over all routes
READS, WRITES = ".reads", ".writes"  # how the routes' names end


@dataclass(frozen=True)
class RouteState:
    """A route as the router runs it.

    Attributes:
        weights: Backend → percent.
        acknowledged: The router runs what was asked of it.
        testers: The backend that requests with the tester's header go to; empty: where all go.
        mirror: The backend that gets a copy of each request; empty: none.
    """

    route: str
    weights: Mapping[str, int]
    acknowledged: bool = True
    testers: str = ""
    mirror: str = ""


@dataclass(frozen=True)
class Switch:
    """The outcome of a change: the router's version and how long until it was acknowledged (seconds)."""

    version: str
    elapsed_s: float


@dataclass(frozen=True)
class TrafficSample:
    """Counters of one backend since the router started; response times of the last window (milliseconds)."""

    at: float  # seconds since the epoch
    backend: str
    requests: int
    errors: int | None  # responses 5xx as the client saw them; None: this router does not count them
    p50_ms: float | None = None
    p99_ms: float | None = None
    mean_ms: float | None = None  # where there are no quantiles


class Router(Protocol):
    """The routes are named `<service>.reads` and `<service>.writes`; backends are the inventory's services."""

    name: str
    capabilities: Capabilities

    def problems(self) -> list[str]:
        """What of its set-up would keep it from switching or from being watched; changes nothing."""
        ...

    def routes(self) -> dict[str, RouteState]:
        """The routes as the router runs them now."""
        ...

    def set_weights(self, changes: Mapping[str, Mapping[str, int]]) -> Switch:
        """Set all these routes at once (route → backend → percent) and wait until the router acknowledges.

        Raises ConfigurationError when it refuses; the last good configuration stays in force.
        """
        ...

    def send_testers(self, homes: Mapping[str, str]) -> Switch:
        """Send the requests that carry the tester's header to a backend, whatever the weights.

        Args:
            homes: Route → backend; empty: where everybody goes. Other routes stay as they are.
        """
        ...

    def mirror(self, copies: Mapping[str, str]) -> Switch:
        """Send a copy of each read to a second backend, whose answer is thrown away.

        Args:
            copies: Route of reads → backend; empty: no copy. Other routes stay as they are.
        """
        ...

    def hold(self, routes: Sequence[str], within_s: float) -> None:
        """Let new requests of these routes wait until `release`, where the router can; before a fence refuses them.

        `set_weights` moves a held route, and keeps it held.

        Args:
            within_s: How long those under way may take to end (seconds); longer raises, and nothing is held.
        """
        ...

    def release(self) -> None:
        """Let through what `hold` keeps waiting, at the homes that the routes have now; idempotent."""
        ...

    def drain(self, backend: str) -> Switch:
        """Send the backend nothing new and let what is in flight end."""
        ...

    def metrics(self, backends: Sequence[str] = ()) -> list[TrafficSample]:
        """The current counters of these backends (all when empty), and of "edge": what clients saw."""
        ...
