"""Two databases without a plan: their links, and the tables that one of them lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from runbook_lib.databases.port import Database
from runbook_lib.errors import ConfigurationError
from runbook_lib.transfer.flow import Link, forward_links, reverse_links
from runbook_lib.transfer.whole import whole_plan
from runbook_lib.validation.context import Catalogs
from runbook_lib.validation.findings import CheckResult, Kind, Mismatch
from runbook_lib.validation.idle import captured
from runbook_lib.validation.report import Report


@dataclass(frozen=True)
class Pair:
    """Links over the tables that both have, the names of those that only the source has, and what was read of them."""

    links: tuple[Link, ...]
    missing: tuple[str, ...] = ()
    catalogs: Mapping[str, Catalogs] = field(default_factory=dict)


def pair_of(source: Database, target: Database, tables: Sequence[str] = ()) -> Pair:
    """Every table of the source as it is (or only these), held against the target's table of that name.

    Where `runbook copy --follow` has made the target, its log explains what is on its way.

    Raises:
        ConfigurationError: the source has no such table.
    """
    with ThreadPoolExecutor(2) as pool:  # the first connections, too, are made on both sides at once
        there, here = pool.map(lambda database: database.catalog(), (source, target))
    plan = whole_plan(source, target, tables, known=there)
    [service] = plan.services
    missing = tuple(mapping.source for mapping in service.tables if mapping.target not in here)
    both = tuple(mapping for mapping in service.tables if mapping.target in here)
    if not both:
        return Pair((), missing)
    name = _followed(source, target, [service.name, whole_plan(source, target, known=there).services[0].name])
    plan = replace(plan, services=(replace(service, name=name or service.name, tables=both),))
    [link] = forward_links(plan, source, {"target": target}, known=(there, here))
    back = reverse_links(plan, source, {"target": target}) if name else [None]
    return Pair((replace(link, service="", opposite=back[0]),), missing, {link.channel: (there, here)})


def _followed(source: Database, target: Database, names: Sequence[str]) -> str:
    """The first of these names of a copy whose changes are captured, at either side; "" where none is followed."""
    return next((n for n in dict.fromkeys(names) if captured(source, n) or captured(target, f"{n}_back")), "")


def only_tables(links: Sequence[Link], tables: Sequence[str]) -> list[Link]:
    """The links with just these of their written tables; all of them when none is named.

    Raises:
        ConfigurationError: no link writes a table of this name.
    """
    known = [flow.table for link in links for flow in link.flows]
    for name in tables:
        if name not in known:
            raise ConfigurationError(f"table {name}", "not in the plan", expected=", ".join(known))
    kept = [replace(link, flows=tuple(f for f in link.flows if not tables or f.table in tables)) for link in links]
    return [link for link in kept if link.flows]


def with_missing(report: Report, missing: Sequence[str]) -> Report:
    """The report with a failure for each table that the target lacks, in the first of its checks."""
    if not missing:
        return report
    text = "no such table at the target"
    found = tuple(Mismatch(report.results[0].check, "", name, Kind.MISSING_TABLE, text=text) for name in missing)
    more = CheckResult(report.results[0].check, tuple(m.label for m in found), mismatches=found)
    return replace(report, results=(report.results[0].plus(more), *report.results[1:]))
