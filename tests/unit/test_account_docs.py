"""docs/account.md says of each kind what the rules say: the table is made of them here, and compared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from runbook_lib.assessment.account import MOVED, TRANSLATED
from runbook_lib.assessment.kinds import ACROSS, BROUGHT, LEFT_BEHIND, WITH_TABLE

PAGE = Path(__file__).parents[2] / "docs" / "account.md"


def same_engine() -> Iterator[str]:
    yield f"| {', '.join(sorted(BROUGHT))} | {MOVED} | |"
    for kind, (why, action) in sorted(LEFT_BEHIND.items()):
        yield f"| {kind} | left behind | {why}; {action or 'its statement is printed'} |"


def across() -> Iterator[str]:
    for kind, how in sorted(WITH_TABLE.items()):
        yield f"| {kind} | {TRANSLATED} | {how} |"
    for kind, (outcome, how) in sorted(ACROSS.items()):
        yield f"| {kind} | {outcome} | {how.format(target='the target')} |"


def test_the_page_has_every_kind_with_its_outcome_as_the_rules_have_it():
    listed = PAGE.read_text().partition("<!-- kinds")[2].partition("<!-- end")[0].splitlines()
    rows = [line for line in listed if line.startswith("| ") and not line.startswith("| kind ")]
    assert rows == [*same_engine(), *across()]
