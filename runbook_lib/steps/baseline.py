"""What both sides of a run had when its tables were complete: what changed since is named before the writers move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runbook_lib.journal.kinds import SchemaBaseline
from runbook_lib.operations.agreement import Difference, baseline, of_objects, read_once
from runbook_lib.operations.pair import Pair
from runbook_lib.run.context import RunContext


def pairs(run: RunContext) -> list[Pair]:
    """The source with each service's database, and what is moved between them."""
    plan, place = run.plan, run.environment.quarantine
    return [
        Pair(run.source, run.databases[s.database], replace(plan, services=(s,)), quarantine=place)
        for s in plan.services
    ]


def note_baseline(run: RunContext) -> None:
    """Record it; of the source, which all services share, once."""
    read, source, services = read_once(), dict[str, str](), dict[str, Any]()
    for pair in pairs(run):
        found = baseline(pair, read)
        source |= found.pop("source")
        services[pair.service.name] = found
    run.write(SchemaBaseline(source, services))


def known_baseline(run: RunContext) -> Mapping[str, Mapping[str, Any]]:
    """Service → what was recorded last; none of a run whose tables were complete before there was such a record."""
    found = run.journal.entries(run.run_id, SchemaBaseline)
    if not found:
        return {}
    last = found[-1].read(SchemaBaseline)
    return {name: {**one, "source": last.source} for name, one in last.services.items()}


def changed_objects(run: RunContext, *, forward: bool) -> dict[str, Difference]:
    """What stands beside the tables, and is new, changed or lost since then, by kind and name.

    Args:
        forward: The source has the writers.
    """
    known, read, found = known_baseline(run), read_once(), dict[str, Difference]()
    for pair in pairs(run):
        if pair.service.name in known:
            there = pair.forward if forward else pair.back
            found = of_objects(pair, there, known[pair.service.name], whole=False, read=read) | found
    return found
