"""The demo estate: `runbook demo` and `runbook lab`."""

from __future__ import annotations

import sys
from typing import Any

import click

from runbook_lib.cli.base import PATH, Number, main
from runbook_lib.sandbox import drills
from runbook_lib.util import extras

PORT = click.IntRange(1024, 65_495)  # an estate takes forty from its first one
SCALE = Number(0.001, 1000)


@main.command()
@click.option("--scale", default=1.0, type=SCALE, show_default=True, help="Sample data; 1 is about 260,000 rows.")
@click.option("--drill", type=click.Choice(list(drills.DRILLS)), help=f"Play a drill. {drills.told()}")
@click.option("--keep", is_flag=True, help="Leave the estate running at the end, until Ctrl-C or kill.")
@click.option("--rate", default=120.0, type=Number(1, 10_000), show_default=True, help="Requests a second.")
@click.option("--port-base", default=15400, type=PORT, show_default=True, help="First of the estate's forty ports.")
@click.option("--directory", default=".runbook/demo", type=PATH, show_default=True, help="The estate's own folder.")
def demo(drill: str | None, **options: Any) -> None:
    """Move a live sample monolith to three services on this machine, and prove that nothing was lost.

    At the end the clients' ledger of acknowledged writes is compared with the databases that are in force. A drill is
    a run that something happens to: it ends with 0 only when that was answered, and nothing was lost.
    """
    extras.require("runbook demo", "demo")
    from runbook_lib.sandbox import demo as stage

    play = drills.drill(drill) if drill else stage.run_demo
    sys.exit(play(click.echo, stage.Setting(**options)))


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
