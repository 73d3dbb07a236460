"""The shortest campaign of random kills: a whole run under traffic ends, and loses nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("campaign")
ROOT = Path(__file__).parents[2]


def test_a_run_that_is_killed_at_a_random_moment_ends_without_losing_a_write(tmp_path: Path) -> None:
    moment = ["--kills", "1", "--seed", "1", "--phases", "data_migration", "--span", "4"]
    estate = ["--scale", "0.005", "--rate", "20", "--directory", str(tmp_path / "c")]
    command = [sys.executable, "-m", "tests.crash.campaign", *moment, *estate]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
