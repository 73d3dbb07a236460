"""Rows in quarantine: `runbook replay`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runbook_lib.cli.base import PATH, environment_of, main
from runbook_lib.errors import ConfigurationError

if TYPE_CHECKING:
    from runbook_lib.transfer.links import Link


@main.command()
@click.argument("files", nargs=-1, required=True, type=PATH)
@click.option("-f", "--file", "parameters", type=PATH, help="Parameter file of the plan that set the rows aside.")
@click.option("--source", default="", help="Where the rows are, if there is no plan.")
@click.option("--target", default="", help="Which database refused them.")
def replay(files: tuple[Path, ...], parameters: Path | None, source: str, target: str) -> None:
    """Try quarantined rows again, which the target refused; FILES are below .runbook/quarantine.

    It needs the plan's parameter file, or both databases. A row that arrives is taken out of quarantine.
    """
    from runbook_lib.transfer.replay import replay as try_again

    if (parameters is None) == (not source or not target):
        action = "runbook replay FILE -f PARAMETERS, or --source URL --target URL"
        raise ConfigurationError("replay", "needs a parameter file or two databases", action=action)

    def link_of(channel: str, table: str) -> Link:
        return _of_plan(parameters, channel) if parameters else _between(source, target, table)

    left = 0
    for file in files:
        done = try_again(file.resolve(), link_of)
        click.echo(done.text)
        for row in done.left:
            click.echo(f"  {row.table} ({', '.join(map(str, row.key))}): {row.reason}")
        left += len(done.left)
    sys.exit(1 if left else 0)


def _of_plan(parameters: Path, channel: str) -> Link:
    from runbook_lib.steps.routes_and_links import BACK, FORWARD, links_of

    environment = environment_of(parameters)
    for direction in (FORWARD, BACK):
        for link in links_of(environment, direction):
            if link.channel == channel:
                return link
    services = ", ".join(service.name for service in environment.plan.services)
    raise ConfigurationError(f"channel {channel}", "not of this plan", expected=services, action="name its plan")


def _between(source: str, target: str, table: str) -> Link:
    from runbook_lib.config.database_url import open_endpoint
    from runbook_lib.transfer.build_links import forward_links
    from runbook_lib.transfer.implicit_plan import whole_plan

    reader, writer = open_endpoint(source, "source"), open_endpoint(target, "target")
    [link] = forward_links(whole_plan(reader, writer, [table]), reader, {"target": writer})
    return link
