"""What every cutover and every return do around the fence: catch up, rehearse the comparison, predict, move."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from runbook_lib.plan.model import Tolerance
from runbook_lib.transfer import cutover as act
from runbook_lib.transfer.links import Link
from runbook_lib.transfer.sequences import advance_all
from runbook_lib.transfer.user_triggers import hold_back
from runbook_lib.validation import Report, ValidationOptions, validate

Compare = Callable[[act.Touched], Report]


@dataclass(frozen=True)
class Pace:
    """What is allowed, and what was measured before.

    Attributes:
        budget_s: The longest write pause allowed (seconds).
        small_enough: Pending keys that the final sync may begin with (count).
        fence_s: What raising the fence takes (seconds).
        switch_s: What the switch takes (seconds).
    """

    budget_s: float
    small_enough: int
    fence_s: float
    switch_s: float


def move(
    links: Sequence[Link], back: Sequence[Link], acts: act.CutoverActions, compare: Compare, pace: Pace
) -> act.CutoverResult:
    """Move the writers over these links, whose only drainer the caller is, within the budget or not at all.

    Args:
        back: The links in the other direction, captured already (none: no rollback path is kept).
        compare: What `acts.verify` will do, rehearsed while writes continue: how long, not how equal.
    Raises:
        CutoverAborted: the state before is restored.
        RollbackFailed: something could not be put back; named.
    """
    hold_back(links)
    for link in links:
        link.reader.prepare_fence(list(link.captured))
    caught = act.catch_up(links, small_enough=pace.small_enough, within_s=60.0)
    verify_s = compare(caught.touched).elapsed_s + _rehearsed_sequences(links) + _timed(acts.same_schema)
    predicted = act.predict(
        links, drain_rate=caught.rate, fence_s=pace.fence_s, verify_s=verify_s, switch_s=pace.switch_s
    )
    return act.cutover(links, back, acts, predicted, budget_s=pace.budget_s)


def _rehearsed_sequences(links: Sequence[Link]) -> float:
    """Set them once while writes continue: inside the pause only those that moved since are set again (seconds)."""
    return _timed(partial(advance_all, links))


def _timed(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def compare_touched(
    links: Sequence[Link], touched: act.Touched, *, tolerances: Sequence[Tolerance] = (), jobs: int = 2
) -> Report:
    """These keys, value by value on both sides.

    All six checks over everything run just before the fence and just after the lift; what is compared inside is what
    was written between, so that the write pause does not grow with the tables.

    Args:
        tolerances: Differences that the plan declares.
        jobs: Statements at a time on each side (count).
    """
    keys = {key: sorted(found, key=repr) for key, found in touched.items()}
    # Of the tables that were written to: the others' catalogs are not read inside the pause.
    written = [replace(ln, flows=tuple(f for f in ln.flows if (ln.service, f.table) in keys)) for ln in links]
    return validate(
        written,
        ValidationOptions(
            checks=("data_sample",), tolerances=tolerances, jobs=jobs, under_writes=False, only_keys=keys
        ),
    )
