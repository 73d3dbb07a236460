"""Response times as cumulative counts: the quantiles of what was counted between two looks."""

from __future__ import annotations

Buckets = tuple[tuple[float, int], ...]  # upper bound (milliseconds), requests so far at or below it


def since(before: Buckets, now: Buckets) -> Buckets:
    """What was counted after `before`; all of it where the router was restarted meanwhile."""
    earlier = dict(before)
    delta = tuple((bound, count - earlier.get(bound, 0)) for bound, count in now)
    return now if any(count < 0 for _, count in delta) else delta  # the router was restarted


def quantile(buckets: Buckets, share: float) -> float | None:
    """The value (milliseconds) below which this share of the requests lies, linear within a bucket; None of none."""
    total = buckets[-1][1] if buckets else 0
    if total <= 0:
        return None
    below_bound, below_count = 0.0, 0
    for bound, count in buckets:
        if count >= share * total:
            part = (share * total - below_count) / (count - below_count) if count > below_count else 1.0
            return round(below_bound + (bound - below_bound) * part, 3)
        below_bound, below_count = bound, count
    return below_bound
