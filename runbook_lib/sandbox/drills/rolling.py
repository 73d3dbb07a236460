"""A fleet gets a release under traffic, and then one that fails at its third instance: everything goes back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runbook_lib.config.environment import Environment, find_root, load_environment
from runbook_lib.plan.phase_order import ROLLING
from runbook_lib.runner.run_phases import Finished, Runner
from runbook_lib.sandbox.demo import (
    Setting,
    client_figures,
    end_unfinished,
    figures_of,
    tell_figures,
    wait_for_the_end,
)
from runbook_lib.sandbox.estate import Estate
from runbook_lib.sandbox.ledger import Ledger, LostWrite, missing_writes

FLEET = 5  # four instances and a spare
GOOD, SPOILED = "2", "3"
FAILS_AT = "user_service-3"


def run(show: Callable[[str], None], setting: Setting) -> int:
    """Upgrade the fleet under the client's traffic, then again to a release that is not healthy on one instance.

    Returns:
        int: the exit status: 0 only when the first release is everywhere, the second nowhere, no request failed and
        no acknowledged write was lost.
    """
    begun = time.monotonic()
    with Estate(
        setting.directory,
        port_base=setting.port_base,
        scale=setting.scale,
        rate=setting.rate,
        client=True,
        fleet=FLEET,
    ) as estate:
        show(f"estate up in {time.monotonic() - begun:.1f} s: four instances of user_service, clients at work")
        inventory = str(estate.write_inventory(estate.directory / "inventory.yaml"))
        first = load_environment(ROLLING, inventory=inventory, root=find_root())
        end_unfinished(first)
        upgraded, runner = _carry_out(first, show)
        estate.services.spoiled.add((FAILS_AT, SPOILED))
        show(f"now release {SPOILED}, which is never healthy on {FAILS_AT}")
        refused, last = _carry_out(_next_release(first, estate, inventory), show)
        there = _releases(first)
        estate.services.stop("client")
        ledger, home = Ledger(estate.ledger), estate.conninfo("monolith")
        lost = missing_writes(ledger, users=home, orders=home, payments=home, shape="monolith")
        figures = figures_of(ledger, lost)
        for one in (runner, last):
            index = one.finish(ledger=figures, charts=_charts(ledger))
            one.close()
        _tell(show, figures, lost, there, index, time.monotonic() - begun)
        if setting.keep:
            wait_for_the_end(show, estate)
    fine = upgraded.exit_status == 0 and refused.exit_status == 1 and set(there.values()) == {GOOD}
    return 0 if fine and not lost and not figures["failed_requests"] else 1


def _carry_out(environment: Environment, show: Callable[[str], None]) -> tuple[Finished, Runner]:
    runner = Runner(environment, show)
    return runner.carry_out((ROLLING,)), runner


def _next_release(first: Environment, estate: Estate, inventory: str) -> Environment:
    """The same plan with the next release."""
    path = estate.directory / "next_release.yaml"
    path.write_text(first.plan_path.read_text(encoding="utf-8").replace(f'version: "{GOOD}"', f'version: "{SPOILED}"'))
    return load_environment(ROLLING, plan=str(path), inventory=inventory, root=find_root())


def _releases(environment: Environment) -> dict[str, str]:
    instances = environment.inventory.fleets["user_service"].instances
    return {name: environment.service(name).version() for name in instances}


def _charts(ledger: Ledger) -> dict[str, str]:
    """What the clients saw all the time, as SVG by caption."""
    from runbook_lib import charts

    return {caption: charts.svg(figure) for caption, figure in client_figures(ledger).items()}


def _tell(
    show: Callable[[str], None],
    figures: Mapping[str, Any],
    lost: Sequence[LostWrite],
    there: Mapping[str, str],
    index: Path,
    elapsed_s: float,
) -> None:
    tell_figures(show, figures, lost, elapsed_s, reads=True)
    releases = ", ".join(f"{name} {release}" for name, release in there.items())
    show(f"\nreleases: {releases}; evidence: {index}")
