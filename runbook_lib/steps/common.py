"""What the steps share: the run's links, the names of its backends, and a few verdicts."""

from __future__ import annotations

from runbook_lib.databases.port import Database
from runbook_lib.plan.model import Service
from runbook_lib.run import Run
from runbook_lib.step import Outcome, StepResult, Verdict
from runbook_lib.transfer.flow import Link, forward_links, reverse_links

FORWARD, BACK = "forward", "back"


def targets(run: Run) -> dict[str, Database]:
    """The services' databases by name."""
    return {service.database: run.databases[service.database] for service in run.plan.services}


def links(run: Run, direction: str = FORWARD) -> list[Link]:
    """The run's links in one direction."""
    make = forward_links if direction == FORWARD else reverse_links
    return make(run.plan, run.source, targets(run))


def backend(service: Service, where: str) -> str:
    """The router's backend that serves this service from the source's or the target's data."""
    return f"{service.name}@{where}"


def origin(run: Run) -> str:
    """The backend that has all the traffic before the migration: the monolith."""
    return str(run.environment.router_settings["origin"])


def reads(service: Service) -> str:
    return f"{service.name}.reads"


def writes(service: Service) -> str:
    return f"{service.name}.writes"


def verdict(ok: bool, text: str, **data: object) -> Verdict:
    return Verdict(Outcome.PASS if ok else Outcome.FAIL, text, data)


def nothing(text: str) -> StepResult:
    """The result of an undo that has nothing to undo."""
    return StepResult(text)
