"""A release that answers 5 % errors: a trigger fires, and the time until the old side has the traffic is measured."""

from __future__ import annotations

from collections.abc import Callable

from runbook_lib.sandbox.demo import Setting
from runbook_lib.sandbox.drills.rollback import go_back_after

INJECTED = dict.fromkeys(("user_service@target", "order_service@target", "payment_service@target"), 0.05)


def run(show: Callable[[str], None], setting: Setting) -> int:
    """Play it: 0 when a trigger fired, the rollback passed, and no acknowledged write was lost."""
    return go_back_after(show, setting, INJECTED)
