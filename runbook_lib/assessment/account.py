"""The account of a copy: everything that the source has, each thing with exactly one outcome.

Before a copy it is predicted by rules (`fates`), afterwards it is measured: what both databases have is compared.
Nothing is moved without having been seen at the target, and nothing is left out of the account: what no rule and no
reader knows is unaccounted.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from runbook_lib.display.html_table import html_table
from runbook_lib.verdict import Outcome, Verdict

MOVED, TRANSLATED, LEFT, REFUSED, UNACCOUNTED = "moved", "translated", "left behind", "refused", "unaccounted"
OUTCOMES = (MOVED, TRANSLATED, LEFT, REFUSED, UNACCOUNTED)
HEADER = ("outcome", "kind", "name", "why", "what to do")
WIDTH = 80
NAMES_SHOWN = 12  # of one outcome and reason; `--json` has all


@dataclass(frozen=True)
class Line:
    """What became (or will become) of one thing.

    Attributes:
        outcome: One of `OUTCOMES`.
        why: How it was translated, or why it is not at the target.
        action: What to do about it: a statement, or words.
    """

    kind: str
    name: str
    table: str
    outcome: str
    why: str = ""
    action: str = ""


@dataclass(frozen=True)
class Account:
    """All lines, in the order of the source's inventory.

    Attributes:
        measured: Whether the target was checked afterwards; otherwise it is a prediction.
        counts: Kind → how many the source's whole catalog has (count).
        title: Of which service, where there are several.
    """

    lines: tuple[Line, ...]
    measured: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)
    title: str = ""

    @cached_property
    def by_outcome(self) -> dict[str, int]:
        """Outcome → how many (count), every outcome."""
        counted = Counter(line.outcome for line in self.lines)
        return {outcome: counted[outcome] for outcome in OUTCOMES}

    @property
    def unaccounted(self) -> tuple[Line, ...]:
        """What nobody knows about: a reason to fail."""
        return tuple(line for line in self.lines if line.outcome == UNACCOUNTED)

    @property
    def refused(self) -> tuple[Line, ...]:
        """What stands in the way of the whole copy."""
        return tuple(line for line in self.lines if line.outcome == REFUSED)

    @property
    def text(self) -> str:
        """One line."""
        said = [f"{count:,} {outcome}" for outcome, count in self.by_outcome.items() if count]
        return f"{len(self.lines):,} objects: {', '.join(said) or 'none'}"

    @property
    def passed(self) -> bool:
        """Whether everything is accounted for, and nothing stands in the way."""
        return not (self.unaccounted or self.refused)

    def verdict(self) -> Verdict:
        """For a gate; its data hold all that is not moved, and the table."""
        lost = (*self.unaccounted, *self.refused)
        names = f"; not accounted for: {_names(lost, NAMES_SHOWN)}" if lost else ""
        table = {"header": ["kind", *OUTCOMES], "rows": [list(row) for row in self.rows()]}
        outcome = Outcome.PASS if self.passed else Outcome.FAIL
        return Verdict(outcome, f"{self.text}{names}", {"table": table, **self.as_dict()})

    def rows(self) -> list[tuple[str, ...]]:
        """Kinds × outcomes, a row each, with the sums at the end; a dot for none."""
        counted = Counter((line.kind, line.outcome) for line in self.lines)
        kinds = sorted({line.kind for line in self.lines})
        table = [(kind, *(str(counted[kind, outcome] or "·") for outcome in OUTCOMES)) for kind in kinds]
        return [*table, ("all", *(str(count or "·") for count in self.by_outcome.values()))]

    def text_lines(self, *, most: int = NAMES_SHOWN) -> Iterator[str]:
        """The closing table for a terminal of 80 columns, then the names of all that is not moved.

        Args:
            most: Names shown of one outcome and reason (count).
        """
        rows = [("", *OUTCOMES), *self.rows()]
        broad = max(len(row[0]) for row in rows)
        for row in rows:
            cells = (cell.rjust(len(head)) for cell, head in zip(row[1:], OUTCOMES, strict=True))
            yield f"{row[0]:<{broad}}  {'  '.join(cells)}".rstrip()
        for (outcome, why), lines in self._grouped().items():
            yield from _wrapped(f"{outcome}: {_names(lines, most)}{f': {why}' if why else ''}", "")
            for action in list(dict.fromkeys(line.action for line in lines if line.action))[:most]:
                yield from _wrapped(action, "    ")

    def _grouped(self) -> dict[tuple[str, str], list[Line]]:
        groups: dict[tuple[str, str], list[Line]] = {}
        for line in sorted(self.lines, key=lambda line: -OUTCOMES.index(line.outcome)):
            if line.outcome != MOVED:
                groups.setdefault((line.outcome, line.why), []).append(line)
        return groups

    def as_dict(self, *, columns: bool = True) -> dict[str, Any]:
        """As JSON and the journal have it: every line that is not *moved*, the numbers of all.

        Args:
            columns: With a line for each translated column: a target need not keep what its own catalog shows.
        """
        kinds: dict[str, dict[str, int]] = {}
        for line in self.lines:
            kinds.setdefault(line.kind, dict.fromkeys(OUTCOMES, 0))[line.outcome] += 1
        rest = [asdict(line) for line in self.lines if line.outcome != MOVED and (columns or line.kind != "column")]
        return {"measured": self.measured, "outcomes": self.by_outcome, "kinds": kinds, "not_moved": rest}

    def _repr_html_(self) -> str:
        rest = [line for line in self.lines if line.outcome != MOVED]
        detail = [(line.outcome, line.kind, line.name, line.why, line.action) for line in rest]
        outcome = Outcome.PASS if self.passed else Outcome.FAIL
        table = html_table(f"{self.title or 'account'}: {self.text}", outcome, ("kind", *OUTCOMES), self.rows())
        return table + (html_table("not moved", outcome, HEADER, detail) if detail else "")


def joined(accounts: Sequence[Account]) -> Account:
    """Several as one: of the services of a plan."""
    lines = tuple(line for account in accounts for line in account.lines)
    return Account(lines, all(account.measured for account in accounts))


def with_counts(account: Account, counts: Mapping[str, int], described: Mapping[str, int]) -> Account:
    """Account for what the whole catalog counts and no reader describes.

    Args:
        counts: Kind → how many the catalog has (count).
        described: Kind → how many the readers named (count).
    """
    lost = {kind: count - described.get(kind, 0) for kind, count in counts.items()}
    why = "the catalog counts more than is known by name"
    lines = [Line(kind, f"{count} more", "", UNACCOUNTED, why) for kind, count in lost.items() if count > 0]
    return replace(account, lines=(*account.lines, *lines), counts=dict(counts))


def _names(lines: Sequence[Line], most: int) -> str:
    more = f" and {len(lines) - most:,} more" if len(lines) > most else ""
    return ", ".join(f"{line.kind} {line.name}" for line in lines[:most]) + more


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        " ".join(text.split()), WIDTH, initial_indent=indent, subsequent_indent=f"{indent}    ", break_on_hyphens=False
    )
