"""Where the services' borders run through the foreign keys of the source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from runbook_lib.databases.port import Database, Table
from runbook_lib.display.html_table import html_table
from runbook_lib.plan.model import Plan
from runbook_lib.verdict import Outcome


@dataclass(frozen=True)
class ForeignKey:
    """One foreign key of the source: `crosses` when its two tables go to different services."""

    name: str
    table: str
    columns: tuple[str, ...]
    referenced: str
    service: str
    referenced_service: str

    @property
    def crosses(self) -> bool:
        return self.service != self.referenced_service


@dataclass(frozen=True)
class ServiceBoundaries:
    """The services' tables at the source, the foreign keys between them, and the tables no service takes."""

    services: Mapping[str, tuple[str, ...]]
    keys: tuple[ForeignKey, ...]
    homeless: tuple[str, ...]

    @property
    def crossing(self) -> tuple[ForeignKey, ...]:
        """The keys that the databases cannot enforce after the split; the services have to."""
        return tuple(key for key in self.keys if key.crosses)

    @property
    def edges(self) -> list[tuple[str, str, str]]:
        """(table, referenced table, columns), for the picture."""
        return [(key.table, key.referenced, ", ".join(key.columns)) for key in self.keys]

    def _repr_html_(self) -> str:
        rows = [
            (k.name, f"{k.table} ({', '.join(k.columns)})", k.referenced, f"{k.service} → {k.referenced_service}")
            for k in self.crossing
        ]
        rows += [("–", table, "–", "no service takes it") for table in self.homeless]
        title = f"{len(self.crossing)} foreign keys cross a border, {len(self.homeless)} tables stay behind"
        return html_table(title, Outcome.PASS, ("key", "table", "refers to", "border"), rows)

    def as_dict(self) -> dict[str, object]:
        return {
            "services": {name: list(tables) for name, tables in self.services.items()},
            "crossing": [f"{k.table}({', '.join(k.columns)}) → {k.referenced}" for k in self.crossing],
            "homeless": list(self.homeless),
        }

    def as_record(self) -> dict[str, Any]:
        """All of it as JSON."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> ServiceBoundaries:
        """What `as_record` gave."""
        keys = tuple(ForeignKey(**{**key, "columns": tuple(key["columns"])}) for key in record["keys"])
        services = {name: tuple(tables) for name, tables in record["services"].items()}
        return cls(services, keys, tuple(record["homeless"]))


def find_service_boundaries(plan: Plan, source: Database) -> ServiceBoundaries:
    """Read the source's catalog and say which foreign keys cross a border of the plan's services."""
    catalog = source.catalog()
    services = {s.name: tuple(dict.fromkeys(m.source for m in s.tables)) for s in plan.services}
    home = {table: service for service, tables in services.items() for table in tables}
    keys = tuple(key for table in catalog.values() for key in _keys_of(table, home))
    return ServiceBoundaries(services, keys, tuple(sorted(set(catalog) - set(home))))


def _keys_of(table: Table, home: Mapping[str, str]) -> Sequence[ForeignKey]:
    return [
        ForeignKey(
            name=constraint.name,
            table=table.name,
            columns=constraint.columns,
            referenced=constraint.referenced_table,
            service=home.get(table.name, ""),
            referenced_service=home.get(constraint.referenced_table, ""),
        )
        for constraint in table.constraints
        if constraint.kind == "foreign"
    ]
