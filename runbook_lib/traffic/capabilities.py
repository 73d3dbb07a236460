"""What each kind of router can do, known without asking one: a plan that needs more is refused before it begins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

from runbook_lib.errors import ConfigurationError


@dataclass(frozen=True)
class Capability:
    """Whether a router can, and what is found at it: how it does it, or what it does instead."""

    can: bool
    found: str


@dataclass(frozen=True)
class Capabilities:
    """What a router can do beside sending each route to one home, draining and counting requests.

    Attributes:
        weights: Shares of one route's requests at several backends at once.
        header_match: A tester's header reaches a backend before anybody else.
        mirroring: A copy of each read goes to a second backend, whose answer nobody waits for.
        errors: Failed requests are counted.
        quantiles: Response times as quantiles; without them there is a mean.
        held_writes: A write that a fence refuses is held and asked again, so that its client sees a pause.
    """

    weights: Capability
    header_match: Capability
    mirroring: Capability
    errors: Capability
    quantiles: Capability
    held_writes: Capability

    def __iter__(self) -> Iterator[tuple[str, Capability]]:
        return ((each.name, getattr(self, each.name)) for each in fields(self))


ENVOY = Capabilities(
    weights=Capability(True, "weighted clusters, a share for each request"),
    header_match=Capability(True, "a route in front of the others, matched by the header"),
    mirroring=Capability(True, "request_mirror_policies"),
    errors=Capability(True, "responses 5xx"),
    quantiles=Capability(True, "its histograms, a bucket is within 10 %"),
    held_writes=Capability(True, "retries with a back-off, within the route's time-out"),
)
HAPROXY = Capabilities(
    weights=Capability(True, "weights of a backend's servers, a share for each request"),
    header_match=Capability(True, "use-server by a map that is changed while it runs"),
    mirroring=Capability(False, "haproxy copies no request; an agent (SPOE) would have to"),
    errors=Capability(True, "responses 5xx"),
    quantiles=Capability(True, "a table that counts each response by its milliseconds"),
    held_writes=Capability(False, "haproxy asks again at once, without a pause: the service or its client has to wait"),
)
PGBOUNCER = Capabilities(
    weights=Capability(False, "pgbouncer sends a database entry to one server: all or nothing"),
    header_match=Capability(False, "pgbouncer sees SQL, no header"),
    mirroring=Capability(False, "pgbouncer copies no statement"),
    errors=Capability(False, "pgbouncer counts no failed statement"),
    quantiles=Capability(False, "pgbouncer sums up the time of transactions: a mean"),
    held_writes=Capability(True, "PAUSE holds new transactions"),
)
CAPABILITIES: Mapping[str, Capabilities] = {"envoy": ENVOY, "haproxy": HAPROXY, "pgbouncer": PGBOUNCER}


def cannot(kind: str, name: str, needed: str) -> ConfigurationError:
    """The error of a change that this kind of router cannot make: what was found, and what is needed.

    Args:
        name: Of the capability.
        needed: What it is needed for, in a few words.
    """
    return ConfigurationError(
        f"router {kind}", lacking(kind, name, needed), state="nothing was changed", action=another(name)
    )


def lacking(kind: str, name: str, needed: str) -> str:
    """`found …, needed …` where this kind of router cannot; empty where it can."""
    capability: Capability = getattr(CAPABILITIES[kind], name)
    return "" if capability.can else f"found: {capability.found}; needed: {name.replace('_', ' ')} for {needed}"


def another(name: str) -> str:
    """The kinds of router that can."""
    able = [kind for kind, capabilities in CAPABILITIES.items() if getattr(capabilities, name).can]
    return f"take a router that can: {' or '.join(able)}"
