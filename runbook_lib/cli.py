"""The command line. Exit status: 0 done, 1 a check or gate failed, 2 could not run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from runbook_lib.errors import RunbookError

FILE = click.option(
    "-f", "--file", "file", required=True, type=click.Path(path_type=Path), help="Parameter file of the environment."
)


class Commands(click.Group):
    """Turns a RunbookError into its one line and its exit status: no traceback for what somebody can put right."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RunbookError as error:
            click.echo(f"runbook: {error}", err=True)
            ctx.exit(error.exit_status)
        except KeyboardInterrupt:
            click.echo("runbook: interrupted; run the same command again to go on", err=True)
            ctx.exit(2)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="runbook-lib")
def main() -> None:
    """Migration runbooks that are notebooks."""


@main.command()
@click.option("--scale", default=1.0, show_default=True, help="Size of the sample data; 1 is about 260,000 rows.")
@click.option("--drill", type=click.Choice(["rollback"]), help="Inject errors after the cutover and go back.")
@click.option("--keep", is_flag=True, help="Leave the estate running at the end, until Ctrl-C.")
@click.option("--rate", default=120.0, show_default=True, help="Requests of the clients (per second).")
@click.option("--port-base", default=15400, show_default=True, help="First of the estate's ports.")
@click.option("--directory", default=".runbook/demo", type=click.Path(path_type=Path), show_default=True)
def demo(**options: Any) -> None:
    """Move a live monolith to three services on this machine, and prove that nothing was lost."""
    from runbook_lib.sandbox.demo import run_demo

    sys.exit(run_demo(click.echo, **options))


@main.command()
@click.option("--scale", default=1.0, show_default=True, help="Size of the sample data.")
@click.option("--port", default=8888, show_default=True, help="JupyterLab's port.")
@click.option("--browser/--no-browser", default=True, help="Open a browser.")
def lab(**options: Any) -> None:
    """Start the demo estate with JupyterLab in front of it, until Ctrl-C."""
    from runbook_lib.sandbox.lab import run_lab

    sys.exit(run_lab(click.echo, **options))


@main.command()
@FILE
def lint(file: Path) -> None:
    """Look for the five pitfalls in the plan; nothing is connected."""
    from runbook_lib.plan.lint import lint as look

    problems = look(_environment(file).plan)
    for problem in problems:
        click.echo(f"{problem.subject}: {problem.text}" + (f". Next: {problem.action}" if problem.action else ""))
    click.echo(f"{len(problems)} found" if problems else "none of the five pitfalls was found")
    sys.exit(1 if any(problem.blocking for problem in problems) else 0)


@main.command()
@FILE
@click.option("--phase", default="", help="Only this phase.")
@click.option("--from", "first", default="", help="First phase.")
@click.option("--to", "last", default="", help="Last phase.")
@click.option("--run-id", default="", help="The run to go on with; the default is the environment's unfinished one.")
def run(file: Path, phase: str, first: str, last: str, run_id: str) -> None:
    """Run the plan's notebooks with papermill and seal their evidence."""
    from runbook_lib.runner import phases_between

    _carry_out(file, phases_between(phase, first, last), run_id)


@main.command()
@FILE
@click.option("--run-id", default="", help="The run to undo; the default is the environment's latest.")
def rollback(file: Path, run_id: str) -> None:
    """Go back: undo the run in reverse order, without losing a write."""
    _carry_out(file, ("rollback",), run_id)


@main.command()
@click.argument("run_id", required=False, default="")
@click.option("-f", "--file", "file", default="parameters/demo.yaml", type=click.Path(path_type=Path))
def status(run_id: str, file: Path) -> None:
    """Say where a run is: its phases, its steps, what it waits for."""
    from runbook_lib.terminal import status_lines

    with _journal(file) as journal:
        for line in status_lines(journal, run_id):
            click.echo(line)


@main.command()
@click.argument("run_id")
@click.argument("what")
@click.option("--comment", required=True, help="Why; it becomes part of the evidence.")
@click.option("-f", "--file", "file", default="parameters/demo.yaml", type=click.Path(path_type=Path))
def approve(run_id: str, what: str, comment: str, file: Path) -> None:
    """Give an approval or a sign-off that a run asks for."""
    from runbook_lib.gates import approve as give
    from runbook_lib.run import acting_person

    with _journal(file) as journal:
        entry = give(journal, run_id, what, comment=comment, actor=acting_person())
    click.echo(f"{entry.kind} of {what!r} recorded as {entry.actor}")


@main.command()
@FILE
@click.option("--run-id", required=True)
@click.option("--plan", default="")
@click.option("--inventory", default="")
@click.option("--direction", type=click.Choice(["forward", "back"]), default="forward", show_default=True)
def sync(file: Path, run_id: str, plan: str, inventory: str, direction: str) -> None:
    """Keep the other side current until told to stop. The notebooks start this by themselves."""
    from runbook_lib.environment import load_environment
    from runbook_lib.journal import Journal
    from runbook_lib.steps.common import links_of
    from runbook_lib.transfer.worker import sync_forever

    environment = load_environment(file.stem, plan, inventory, file.resolve().parent.parent)
    journal = Journal(environment.journal_url, secrets=environment.secrets())
    applied = sync_forever(links_of(environment, direction), journal, run_id, direction, batch_keys=2_000)
    click.echo(f"{applied} keys applied")


@main.group()
def evidence() -> None:
    """Look at the evidence of a run, or verify it."""


@evidence.command("verify")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
def verify_evidence(directory: Path) -> None:
    """Verify an evidence folder step by step: digests, signatures, chain, order."""
    from runbook_lib.evidence.verify import verify_bundle

    steps = verify_bundle(directory)
    for step in steps:
        click.echo(str(step))
    sys.exit(0 if all(step.passed for step in steps) else 1)


@evidence.command("show")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
def show_evidence(directory: Path) -> None:
    """Say what a run did, from its summary."""
    import json

    summary = json.loads((directory / "summary.json").read_text())
    for key, value in summary.items():
        if isinstance(value, str | int | float):
            click.echo(f"{key:>20}  {value}")


def _carry_out(file: Path, phases: tuple[str, ...], run_id: str) -> None:
    from runbook_lib.runner import Runner

    runner = Runner(_environment(file), click.echo, run_id=run_id)
    finished = runner.carry_out(phases)
    click.echo(f"evidence: {runner.finish()}")
    sys.exit(finished.exit_status)


def _environment(file: Path) -> Any:
    """The environment of a parameter file: its name is the file's, its root is two folders up."""
    from runbook_lib.environment import load_environment
    from runbook_lib.errors import ConfigurationError

    if not file.exists():
        raise ConfigurationError(str(file), "no such parameter file", action="give one of parameters/*.yaml")
    return load_environment(file.stem, root=file.resolve().parent.parent)


def _journal(file: Path) -> Any:
    from contextlib import closing

    from runbook_lib.journal import Journal

    return closing(Journal(_environment(file).journal_url))


if __name__ == "__main__":
    main()
