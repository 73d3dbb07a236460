"""What the library asks of whatever runs the services: deploy, start, stop, health, backup, restore."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Health:
    """`ok` with the time it took to answer (milliseconds), or what was answered instead."""

    ok: bool
    elapsed_ms: float
    text: str = ""


class ServiceController(Protocol):
    """One service of the inventory. Every call is idempotent and returns when the state is reached, or raises."""

    name: str
    url: str

    def deploy(self, version: str = "") -> None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def running(self) -> bool: ...

    def health(self) -> Health: ...

    def backup(self) -> str:
        """Take a backup of the service and return its reference, fit for `restore`."""
        ...

    def restore(self, reference: str) -> None: ...
