"""What `runbook lab` tells the person at the terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from runbook_lib.sandbox.lab import _command


def test_the_command_for_another_terminal_can_be_typed_as_it_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    programs = Path(sys.executable).parent
    monkeypatch.setenv("PATH", "/nowhere")
    assert Path(_command()).is_file() and Path(_command()).parent == programs
    monkeypatch.setenv("PATH", str(programs))
    assert _command() == "runbook"
