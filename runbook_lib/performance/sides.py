"""What is old and what is new, from the inventory: addresses, databases, processes.

Old is the router's `origin` and the plan's source; new are the plan's services, each `NAME@target` or `NAME` in the
inventory, with their databases. Databases are opened so that they refuse to write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from runbook_lib.config.environment import Environment
from runbook_lib.config.inventory import GAUGES
from runbook_lib.databases.dialect import ENGINES, dialect_of
from runbook_lib.databases.port import Database
from runbook_lib.errors import ConfigurationError
from runbook_lib.performance.load_generator import Side
from runbook_lib.performance.processes import listening
from runbook_lib.performance.prometheus import gauges
from runbook_lib.performance.rounds import NEW, OLD
from runbook_lib.performance.statements import Statement, draw
from runbook_lib.performance.workload import Workload, load_workload

SESSIONS = 8  # queries that run at a time on each side


@dataclass(frozen=True)
class ReadySides:
    """Both sides, ready: each has answered once; the parameters of the queries are drawn."""

    sides: Mapping[str, Side]
    workload: Workload
    sampled: tuple[Statement, ...]
    source: Database | None
    targets: Mapping[str, Database]


@contextmanager
def both_sides(environment: Environment) -> Iterator[ReadySides]:
    """Open what the plan's workload needs of both sides.

    Raises:
        ConfigurationError: the plan names no workload, the workload a service that is not there, or nothing answers.
        DatabaseError: a query is refused on either side.
    """
    workload = _workload(environment)
    with ExitStack() as closing:
        urls = {OLD: _old_url(environment), NEW: _new_url(environment)} if workload.requests else {}
        source, targets = _databases(environment, workload, closing)
        if source:
            workload = replace(workload, statements=tuple(draw(one, source) for one in workload.statements))
        queries = _queries(source, targets)
        sampled = _tried(workload, queries)
        places = _places(workload, urls, source, targets)
        sides = {name: _side(environment, name, urls.get(name), queries.get(name), places) for name in (OLD, NEW)}
        yield ReadySides(sides, workload, sampled, source, targets)


def _workload(environment: Environment) -> Workload:
    name, plan = environment.plan.performance.workload, environment.plan
    if not name:
        raise ConfigurationError(
            plan.path, "names no workload", action="add `performance: {workload: plans/workload.yaml}`"
        )
    workload, services = load_workload(environment.parameters_dir / name), [service.name for service in plan.services]
    if workload.statements and len(services) != 1 and any(not one.service for one in workload.statements):
        raise ConfigurationError(name, "a query names no `service`", expected="one of " + ", ".join(services))
    named = tuple(replace(one, service=one.service or services[0]) for one in workload.statements)
    if unknown := [one.service for one in named if one.service not in services]:
        raise ConfigurationError(name, f"unknown service `{unknown[0]}`", expected="one of " + ", ".join(services))
    return replace(workload, statements=named)


# -- addresses ---


def _old_url(environment: Environment) -> Callable[[str], str]:
    if not environment.router_settings:
        action = "add `router:` with its `origin`, or only `sql:` to the workload"
        raise ConfigurationError(environment.inventory.file, "no router: who answers the old side?", action=action)
    url = _answering(environment, str(environment.router_settings["origin"]))
    return lambda path: url


def _new_url(environment: Environment) -> Callable[[str], str]:
    known, apis = environment.inventory.services, dict[str, str]()
    for service in environment.plan.services:
        name = next((name for name in (f"{service.name}@target", service.name) if name in known), "")
        if service.apis and not name:
            action = f"add `{service.name}@target:` with its url"
            raise ConfigurationError(environment.inventory.file, f"no service {service.name}", action=action)
        apis |= {api.rstrip("*"): _answering(environment, name) for api in service.apis}

    def url_of(path: str) -> str:
        found = [prefix for prefix in apis if path.startswith(prefix)]
        if not found:
            raise ConfigurationError(f"workload: {path}", "no service of the plan has it among its `apis`")
        return apis[max(found, key=len)]

    return url_of


def _answering(environment: Environment, name: str) -> str:
    service = environment.service(name)
    health = service.health()
    if not health.ok:
        state = "nothing was measured"
        raise ConfigurationError(f"service {name}", f"does not answer: {health.text}", state=state, action="start it")
    return service.url


# -- databases ---


def _databases(
    environment: Environment, workload: Workload, closing: ExitStack
) -> tuple[Database | None, dict[str, Database]]:
    if not workload.statements:
        return None, {}
    options = {"read_only": True, "pool_size": SESSIONS}
    opened: dict[str, Database] = {}

    def database(name: str) -> Database:
        if name not in opened:
            opened[name] = environment.database(name, options)
            closing.callback(opened[name].close)
        return opened[name]

    plan, used = environment.plan, {one.service for one in workload.statements}
    source = database(plan.source)
    return source, {service.name: database(service.database) for service in plan.services if service.name in used}


def _queries(source: Database | None, targets: Mapping[str, Database]) -> dict[str, Callable[[Statement], object]]:
    if source is None:
        return {}
    return {
        OLD: lambda one: source.rows(one.sql, one.params),
        NEW: lambda one: targets[one.service].rows(one.target, one.params),
    }


def _tried(workload: Workload, queries: Mapping[str, Callable[[Statement], object]]) -> tuple[Statement, ...]:
    """Each query once on both sides: what is refused is said before anything is measured."""
    alone = [replace(workload, requests=(), statements=(one,)) for one in workload.statements]
    sampled = tuple(one for each in alone for one in [next(each.stream())] if isinstance(one, Statement))
    for statement in sampled:
        for query in queries.values():
            query(statement)
    return sampled


# -- processes ---


def _places(
    workload: Workload,
    urls: Mapping[str, Callable[[str], str]],
    source: Database | None,
    targets: Mapping[str, Database],
) -> dict[str, set[str]]:
    """Addresses of what works for each side."""
    databases = {OLD: [source] if source else [], NEW: list(targets.values())}
    found = {name: {database.masked_url for database in there} for name, there in databases.items()}
    for name, url_of in urls.items():
        found[name] |= {url_of(request.path) for request in workload.requests}
    return found


def _side(
    environment: Environment,
    name: str,
    url_of: Callable[[str], str] | None,
    query: Callable[[Statement], object] | None,
    places: Mapping[str, set[str]],
) -> Side:
    side = Side(url_of or _no_address, query, SESSIONS)
    settings = environment.inventory.metrics
    if settings:
        told = gauges(settings, name)  # an answer that is none is said now
        left = ", ".join(metric for metric in GAUGES if metric not in told)
        why = f"{left}: no query in the inventory's `metrics`" if left else ""
        return replace(side, gauges=lambda: gauges(settings, name), unmeasured=why)
    pids = {side_name: {pid for place in there for pid in _listening(place)} for side_name, there in places.items()}
    if missing := [place for place in sorted(places[name]) if not _listening(place)]:
        return replace(side, unmeasured=f"no process here listens at {missing[0]}, and no `metrics:` are given")
    if pids[OLD] & pids[NEW]:
        return replace(side, unmeasured="both sides are served by one process")
    return replace(side, pids=tuple(sorted(pids[name])))


def _no_address(path: str) -> str:
    raise ConfigurationError(f"workload: {path}", "this side has no address")


def _listening(place: str) -> tuple[int, ...]:
    parts = urlsplit(place)
    engine = parts.scheme.partition("+")[0]
    default = dialect_of(engine).default_port if engine in ENGINES else {"https": 443}.get(engine, 80)
    return listening(parts.hostname or "", parts.port or default)
