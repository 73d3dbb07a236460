"""What a test needs of the machine and cannot have: skipped with the reason, in CI a failure (nothing is left out)."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def absent(reason: str) -> NoReturn:
    """End the test that cannot have its server, program or browser; `reason` says which, and why."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (skipped on other machines, but not in CI)", pytrace=False)
    pytest.skip(reason)


def program(name: str) -> str:
    """The path of a program that the test needs."""
    return shutil.which(name) or absent(f"{name} is not installed")
