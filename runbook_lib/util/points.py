"""Points that a process passes between two acts, by name: who wants to see them adds an observer, in code.

Nobody looks on by itself. The crash tests do: a process ends at a point that a test chose.
"""

from __future__ import annotations

from collections.abc import Callable

observers: list[Callable[[str], None]] = []


def passed(point: str) -> None:
    """Let everybody who looks on know, before the next act."""
    for observer in observers:
        observer(point)
