"""What the library asks of whatever runs the services: deploy, start, stop, health, backup, upgrade, restore."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

# What an inventory may have a command for, and what stands in it in braces.
COMMANDS = ("deploy", "start", "stop", "status", "drain", "backup", "restore", "upgrade", "rollback", "version")
PLACEHOLDERS = ("python", "name", "url", "root", "version", "reference")


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

    def drain(self) -> None:
        """Let what is in flight end, where the service has a word for it."""
        ...

    def upgrade(self, version: str) -> None:
        """Bring it to this release; it need not be healthy yet. Twice is harmless."""
        ...

    def roll_back(self, reference: str, version: str) -> None:
        """Bring it back to this release and to what `backup` returned. Twice is harmless."""
        ...

    def version(self) -> str:
        """The release that runs; empty where nobody can say."""
        ...
