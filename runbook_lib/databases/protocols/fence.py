"""Writers refused at one side while the other takes over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Fence(Protocol):
    """The cutover's part of the port."""

    def prepare_fence(self, tables: Sequence[str]) -> None:
        """Install the (lowered) fence on these tables. Idempotent."""
        ...

    def raise_fence(self, tables: Sequence[str], *, timeout_s: float) -> float:
        """Turn writers of these tables away with a clear error, all tables in one transaction.

        Returns when every writer in flight has ended: the seconds that took. Raises CutoverAborted (fence lowered)
        when locks are not granted within the timeout.
        """
        ...

    def lower_fence(self, tables: Sequence[str]) -> None:
        """Resume writes. Idempotent."""
        ...

    def fenced(self, tables: Sequence[str]) -> frozenset[str]: ...

    def remove_fence(self) -> None: ...
