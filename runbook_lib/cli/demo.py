"""The demo estate: `runbook demo` and `runbook lab`."""

from __future__ import annotations

import sys
from typing import Any

import click

from runbook_lib.cli.base import PATH, Number, main
from runbook_lib.util import extras

PORT = click.IntRange(1024, 65_495)  # an estate takes forty from its first one
SCALE = Number(0.001, 1000)


@main.command()
@click.option("--scale", default=1.0, type=SCALE, show_default=True, help="Sample data; 1 is about 260,000 rows.")
@click.option("--drill", type=click.Choice(["rollback"]), help="Inject errors after the cutover and go back.")
@click.option("--keep", is_flag=True, help="Leave the estate running at the end, until Ctrl-C or kill.")
@click.option("--rate", default=120.0, type=Number(1, 10_000), show_default=True, help="Requests a second.")
@click.option("--port-base", default=15400, type=PORT, show_default=True, help="First of the estate's forty ports.")
@click.option("--directory", default=".runbook/demo", type=PATH, show_default=True, help="The estate's own folder.")
def demo(**options: Any) -> None:
    """Move a live sample monolith to three services on this machine, and prove that nothing was lost.

    At the end the clients' ledger of acknowledged writes is compared with the databases. The drill injects errors after
    the cutover: a rollback trigger fires, the run goes back, and the monolith must have every acknowledged write.
    """
    extras.require("runbook demo", "demo")
    from runbook_lib.sandbox.demo import run_demo

    sys.exit(run_demo(click.echo, **options))


@main.command()
@click.option("--scale", default=1.0, type=SCALE, show_default=True, help="Sample data; 1 is about 260,000 rows.")
@click.option("--port", default=8888, type=click.IntRange(1024, 65_535), show_default=True, help="JupyterLab's port.")
@click.option("--browser/--no-browser", default=True, show_default=True, help="Open a browser.")
def lab(**options: Any) -> None:
    """Start the demo estate with JupyterLab in front of it, until Ctrl-C.

    The address is printed. Run the notebooks 00 to 05 from top to bottom; `runbook status` in another terminal says
    where the run is.
    """
    extras.require("runbook lab", "lab")
    from runbook_lib.sandbox.lab import run_lab

    sys.exit(run_lab(click.echo, **options))
