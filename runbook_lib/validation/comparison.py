"""Two databases, or a plan's: their links, and the tables that are in none: missing at the target, or not read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from runbook_lib.databases.port import Catalogs, Database
from runbook_lib.errors import ConfigurationError
from runbook_lib.plan.model import Plan, Service
from runbook_lib.transfer.build_links import forward_links, reverse_links
from runbook_lib.transfer.implicit_plan import QUARANTINE, whole_plan
from runbook_lib.transfer.links import Link
from runbook_lib.validation.readable_tables import Read, SkippedTables, read_tables, split
from runbook_lib.validation.stalled_sync import captured


@dataclass(frozen=True)
class ComparedPair:
    """Links over the tables that both have and that can be read, the others, and what was read of them."""

    links: tuple[Link, ...]
    out: SkippedTables = field(default_factory=SkippedTables)
    catalogs: Mapping[str, Catalogs] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)  # that the copy was given, without a plan

    def plus(self, other: ComparedPair) -> ComparedPair:
        """Both."""
        return ComparedPair((*self.links, *other.links), self.out.plus(other.out), {**self.catalogs, **other.catalogs})


def compared_pair(source: Database, target: Database, tables: Sequence[str] = (), followed: str = "") -> ComparedPair:
    """Every table of the source as it is (or only these), compared with the target's table of that name.

    Where `runbook copy --follow` has made the target, its log explains what is on its way.

    Args:
        followed: The name of a followed copy between them, where one is known: the source may have tables since.
    Raises:
        ConfigurationError: the source has no such table.
    """
    there, here = _read_both(source, target)
    names = source.tables() if there.unread else list(there.tables)
    plan = whole_plan(source, target, tables, known=names)
    [service] = plan.services
    kept, out = split(service.tables, "", there, here)
    if not kept:
        return ComparedPair((), out)
    candidates = [followed or service.name, service.name, whole_plan(source, target, known=names).services[0].name]
    name = _followed(source, target, candidates)
    types = _told(source, target, [name or service.name, *candidates])
    plan = replace(plan, services=(replace(service, name=name or service.name, tables=kept),), types=types)
    if QUARANTINE.is_dir():  # the copy had a quarantine
        plan = replace(plan, on_bad_row="quarantine")
    known = there.tables, here.tables
    [link] = forward_links(plan, source, {"target": target}, QUARANTINE, known)
    back = reverse_links(plan, source, {"target": target}, known=known) if name else [None]
    return ComparedPair((replace(link, service="", opposite=back[0]),), out, {link.channel: known}, types)


def _told(source: Database, target: Database, services: Sequence[str]) -> Mapping[str, str]:
    """The types that a copy to another engine was given."""
    if source.dialect == target.dialect:
        return {}
    from runbook_lib.schema.kept_scripts import overrides_at  # it takes SQLAlchemy, a third of a short command's time

    return overrides_at(target, services)


def planned(
    plan: Plan, source: Database, targets: Mapping[str, Database], quarantine: Path | None, tables: Sequence[str] = ()
) -> ComparedPair:
    """The plan's forward links over the tables (or only these of the written ones) that both sides have.

    Raises:
        ConfigurationError: the plan writes no table of this name.
    """
    known = [mapping.target for service in plan.services for mapping in service.tables]
    for name in tables:
        if name not in known:
            raise ConfigurationError(f"table {name}", "not in the plan", expected=", ".join(known))
    found = ComparedPair(())
    for service in plan.services:
        chosen = tuple(mapping for mapping in service.tables if not tables or mapping.target in tables)
        found = found.plus(_of_service(plan, replace(service, tables=chosen), source, targets, quarantine))
    return found


def _of_service(
    plan: Plan, service: Service, source: Database, targets: Mapping[str, Database], quarantine: Path | None
) -> ComparedPair:
    names = [mapping.source for mapping in service.tables], [mapping.target for mapping in service.tables]
    there, here = _read_both(source, targets[service.database], names)
    kept, out = split(service.tables, service.name, there, here)
    if not kept:
        return ComparedPair((), out)
    known = there.tables, here.tables
    less = replace(plan, services=(replace(service, tables=kept),))
    [link] = forward_links(less, source, targets, quarantine, known)
    [back] = reverse_links(less, source, targets, quarantine, known)  # its log knows what is on its way after a cutover
    return ComparedPair((replace(link, opposite=back),), out, {link.channel: known})


def _read_both(
    source: Database, target: Database, names: tuple[Sequence[str] | None, Sequence[str] | None] = (None, None)
) -> tuple[Read, Read]:
    """These tables of each, or all; the first connections, too, are made on both sides at once."""
    with ThreadPoolExecutor(2) as pool:
        there, here = pool.map(read_tables, (source, target), names)
    return there, here


def _followed(source: Database, target: Database, names: Sequence[str]) -> str:
    """The first of these names of a copy whose changes are captured, at either side; "" where none is followed."""
    return next((n for n in dict.fromkeys(names) if captured(source, n) or captured(target, f"{n}_back")), "")
