"""The report of a validation: six results, the tolerances with their counts, the fingerprints of both sides."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from runbook_lib.errors import Refused, RunbookError
from runbook_lib.validation.report.mismatches import LISTS, CheckResult, Mismatch
from runbook_lib.validation.report.tolerance import Tolerated
from runbook_lib.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from pandas import DataFrame

BEARABLE = 100  # differences under way that a comparison may leave open, where no option says how many
RECORDED = 100  # differences of each kind of list and table that the journal keeps; `runbook compare --json` has all


@dataclass(frozen=True)
class Fingerprint:
    """The schema of one side of a link as it was when it was validated."""

    service: str
    side: str  # source | target
    database: str
    sha256: str


@dataclass(frozen=True)
class Contents:
    """What a comparison found: the one verdict over all checks and tables.

    Attributes:
        results: One result for each check that was asked for, in their order.
        started: ISO 8601, UTC.
        elapsed_s: Seconds.
        tolerances: Every declared difference with its count.
        fingerprints: Of both sides of each link.
        seed: With which the sample was drawn.
        only_keys: Whether only given keys were compared (a delta verification).
        idle: Links whose changes are captured while no sync carries them over, a line each.
        late: Links whose sync runs and is too far behind, a line each; and those with differences in flight of which
            nobody knows whether they are carried over.
        waiting: Keys that wait on the idle links (count).
        bearable: Differences under way that a sync which runs may leave open (count).
    """

    results: tuple[CheckResult, ...]
    started: str
    elapsed_s: float
    tolerances: tuple[Tolerated, ...] = ()
    fingerprints: tuple[Fingerprint, ...] = ()
    seed: int = 0
    only_keys: bool = False
    idle: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    waiting: int = 0
    bearable: int = BEARABLE

    @property
    def passed(self) -> bool:
        """Whether every check ran everywhere, found nothing undeclared, and what is under way is carried over."""
        return self.outcome is Outcome.PASS

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the checks that did not pass: failed, or could not run; `sync` where only that is missing."""
        checks = tuple(result.check for result in self.results if result.outcome is not Outcome.PASS)
        return checks or (("sync",) if self.sync.text else ())

    @property
    def outcome(self) -> Outcome:
        """The worst: fail before could_not_run before pass. Command, notebook and steps have their verdict here."""
        seen = {result.outcome for result in self.results}
        worst = next((o for o in (Outcome.FAIL, Outcome.COULD_NOT_RUN) if o in seen), Outcome.PASS)
        return worst if worst is not Outcome.PASS else self.sync.outcome

    @property
    def sync(self) -> Verdict:
        """Whether what is on its way between the sides is carried over: rows that nobody carries over are different."""
        under_way = self._rows_in_flight()
        if self.stranded:
            waits = "1 row waits" if self.stranded == 1 else f"{self.stranded:,} rows wait"
            return Verdict(Outcome.FAIL, f"{waits} for a sync, and none runs")
        if self.waiting:
            waits = "1 key waits" if self.waiting == 1 else f"{self.waiting:,} keys wait"
            return Verdict(Outcome.COULD_NOT_RUN, f"{waits} for a sync, and none runs")
        if self.late:
            return Verdict(Outcome.COULD_NOT_RUN, "; ".join(self.late))
        if under_way > self.bearable:
            text = f"{under_way:,} differences are still under way, at most {self.bearable:,} may be left open"
            return Verdict(Outcome.COULD_NOT_RUN, f"{text}: compare again when the sync has caught up")
        return Verdict(Outcome.PASS, "")

    @property
    def tables(self) -> tuple[str, ...]:
        """Every `service.table` that some check covers, in their order."""
        return tuple(dict.fromkeys(table for result in self.results for table in result.tables))

    @property
    def mismatches(self) -> tuple[Mismatch, ...]:
        """Undeclared differences of all checks."""
        return tuple(mismatch for result in self.results for mismatch in result.mismatches)

    @property
    def in_flight(self) -> tuple[Mismatch, ...]:
        """Differences that writes under way explain; none are left once writes are fenced and drained."""
        return tuple(mismatch for result in self.results for mismatch in result.in_flight)

    @property
    def stranded(self) -> int:
        """Rows in flight that nobody carries over, as no sync runs (count): they differ, and will continue to."""
        return self._rows_in_flight() if self.idle else 0

    def _rows_in_flight(self) -> int:
        rows = {(mismatch.label, mismatch.key) for mismatch in self.in_flight if mismatch.key}
        gaps = [_gap(mismatch) for mismatch in self.in_flight if not mismatch.key]
        return max(len(rows), sum(gaps))  # several checks name one row

    @property
    def unmatched_tolerances(self) -> tuple[Tolerated, ...]:
        """Declared differences that were not found: the plan may be out of date."""
        return tuple(counted for counted in self.tolerances if not counted.matched)

    @property
    def taken_over(self) -> str:
        """What a comparison that was interrupted had read, in words; empty when all was read now."""
        figures = [each for result in self.results for each in result.figures.values()]
        taken = [each for each in figures if each.get("taken_over")]
        if not taken:
            return ""
        many, of = (sum(int(each.get(name, 0)) for each in figures) for name in ("taken_over", "ranges"))
        since = min(str(each["taken_over_since"]) for each in taken)
        return f"{many:,} of {of:,} ranges as they were from {since} on, read before an interruption"

    @property
    def services(self) -> tuple[str, ...]:
        """The services whose tables were compared; none where there was no plan."""
        known = [mark.service for mark in self.fingerprints] or [table.partition(".")[0] for table in self.tables]
        return tuple(dict.fromkeys(name for name in known if name))

    def result(self, check: str) -> CheckResult:
        """The result of one check; KeyError when it was not asked for."""
        return {result.check: result for result in self.results}[check]

    @property
    def text(self) -> str:
        """One line for the journal and the terminal."""
        if self.passed:
            flight = f", {len(self.in_flight)} in flight" if self.in_flight else ""
            tolerated = sum(counted.matched for counted in self.tolerances)
            declared = f", {tolerated} tolerated" if tolerated else ""
            before = f", {self.taken_over}" if self.taken_over else ""
            idle = ", no sync runs" if self.idle else ""
            return f"{len(self.results)} checks over {len(self.tables)} tables passed{declared}{flight}{idle}{before}"
        told = [result.text for result in self.results if result.outcome is not Outcome.PASS]
        return "; ".join(told or [self.sync.text])

    def __str__(self) -> str:
        return self.text

    def verdict(self) -> Verdict:
        """For a step: outcome, the line, and the report as JSON for the journal."""
        return Verdict(self.outcome, self.text, self.as_record())

    def raise_for_failure(self) -> None:
        """Raise when a check failed (`Refused`, status 1) or could not run (`RunbookError`, status 2); all are named.

        Raises:
            Refused: data or schema differ.
            RunbookError: nothing differs, but a check could not run.
        """
        if self.passed:
            return
        error = Refused if self.outcome is Outcome.FAIL else RunbookError
        raise error(
            "validation",
            self.text,
            expected="every check to pass",
            action="read the report; `runbook repair` copies the named rows again, "
            "a wanted difference is declared under validation.tolerate",
        )

    def to_frame(self, of: str = "tables") -> DataFrame:
        """A pandas frame: one row for each check and table, or (`of="mismatches"`) for each difference."""
        from pandas import DataFrame

        if of == "mismatches":
            rows = [{"list": name, **m.as_dict()} for r in self.results for name in LISTS for m in getattr(r, name)]
            fields = list(Mismatch.__dataclass_fields__)
            return DataFrame(rows, columns=["list", *fields])
        cells = [self._cell(result, table) for result in self.results for table in result.tables]
        return DataFrame(cells, columns=["check", "table", "outcome", *LISTS, "rows"])

    def _cell(self, result: CheckResult, table: str) -> dict[str, Any]:
        counts = {name: sum(m.label == table for m in getattr(result, name)) for name in LISTS}
        rows = result.figures.get(table, {}).get("rows")
        return {"check": result.check, "table": table, "outcome": str(result.of(table)), **counts, "rows": rows}

    def as_dict(self) -> dict[str, Any]:
        """JSON values only; every difference is in it."""
        return {
            "outcome": str(self.outcome),
            "started": self.started,
            "elapsed_s": round(self.elapsed_s, 4),
            "seed": self.seed,
            "only_keys": self.only_keys,
            "idle": list(self.idle),
            "late": list(self.late),
            "waiting": self.waiting,
            "results": [result.as_dict() for result in self.results],
            "tolerances": [counted.as_dict() for counted in self.tolerances],
            "fingerprints": [asdict(fingerprint) for fingerprint in self.fingerprints],
        }

    def as_record(self) -> dict[str, Any]:
        """The same for the journal: of each list the first `RECORDED` of every table, and how many more there were.

        A journal is read whole before every step; each row of a table that is empty at the target would be in it.
        """
        few = tuple(_shortened(result) for result in self.results)
        record = replace(self, results=few).as_dict()
        for shown, whole, less in zip(record["results"], self.results, few, strict=True):
            left_off = {name: len(getattr(whole, name)) - len(getattr(less, name)) for name in LISTS}
            shown["left_off"] = {name: count for name, count in left_off.items() if count}
        return record

    def to_json(self) -> str:
        """The report as JSON text (UTF-8, indented)."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False)


def _gap(count: Mismatch) -> int:
    """Rows by which a row count differs."""
    return abs(int(count.source_value) - int(count.target_value))


def _shortened(result: CheckResult) -> CheckResult:
    lists: dict[str, Any] = {name: _first_of_each_table(getattr(result, name)) for name in LISTS}
    return replace(result, **lists)


def _first_of_each_table(found: Sequence[Mismatch]) -> tuple[Mismatch, ...]:
    seen: Counter[str] = Counter()
    return tuple(each for each in found if seen.update([each.label]) or seen[each.label] <= RECORDED)


def combined(results: Sequence[CheckResult], checks: Sequence[str]) -> tuple[CheckResult, ...]:
    """One result for each check, whatever links it ran over."""
    found = {check: CheckResult(check) for check in checks}
    for result in results:
        found[result.check] = found[result.check].plus(result)
    return tuple(found.values())
