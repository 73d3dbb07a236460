"""Cutover and return, killed at every recorded moment under live traffic, then run again: nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from estate_killed import EVENTS, killed_at
from estate_steps import carry_out, cut_over, environment_of, give_back
from fix_sandbox import SCALE, free_port_base
from nightly import at_night

from runbook_lib.sandbox.estate import Estate
from runbook_lib.sandbox.ledger import Ledger, missing_writes

# Each engine's cutover is killed at them in test_engines_killed.py; here with router and clients, all night.
KILLED = EVENTS
# Each alone: from "final sync done" on, a return run again is done at once.
KILLED_ON_THE_WAY_BACK = EVENTS[1::2]
HELD_MS = 15_000
HERE = Path(__file__).parent.parent
pytestmark = [pytest.mark.xdist_group("cutover_killed"), at_night]


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    directory = tmp_path_factory.mktemp("killed")
    with Estate(directory, port_base=free_port_base(), scale=SCALE, client=True, rate=60) as running:
        inventory = running.write_inventory(directory / "inventory.yaml")
        os.environ["RUNBOOK_PARENT_PID"] = str(os.getpid())
        carry_out(environment_of(inventory), "preflight", "preparation", "gradual_extraction", "data_migration")
        yield running
        del os.environ["RUNBOOK_PARENT_PID"]


def killed(estate: Estate, what: str, event: str) -> None:
    """Begin the act in a process that is killed at this event."""
    command = [sys.executable, str(HERE / "estate_steps.py"), str(inventory(estate)), what]
    done = subprocess.run(
        command, env=killed_at(f"cutover:{event}"), cwd=HERE.parent, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]


def inventory(estate: Estate) -> Path:
    return estate.directory / "inventory.yaml"


def writers(estate: Estate) -> dict[str, int]:
    """Where the router sends the writes."""
    weights = environment_of(inventory(estate)).router().routes()["order_service.writes"].weights
    return {name: weight for name, weight in weights.items() if weight}


def test_a_cutover_killed_at_every_moment_in_turn_ends_at_the_target_without_losing_a_write(estate: Estate) -> None:
    for event in KILLED:
        killed(estate, "cutover", event)
    cut_over(environment_of(inventory(estate)))
    assert writers(estate) == {"order_service@target": 100}


@pytest.mark.parametrize("event", KILLED_ON_THE_WAY_BACK)
def test_a_return_killed_anywhere_goes_on_without_losing_a_write(estate: Estate, event: str) -> None:
    if writers(estate) == {"monolith": 100}:
        cut_over(environment_of(inventory(estate)))
    killed(estate, "return", event)
    give_back(environment_of(inventory(estate)))
    assert writers(estate) == {"monolith": 100}


def test_after_all_of_these_kills_every_acknowledged_write_is_at_the_source(estate: Estate) -> None:
    estate.services.stop("client")
    home, ledger = estate.conninfo("monolith"), Ledger(estate.ledger)
    assert ledger.summary().acknowledged_writes > 500
    assert missing_writes(ledger, users=home, orders=home, payments=home, shape="monolith") == []
    # Who kills it also decides how long writers are held: the router gives up on those of more than its 15 s.
    assert [failed for failed in ledger.failures() if failed["latency_ms"] < HELD_MS] == []
