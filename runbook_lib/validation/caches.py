"""What a validation works out once: by link (its channel), by table, or by flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from runbook_lib.databases.port import Catalogs, KeyRange

if TYPE_CHECKING:
    from runbook_lib.schema.convert.target_schema import TargetTable
    from runbook_lib.transfer.held_record import HeldBack
    from runbook_lib.transfer.links import Flow
    from runbook_lib.validation.rows.compared import Compared, Pair

K = TypeVar("K")
V = TypeVar("V")
Grants = dict[str, frozenset[tuple[str, str]]]  # table → (role, privilege)
Texts = dict[str, list[str]]  # table → texts of its triggers


class Once(dict[K, V], Generic[K, V]):
    """Values by key, each worked out when it is first asked for."""

    def of(self, key: K, work: Callable[[], V]) -> V:
        """The value of this key."""
        if key not in self:
            self[key] = work()
        return self[key]


@dataclass(frozen=True)
class Caches:
    """Each by channel, or by channel and table (flow); pairs are of the reader, then of the writer.

    Attributes:
        catalogs: Both sides' tables as the comparison begins.
        catalogs_now: The same when all is compared; None: not readable any more.
        promised: What the target has to show, by written table.
        renamed: What each table of the source is called at the target.
        grants: Who else may do what.
        waiting: Triggers that wait for the writers.
        captured: Tables whose capture is complete.
        held_back: Tables whose changes wait in the log, and why.
        encoding: What is hashed of a row.
        only_ranges: Of small tables the one range that is all of them.
        compared: Columns to compare.
        rows: Rows on both sides (counts).
        given: The given keys' rows on both sides.
        different: Rows that a check has found different for good: key → both sides as they were then.
    """

    catalogs: Once[str, Catalogs] = field(default_factory=Once)
    catalogs_now: Once[str, Catalogs | None] = field(default_factory=Once)
    promised: Once[str, dict[str, TargetTable]] = field(default_factory=Once)
    renamed: Once[str, dict[str, str]] = field(default_factory=Once)
    grants: Once[str, tuple[Grants, Grants]] = field(default_factory=Once)
    waiting: Once[str, tuple[Texts, Texts]] = field(default_factory=Once)
    captured: Once[str, frozenset[str]] = field(default_factory=Once)
    held_back: Once[str, dict[str, HeldBack]] = field(default_factory=Once)
    encoding: Once[str, str] = field(default_factory=Once)
    only_ranges: Once[str, dict[str, KeyRange]] = field(default_factory=Once)
    compared: Once[tuple[str, Flow], Compared] = field(default_factory=Once)
    rows: Once[tuple[str, Flow], tuple[int, int]] = field(default_factory=Once)
    given: Once[tuple[str, str], list[Pair]] = field(default_factory=Once)
    different: Once[tuple[str, str], dict[Any, Any]] = field(default_factory=Once)
