"""Envoy's configuration as files: read a route table or a cluster's endpoints, change them, put them back.

The layout is the inventory's: `rds.json` with the routes, `eds_<cluster>.json` with each cluster's endpoints. Envoy
watches the directory and reacts to renames only, so a file is written beside its place and moved there.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runbook_lib.errors import ConfigurationError
from runbook_lib.traffic.changes import write_durably

Document = dict[str, Any]
Address = tuple[str, int]
_TESTERS = "#testers"  # ends the name of a route that we put in front of another


@dataclass(frozen=True)
class Files:
    """The directory that Envoy watches; every read goes to the disk, so that no state lives here."""

    directory: Path

    @property
    def rds(self) -> Path:
        """The route table's file."""
        return self.directory / "rds.json"

    def eds(self, cluster: str) -> Path:
        """The file of one cluster's endpoints."""
        return self.directory / f"eds_{cluster}.json"

    def clusters(self) -> list[str]:
        """The clusters that have an endpoint file: backends, and `<service>.writes`."""
        return sorted(path.stem.removeprefix("eds_") for path in self.directory.glob("eds_*.json"))

    def backends(self) -> list[str]:
        """The clusters that traffic may be given to by name."""
        return [cluster for cluster in self.clusters() if not cluster.endswith(".writes")]

    def read(self, path: Path) -> Document:
        """One configuration file. ConfigurationError when it is missing or not JSON."""
        try:
            document = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not JSON"
            raise ConfigurationError(
                str(path), f"cannot be read: {reason}", action="start the estate, or correct router.directory"
            ) from error
        if not isinstance(document, dict) or not document.get("resources"):
            raise ConfigurationError(str(path), "holds no Envoy resources", expected="version_info and resources")
        return document

    def write(self, path: Path, document: Document) -> None:
        """Replace one file in one rename, durable before Envoy sees it."""
        write_durably(path, json.dumps(document, indent=1))

    def addresses(self, cluster: str) -> frozenset[Address]:
        """The endpoints of a cluster, those out of rotation included."""
        resource = self.read(self.eds(cluster))["resources"][0]
        return frozenset(map(address_of, [*_live(resource), *_out_of_rotation(resource)]))


def address_of(lb_endpoint: Mapping[str, Any]) -> Address:
    """Host and port of an endpoint as it stands in a file or in Envoy's own report."""
    socket = lb_endpoint.get("endpoint", lb_endpoint)["address"]["socket_address"]
    return str(socket["address"]), int(socket["port_value"])


def _live(resource: Document) -> list[Document]:
    return [end for group in resource.get("endpoints", []) for end in group.get("lb_endpoints", [])]


def _out_of_rotation(resource: Document) -> list[Document]:
    return [{"endpoint": endpoint} for endpoint in resource.get("named_endpoints", {}).values()]


def with_version(document: Document, version: str) -> Document:
    """A copy of a configuration file under a new version."""
    return {**copy.deepcopy(document), "version_info": version}


def in_rotation(document: Document) -> bool:
    """Whether a cluster's file has endpoints that take new requests."""
    ends = _live(document["resources"][0])
    return bool(ends) and all(end.get("health_status") not in ("DRAINING", "UNHEALTHY") for end in ends)


def restored(document: Document, version: str) -> Document:
    """The cluster's file with every endpoint, parked ones too, in rotation."""
    return _with_ends(document, version, [{"endpoint": end["endpoint"]} for end in _all_ends(document)])


def pointing_at(document: Document, version: str, backend: Document) -> Document:
    """The file of a `<service>.writes` cluster with the endpoints of another cluster's file as its own."""
    return _with_ends(document, version, [{"endpoint": end["endpoint"]} for end in _all_ends(backend)])


def draining(document: Document, version: str) -> Document:
    """The cluster's file with every endpoint refusing new requests and finishing those in flight."""
    ends = [{"endpoint": end["endpoint"], "health_status": "DRAINING"} for end in _all_ends(document)]
    return _with_ends(document, version, ends)


def parked(document: Document, version: str) -> Document:
    """The cluster's file without endpoints in use; their addresses stay in it, so that they can come back.

    `named_endpoints` is a field of Envoy's own that it stores and does not route to.
    """
    ends = _all_ends(document)
    changed = _with_ends(document, version, [])
    changed["resources"][0]["named_endpoints"] = {f"parked-{n}": end["endpoint"] for n, end in enumerate(ends)}
    return changed


def _all_ends(document: Document) -> list[Document]:
    resource = document["resources"][0]
    return [*_live(resource), *_out_of_rotation(resource)]


def _with_ends(document: Document, version: str, ends: list[Document]) -> Document:
    changed = with_version(document, version)
    resource = changed["resources"][0]
    resource.pop("named_endpoints", None)
    resource["endpoints"] = [{"lb_endpoints": copy.deepcopy(ends)}] if ends else []
    return changed


def named_routes(document: Document) -> list[Document]:
    """The routes of a route table that have a name and a destination; a service has one a prefix."""
    return [route for route in _all_routes(document) if not route["name"].endswith(_TESTERS)]


def route_names(document: Document) -> set[str]:
    """What weights can be set of."""
    return {str(route["name"]) for route in named_routes(document)}


def _all_routes(document: Document) -> list[Document]:
    hosts = document["resources"][0].get("virtual_hosts", [])
    return [route for host in hosts for route in host.get("routes", []) if route.get("name") and "route" in route]


def testers_of(document: Document) -> dict[str, str]:
    """Route → the backend that its testers are sent to."""
    ours = [route for route in _all_routes(document) if route["name"].endswith(_TESTERS)]
    return {route["name"].removesuffix(_TESTERS): str(route["route"]["cluster"]) for route in ours}


def mirror_of(route: Document) -> str:
    """The backend that gets a copy of a route's requests; empty: none."""
    return next((str(policy["cluster"]) for policy in route["route"].get("request_mirror_policies", [])), "")


def with_testers(document: Document, version: str, homes: Mapping[str, str], header: str) -> Document:
    """The route table where requests with this header go to these backends; an empty one: where all go."""
    changed = with_version(document, version)
    for host in changed["resources"][0].get("virtual_hosts", []):
        routes = []
        for route in host.get("routes", []):
            name = str(route.get("name", ""))
            if name.removesuffix(_TESTERS) in homes and name.endswith(_TESTERS):
                continue  # those of before
            if homes.get(name):
                routes.append(_in_front(route, homes[name], header))
            routes.append(route)
        host["routes"] = routes
    return changed


def _in_front(route: Document, backend: str, header: str) -> Document:
    """A route that takes those of another's requests which have the header; Envoy takes the first that matches."""
    ahead = copy.deepcopy(route)
    ahead["name"] += _TESTERS
    ahead["match"].setdefault("headers", []).append({"name": header, "present_match": True})
    ahead["route"].pop("weighted_clusters", None)
    ahead["route"].pop("request_mirror_policies", None)
    ahead["route"]["cluster"] = backend
    return ahead


def with_mirrors(document: Document, version: str, copies: Mapping[str, str]) -> Document:
    """The route table with a copy of these routes' requests; an empty backend: none."""
    changed = with_version(document, version)
    for route in named_routes(changed):
        if (backend := copies.get(route["name"])) is not None:
            route["route"].pop("request_mirror_policies", None)
            route["route"] |= {"request_mirror_policies": [{"cluster": backend}]} if backend else {}
    return changed


def weights_of(route: Document) -> dict[str, int]:
    """Backend → percent of one route."""
    action = route["route"]
    if "cluster" in action:
        return {str(action["cluster"]): 100}
    return {str(c["name"]): int(c.get("weight", 0)) for c in action.get("weighted_clusters", {}).get("clusters", [])}


def with_weights(document: Document, version: str, changes: Mapping[str, Mapping[str, int]]) -> Document:
    """The route table with these routes' weights; a backend that a change does not name gets none."""
    changed = with_version(document, version)
    for route in named_routes(changed):
        if route["name"] in changes:
            wanted = changes[route["name"]]
            names = dict.fromkeys([*weights_of(route), *wanted])
            clusters = [{"name": name, "weight": int(wanted.get(name, 0))} for name in names]
            route["route"].pop("cluster", None)
            route["route"]["weighted_clusters"] = {
                **route["route"].get("weighted_clusters", {}),
                "clusters": clusters,
            }
    return changed
