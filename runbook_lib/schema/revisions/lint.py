"""What a revision would do to others, before it runs: the engine's own hazards, judged by the plan's policy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from runbook_lib.databases.adapter_helpers import without_comments
from runbook_lib.databases.identifiers import split
from runbook_lib.databases.port import Database, Hazard, Problem
from runbook_lib.display.html_table import html_table
from runbook_lib.plan.hazard_policy import APPROVE, BATCH_ROWS, OFF, REFUSE, RULES, UNKNOWN, WARN
from runbook_lib.plan.model import LintRule
from runbook_lib.schema.revisions.batched_update import RANGE, batches_of
from runbook_lib.util.text import one_line
from runbook_lib.verdict import Outcome

_NAME = r'((?:"(?:[^"]|"")+"|`(?:[^`]|``)+`|[\w$]+)(?:\.(?:"(?:[^"]|"")+"|[\w$]+))?)'
_ROWS = re.compile(
    rf"(?:UPDATE\s+(?:ONLY\s+)?|DELETE\s+FROM\s+(?:ONLY\s+)?|INSERT\b.*?\bSELECT\b.*?\bFROM\s+){_NAME}",
    re.IGNORECASE | re.DOTALL,
)
UNDO = "narrowing-undo"  # its statement is one of the other direction
_WORST = (REFUSE, APPROVE, WARN)


@dataclass(frozen=True)
class Finding:
    """One hazard and how it is handled; `because` is the plan's reason, or the default's."""

    hazard: Hazard
    statement: str
    policy: str
    because: str

    def __str__(self) -> str:
        action = f" (instead: {self.hazard.action})" if self.hazard.action else ""
        text = f"{self.hazard.text.rstrip('.')}{action}; {self.because}"
        return f"{self.policy}: statement {self.hazard.statement}, {self.hazard.rule}: {text}"


@dataclass(frozen=True)
class Hazards:
    """Every hazard of a revision that is not off, the worst first; shows itself."""

    revision: str
    findings: tuple[Finding, ...]

    @property
    def refused(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.policy == REFUSE)

    @property
    def to_approve(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.policy == APPROVE)

    def problems(self) -> list[Problem]:
        """For a step's check: what is refused blocks it."""
        return [
            Problem(
                f"revision {self.revision}, statement {one.hazard.statement}",
                f"{one.hazard.rule}: {one.hazard.text.rstrip('.')}",
                one.hazard.action or f"say so in the plan: `lint: {{{one.hazard.rule}: {{policy: …, because: …}}}}`",
                blocking=one.policy == REFUSE,
                detail={"rule": one.hazard.rule, "policy": one.policy, "because": one.because},
            )
            for one in self.findings
        ]

    def __str__(self) -> str:
        return "\n".join([f"{self.revision}: {len(self.findings)} hazards", *(f"  {one}" for one in self.findings)])

    def _repr_html_(self) -> str:
        rows = [
            (one.policy, one.hazard.rule, one.statement, one.hazard.text, one.hazard.action, one.because)
            for one in self.findings
        ]
        outcome = Outcome.FAIL if self.refused else Outcome.PASS
        header = ("policy", "rule", "statement", "hazard", "instead", "because")
        return html_table(f"{self.revision}: {len(rows)} hazards", outcome, header, rows)


def hazards(
    database: Database,
    revision: str,
    statements: Sequence[str],
    policy: Mapping[str, LintRule] | None = None,
    *,
    alone: bool = False,
    back: Sequence[str] = (),
) -> Hazards:
    """Look for what a revision's statements would hold up or break.

    Args:
        revision: Its name, for messages.
        statements: As they will be run.
        policy: The plan's `lint:`; rules that are not in it have the default of `plan.hazard_policy`.
        alone: Each statement is its own transaction.
        back: The statements of the other direction: what they would lose is reported before there is something to lose.
    Raises:
        ConfigurationError: the linter is missing.
        DatabaseError: the server cannot be asked.
    """
    plain, undo = ([one.replace(RANGE, "true") for one in each] for each in (statements, back))
    found = [*database.hazards(plain, alone=alone, back=undo), *_unbatched(database, statements)]
    judged = [_judged(one, back if one.rule == UNDO else statements, policy or {}) for one in found]
    shown = [finding for finding in judged if finding.policy != OFF]
    return Hazards(revision, tuple(sorted(shown, key=lambda one: (_WORST.index(one.policy), one.hazard.statement))))


def _judged(hazard: Hazard, statements: Sequence[str], policy: Mapping[str, LintRule]) -> Finding:
    told = policy.get(hazard.rule)
    answer, because = (told.policy, told.because) if told else RULES.get(hazard.rule, UNKNOWN)
    return Finding(hazard, one_line(without_comments(statements[hazard.statement - 1]), 100), answer, because)


def _unbatched(database: Database, statements: Sequence[str]) -> Iterator[Hazard]:
    """Statements that change many rows at once."""
    touching = [(n, _ROWS.match(without_comments(s))) for n, s in enumerate(statements, 1) if batches_of(s) is None]
    if not any(found for _, found in touching):
        return
    sizes = {name.lower(): table.rows_estimate for name, table in database.catalog().items()}
    for number, found in touching:
        parts = split(found[1].replace("`", '"').lower()) if found else ()
        name = next(
            (one for one in (".".join(parts), "".join(parts[-1:])) if one in sizes), ""
        )  # public.users is users
        if sizes.get(name, 0) > BATCH_ROWS:
            text = f"reads or changes about {sizes[name]:,} rows of {name} in one transaction"
            action = f"write `-- batches of {name}` above it, and `{RANGE}` into its WHERE"
            yield Hazard("unbatched-rows", number, text, action)
