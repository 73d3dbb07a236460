"""What no single line of a plan shows: names used twice, and two tables that give back the same column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runbook_lib.errors import PlanError
from runbook_lib.plan.model import Plan, Service, TableMapping
from runbook_lib.plan.yaml_value import nearest


def check_plan(plan: Plan) -> None:
    """Check names and cross references of the whole plan.

    Raises:
        PlanError: the first mistake, at its file and line.
    """
    _unique_services(plan)
    for service in plan.services:
        _unique_tables(plan, service)
        _whole_rows(plan, service)
    _unique_databases(plan)
    _one_rollback_path(plan)
    _tolerated_names(plan)


def _at(plan: Plan, line: int, observed: str, *, expected: str = "", action: str = "") -> PlanError:
    return PlanError(f"{plan.path}:{line}", observed, expected=expected, action=action)


def _unique_services(plan: Plan) -> None:
    names: dict[str, Service] = {}
    apis: dict[str, str] = {}
    for service in plan.services:
        if service.name in names:
            raise _at(plan, service.line, f"service `{service.name}` is described twice", action="keep one of them")
        names[service.name] = service
        for api in service.apis:
            if api in apis:
                raise _at(plan, service.line, f"{api} belongs to {apis[api]} and {service.name}", action="keep one")
            apis[api] = service.name


def _unique_tables(plan: Plan, service: Service) -> None:
    seen: dict[str, TableMapping] = {}
    for mapping in service.tables:
        if mapping.target in seen:
            raise _at(
                plan, mapping.line, f"table {mapping.target} is twice in {service.name}", action="keep one of them"
            )
        seen[mapping.target] = mapping


def _unique_databases(plan: Plan) -> None:
    """Two services may share a database, a table of it only one of them may write."""
    owners: dict[tuple[str, str], str] = {}
    for service in plan.services:
        if service.database == plan.source:
            action = "name another database of the inventory"
            raise _at(
                plan, service.line, f"{service.name} has the source `{plan.source}` as its database", action=action
            )
        for mapping in service.tables:
            owner = owners.setdefault((service.database, mapping.target), service.name)
            if owner != service.name:
                text = f"{service.name} and {owner} both write {mapping.target} in {service.database}"
                raise _at(plan, mapping.line, text, action="give one of them its own database")


def _whole_rows(plan: Plan, service: Service) -> None:
    whole = {mapping.source for mapping in service.tables if not mapping.derived}
    for mapping in service.tables:
        if mapping.reverse and mapping.source not in whole:
            text = f"{mapping.target} gives back columns of {mapping.source}, which {service.name} does not have"
            raise _at(plan, mapping.line, text, action=f"add `{mapping.source}` to its tables, or drop `reverse`")


def _one_rollback_path(plan: Plan) -> None:
    """Each source row is written back by one service, each of its columns by one derived table at most."""
    owners: dict[str, tuple[Service, TableMapping]] = {}
    for service in plan.services:
        given: dict[tuple[str, str], str] = {}
        for mapping in service.tables:
            if not mapping.derived:
                _one_owner(plan, owners, service, mapping)
            for column in mapping.reverse:
                other = given.setdefault((mapping.source, column), mapping.target)
                if other != mapping.target:
                    text = f"{other} and {mapping.target} both give back {mapping.source}.{column}"
                    raise _at(plan, mapping.line, text, action="drop it from one `reverse`")


def _one_owner(
    plan: Plan, owners: dict[str, tuple[Service, TableMapping]], service: Service, mapping: TableMapping
) -> None:
    owner, other = owners.setdefault(mapping.source, (service, mapping))
    if other is not mapping:
        text = f"{owner.name}.{other.target} and {service.name}.{mapping.target} both write {mapping.source} back"
        raise _at(plan, mapping.line, text, action="keep the table in one service, or derive one with `columns`")


def _tolerated_names(plan: Plan) -> None:
    services: Mapping[str, Service] = {service.name: service for service in plan.services}
    for tolerance in plan.tolerances:
        if tolerance.service and tolerance.service not in services:
            _unknown(plan, tolerance.line, "service", tolerance.service, list(services))
        within = [services[tolerance.service]] if tolerance.service else plan.services
        tables = [name for service in within for table in service.tables for name in (table.target, table.source)]
        if tolerance.table and tolerance.table not in tables:
            _unknown(plan, tolerance.line, "table", tolerance.table, tables)


def _unknown(plan: Plan, line: int, what: str, name: str, known: Sequence[str]) -> None:
    text = f"a tolerated difference names the unknown {what} `{name}`"
    raise _at(plan, line, text, expected="one of " + ", ".join(dict.fromkeys(known)), action=nearest(name, known))
