"""Rows counted and hashed inside the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from runbook_lib.databases.model import (
    Applied,
    Buckets,
    EqualRows,
    KeyRange,
    RangeSum,
    Recount,
    Selection,
)

Types = Sequence[str]  # of some columns, as an engine writes them


class Checksums(Protocol):
    """The comparison's part of the port."""

    def count(self, selection: Selection) -> int: ...

    def range_sums(
        self, selection: Selection, types: Types, ranges: Sequence[KeyRange], *, canonical: bool
    ) -> list[RangeSum]:
        """Checksum each range inside the database: sum of row hashes (never xor) with the count of rows.

        `types` are the written table's types of the columns (key included): both sides hash the same types.
        `canonical=False` uses the engine's own record hash (same engine and version on both sides), True the
        canonical encoding.
        """
        ...

    def small_sums(self, asked: Sequence[tuple[Selection, Types]], *, canonical: bool) -> list[RangeSum]:
        """`range_sums` of all of each of these small selections, in one statement where that is cheaper."""
        ...

    def bucket_sums(
        self,
        selection: Selection,
        types: Types,
        key_range: KeyRange,
        count: int,
        *,
        canonical: bool,
        within: Buckets | None = None,
    ) -> dict[int, RangeSum]:
        """Checksum one range cut into `count` buckets, in one pass; empty buckets are left out.

        Buckets are of the rows' keys; without a key the last bits of the rows' hashes. `within` leaves only the rows
        of the chosen (larger) buckets.
        """
        ...

    def row_sums(
        self, selection: Selection, types: Types, key_range: KeyRange, *, canonical: bool, within: Buckets | None = None
    ) -> dict[tuple[Any, ...], str]:
        """The hash of each row of one (small) range by key; without a key: each hash with its count of rows."""
        ...

    def rows_hashed(
        self, selection: Selection, types: Types, hashes: Sequence[str], *, canonical: bool
    ) -> dict[str, EqualRows]:
        """How many rows have each of these (few) hashes, and one of them; reads the whole selection once."""
        ...

    def recount_rows(
        self,
        table: str,
        columns: Sequence[str],
        selection: Selection,
        types: Types,
        changes: Mapping[str, Recount],
        *,
        canonical: bool,
    ) -> Applied:
        """Make rows without a key be there as often as given, in one transaction, as silently as `apply_rows`.

        `changes` are by the hash of `selection`; `columns` are what a row gives. Refused: the counts of now are others.
        """
        ...
