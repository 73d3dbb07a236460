"""The tables of a plan on both sides: as they are at the source, as they are or will be at the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from runbook_lib.databases.port import Database, Table
from runbook_lib.plan.model import Plan, TableMapping
from runbook_lib.schema.convert.service_tables import target_schema
from runbook_lib.schema.convert.target_schema import TargetSchema


@dataclass(frozen=True)
class Subject:
    """One planned table.

    Attributes:
        read: At the source, as its catalog has it.
        written: At the target.
        dialect: The target's engine.
        there: Whether the target has it already; else it is what the plan will make.
    """

    service: str
    mapping: TableMapping
    read: Table
    written: Table
    dialect: str
    there: bool

    @property
    def label(self) -> str:
        """`service.table`, as every report calls it; without a plan the service has no name."""
        return f"{self.service}.{self.mapping.target}" if self.service else self.mapping.target


def subjects(
    plan: Plan, source: Database, targets: Mapping[str, Database]
) -> tuple[list[Subject], dict[str, TargetSchema]]:
    """The tables that the source has, and by service what has no equivalent at a target of another engine.

    Args:
        targets: By name; a service without one is checked as if it stayed in the source's engine.
    """
    found, schemas = list[Subject](), dict[str, TargetSchema]()
    for service in plan.services:
        origin = source.catalog(list(dict.fromkeys(mapping.source for mapping in service.tables)))
        name, target = service.name if plan.phases else "", targets.get(service.database)
        kept = tuple(mapping for mapping in service.tables if mapping.source in origin)
        here = target.catalog([mapping.target for mapping in kept]) if target else {}
        made: Mapping[str, Table] = {m.target: replace(origin[m.source], triggers=()) for m in kept}
        known = replace(service, tables=kept)
        if target and kept and (schema := target_schema(known, source, target, plan.types, origin)):
            schemas[name], made = schema, schema.catalog
        dialect = target.dialect if target else source.dialect
        for m in kept:
            written = here.get(m.target) or made[m.target]
            found.append(Subject(name, m, origin[m.source], written, dialect, m.target in here))
    return found, schemas
