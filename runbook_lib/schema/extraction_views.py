"""Extraction views: a service's future tables, served read-only by the source while the data still lives there.

A service is extracted in two moves: its code first, against these views in the source, then its data. So what the
first move shows is a fault of the code, and what the second shows is a fault of the data.
"""

from __future__ import annotations

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.identifiers import split
from runbook_lib.databases.port import Database, Table
from runbook_lib.plan.model import Service, TableMapping
from runbook_lib.schema.mapped_columns import forward_expressions


def create_views(service: Service, source: Database) -> tuple[str, ...]:
    """Create one view for each table of the service in a schema of the service's name; the views' names.

    Whoever may read a table may read its view.
    """
    schema = source.quote(service.name)
    catalog = source.catalog([mapping.source for mapping in service.tables])
    statements, readers = [f"CREATE SCHEMA IF NOT EXISTS {schema}"], dict[str, None]()
    for mapping in service.tables:
        table = catalog[mapping.source]
        columns = forward_expressions(mapping, source, table)
        select = ", ".join(f"{sql} AS {source.ident(name)}" for name, sql in columns.items())
        where = f" WHERE {mapping.where}" if mapping.where else ""
        view, origin = _view(service, mapping, source), source.quote(mapping.source)
        statements += [f"DROP VIEW IF EXISTS {view}", f"CREATE VIEW {view} AS SELECT {select} FROM {origin}{where}"]
        for reader in _readers(source, table):
            readers[reader] = None
            statements.append(f"GRANT SELECT ON {view} TO {reader}")
    statements += [f"GRANT USAGE ON SCHEMA {schema} TO {reader}" for reader in readers]
    source.execute(*statements)
    return tuple(f"{service.name}.{_bare(mapping)}" for mapping in service.tables)


def _view(service: Service, mapping: TableMapping, source: Database) -> str:
    return f"{source.quote(service.name)}.{source.ident(_bare(mapping))}"


def _bare(mapping: TableMapping) -> str:
    """The table's name without a schema: all views of a service are in the service's own."""
    return split(mapping.target)[-1]


def _readers(source: Database, table: Table) -> list[str]:
    """Quoted names of the roles that have been granted SELECT on a table."""
    found = source.rows(
        "SELECT DISTINCT grantee FROM information_schema.table_privileges"
        " WHERE table_schema = :s AND table_name = :t AND privilege_type = 'SELECT'",
        {"s": table.schema, "t": split(table.name)[-1]},
    )
    return sorted("PUBLIC" if name == "PUBLIC" else source.ident(name) for (name,) in found)


def drop_views(service: Service, source: Database) -> None:
    """Drop the service's views and their schema. Idempotent; an engine without schemas has none."""
    if not dialect_of(source.dialect).schemas:
        return
    schema = source.quote(service.name)
    views = (f"DROP VIEW IF EXISTS {_view(service, mapping, source)}" for mapping in service.tables)
    present = source.rows("SELECT 1 FROM information_schema.schemata WHERE schema_name = :s", {"s": service.name})
    if present:
        source.execute(*views, f"DROP SCHEMA IF EXISTS {schema}")
