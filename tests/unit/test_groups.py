"""Tests that share an estate run on one worker: xdist tells them by the end of their names."""

from __future__ import annotations

import os

import pytest

pytestmark = pytest.mark.xdist_group("groups")


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process: all tests share its estates")
def test_a_group_is_part_of_its_tests_names_by_which_they_are_kept_together(request: pytest.FixtureRequest) -> None:
    assert request.node.nodeid.endswith("@groups")
