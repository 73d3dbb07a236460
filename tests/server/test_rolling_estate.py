"""A fleet behind the real Envoy, under live requests: upgraded although the process is killed in the middle of it."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import closing
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
options = {"baseline_s": 1, "lease_ttl_s": 1, "floor_ms": 5000, "min_requests": 3}
plan, inventory = f"{sys.argv[1]}/plan.yaml", f"{sys.argv[1]}/inventory.yaml"
environment = load_environment("rolling", plan, inventory, Path.cwd())
with begin(environment, "rolling", options=options) as run:
    roll_out(run)
    run.gate()
"""


PLAN = """
migration: Release 2
strategy: rolling
source: legacy
rolling: {user_service: {version: "2", surge: 1, min_healthy: 2, monitor: 2s}}
rollback_triggers: [error_rate > 1%, response_time > 2x baseline]
"""


def two_instances(inventory: Path) -> None:
    """Two instances and a spare: two cores run all of it."""
    text = re.sub(r"(?m)^      user_service-[345].*\n", "", inventory.read_text())
    spare = '    spares:\n      user_service-3: {url: "http://127.0.0.1:'
    ports = re.findall(r"user_service-2: .*:(\d+)", text)
    inventory.write_text(text.replace("    spares:\n", f'{spare}{int(ports[0]) + 1}"}}\n'))


def upgrade(root: Path, until: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", UPGRADE, str(root), until]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=240)


def test_no_request_fails_while_a_fleet_is_upgraded_by_a_process_that_is_killed_between(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(PLAN)
    base = free_port_base()
    with Estate(tmp_path / "estate", port_base=base, scale=SCALE, client=True, rate=60, fleet=3) as estate:
        two_instances(estate.write_inventory(tmp_path / "inventory.yaml"))
        killed = upgrade(tmp_path, "rolling:drained")  # the second one
        assert killed.returncode == -9, killed.stderr[-2000:]
        environment = load_environment("rolling", f"{tmp_path}/plan.yaml", f"{tmp_path}/inventory.yaml", ROOT)
        left = environment.router().routes()["user_service.reads"].weights
        assert {name for name, share in left.items() if share} == {"user_service-1", "user_service-3"}
        done = upgrade(tmp_path, "never")
        assert done.returncode == 0, done.stderr[-2000:]
        assert [environment.service(f"user_service-{number}").version() for number in (1, 2)] == ["2", "2"]
        assert not environment.service("user_service-3").running()
        estate.services.stop("client")
        seen = Ledger(estate.ledger).summary()
        with closing(Journal(environment.journal_url)) as journal:
            [run] = journal.runs()
            acts = [entry.read(InstanceChanged).act for entry in journal.entries(run.run_id, InstanceChanged)]
    assert seen.failed_requests == 0 and seen.acknowledged_writes > 100
    assert (acts.count("backed_up"), acts.count("upgraded"), run.state) == (2, 2, "done")
