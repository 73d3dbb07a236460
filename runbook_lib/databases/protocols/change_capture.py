"""Changes at the source, logged by key, and applied at the target."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from runbook_lib.databases.model import (
    Applied,
    Changes,
    Pending,
    Selection,
)

Rows = Sequence[tuple[Any, ...]]  # values in the order of some columns


class ChangeCapture(Protocol):
    """The live sync's part of the port."""

    def install_capture(self, channel: str, tables: Mapping[str, Sequence[str]]) -> None:
        """Log the keys of every change of these tables (table → key columns) under this channel.

        Returns only when transactions older than the capture have ended (docs/correctness.md#start-of-capture).
        Idempotent.
        """
        ...

    def capture_installed(self, channel: str) -> frozenset[str]:
        """The tables whose capture is complete and enabled."""
        ...

    def capture_gaps(self, channel: str) -> dict[str, str]:
        """The channel's other tables: table → why changes of it may not have been logged (its rows were replaced)."""
        ...

    def remove_capture(self, channel: str, tables: Collection[str] | None = None) -> None:
        """Remove triggers and logs of the channel, or of these tables of it, also of ones that were renamed away.

        Refuses nothing, loses the log. Idempotent.
        """
        ...

    def pending(self, channel: str) -> dict[str, Pending]:
        """Lag per captured table, each poll in a new transaction."""
        ...

    def read_changes(self, channel: str, table: str, limit: int, *, as_of: float | None = None) -> Changes:
        """Up to `limit` oldest log rows of a table; nothing is consumed.

        Fewer than `limit`: these are all that was committed by `as_of` (`time.monotonic`; None: by now).
        """
        ...

    def forget_changes(self, channel: str, changes: Changes) -> None:
        """Delete exactly these log rows: called after the target has committed."""
        ...

    def keep_up(self) -> None:
        """Let the server let go of what it keeps for this database's captures; cheap, to be called now and then.

        A capture that makes writers fail is withdrawn: it is lost, and `capture_gaps` says why.
        """
        ...

    def read_all(self, selections: Sequence[Selection]) -> list[list[tuple[Any, ...]]]:
        """All rows of each of these small selections, in the form of `read_rows`; together, where that is cheaper."""
        ...

    def read_rows(self, selection: Selection, keys: Rows) -> list[tuple[Any, ...]]:
        """The current rows of these keys: the selection's columns (the key is among them), plain Python values."""
        ...

    def apply_rows(self, table: str, key: Sequence[str], columns: Sequence[str], keys: Rows, rows: Rows) -> Applied:
        """Make the rows with these keys be exactly `rows` (upsert those given, delete the others) in one transaction.

        `columns` includes the key. Triggers, fences and foreign keys do not fire. Deletes come first; a unique
        conflict within the batch is resolved by a second pass; one outside raises RowRejected naming the rows.
        """
        ...

    def rehearsing(self) -> AbstractContextManager[None]:
        """What this thread writes inside by `apply_rows` is tried and rolled back: whether rows would fit."""
        ...
