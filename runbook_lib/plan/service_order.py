"""The order of services by their `after`: each behind those that it needs."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

from runbook_lib.errors import PlanError
from runbook_lib.plan.model import Service
from runbook_lib.plan.yaml_value import nearest


def in_order(services: tuple[Service, ...], file: str) -> tuple[Service, ...]:
    """The services so that each comes behind those it is `after`; else as the plan names them.

    Args:
        file: The plan's, for messages.
    Raises:
        PlanError: one is after a service that is not there, or after itself, however many are between.
    """
    if not any(service.after for service in services):
        return services
    known = {service.name: service for service in services}
    for service in services:
        for name in service.after:
            if name not in known:
                text, expected = f"service {service.name} is after the unknown `{name}`", "one of " + ", ".join(known)
                raise PlanError(f"{file}:{_line(service)}", text, expected=expected, action=nearest(name, known))
    try:
        TopologicalSorter({service.name: service.after for service in services}).prepare()
    except CycleError as error:
        circle = list(dict.fromkeys(error.args[1]))
        place = max(_line(known[name]) for name in circle)
        words = f"{' and '.join(circle)} are after each other" if circle[1:] else f"service {circle[0]} is after itself"
        raise PlanError(f"{file}:{place}", words, action="drop one `after`") from None
    found: dict[str, Service] = {}
    for service in services:
        _add(service, known, found)
    return tuple(found.values())


def _line(service: Service) -> int:
    return service.lines.get("after", service.line)


def _add(service: Service, known: dict[str, Service], found: dict[str, Service]) -> None:
    """The service behind what it needs, each once: of many that need the same one, too."""
    if service.name in found:
        return
    for name in service.after:
        _add(known[name], known, found)
    found[service.name] = service
