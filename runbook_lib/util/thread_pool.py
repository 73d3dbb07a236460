"""Run a function over items, several at a time; results come as they are ready, the first error stops the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


Task = Callable[[], "Sequence[Task]"]  # something to do; it returns what can be done then


def run_all(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    jobs: int,
    more: Callable[[Item, Result], Sequence[Item]] = lambda item, result: (),
) -> Iterator[tuple[Item, Result]]:
    """Yield (item, result) as they are ready.

    Args:
        work: Idempotent: an item whose result was not seen is run again by the next attempt.
        jobs: Items at a time (count, at least 1).
        more: Items that can be done now that this one is: they go before those that wait.
    Raises:
        The first error of `work`, after the items under way have ended; those not begun are not begun.
    """
    waiting = list(reversed(items))
    with ThreadPoolExecutor(max_workers=max(1, jobs), thread_name_prefix="runbook") as pool:
        running: dict[Future[Result], Item] = {}
        while waiting or running:
            while waiting and len(running) < max(1, jobs):
                item = waiting.pop()
                running[pool.submit(work, item)] = item
            ready, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ready:
                item, result = running.pop(future), future.result()
                waiting += reversed(more(item, result))
                yield item, result


SHARED = 50  # items at most that are done together


def batches(items: Sequence[Item], small: Callable[[Item], bool], jobs: int) -> list[list[Item]]:
    """Items one by one, but for the small ones, which are done several together where there are many of them.

    What a small item costs is a transaction and its round trips: together they cost that once.

    Args:
        small: Whether an item may share a transaction with others.
        jobs: Batches at a time (count): no job waits while another has all that is left.
    """
    alone = [[item] for item in items if not small(item)]
    shared = [item for item in items if small(item)]
    size = max(1, min(SHARED, len(shared) // (8 * jobs)))
    return alone + [list(shared[start : start + size]) for start in range(0, len(shared), size)]
