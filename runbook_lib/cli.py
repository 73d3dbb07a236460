"""The command line. Exit status: 0 done, 1 a check or gate failed, 2 could not run.

What somebody can put right is one line on the standard error, never a traceback; RUNBOOK_TRACEBACK=1 shows one all the
same, for a report to us.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from runbook_lib.errors import ConfigurationError, EvidenceError, RunbookError

if TYPE_CHECKING:
    from runbook_lib.environment import Environment
    from runbook_lib.journal import Journal

COULD_NOT_RUN = 2
INTERRUPTED = "interrupted; run the same command again"
_ACTIONS = {errno.ENOSPC: "make room on that disk", errno.ENOENT: "see that the folder exists"}


class Commands(click.Group):
    """Says every mistake in one line, click's own too, with the exit status that belongs to it."""

    def main(self, *args: Any, **more: Any) -> NoReturn:
        """Run the command line and exit; the arguments are click's."""
        try:
            more["standalone_mode"] = False
            with _sigterm_as_interrupt():
                status = super().main(*args, **more)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message())
            sys.exit(COULD_NOT_RUN)
        except RunbookError as error:
            _say(str(error), error)
            sys.exit(error.exit_status)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "runbook"
            text = error.format_message().rstrip(".")
            _say(f"{text}{'' if text.endswith('?') else '.'} Next: {command} --help", error)
        except click.ClickException as error:
            _say(error.format_message(), error)
        except (KeyboardInterrupt, click.Abort) as error:
            _say(INTERRUPTED, error)
        except OSError as error:  # a folder that may not be written, a full disk: the operator's to mend
            action = _ACTIONS.get(error.errno or 0, "give this user the right to it, or name another one")
            _say(f"{error.filename or 'the system'}: {error.strerror or error}. Next: {action}", error)
        else:
            sys.exit(status if isinstance(status, int) else 0)
        sys.exit(COULD_NOT_RUN)


def _say(text: str, error: BaseException) -> None:
    if os.environ.get("RUNBOOK_TRACEBACK"):
        raise error
    click.echo(f"runbook: {' '.join(text.split())}", err=True)


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """CI ends a job with SIGTERM: everything is stopped in order, as at Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="runbook-lib")
def main() -> None:
    """Migration runbooks that are notebooks."""


_PATH: Any = click.Path(path_type=Path)
_PORT = click.IntRange(1024, 65_495)  # an estate takes forty from its first one
_SCALE = click.FloatRange(0.001, 1000)
_FILE = click.option("-f", "--file", "file", required=True, type=_PATH, help="Parameter file of the environment.")
_DEMO = click.option(
    "-f",
    "--file",
    "file",
    default="parameters/demo.yaml",
    type=_PATH,
    show_default=True,
    help="Parameter file of the environment.",
)


@main.command()
@click.option("--scale", default=1.0, type=_SCALE, show_default=True, help="Sample data; 1 is about 260,000 rows.")
@click.option("--drill", type=click.Choice(["rollback"]), help="Inject errors after the cutover and go back.")
@click.option("--keep", is_flag=True, help="Leave the estate running at the end, until Ctrl-C.")
@click.option("--rate", default=120.0, type=click.FloatRange(1, 10_000), show_default=True, help="Requests a second.")
@click.option("--port-base", default=15400, type=_PORT, show_default=True, help="First of the estate's forty ports.")
@click.option("--directory", default=".runbook/demo", type=_PATH, show_default=True, help="The estate's own folder.")
def demo(**options: Any) -> None:
    """Move a live monolith to three services on this machine, and prove that nothing was lost."""
    from runbook_lib.sandbox.demo import run_demo

    sys.exit(run_demo(click.echo, **options))


@main.command()
@click.option("--scale", default=1.0, type=_SCALE, show_default=True, help="Sample data; 1 is about 260,000 rows.")
@click.option("--port", default=8888, type=click.IntRange(1024, 65_535), show_default=True, help="JupyterLab's port.")
@click.option("--browser/--no-browser", default=True, show_default=True, help="Open a browser.")
def lab(**options: Any) -> None:
    """Start the demo estate with JupyterLab in front of it, until Ctrl-C."""
    from runbook_lib.sandbox.lab import run_lab

    sys.exit(run_lab(click.echo, **options))


@main.command()
@_FILE
def lint(file: Path) -> None:
    """Look for the five pitfalls in the plan; nothing is connected."""
    from runbook_lib.plan.lint import lint as look

    problems = look(_environment(file).plan)
    for problem in problems:
        click.echo(f"{problem.subject}: {problem.text}" + (f". Next: {problem.action}" if problem.action else ""))
    click.echo(f"{len(problems)} found" if problems else "none of the five pitfalls was found")
    sys.exit(1 if any(problem.blocking for problem in problems) else 0)


@main.command()
@_FILE
@click.option("--phase", default="", help="Only this phase.")
@click.option("--from", "first", default="", help="First phase.")
@click.option("--to", "last", default="", help="Last phase.")
@click.option("--run-id", default="", help="The run to go on with; the default is the environment's unfinished one.")
def run(file: Path, phase: str, first: str, last: str, run_id: str) -> None:
    """Run the plan's notebooks with papermill and seal their evidence."""
    from runbook_lib.runner import phases_between

    phases = phases_between(phase, first, last)
    environment = _environment(file)
    _require_databases(environment)
    _carry_out(environment, phases, run_id)


@main.command()
@_FILE
@click.option("--run-id", default="", help="The run to undo; the default is the environment's latest.")
def rollback(file: Path, run_id: str) -> None:
    """Go back: undo the run in reverse order, without losing a write."""
    _carry_out(_environment(file), ("rollback",), run_id)


@main.command()
@click.argument("run_id", required=False, default="")
@_DEMO
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
@_DEMO
def approve(run_id: str, what: str, comment: str, file: Path) -> None:
    """Give an approval or a sign-off that a run asks for."""
    from runbook_lib.gates import approve as give
    from runbook_lib.run import acting_person

    with _journal(file) as journal:
        journal.run(run_id)
        entry = give(journal, run_id, what, comment=comment, actor=acting_person())
    click.echo(f"{entry.kind} of {what!r} recorded as {entry.actor}")


@main.command(hidden=True)  # the notebooks start it; a person has no reason to
@_FILE
@click.option("--run-id", required=True)
@click.option("--plan", default="")
@click.option("--inventory", default="")
@click.option("--direction", type=click.Choice(["forward", "back"]), default="forward", show_default=True)
@click.option("--since", default=-1, help="The journal's last entry when this was asked for.")
def sync(file: Path, run_id: str, plan: str, inventory: str, direction: str, since: int) -> None:
    """Keep the other side current until told to stop. The notebooks start this by themselves."""
    from runbook_lib.environment import load_environment
    from runbook_lib.journal import Journal
    from runbook_lib.steps.common import links_of
    from runbook_lib.transfer.worker import sync_forever

    environment = load_environment(file.stem, plan, inventory, file.resolve().parent.parent)
    journal = Journal(environment.journal_url, secrets=environment.secrets())
    links = links_of(environment, direction)
    applied = sync_forever(links, journal, run_id, direction, batch_keys=2_000, since=since)
    click.echo(f"{applied} keys applied")


@main.group()
def evidence() -> None:
    """Look at the evidence of a run, or verify it."""


@evidence.command("verify")
@click.argument("directory", type=_PATH)
def verify_evidence(directory: Path) -> None:
    """Verify an evidence folder step by step: digests, signatures, chain, order."""
    from runbook_lib.evidence.verify import verify_bundle

    steps = verify_bundle(directory)
    for step in steps:
        click.echo(str(step))
    sys.exit(0 if all(step.passed for step in steps) else 1)


@evidence.command("show")
@click.argument("directory", type=_PATH)
def show_evidence(directory: Path) -> None:
    """Say what a run did, from its summary."""
    for key, value in _summary(directory / "summary.json").items():
        if isinstance(value, str | int | float):
            click.echo(f"{key:>20}  {value}")
    click.echo(f"{'page':>20}  {directory / 'index.html'}")


def _summary(path: Path) -> dict[str, Any]:
    import json

    action = "give the folder of a finished run: evidence/<environment>/<run_id>"
    try:
        summary = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise EvidenceError(str(path), "no such file", action=action) from error
    except (ValueError, NotADirectoryError, IsADirectoryError) as error:
        raise EvidenceError(str(path), "is not a run's summary", action=action) from error
    if not isinstance(summary, dict):
        raise EvidenceError(str(path), "is not a run's summary", action=action)
    return summary


def _carry_out(environment: Environment, phases: tuple[str, ...], run_id: str) -> None:
    from runbook_lib.runner import Runner

    runner = Runner(environment, click.echo, run_id=run_id)
    try:
        finished = runner.carry_out(phases)
        click.echo(f"evidence: {runner.finish()}")
    finally:
        runner.close()
    sys.exit(finished.exit_status)


def _environment(file: Path) -> Environment:
    """The environment of a parameter file: its name is the file's, its root two folders up; its options are known."""
    from runbook_lib.environment import load_environment_file
    from runbook_lib.options import read_options

    environment = load_environment_file(file)
    read_options(environment.options)
    return environment


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


@contextmanager
def _journal(file: Path) -> Iterator[Journal]:
    """The environment's journal; looking at it does not make one."""
    from runbook_lib.journal import Journal

    environment = _environment(file)
    url = environment.journal_url
    path = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:") and not path.exists():
        raise ConfigurationError(f"journal {path}", "there is none yet", action=f"runbook run -f {file}")
    try:
        secrets = environment.secrets()
    except RunbookError:  # who approves need not be able to read them
        secrets = ()
    with closing(Journal(url, secrets=secrets)) as journal:
        yield journal


if __name__ == "__main__":
    main()
