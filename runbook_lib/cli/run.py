"""Plans: look for pitfalls, run, roll back, ask, approve."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runbook_lib.cli.base import DEMO, FILE, environment_of, journal_of, main
from runbook_lib.util import extras

if TYPE_CHECKING:
    from runbook_lib.config.environment import Environment


@main.command()
@FILE
def lint(file: Path) -> None:
    """Look for the five pitfalls in the plan; nothing is connected.

    They are named in docs/writing-a-plan.md, with what declares each of them harmless.
    """
    from runbook_lib.plan.lint import lint as look

    problems = look(environment_of(file).plan)
    for problem in problems:
        click.echo(f"{problem.subject}: {problem.text}" + (f". Next: {problem.action}" if problem.action else ""))
    click.echo(f"{len(problems)} found" if problems else "none of the five pitfalls was found")
    sys.exit(1 if any(problem.blocking for problem in problems) else 0)


@main.command()
@FILE
@click.option("--phase", default="", help="Only this phase.")
@click.option("--from", "first", default="", help="First phase.")
@click.option("--to", "last", default="", help="Last phase.")
@click.option("--run-id", default="", help="The run to resume; the default is the environment's unfinished one.")
def run(file: Path, phase: str, first: str, last: str, run_id: str) -> None:
    """Run the plan's notebooks with papermill and seal their evidence.

    Run again, it does not repeat what has passed. A mistyped parameter is refused. Where the policy says `ask`, the
    phase ends with status 1 and names what it waits for: answer with `runbook approve`, and run it again.
    """
    from runbook_lib.plan.phase_order import only_notebook
    from runbook_lib.runner.run_phases import phases_between

    environment = environment_of(file)
    phases = phases_between(phase, first, last, environment.plan.strategy)
    if not (environment.plan.phases or phase or first or last):
        phases = (only_notebook(environment.plan),)  # a plan without phases moves a schema, or upgrades fleets
    extras.require("runbook run", "notebook")
    if any(environment.inventory.notify[name].get("kind") == "apprise" for name in environment.plan.notify):
        extras.require(f"runbook run: `kind: apprise` of {environment.inventory.file}", "notify")
    if "cleanup" in phases and any(one.archive == "parquet" for one in environment.plan.phases):
        extras.require(f"runbook run: `archive: parquet` of {environment.plan.path}", "archive")
    _require_databases(environment)
    _carry_out(environment, phases, run_id)


@main.command()
@FILE
@click.option("--run-id", default="", help="The run to undo; the default is the environment's latest.")
def rollback(file: Path, run_id: str) -> None:
    """Go back: undo the run in reverse order, without losing a write."""
    extras.require("runbook rollback", "notebook")
    _carry_out(environment_of(file), ("rollback",), run_id)


@main.command()
@click.argument("run_id")
@click.argument("what")
@click.option("--comment", required=True, help="Why; it becomes part of the evidence.")
@DEMO
def approve(run_id: str, what: str, comment: str, file: Path) -> None:
    """Give an approval or a sign-off that a run asks for; it is recorded under RUNBOOK_ACTOR, else your login.

    RUN_ID and WHAT are in the line with which the run ended, and in `runbook status`.
    """
    from runbook_lib.run.approvals import approve as give
    from runbook_lib.run.context import acting_person

    with journal_of(file) as journal:
        journal.run(run_id)
        entry = give(journal, run_id, what, comment=comment, actor=acting_person())
    click.echo(f"{entry.kind} of {what!r} recorded as {entry.actor}")


@main.command(hidden=True)  # the notebooks start it; a person has no reason to
@FILE
@click.option("--run-id", required=True)
@click.option("--plan", default="")
@click.option("--inventory", default="")
@click.option("--direction", type=click.Choice(["forward", "back"]), default="forward", show_default=True)
@click.option("--since", default=-1, help="The journal's last entry when this was asked for.")
def sync(file: Path, run_id: str, plan: str, inventory: str, direction: str, since: int) -> None:
    """Keep the other side current until stopped. The notebooks start this by themselves."""
    from runbook_lib.config.environment import load_environment_file
    from runbook_lib.config.options import read_options
    from runbook_lib.journal import Journal
    from runbook_lib.steps.routes_and_links import links_of, throttle_of
    from runbook_lib.transfer.sync_process import stop_at_signals, sync_forever

    environment = load_environment_file(file, plan, inventory)
    journal = Journal(environment.journal_url, secrets=environment.secrets())
    links = links_of(environment, direction)
    options = read_options(environment.options)
    pause = throttle_of(environment, options, links, lambda reason: click.echo(f"waiting: {reason}"))
    keys = options.batch_keys
    with stop_at_signals(last=True) as stop:
        applied = sync_forever(links, journal, run_id, direction, batch_keys=keys, stop=stop, since=since, pause=pause)
    click.echo(f"{applied} keys applied")


def _carry_out(environment: Environment, phases: tuple[str, ...], run_id: str) -> None:
    from runbook_lib.plan.phase_order import every_phase
    from runbook_lib.runner.run_phases import Runner

    runner = Runner(environment, click.echo, run_id=run_id)
    try:
        if not run_id and runner.close_ended() == "done" and phases == every_phase(environment.plan.strategy):
            sys.exit(0)  # all that was asked for had been done
        finished = runner.carry_out(phases)
        click.echo(f"evidence: {runner.finish()}")
    finally:
        runner.close()
    sys.exit(finished.exit_status)


def _require_databases(environment: Environment) -> None:
    """Ask each database of the plan one thing before a run is opened.

    Raises:
        DatabaseError: the first that does not answer, or that does not let us in.
    """
    plan = environment.plan
    for name in dict.fromkeys([plan.source, *(service.database for service in plan.services)]):
        database = environment.database(name)
        try:
            database.rows("SELECT 1")
        finally:
            database.close()
