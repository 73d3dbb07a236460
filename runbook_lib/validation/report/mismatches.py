"""What a check finds: mismatches with their kind, and the result of one check over all tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from runbook_lib.verdict import Outcome

SHOWN = 160  # characters of a value in a report: enough to see the difference, not a copy of the data


class Kind(StrEnum):
    """The ways in which two sides can differ. `source` is the reader of a link, `target` its writer."""

    MISSING_ON_TARGET = "missing_on_target"
    MISSING_ON_SOURCE = "missing_on_source"
    DIFFERENT = "different"
    DUPLICATE_ROWS = "duplicate_rows"
    IN_FLIGHT = "in_flight"
    QUARANTINED = "quarantined"  # missing or older at the target, which refused the row
    HELD_BACK = "held_back"  # the same while a sync runs: its change waits in the log and cannot be applied
    ROW_COUNT = "row_count"
    MISSING_TABLE = "missing_table"
    EXTRA_TABLE = "extra_table"
    MISSING_COLUMN = "missing_column"
    EXTRA_COLUMN = "extra_column"
    TYPE = "type"
    NULLABILITY = "nullability"
    DEFAULT = "default"
    COLLATION = "collation"
    GENERATED = "generated"
    IDENTITY = "identity"
    SEQUENCE_BEHIND = "sequence_behind"
    MISSING_INDEX = "missing_index"
    EXTRA_INDEX = "extra_index"
    DIFFERENT_INDEX = "different_index"
    INVALID_INDEX = "invalid_index"
    MISSING_CONSTRAINT = "missing_constraint"
    EXTRA_CONSTRAINT = "extra_constraint"
    DIFFERENT_CONSTRAINT = "different_constraint"
    NOT_VALIDATED = "not_validated"
    CROSSES_BORDER = "crosses_border"
    OMITTED_COLUMN = "omitted_column"
    COLUMN_ORDER = "column_order"
    MISSING_TRIGGER = "missing_trigger"
    EXTRA_TRIGGER = "extra_trigger"
    MISSING_PRIVILEGE = "missing_privilege"
    EXTRA_PRIVILEGE = "extra_privilege"
    DIFFERENT_TRIGGER = "different_trigger"
    MISSING_OBJECT = "missing_object"
    EXTRA_OBJECT = "extra_object"
    DIFFERENT_OBJECT = "different_object"


@dataclass(frozen=True)
class Mismatch:
    """One difference.

    Attributes:
        key: The row's key, in the form the adapter binds back; of a table without a key, the row's hash.
        columns: Columns concerned.
        source_value: What the reader has (text).
        target_value: What the writer has (text).
        name: Name of the index, constraint or sequence.
        text: The difference in words.
        mend: SQL for the target that would repair it; empty where none is known.
        times: Of a row without a key: how often it is at the source and at the target (counts).
    """

    check: str
    service: str
    table: str
    kind: Kind
    key: tuple[Any, ...] = ()
    columns: tuple[str, ...] = ()
    source_value: str = ""
    target_value: str = ""
    name: str = ""
    text: str = ""
    mend: str = ""
    times: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        """`service.table`, as the report's grid calls it; without a plan just the table."""
        return labelled(self.service, self.table)

    def __str__(self) -> str:
        key = f" ({', '.join(map(str, self.key))})" if self.key else ""
        return f"{self.label}{key}: {self.text or self.kind.replace('_', ' ')}"

    def as_dict(self) -> dict[str, Any]:
        """JSON values only."""
        return {**asdict(self), "kind": str(self.kind), "key": [v if isinstance(v, int) else str(v) for v in self.key]}


@dataclass(frozen=True)
class CheckResult:
    """One check over some tables.

    Attributes:
        tables: `service.table` of every table that was checked.
        mismatches: Undeclared differences: the check fails.
        tolerated: Differences that the plan declares.
        in_flight: Differences that writes still under way explain.
        information: Expected by the mapping, shown all the same (keys across a border, tables of the service's own).
        errors: Table → why the check could not run there.
        elapsed_s: Seconds.
        figures: Table → what was measured (rows, ranges, confidence, …).
    """

    check: str
    tables: tuple[str, ...] = ()
    mismatches: tuple[Mismatch, ...] = ()
    tolerated: tuple[Mismatch, ...] = ()
    in_flight: tuple[Mismatch, ...] = ()
    information: tuple[Mismatch, ...] = ()
    errors: Mapping[str, str] = field(default_factory=dict)
    elapsed_s: float = 0.0
    figures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        """Fail when something is wrong, could_not_run when some table could not be checked."""
        if self.mismatches:
            return Outcome.FAIL
        return Outcome.COULD_NOT_RUN if self.errors else Outcome.PASS

    def of(self, table: str) -> Outcome | None:
        """The outcome for one `service.table`; None when the check did not cover it."""
        if any(mismatch.label == table for mismatch in self.mismatches):
            return Outcome.FAIL
        if table in self.errors:
            return Outcome.COULD_NOT_RUN
        return Outcome.PASS if table in self.tables else None

    @property
    def text(self) -> str:
        """One line: what failed, by table and kind, with counts."""
        counts: dict[tuple[str, str], int] = {}
        for mismatch in self.mismatches:
            place = (mismatch.label, mismatch.kind.replace("_", " "))
            counts[place] = counts.get(place, 0) + 1
        parts = [f"{table}: {count} {kind}" for (table, kind), count in counts.items()]
        parts += [f"{table}: could not run: {reason}" for table, reason in self.errors.items()]
        return f"{self.check} ({'; '.join(parts)})" if parts else f"{self.check}: {len(self.tables)} tables"

    def plus(self, other: CheckResult) -> CheckResult:
        """This result and that of the same check over other tables."""
        return joined((self, other))

    def as_dict(self) -> dict[str, Any]:
        """JSON values only."""
        lists = {name: [m.as_dict() for m in getattr(self, name)] for name in LISTS}
        return {
            "check": self.check,
            "outcome": str(self.outcome),
            "tables": {table: str(self.of(table)) for table in self.tables},
            **lists,
            "errors": dict(self.errors),
            "elapsed_s": round(self.elapsed_s, 4),
            "figures": {table: dict(figures) for table, figures in self.figures.items()},
        }


LISTS = ("mismatches", "tolerated", "in_flight", "information")


def joined(results: Sequence[CheckResult]) -> CheckResult:
    """The results of one check over several tables as one; added one by one they would cost the tables' square."""
    lists: dict[str, Any] = {
        name: tuple(m for result in results for m in getattr(result, name)) for name in ("tables", *LISTS)
    }
    return replace(
        results[0],
        **lists,
        errors={table: why for result in results for table, why in result.errors.items()},
        elapsed_s=sum(result.elapsed_s for result in results),
        figures={table: figures for result in results for table, figures in result.figures.items()},
    )


def labelled(service: str, table: str) -> str:
    """A table as reports call it: two databases without a plan have no service."""
    return f"{service}.{table}" if service else table


def shorten(value: object) -> str:
    """A value as a report shows it: NULL in capitals, long text cut with its length."""
    if value is None:
        return "NULL"
    text = value.hex() if isinstance(value, bytes | memoryview) else str(value)
    text = text if text.isascii() else text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)"
