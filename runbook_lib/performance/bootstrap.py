"""An interval around what pairs of rounds say together, by the stationary bootstrap: neighbours may be alike.

Politis and Romano, "The Stationary Bootstrap" (1994): blocks of random length, drawn with replacement, so that noise
that lasts for several rounds is drawn as it came. Twenty lines of numpy; `arch` brings scipy and statsmodels for the
same figures (docs/decisions/0145).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any

RESAMPLES = 2_000
TRIMMED = 0.2  # of each end: a round in which the machine did something else does not decide


@dataclass(frozen=True)
class Interval:
    """What the pairs say together, and between which bounds that is."""

    low: float
    centre: float
    high: float


def interval(values: Sequence[float], alpha: float, seed: int = 0) -> Interval:
    """The trimmed mean of the values and its interval; the same seed gives the same.

    Args:
        values: One for each pair of rounds, in their order (at least 2).
        alpha: The share of intervals that may miss the truth, half of it at each end.
    """
    import numpy as np

    found = np.asarray(values, dtype=float)
    means = _trimmed_means(found[_indices(len(found), seed)])
    shares = _shares(alpha, len(found))
    low, high = np.quantile(means, shares, method="inverted_cdf")  # an infinite value is one of them, or is not
    return Interval(float(low), float(_trimmed_means(found[None, :])[0]), float(high))


@lru_cache(maxsize=4)  # every metric of a look is drawn alike
def _indices(count: int, seed: int) -> Any:
    """For each resample the places that it draws: runs of neighbours, about the cube root of all long, in a circle."""
    import numpy as np

    chance = np.random.default_rng(seed)
    starts = chance.integers(count, size=(RESAMPLES, count))
    begins = chance.random((RESAMPLES, count)) < count ** (-1 / 3)
    begins[:, 0] = True
    place = np.arange(count)
    last = np.maximum.accumulate(np.where(begins, place, 0), axis=1)
    return (np.take_along_axis(starts, last, axis=1) + place - last) % count


def _trimmed_means(samples: Any) -> Any:
    """Of each row, the mean of what is left without the least and the greatest."""
    import numpy as np

    count = samples.shape[1]
    cut = int(count * TRIMMED)
    parted = np.partition(samples, (cut, count - cut - 1), axis=1) if cut else samples
    return parted[:, cut : count - cut].mean(axis=1)


def _shares(alpha: float, count: int) -> tuple[float, float]:
    """Where to cut, wider for few values: Hesterberg's expanded percentiles, with Student's quantile by its series."""
    z = NormalDist().inv_cdf(1 - alpha / 2)
    student = z + (z**3 + z) / (4 * count) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * count**2)
    tail = NormalDist().cdf(-student * math.sqrt(count / (count - 1)))
    return tail, 1 - tail
