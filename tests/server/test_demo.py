"""The main job from the command line: the demo moves a live monolith, and the drill goes back; nothing is lost."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fix_sandbox import free_port_base
from nightly import at_night

from runbook_lib.evidence.verify import verify_bundle
from runbook_lib.sandbox.processes import require_free_ports
from runbook_lib.sandbox.services import Ports

ROOT = Path(__file__).parents[2]
KEYS = (
    "run_id",
    "phases",
    "acknowledged_writes",
    "lost_writes",
    "failed_requests",
    "write_pause_ms",
    "rows_copied",
    "checks",
    "duration_s",
)
pytestmark = [pytest.mark.demo, pytest.mark.xdist_group("demo")]


def demo(directory: Path, *arguments: str, environment: str = "demo") -> tuple[Path, dict[str, Any], str]:
    """Run the demo at a small scale; its evidence folder, its summary, what it printed."""
    printed = play(directory, *arguments)
    [bundle] = (directory / "evidence" / environment).iterdir()
    return bundle, json.loads((bundle / "summary.json").read_text()), printed


def play(directory: Path, *arguments: str) -> str:
    """Run it, and return what it printed."""
    base = free_port_base()
    command = [sys.executable, "-m", "runbook_lib.cli", "demo", "--scale", "0.05", "--directory", str(directory)]
    command += ["--rate", "50"]  # two cores, shared with other tests
    done = subprocess.run(
        [*command, "--port-base", str(base), *arguments], capture_output=True, text=True, cwd=ROOT, timeout=900
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-2000:]}"
    require_free_ports(Ports(base).all())
    return done.stdout


def test_the_demo_moves_the_monolith_under_traffic_without_losing_a_write_or_a_request(tmp_path: Path) -> None:
    bundle, summary, printed = demo(tmp_path / "demo")
    assert set(KEYS) <= set(summary)
    assert summary["acknowledged_writes"] > 1_000
    assert (summary["lost_writes"], summary["failed_requests"]) == (0, 0)
    assert summary["rows_copied"] > 10_000
    assert summary["ledger"]["fault_to_return_s"] is None
    assert set(summary["checks"].values()) == {"pass"} and len(summary["checks"]) == 6
    assert [phase["passed"] for phase in summary["phases"]] == [True] * 6
    assert all((bundle / f"{folder}/notebook.html").exists() for folder in ("00_preflight", "04_cutover", "05_cleanup"))
    assert [step for step in verify_bundle(bundle) if not step.passed] == []
    assert "lost writes" in printed


@at_night
@pytest.mark.parametrize("name", ["rollback", "bad-release"])
def test_the_drill_lets_a_trigger_fire_and_every_acknowledged_write_is_in_the_monolith(
    tmp_path: Path, name: str
) -> None:
    bundle, summary, printed = demo(tmp_path / "demo", "--drill", name)
    assert "a rollback trigger fired and the policy says act: going back" in printed
    assert "the monolith has the writes" in printed
    assert summary["acknowledged_writes"] > 1_000 and summary["lost_writes"] == 0
    assert summary["ledger"]["fault_to_return_s"] > 0
    assert (bundle / "90_rollback/notebook.html").exists()
    assert [step for step in verify_bundle(bundle) if not step.passed] == []


@at_night
def test_a_release_goes_to_green_and_back_and_neither_way_loses_a_write_or_a_request(tmp_path: Path) -> None:
    bundle, summary, printed = demo(tmp_path / "demo", "--drill", "blue-green", environment="blue_green")
    assert set(KEYS) <= set(summary)
    assert re.search(r"green has [\d,]+ acknowledged writes, 0 are lost", printed)
    assert "the monolith has the writes" in printed
    assert (summary["lost_writes"], summary["failed_requests"], summary["outcome"]) == (0, 0, "rolled_back")
    folders = ("00_preflight", "01_prepare", "02_validate", "03_switch", "04_watch", "90_rollback")
    assert all((bundle / folder / "notebook.html").exists() for folder in folders)
    assert [step for step in verify_bundle(bundle) if not step.passed] == []


@at_night
def test_the_rolling_drill_upgrades_a_fleet_and_rolls_a_bad_release_back_without_a_failed_request(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "demo"
    printed = play(directory, "--drill", "rolling")
    bundles = sorted((directory / "evidence/rolling").iterdir())
    summaries = [json.loads((bundle / "summary.json").read_text()) for bundle in bundles]
    assert len(summaries) == 2
    assert all({"run_id", "phases", "acknowledged_writes", "lost_writes", "failed_requests"} <= {*s} for s in summaries)
    assert [s["failed_requests"] + s["lost_writes"] for s in summaries] == [0, 0]
    assert [s["phases"][0]["passed"] for s in summaries] == [True, False]
    assert [step for bundle in bundles for step in verify_bundle(bundle) if not step.passed] == []
    assert "releases: user_service-1 2, user_service-2 2, user_service-3 2, user_service-4 2" in printed
