"""What is done to a copy while it is followed: `runbook follow apply-ddl`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runbook_lib.cli.base import PATH, environment_of, journal_of, main
from runbook_lib.cli.transfer import copies_journal, open_both
from runbook_lib.errors import ConfigurationError

if TYPE_CHECKING:
    from runbook_lib.operations.apply_ddl import Work


@main.group()
def follow() -> None:
    """Act on a copy that `runbook copy --follow` keeps current."""


@follow.command("apply-ddl")
@click.argument("source", default="")
@click.argument("target", default="")
@click.option("-f", "--file", "file", type=PATH, help="Parameter file: of its run, without SOURCE and TARGET.")
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
    the changed tables; new tables and partitions are taken in, and dropped tables let go. --statement and --sql are
    run first where the writers are. Killed anywhere, the same command resumes.

    With -f FILE alone it acts on the open run of that parameter file: its plan knows both sides.
    """
    from runbook_lib.operations.apply_ddl import apply_ddl as carry
    from runbook_lib.operations.apply_ddl import foreseen
    from runbook_lib.operations.pair import pair_of
    from runbook_lib.operations.replicate import find_clone

    first = [*statements, *([script.read_text()] if script else [])]
    if file and not source:
        _of_a_run(file, first, yes=yes, dry_run=dry_run)
        return
    if not target:
        raise click.UsageError("SOURCE and TARGET of a followed copy, or -f FILE of a run")
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
    click.echo("both sides are as the next cutover expects them; `runbook copy … --follow` resumes")


def _of_a_run(file: Path, first: list[str], *, yes: bool, dry_run: bool) -> None:
    """The same for the environment's open run: it becomes a step of the phase that is under way."""
    from runbook_lib.errors import GateFailed
    from runbook_lib.journal import History
    from runbook_lib.plan.phase_order import phases_of
    from runbook_lib.run.run import begin
    from runbook_lib.steps.apply_ddl import approval_of, schema_changes, works

    environment = environment_of(file)
    with journal_of(file) as journal:
        row = journal.latest_run(environment.name, states=("open",))
        history = History(journal.entries(row.run_id)) if row else None
    if row is None or history is None or not history.step_passed("build_indexes"):
        raise ConfigurationError(
            f"runbook follow apply-ddl -f {file}",
            "no run of it has complete tables at its targets yet",
            state="nothing was changed",
            action=f"runbook run -f {file}: it reads the schema as it is then",
        )
    phase = next((name for name in phases_of(environment.plan) if not history.phase_passed(name)), "cutover")
    with begin(environment, phase, run_id=row.run_id) as run:
        found = list(works(run))
        for pair, work in found:
            click.echo(f"{pair.service.name}:")
            _show(work, first if pair is found[0][0] else [])
        steps = schema_changes(run, first)
        if not steps:
            return
        if dry_run:
            sys.exit(1)
        _confirm(yes=yes)
        for step in steps:
            asked = approval_of(step.number)
            for attempt in range(2):
                try:
                    record = run.step(step)
                    break
                except GateFailed as refusal:  # who sits here has just said yes, to the statements; not to drift
                    if attempt or refusal.subject != asked:
                        raise
                    run.approve(asked, "runbook follow apply-ddl")
            click.echo(f"{record.name}: {record.text}")


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
    for name in work.gone:
        click.echo(f"followed no more, it is gone where the writers are; its rows stay at the other side: table {name}")
    for text in work.replaced:
        click.echo(f"brought over, every row that came or went: {text}")
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
