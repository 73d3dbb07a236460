"""Children whose parent the target will not find: its foreign key would be refused after the load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runbook_lib.assessment.duplicates import MOST_ROWS
from runbook_lib.assessment.findings import Finding
from runbook_lib.assessment.table_pairs import Subject
from runbook_lib.databases.port import Database
from runbook_lib.plan.model import Service


def orphan_findings(services: Sequence[Service], every: Sequence[Subject], source: Database) -> Iterator[Finding]:
    """A finding for each foreign key that rows of the source break; of tables that are not too large (`not_looked`)."""
    from runbook_lib.assessment.key_values import orphans  # which looks for duplicates by this package

    for service in services:
        mine = {each.mapping.target: each for each in every if each.mapping in service.tables}
        read = {each.mapping.source: each.read for each in mine.values()}
        written = {name: each.written for name, each in mine.items() if not _large(each)}
        dialect = next((each.dialect for each in mine.values()), source.dialect)
        for found in orphans(service, source, dialect, read, written):
            subject = mine[found.table]
            yield Finding(
                "orphans",
                "note" if found.kept else "blocks",
                subject.label,
                f"{found.rows:,} {found.text}: {found.key}",
                found.rows,
                found.example,
                (),
                "" if found.kept else "give them a parent or delete them at the source, or leave the table out",
                table=subject.mapping.source,
            )


def not_looked(subject: Subject) -> str:
    """Why a table was not checked; empty: it was."""
    keys = any(constraint.kind == "foreign" for constraint in subject.written.constraints)
    return f"rows without a parent were not looked for: over {MOST_ROWS:,} rows" if keys and _large(subject) else ""


def _large(subject: Subject) -> bool:
    return subject.read.rows_estimate > MOST_ROWS
