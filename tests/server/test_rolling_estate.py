"""A fleet behind the real Envoy, under live requests: upgraded although the process is killed in the middle of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fix_sandbox import SCALE, free_port_base

from runbook_lib.config.environment import load_environment
from runbook_lib.journal import Journal
from runbook_lib.journal.kinds import InstanceChanged
from runbook_lib.sandbox.estate import Estate
from runbook_lib.sandbox.ledger import Ledger

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.demo, pytest.mark.xdist_group("demo")]
UPGRADE = """
import os, signal, sys
from pathlib import Path
from runbook_lib.config.environment import load_environment
from runbook_lib.run.run import begin
from runbook_lib.steps import roll_out
from runbook_lib.util import points

seen = []
def die(point):
    seen.append(point)
    if seen.count(sys.argv[2]) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
points.observers.append(die)
options = {"monitor_s": 1, "baseline_s": 1, "lease_ttl_s": 1}
environment = load_environment("rolling", inventory=sys.argv[1], root=Path.cwd())
with begin(environment, "rolling", options=options) as run:
    roll_out(run)
    run.gate()
"""


def upgrade(inventory: Path, until: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", UPGRADE, str(inventory), until]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=180)


def test_no_request_fails_while_a_fleet_is_upgraded_by_a_process_that_is_killed_between(tmp_path: Path) -> None:
    with Estate(tmp_path / "estate", port_base=free_port_base(), scale=SCALE, client=True, rate=60, fleet=5) as estate:
        inventory = estate.write_inventory(tmp_path / "inventory.yaml")
        killed = upgrade(inventory, "rolling:drained")  # the second one: of the batch after the canary
        assert killed.returncode == -9, killed.stderr[-2000:]
        environment = load_environment("rolling", inventory=str(inventory), root=ROOT)
        left = environment.router().routes()["user_service.reads"].weights
        assert {name for name, share in left.items() if share} == {f"user_service-{n}" for n in (1, 4, 5)}
        done = upgrade(inventory, "never")
        assert done.returncode == 0, done.stderr[-2000:]
        names = environment.inventory.fleets["user_service"].instances
        assert {environment.service(name).version() for name in names} == {"2"}
        assert not environment.service("user_service-5").running()
        estate.services.stop("client")
        seen = Ledger(estate.ledger).summary()
        journal = Journal(environment.journal_url)
        [run] = journal.runs()
        acts = [entry.read(InstanceChanged).act for entry in journal.entries(run.run_id, InstanceChanged)]
        journal.close()
    assert seen.failed_requests == 0 and seen.acknowledged_writes > 100
    assert (acts.count("backed_up"), acts.count("upgraded"), run.state) == (4, 4, "done")
