"""What the steps share: the run's links, the names of its backends, and a few verdicts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from runbook_lib.config.environment import Environment
from runbook_lib.config.options import Options
from runbook_lib.databases.port import Database
from runbook_lib.journal import Sample
from runbook_lib.plan.model import Service
from runbook_lib.run.context import RunContext
from runbook_lib.traffic.port import RouteState
from runbook_lib.transfer.build_links import forward_links, reverse_links
from runbook_lib.transfer.capture import pending
from runbook_lib.transfer.links import Link
from runbook_lib.transfer.throttle import Limits, Throttle, throttle
from runbook_lib.transfer.writers import Writers, writers_of
from runbook_lib.validation.stalled_sync import BEHIND_S
from runbook_lib.verdict import Outcome, Verdict

FORWARD, BACK = "forward", "back"


def targets(run: RunContext) -> dict[str, Database]:
    """The services' databases by name."""
    return {service.database: run.databases[service.database] for service in run.plan.services}


def links(run: RunContext, direction: str = FORWARD) -> list[Link]:
    """The run's links in one direction."""
    make = forward_links if direction == FORWARD else reverse_links
    return make(run.plan, run.source, targets(run), run.environment.quarantine)


def writers_of_run(run: RunContext) -> Writers:
    """Who has the writers of a run, by the fences of the source and of every service's database."""
    services = run.plan.services
    read = [mapping.source for service in services for mapping in service.tables]
    written = [(run.databases[s.database], [mapping.target for mapping in s.tables]) for s in services]
    return writers_of(run.source, read, written)


def throttle_of(
    environment: Environment,
    options: Options,
    every: Sequence[Link],
    on_reason: Callable[[str], None],
    source: Sequence[Database] = (),
) -> Throttle:
    """When the copy and the sync of these links, or a change of these source databases, wait, by the options."""
    limits = Limits(
        file=environment.root / options.throttle_file if options.throttle_file else None,
        sessions={"source": options.source_sessions, "target": options.target_sessions},
        lag_s=options.replica_lag_s,
        lag_bytes=options.replica_lag_bytes,
    )
    named = [name.strip() for name in options.replicas.split(",") if name.strip()]
    sides = {"source": [*source, *(link.reader for link in every)], "target": [link.writer for link in every]}
    return throttle(limits, sides, [environment.database(name) for name in named], on_reason)


def backend(service: Service, where: str) -> str:
    """The router's backend that serves this service from the source's or the target's data."""
    return f"{service.name}@{where}"


def before_targets(run: RunContext, service: Service) -> str:
    """The backend that has the service's reads until those on their own data get them.

    Of a blue-green release that is blue itself; else an instance that was extracted, on the source's data.
    """
    return origin(run) if run.plan.strategy == "blue_green" else backend(service, "source")


def facing_links(run: RunContext, direction: str = FORWARD) -> list[Link]:
    """The links, each with its opposite: for comparing while either side may be the one that is written to."""
    opposite = {link.service: link for link in links(run, BACK if direction == FORWARD else FORWARD)}
    return [replace(link, opposite=opposite[link.service]) for link in links(run, direction)]


def links_of(environment: Environment, direction: str = FORWARD) -> list[Link]:
    """The same without a run: for the sync process, which acts on no step."""
    plan = environment.plan
    make = forward_links if direction == FORWARD else reverse_links
    names = dict.fromkeys(service.database for service in plan.services)
    databases = {name: environment.database(name) for name in names}
    return make(plan, environment.database(plan.source), databases, environment.quarantine)


def behind(facing: Sequence[Link]) -> str:
    """Why a comparison of these links would prove nothing now: the oldest change has waited too long; empty: none has.

    Args:
        facing: From `facing_links`: each with its opposite, for either side may be the one that is written to.
    """
    oldest_s = pending([one for link in facing for one in (link, link.opposite) if one]).oldest_s
    return f"the sync is {oldest_s:.0f} s behind: see whether it runs" if oldest_s > BEHIND_S else ""


def record_traffic(run: RunContext) -> None:
    """Points for the chart: who answers the services' reads now, in percent."""
    routes, now = run.router.routes(), time.time()
    names = ("the source's service", "services on the source's data", "services on their own data")
    shares = dict.fromkeys(("blue", "green") if run.plan.strategy == "blue_green" else names, 0.0)
    for service in run.plan.services:
        weights = routes[reads(service)].weights
        backends = dict.fromkeys((origin(run), before_targets(run, service), backend(service, "target")))
        for name, one in zip(shares, backends, strict=True):
            shares[name] += weights.get(one, 0) / len(run.plan.services)
    points = [Sample("traffic", share, now, {"backend": name}) for name, share in shares.items()]
    run.journal.sample_many(run.run_id, points)


def origin(run: RunContext) -> str:
    """The backend that has all the traffic before the migration: the monolith."""
    return str(run.environment.router_settings["origin"])


def reads(service: Service) -> str:
    """The route that the service's reads take."""
    return f"{service.name}.reads"


def writes(service: Service) -> str:
    """The route that the service's writes take."""
    return f"{service.name}.writes"


def shares(state: RouteState) -> dict[str, int]:
    """The backends that get any of a route's traffic, in percent."""
    return {backend: weight for backend, weight in state.weights.items() if weight}


def verdict(ok: bool, text: str, **data: object) -> Verdict:
    """Pass or fail, in one line; `data` is JSON for the journal."""
    return Verdict(Outcome.PASS if ok else Outcome.FAIL, text, data)
