"""Schema revisions: where a database is, what would be run, up, and down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runbook_lib.cli.base import PATH, environment_of, main

if TYPE_CHECKING:
    from runbook_lib.databases.port import Database
    from runbook_lib.plan.model import LintRule
    from runbook_lib.schema.revisions.graph import Revisions

FILE = click.option("-f", "--file", "file", type=PATH, help="Parameter file of the environment.")
DATABASE = click.option("--database", default="", help="Its name in the inventory; the default is the plan's source.")
URL = click.option("--url", default="", help="A database by its URL, instead of -f.")
FOLDER = click.option("--revisions", "folder", type=PATH, help="Folder of the revisions; needed with --url.")
TO = "The wanted version, or the beginning of its name."
NEEDED = click.option("-f", "--file", "file", required=True, type=PATH, help="Parameter file of the environment.")


@main.group()
def schema() -> None:
    """Take a database's schema along its revisions, and back."""


@schema.command("status")
@FILE
@DATABASE
@URL
@FOLDER
def schema_status(**where: Any) -> None:
    """Say at which version a database is, what is missing, and whether it was changed by hand."""
    from runbook_lib.schema.revisions.dry_run import preview

    with _opened(**where) as (database, revisions, _, _):
        found = preview(database, revisions, revisions.head(), judged=False)
    click.echo(found.state)
    missing = found.path.revisions
    for revision in found.known:
        click.echo(f"  {'–' if revision in missing else '✓'} {revision.id}  {revision.title}")
    if found.half_way:
        click.echo("Next: run the same upgrade or downgrade again: it resumes, or finishes its undo")
    elif found.drift:
        click.echo("Next: undo that by hand, or take it as it is: runbook schema upgrade --accept-drift")
    if found.drift or found.half_way:
        raise SystemExit(1)


@schema.command("plan")
@FILE
@DATABASE
@URL
@FOLDER
@click.option("--to", default="", help=f"{TO} [default: the plan's, or head]")
def schema_plan(to: str, **where: Any) -> None:
    """Print the SQL of the path to another version, in order and with its hazards; nothing is changed."""
    from runbook_lib.schema.revisions.dry_run import preview

    with _opened(**where) as (database, revisions, planned, policy):
        click.echo(str(preview(database, revisions, to or planned, policy)))


@schema.command()
@NEEDED
@DATABASE
@click.option("--to", default="", help=f"{TO} [default: the plan's, or head]")
@click.option("--accept-drift", is_flag=True, help="Take what was changed by hand for part of the present version.")
def upgrade(file: Path, database: str, to: str, accept_drift: bool) -> None:
    """Back up, prove the backup, carry the revisions out one by one; whatever fails, undo them.

    What a failure leaves, and how a revision is written: docs/schema-revisions.md.
    """
    _migrate(file, database, to, "up", accept_drift)


@schema.command()
@NEEDED
@DATABASE
@click.option("--to", required=True, help=f"{TO} `base` is none of them.")
@click.option("--accept-drift", is_flag=True, help="Take what was changed by hand for part of the present version.")
def downgrade(file: Path, database: str, to: str, accept_drift: bool) -> None:
    """Undo revisions down to another version, in the same way as upgrade: what was moved is saved back."""
    _migrate(file, database, to, "down", accept_drift)


def _migrate(file: Path, database: str, to: str, direction: str, accept_drift: bool) -> None:
    from runbook_lib.display.terminal import progress_in_terminal
    from runbook_lib.run.run import begin
    from runbook_lib.steps.migrate_schema import migrate_schema, where

    environment = environment_of(file)
    with begin(environment, "schema_migration") as run:
        with progress_in_terminal(run.journal, run.run_id):
            records = migrate_schema(run, to, database=database, direction=direction, accept_drift=accept_drift)
        click.echo(where(run.databases[database or environment.plan.source]))
        if all(record.passed for record in records):  # else it was given up, as asked: there is nothing to pass
            run.gate()


@contextmanager
def _opened(
    file: Path | None, database: str, url: str, folder: Path | None
) -> Iterator[tuple[Database, Revisions, str, Mapping[str, LintRule]]]:
    """The database, the graph, the version that the plan wants, and what it says of hazards."""
    from runbook_lib.config.database_url import open_endpoint
    from runbook_lib.schema.revisions.graph import Revisions

    if (file is None) == (not url) or (url and folder is None):
        raise click.UsageError("give either -f FILE, or --url URL with --revisions FOLDER")
    if file is None:
        opened, planned, place = open_endpoint(url, "target"), "head", folder or Path()
        policy: Mapping[str, LintRule] = {}
    else:
        environment = environment_of(file)
        goal = environment.plan.schema
        opened = environment.database(database or environment.plan.source)
        planned, policy = goal.to if goal else "head", environment.plan.lint
        place = folder or environment.parameters_dir / (goal.revisions if goal else "revisions")
    try:
        yield opened, Revisions(place), planned, policy
    finally:
        opened.close()
