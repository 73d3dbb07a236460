"""Services of an inventory: one at an address, or a fleet, several instances that the same commands start and stop.

Every instance and spare of a fleet is a service of its own name: it has the fleet's commands and its own address.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runbook_lib.plan.key import Key, Kind, Section
from runbook_lib.plan.yaml_value import Value
from runbook_lib.services.port import COMMANDS, PLACEHOLDERS
from runbook_lib.util.command import split, unknown_placeholders

SERVICE_KEYS = ("url", "health", "timeout_s", *COMMANDS)
MOST = 100  # a router shares whole percents
INSTANCES = Key(
    "instances", Kind[Any]("mapping"), "name in the router → `url`, and placeholders of your own for the commands", {},
    "it is one service, not a fleet",
)  # fmt: skip
SPARES = Key("spares", Kind[Any]("mapping"), "the same, of those that run only while a plan's `surge` needs them", {})
ROUTES = Key(
    "routes", Kind[Any]("list of names"), "the router's routes that the fleet shares; one that ends in `.writes` has "
    "one home at a time", (), "`NAME.reads`, `NAME.writes`",
)  # fmt: skip
FLEET = Section((INSTANCES, SPARES, ROUTES))


@dataclass(frozen=True)
class Fleet:
    """The instances of one service, in the order in which they are upgraded.

    Attributes:
        spares: What is started beside them for a while.
        routes: The router's routes that they share.
        commands: Names of the commands that the inventory has for them.
        timeout_s: How long a command, and reaching the state after it, may take (seconds).
    """

    name: str
    instances: tuple[str, ...]
    spares: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    commands: frozenset[str] = frozenset()
    timeout_s: float = 60.0


def read_services(value: Value) -> tuple[dict[str, Mapping[str, Any]], dict[str, Fleet]]:
    """The services by name, a fleet's instances among them, and the fleets.

    Raises:
        PlanError: an unknown setting or placeholder, a name that is given twice, a fleet without instances.
    """
    services: dict[str, Mapping[str, Any]] = {}
    fleets: dict[str, Fleet] = {}
    for entry in value.entries("services"):
        names = {one.name for one in entry.value.entries(entry.name)} if entry.value.is_mapping else set()
        if not names & {key.name for key in FLEET.keys}:
            entry.value.fields(f"services {entry.name}", SERVICE_KEYS)
            found: dict[str, Mapping[str, Any]] = {entry.name: entry.value.plain() or {}}
        else:
            fleets[entry.name], found = _fleet(entry.name, entry.value)
        for name in found:
            if name in services:
                raise entry.at.error(f"service `{name}` is there twice", action="give one of them another name")
        services |= found
    return services, fleets


def _fleet(name: str, value: Value) -> tuple[Fleet, dict[str, Mapping[str, Any]]]:
    what = f"services {name}"
    given = value.fields(what, [*(key for key in SERVICE_KEYS if key != "url"), *(key.name for key in FLEET.keys)])
    common = {key: at.plain() for key, at in given.items() if key in SERVICE_KEYS}
    groups: list[dict[str, Mapping[str, Any]]] = []
    for key in (INSTANCES.name, SPARES.name):
        entries = given[key].entries(f"{key} of {name}") if key in given else []
        groups.append({one.name: {**common, **_instance(one.name, one.value, given)} for one in entries})
    instances, spares = groups
    if not instances:
        raise value.error(f"{name} has no instances", action="add `instances:` with a name and `url` for each")
    if (count := len(instances) + len(spares)) > MOST:
        raise given[INSTANCES.name].error(f"{name} has {count} instances and spares", expected=f"{MOST} at most")
    if twice := sorted(instances.keys() & spares.keys()):
        raise given[SPARES.name].error(f"`{twice[0]}` is among the instances of {name}", action="keep one of them")
    routes = [text for text, _ in given[ROUTES.name].texts("routes")] if ROUTES.name in given else []
    fleet = Fleet(
        name,
        tuple(instances),
        tuple(spares),
        tuple(routes) or (f"{name}.reads", f"{name}.writes"),
        frozenset(given) & frozenset(COMMANDS),
        float(common.get("timeout_s", 60)),
    )
    return fleet, {**instances, **spares}


def _instance(name: str, value: Value, given: Mapping[str, Value]) -> dict[str, Any]:
    """Its address, and what its placeholders stand for; every command of the fleet must be filled by them."""
    own = {entry.name: entry.value for entry in value.entries(f"instance {name}")} if value.is_mapping else {}
    if "url" not in own:
        raise value.error(f"instance {name} has no url", action="add `url:`, its own address behind the router")
    for key in own:
        if key in PLACEHOLDERS and key != "url":
            raise own[key].error(f"instance {name}: `{key}` is a placeholder of every service", action="another name")
    texts = {key: at.text(key) for key, at in own.items()}
    for command in COMMANDS:
        if command in given:
            _check_command(command, given[command], (*PLACEHOLDERS, *own), name)
    values = {key: text for key, text in texts.items() if key != "url"}
    return {"url": texts["url"], "values": values}


def _check_command(command: str, value: Value, known: tuple[str, ...], instance: str) -> None:
    try:
        unknown = unknown_placeholders(split(value.plain()), known)
    except ValueError as error:
        action = "close each quote, and write a literal brace twice"
        raise value.error(f"{command}: {error}", action=action) from error
    if unknown:
        observed = f"{command}: unknown placeholder {{{unknown[0]}}} of instance {instance}"
        raise value.error(observed, expected="one of " + ", ".join(known))
