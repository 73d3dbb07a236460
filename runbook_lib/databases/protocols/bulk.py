"""What the copy asks of a database: ranges of rows, streamed out of one and into another; part of the port."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from runbook_lib.databases.model import KeyRange, Selection
from runbook_lib.databases.protocols.connected import Connected

Step = tuple[str, Mapping[str, Any]]  # a statement that records progress, and its parameters


class Bulk(Protocol):
    """The bulk copy's part of the port."""

    def condition(self, selection: Selection, key_range: KeyRange) -> str:
        """The rows of one range as an SQL condition over the selection's relation."""
        ...

    def binary_safe(self, types: Sequence[str]) -> bool:
        """Whether these types survive the binary bulk format between two databases (no OIDs inside)."""
        ...

    def ranges(self, selection: Selection, rows_per_range: int) -> list[KeyRange]:
        """Cut the selection into key ranges of about this many rows, without gaps or overlaps; cheap on big tables."""
        ...

    def only_ranges(self, wanted: Sequence[tuple[Selection, int]]) -> list[KeyRange | None]:
        """For each selection the range that is all of it, where one read of the catalog shows that it is no larger.

        The numbers are rows in a range (count, about). None: `ranges` cuts it.
        """
        ...

    def together(self) -> AbstractContextManager[None]:
        """What this thread writes inside by `copy_in` is one transaction: all of it, or nothing.

        Only where `capabilities.joined_loads`; after an error nothing more may be written inside.
        """
        ...

    def copy_out(self, selection: Selection, key_range: KeyRange, *, binary: bool) -> Iterator[bytes]:
        """Stream one range in the engine's bulk format (blocks of about 64 KiB) from one short snapshot."""
        ...

    def copy_in(
        self,
        table: str,
        columns: Sequence[str],
        blocks: Iterator[bytes],
        *,
        binary: bool,
        progress: Sequence[Step] = (),
    ) -> int:
        """Write blocks into a table and run the progress statements in the same transaction; the rows written.

        Triggers and foreign keys of the target do not fire. Identity columns take the given values. `:rows` in a
        progress statement is bound to the rows written. A progress statement that changes no row is an error: the
        range was done by somebody else, and everything is rolled back.
        """
        ...

    def copy_across(
        self,
        reader: Connected,
        selection: Selection,
        key_range: KeyRange,
        table: str,
        columns: Sequence[str],
        progress: Step,
    ) -> int | None:
        """Move one range from another database of this engine by the engine's own programs; the rows written.

        The same promises as `copy_out` and `copy_in` together, and the same errors. None: not possible, or it did not
        succeed; then nothing was written, and those two will say what is wrong.
        """
        ...
