"""What a validation works out once: by link (its channel), by table, or by flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from runbook_lib.databases.port import Catalogs, KeyRange

if TYPE_CHECKING:
    from runbook_lib.schema.convert.target_schema import TargetTable
    from runbook_lib.transfer.links import Flow
    from runbook_lib.transfer.waiting_log import WaitingLog
    from runbook_lib.validation.rows.compared import Compared, RowPair

K = TypeVar("K")
V = TypeVar("V")
Grants = dict[str, frozenset[tuple[str, str]]]  # table → (role, privilege)
Texts = dict[str, list[str]]  # table → texts of its triggers


class CachedByKey(dict[K, V], Generic[K, V]):
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
        fenced: Tables that are fenced.
        held_back: Tables whose changes wait in the log, and why.
        encoding: What is hashed of a row.
        only_ranges: Of small tables the one range that is all of them.
        compared: Columns to compare.
        rows: Rows on both sides (counts).
        given: The given keys' rows on both sides.
        different: Rows that a check has found different for good: key → both sides as they were then.
    """

    catalogs: CachedByKey[str, Catalogs] = field(default_factory=CachedByKey)
    catalogs_now: CachedByKey[str, Catalogs | None] = field(default_factory=CachedByKey)
    promised: CachedByKey[str, dict[str, TargetTable]] = field(default_factory=CachedByKey)
    renamed: CachedByKey[str, dict[str, str]] = field(default_factory=CachedByKey)
    grants: CachedByKey[str, tuple[Grants, Grants]] = field(default_factory=CachedByKey)
    waiting: CachedByKey[str, tuple[Texts, Texts]] = field(default_factory=CachedByKey)
    captured: CachedByKey[str, frozenset[str]] = field(default_factory=CachedByKey)
    fenced: CachedByKey[str, tuple[frozenset[str], frozenset[str]]] = field(default_factory=CachedByKey)
    held_back: CachedByKey[str, dict[str, WaitingLog]] = field(default_factory=CachedByKey)
    encoding: CachedByKey[str, str] = field(default_factory=CachedByKey)
    only_ranges: CachedByKey[str, dict[str, KeyRange]] = field(default_factory=CachedByKey)
    compared: CachedByKey[tuple[str, Flow], Compared] = field(default_factory=CachedByKey)
    rows: CachedByKey[tuple[str, Flow], tuple[int, int]] = field(default_factory=CachedByKey)
    given: CachedByKey[tuple[str, str], list[RowPair]] = field(default_factory=CachedByKey)
    different: CachedByKey[tuple[str, str], dict[Any, Any]] = field(default_factory=CachedByKey)
