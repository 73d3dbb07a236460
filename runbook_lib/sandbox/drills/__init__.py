"""The drills of `runbook demo --drill NAME`: one file each, whose `run` plays it and returns the exit status.

`run(show, setting)` takes what tells a line to the person, and a `sandbox.demo.Setting`. Most of them hand
`sandbox.demo.play` what is to happen on the estate, and how to know that it did.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runbook_lib.sandbox.demo import Setting

# Name → what is proven; the file has the name, with `_` for `-`. Names are read for the command's help: nothing else is
# imported before one is chosen.
DRILLS: dict[str, str] = {
    "bad-release": "services that answer 5 % errors after the switch: how long until the monolith has all traffic",
    "blue-green": "a release goes from blue to green and back: neither way loses an acknowledged write",
    "rolling": "a fleet gets a release, and one that fails at its third instance is rolled back; no request fails",
    "rollback": "errors after the cutover: a trigger fires, and the monolith has every acknowledged write again",
}


def told() -> str:
    """All of them, for the command's help."""
    return " ".join(f"{name}: {text}." for name, text in DRILLS.items())


def drill(name: str) -> Callable[[Callable[[str], None], Setting], int]:
    """The function that plays this drill; KeyError for a name that is none."""
    if name not in DRILLS:
        raise KeyError(name)
    found: Callable[[Callable[[str], None], Setting], int] = import_module(f"{__name__}.{name.replace('-', '_')}").run
    return found
