"""What is done to a copy while it is followed: `runbook follow apply-ddl`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runbook_lib.cli.base import PATH, main
from runbook_lib.cli.transfer import copies_journal, endpoints, open_both
from runbook_lib.errors import ConfigurationError

if TYPE_CHECKING:
    from runbook_lib.operations.apply_ddl import Work


@main.group()
def follow() -> None:
    """Act on a copy that `runbook copy --follow` keeps current."""


@follow.command("apply-ddl")
@endpoints
@click.option("--statement", "statements", multiple=True, metavar="SQL", help="Run it first where the writers are.")
@click.option("--sql", "script", type=PATH, default=None, help="The same, of a file; its statements in order.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only say what would be carried over.")
def apply_ddl(
    source: str,
    target: str,
    file: Path | None,
    statements: tuple[str, ...],
    script: Path | None,
    yes: bool,
    dry_run: bool,
) -> None:
    """Carry a change of the schema to the other side: columns, indexes, new tables and partitions, sequences, views.

    It shows the change (translated for another engine), asks, applies what was logged before, the DDL, and every row of
    the changed tables; new tables and partitions are taken in. --statement and --sql are run first where the writers
    are. Killed anywhere, the same command resumes.
    """
    from runbook_lib.operations.apply_ddl import apply_ddl as carry
    from runbook_lib.operations.apply_ddl import foreseen
    from runbook_lib.operations.pair import pair_of
    from runbook_lib.operations.replicate import find_clone

    first = [*statements, *([script.read_text()] if script else [])]
    with open_both(source, target, file) as (reader, writer), copies_journal(must_exist=True) as journal:
        pair, run_id = find_clone(journal, pair_of(reader, writer))
        work = foreseen(pair, journal, run_id)
        _show(work, first)
        if work.nothing and not first:
            return
        if dry_run:
            sys.exit(1)
        _confirm(yes=yes)
        done = carry(pair, journal, run_id, at_origin=first, tell=click.echo)
    for text in done.left:
        click.echo(f"taken as it is: {text}")
    click.echo("both sides are as the next cutover expects them; `runbook copy … --follow` goes on")


def _show(work: Work, first: list[str]) -> None:
    for text in first:
        click.echo(f"first, where the writers are:\n  {text.strip()}")
    if first:
        click.echo("then what the comparison finds, as it is shown while it is carried out")
    elif work.nothing:
        click.echo("nothing has changed since the copy, or both sides have the change")
    for text in work.statements:
        click.echo(f"at the other side:\n  {text}")
    for name in work.fresh:
        click.echo(f"taken in: table {name}: captured, made, copied")
    for text in work.after:
        click.echo(f"then at the other side:\n  {text}")
    for name in work.tables:
        click.echo(f"compared, every row: {name}")
    for text in work.left:
        click.echo(f"taken as it is, nothing is made for it: {text}")


def _confirm(*, yes: bool) -> None:
    """Ask, where somebody is there.

    Raises:
        ConfigurationError: nobody is there, and nothing was said.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "follow apply-ddl",
            "nobody is there to be asked",
            state="nothing was changed",
            action="--yes carries it over as shown; --dry-run only shows it",
        )
    if not click.confirm("Carry it over?"):
        click.echo("nothing was changed")
        sys.exit(2)
