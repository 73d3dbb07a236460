"""A short campaign of random kills: a whole run under traffic ends, and loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from campaign import main

pytestmark = pytest.mark.xdist_group("campaign")


def test_a_run_that_is_killed_at_random_moments_ends_without_losing_a_write(tmp_path: Path) -> None:
    few = ["--kills", "3", "--seed", "4", "--scale", "0.005", "--rate", "40", "--span", "3"]
    assert main([*few, "--directory", str(tmp_path / "c")]) == 0
