"""Numbers of instances as people write them: `2`, or `25%` of a fleet."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from runbook_lib.plan.yaml_value import Value


@dataclass(frozen=True)
class Amount:
    """So many instances (count), or a share of a fleet (0.25 = 25 %)."""

    count: int = 0
    share: float = 0.0

    def at_most(self, size: int) -> int:
        """Instances of a fleet of this size, a share rounded down; one at least."""
        return self.count or max(1, math.floor(size * self.share + 1e-9))

    def at_least(self, size: int) -> int:
        """Instances of a fleet of this size, a share rounded up."""
        return self.count or math.ceil(size * self.share - 1e-9)


def read_amount(value: Value, what: str) -> Amount:
    """A count above 0, or a percentage above 0 %."""
    text = value.text(what)
    match = re.fullmatch(r"(\d+)\s*(%?)", text)
    if not match or not int(match[1]) or (match[2] and int(match[1]) > 100):
        raise value.error(f"{what} is `{text}`", expected="instances (count, at least 1), or a percentage such as 25%")
    return Amount(share=int(match[1]) / 100) if match[2] else Amount(int(match[1]))


def read_instances(value: Value, what: str) -> int:
    """A number of instances, which may be 0."""
    text = value.text(what)
    if not text.isdigit():
        raise value.error(f"{what} is `{text}`", expected="instances (count)")
    return int(text)
