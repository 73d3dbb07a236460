"""What CI leaves to the night (`RUNBOOK_NIGHTLY=1 make test`): it has 20 minutes on two cores."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

import pytest

T = TypeVar("T")
EVERY = bool(os.environ.get("RUNBOOK_NIGHTLY"))
at_night = pytest.mark.skipif(not EVERY, reason="of the night: RUNBOOK_NIGHTLY=1")


def short_of(every: Sequence[T], short: Sequence[T]) -> Sequence[T]:
    """All of them where RUNBOOK_NIGHTLY is set, else these.

    Args:
        every: The parameters of a test that is long, or the moments of one.
        short: The part of them that each CI run takes.
    """
    assert {*short} <= {*every}
    return every if EVERY else short
