"""What an assessment finds, and what the plan has to declare for it; as lines, a page, a frame and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from runbook_lib.assessment.account import Account
from runbook_lib.display.html_table import html_table
from runbook_lib.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from pandas import DataFrame

SEVERITIES = ("blocks", "loses", "note")
HEADER = ("finding", "severity", "where", "what", "count", "example", "declare in the plan, or do")


@dataclass(frozen=True)
class Finding:
    """One pitfall.

    Attributes:
        kind: Its name, as the plan's `accept` has it.
        severity: `blocks` (the target, or a step, will refuse), `loses` (something changes or stays behind without a
            word), `note` (worth knowing).
        subject: `service.table.column`, `service.table`, or a database.
        text: What it is, in words.
        count: Rows, or objects (count).
        example: One of them: a row's key, an object's name.
        declare: The plan's lines that decide it (YAML).
        action: What else helps, outside of the plan.
        declared: What the plan says of it already; empty: nothing.
        table: As the source calls it; empty: it is the database's.
    """

    kind: str
    severity: str
    subject: str
    text: str
    count: int = 1
    example: str = ""
    declare: tuple[str, ...] = ()
    action: str = ""
    declared: str = ""
    table: str = ""

    @property
    def open(self) -> bool:
        """Whether somebody still has to decide it."""
        return self.severity != "note" and not self.declared

    def __str__(self) -> str:
        example = f", e.g. {self.example}" if self.example else ""
        return f"{self.subject}: {self.text}{example}" + (f" (declared: {self.declared})" if self.declared else "")


@dataclass(frozen=True)
class Assessment:
    """All findings of a source, the gravest first.

    Attributes:
        tables: How many were checked (count).
        rows: How many of their rows were (count); none where the target holds all that the source does.
        partly: Table → why not all of its rows.
        elapsed_s: Seconds.
        account: How everything that the source has will be handled.
    """

    findings: tuple[Finding, ...]
    tables: int
    rows: int
    partly: dict[str, str]
    elapsed_s: float
    account: Account = field(default_factory=lambda: Account(()))

    @property
    def passed(self) -> bool:
        """Whether nothing is open, nothing stands in the way, and everything is accounted for."""
        return not self.open and self.account.passed

    @property
    def open(self) -> tuple[Finding, ...]:
        """What is neither declared nor only a note."""
        return tuple(finding for finding in self.findings if finding.open)

    @property
    def text(self) -> str:
        """One line."""
        rows = f"{self.rows:,} rows read" if self.rows else "no values had to be read"
        looked = f"{self.tables} table{'' if self.tables == 1 else 's'}, {rows}, {self.elapsed_s:.1f} s"
        if not self.open:
            more = f", {len(self.findings)} noted or declared" if self.findings else ""
            return f"nothing to declare: {looked}{more}"
        return f"{len(self.open)} to declare or correct: {'; '.join(map(str, self.open))} ({looked})"

    def verdict(self) -> Verdict:
        """For a gate."""
        text = self.text if not self.open and self.passed else f"{self.text}; {self.account.text}"
        return Verdict(Outcome.PASS if self.passed else Outcome.FAIL, text, self.as_dict())

    def lines(self) -> Iterator[str]:
        """For a terminal: each finding with what to declare, the verdict last."""
        for finding in self.findings:
            mark = "✗" if finding.open else "·" if finding.severity == "note" else "✓"
            yield f"{mark} {finding.severity:<6} {finding.kind}: {finding}"
            if finding.open:
                ways = [*finding.declare, *([finding.action] if finding.action else [])]
                yield from (f"      {'or ' if number else ''}{way}" for number, way in enumerate(ways))
        yield from (f"? {table}: {why}" for table, why in self.partly.items())
        yield from self.account.text_lines()
        yield self.text if not self.open else self.text.partition(":")[0] + f" of {len(self.findings)} findings"

    def as_dict(self) -> dict[str, Any]:
        """JSON values only."""
        return {
            "findings": [{**asdict(f), "declare": list(f.declare), "open": f.open} for f in self.findings],
            "tables": self.tables,
            "rows": self.rows,
            "partly": self.partly,
            "elapsed_s": round(self.elapsed_s, 3),
            "account": self.account.as_dict(),
        }

    def to_json(self) -> str:
        """The whole of it as JSON text."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False)

    def to_frame(self) -> DataFrame:
        """A pandas frame, a row for each finding."""
        from pandas import DataFrame

        columns = [*Finding.__dataclass_fields__, "open"]
        return DataFrame([[getattr(f, name) for name in columns] for f in self.findings], columns=columns)

    def _repr_html_(self) -> str:
        rows = [_row(finding) for finding in self.findings]
        rows += [("not all rows", "note", table, why, "", "", "") for table, why in self.partly.items()]
        outcome = Outcome.FAIL if self.open else Outcome.PASS
        findings = html_table(f"Assessment of the source: {self._title}", outcome, HEADER, rows)
        return findings + self.account._repr_html_()

    @property
    def _title(self) -> str:
        return self.text if not self.open else f"{len(self.open)} findings to declare or correct"


def _row(finding: Finding) -> Sequence[object]:
    what = finding.declared and f"declared: {finding.declared}"
    what = what or "\nor ".join(filter(None, (*finding.declare, finding.action)))
    text = finding.text.removeprefix(f"{finding.count:,} ")  # the count has a column of its own
    return (
        finding.kind.replace("_", " "), finding.severity, finding.subject, text, f"{finding.count:,}",
        finding.example, what,
    )  # fmt: skip
