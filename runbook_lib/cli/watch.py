"""The watcher of a stability period."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runbook_lib.cli.base import FILE, environment_of, main
from runbook_lib.util import extras

if TYPE_CHECKING:
    from runbook_lib.config.environment import Environment


@main.command()
@FILE
@click.option("--run-id", default="", help="The run; the default is the environment's unfinished one.")
def watch(file: Path, run_id: str) -> None:
    """Watch the rollback triggers through the stability period, days long, until it is measured or one fires.

    `runbook run` ends at the stability period and says when it is due: keep this running meanwhile (a service of
    systemd, a container). End it or kill it at any time and start it again: what is recorded stays, at most the last
    minute is lost. Time in which nobody watches, or a trigger could not be judged, does not count. One watcher at a
    time.

    Where the policy says `act`, a trigger that fires starts the rollback.
    """
    from runbook_lib.errors import ConfigurationError
    from runbook_lib.journal import History, Journal
    from runbook_lib.journal.kinds import Alarm
    from runbook_lib.run.approvals import unanswered
    from runbook_lib.steps.watch_process import watch_on
    from runbook_lib.transfer.sync_process import stop_at_signals

    environment = environment_of(file)
    extras.require("runbook watch", "notebook")
    with closing(Journal(environment.journal_url, secrets=environment.secrets())) as journal:
        row = journal.run(run_id) if run_id else journal.latest_run(environment.name, states=("open",))
        if row is None:
            raise ConfigurationError("runbook watch", "no run is under way", action=f"runbook run -f {file}")
        with stop_at_signals() as stop:
            found = watch_on(environment, journal, row.run_id, pause=stop.wait, show=click.echo)
        fired = [one.read(Alarm).text for one in unanswered(History(journal.entries(row.run_id)))]
    if found is None:
        click.echo("a rollback took the watch back")
    elif fired:
        _answer(environment, row.run_id, fired)
    elif found.over:
        words = f"the period is over: {found.text(time.time())}"
        _tell(environment, row.run_id, "watch_over", words)
        click.echo(f"{words}. Next: runbook run -f {file}")
    sys.exit(1 if fired else 0 if found is None or found.over else 2)


def _answer(environment: Environment, run_id: str, fired: list[str]) -> None:
    """What the policy says about a trigger that fired: go back, ask, or only say so."""
    from runbook_lib.runner.run_phases import Runner

    click.echo(f"a rollback trigger fired: {'; '.join(fired)}")
    _tell(environment, run_id, "rollback_trigger", "; ".join(fired))
    with closing(Runner(environment, click.echo, run_id=run_id)) as runner:
        if runner.answer_alarm({}):
            click.echo(f"evidence: {runner.finish()}")


def _tell(environment: Environment, run_id: str, event: str, words: str) -> None:
    from runbook_lib.journal import Journal
    from runbook_lib.monitoring.announce import announce

    with closing(Journal(environment.journal_url, secrets=environment.secrets())) as journal:
        announce(environment, journal, run_id, event, words, phase="cleanup", show=click.echo)
