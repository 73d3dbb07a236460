"""Extraction views: a service's future tables, served read-only by the source while the data still lives there.

A service is extracted in two moves: its code first, against these views in the source, then its data. So what the
first move shows is a fault of the code, and what the second shows is a fault of the data.
"""

from __future__ import annotations

from runbook_lib.databases.port import Database
from runbook_lib.plan.model import Service
from runbook_lib.transfer.flow import forward_expressions


def create_views(service: Service, source: Database, readers: str) -> tuple[str, ...]:
    """Create one view for each table of the service in a schema of the service's name; the views' names.

    Args:
        readers: The role that may read them.
    """
    schema = source.quote(service.name)
    catalog = source.catalog([mapping.source for mapping in service.tables])
    statements = [f"CREATE SCHEMA IF NOT EXISTS {schema}"]
    for mapping in service.tables:
        table = catalog[mapping.source]
        columns = {**forward_expressions(mapping, source, table)}
        if not mapping.derived:
            columns = {c: sql for c, sql in columns.items() if c not in mapping.omit}
        select = ", ".join(f"{sql} AS {source.quote(name)}" for name, sql in columns.items())
        where = f" WHERE {mapping.where}" if mapping.where else ""
        view = f"{schema}.{source.quote(mapping.target)}"
        statements.append(f"DROP VIEW IF EXISTS {view}")
        statements.append(
            f"CREATE VIEW {view} AS SELECT {select} FROM {source.quote(table.schema)}."
            f"{source.quote(mapping.source)}{where}"
        )
    statements.append(f"GRANT USAGE ON SCHEMA {schema} TO {source.quote(readers)}")
    statements.append(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {source.quote(readers)}")
    source.execute(*statements)
    return tuple(f"{service.name}.{mapping.target}" for mapping in service.tables)


def drop_views(service: Service, source: Database) -> None:
    """Drop the service's views and their schema. Idempotent."""
    schema = source.quote(service.name)
    views = (f"DROP VIEW IF EXISTS {schema}.{source.quote(mapping.target)}" for mapping in service.tables)
    present = source.rows("SELECT 1 FROM information_schema.schemata WHERE schema_name = :s", {"s": service.name})
    if present:
        source.execute(*views, f"DROP SCHEMA IF EXISTS {schema}")
