"""By hand, cells can be run in any order: what must have passed before a step is said by the step itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fix_run import SmallEnvironment, small_environment, small_plan, start

from runbook_lib import steps
from runbook_lib.errors import OutOfOrder
from runbook_lib.plan.model import Service


def test_no_read_moves_to_the_services_own_data_before_it_was_compared_and_proven_to_come_back(tmp_path: Path) -> None:
    with start(_with_a_service(tmp_path)) as run:
        move = steps.read_shifts(run, "target")[0]
        assert {"verify_data:before_reads", "verify_reverse_mapping"} <= set(move.requires)
        with pytest.raises(OutOfOrder, match=r"verify_data:before_reads has not passed .*nothing was applied"):
            run.step(move)


def test_no_read_moves_to_a_service_that_was_not_asked(tmp_path: Path) -> None:
    with start(_with_a_service(tmp_path)) as run, pytest.raises(OutOfOrder, match="smoke_test:source"):
        run.step(steps.read_shifts(run, "source")[0])


def test_both_sides_are_not_compared_before_there_is_anything_to_compare(tmp_path: Path) -> None:
    with start(_with_a_service(tmp_path)) as run, pytest.raises(OutOfOrder, match="build_indexes"):
        run.step(steps.VerifyData("before_reads"))


def _with_a_service(root: Path) -> SmallEnvironment:
    return small_environment(root, replace(small_plan(), services=(Service("user_service", "users_db", (), ()),)))
