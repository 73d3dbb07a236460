"""How to compare: what `validate` is asked for, and how far it says that it is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runbook_lib.databases.port import Catalogs
from runbook_lib.plan.model import Tolerance
from runbook_lib.plan.vocabulary import CHECKS
from runbook_lib.validation.report.contents import BEARABLE

if TYPE_CHECKING:
    from runbook_lib.validation.checkpoint import Record

ALL = CHECKS
DATA = ("row_counts", "data_sample", "checksums")  # those that make sense over reverse links and given keys, too
SEED = 20_261_122
Keys = Sequence[tuple[Any, ...]]


@dataclass(frozen=True)
class CheckProgress:
    """How far a check is: `done` of `total` tables; `table` is the one begun now ("" at the end).

    `rows` and `rows_total` (counts, of the whole link, estimated) are reported by the check that reads every row.
    """

    check: str
    table: str
    done: int
    total: int
    rows: int = 0
    rows_total: int = 0

    @property
    def at(self) -> int:
        """So far, in `unit`."""
        return self.rows if self.rows_total else self.done

    @property
    def of(self) -> int:
        """In all, in `unit`; never less than `at`, as it is an estimate."""
        return max(self.rows_total, self.rows) or self.total

    @property
    def unit(self) -> str:
        return "rows" if self.rows_total else "tables"


@dataclass(frozen=True)
class ValidationOptions:
    """How to compare.

    Attributes:
        checks: Names out of `ALL`; over reverse links use `DATA` (the schemas are the forward links' affair).
        tolerances: The plan's declared differences; nothing else is tolerated.
        jobs: Statements at a time on each side (count, at least 1).
        under_writes: The source, the target or both are written to: differences are checked again until stable.
        settle_s: The longest time a check waits for differences of a link to settle (seconds); of a table, where no log
            tells what is on its way.
        chunk_rows: Rows in a checksum's range (count, about); 0: what takes about a second.
        sample_rows: Rows sampled in a table (count).
        seed: Of the sample: the same seed draws the same keys of the same rows.
        only_keys: (service, table) → keys: compare just these rows, as inside a cutover's fence; tables that are not
            named have none. Schema checks are not touched by it.
        bearable: Differences under way that a sync which runs may leave open (count).
        sequences: Check, too, that no sequence at the target is behind its column (after the cutover).
        types: The plan's `types:`: what a source's types become in another engine.
        require: What is otherwise only reported: `privileges`, `column_order`.
        record: Where key ranges that agreed are noted, so that a comparison that was interrupted is taken up.
        catalogs: What was read of a link's tables just now, by its channel; otherwise they are read here.
        on_progress: Called before each table.
    """

    checks: Sequence[str] = ALL
    tolerances: Sequence[Tolerance] = ()
    jobs: int = 2
    under_writes: bool = True
    settle_s: float = 5.0
    chunk_rows: int = 0
    sample_rows: int = 1000
    seed: int = SEED
    only_keys: Mapping[tuple[str, str], Keys] | None = None
    bearable: int = BEARABLE
    sequences: bool = False
    types: Mapping[str, Any] | None = None
    require: Collection[str] = ()
    record: Record | None = None
    catalogs: Mapping[str, Catalogs] | None = None
    on_progress: Callable[[CheckProgress], None] = lambda progress: None

    @property
    def reads_rows(self) -> bool:
        """Whether some check compares more than the schema."""
        return bool(set(self.checks) & set(DATA))
