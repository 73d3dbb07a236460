"""How an instance has answered lately: one answer decides nothing, three equal ones in a row do. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from runbook_lib.services.port import Health

IN_A_ROW = 3
ANSWERS = "answers"
TURNS = 3  # so often from good to bad, and it flaps


@dataclass
class Streak:
    """The answers since it was first asked.

    Attributes:
        good, bad: Answers of this kind in a row, up to the last one (count).
        turns: How often a bad one came after a good one (count).
    """

    good: int = 0
    bad: int = 0
    answers: int = 0
    turns: int = 0
    said: str = "not asked yet"

    def add(self, answer: Health) -> None:
        """One more answer."""
        self.answers += 1
        self.turns += bool(self.good and not answer.ok)
        self.good, self.bad = (self.good + 1, 0) if answer.ok else (0, self.bad + 1)
        self.said = ANSWERS if answer.ok else answer.text

    @property
    def healthy(self) -> bool:
        return self.good >= IN_A_ROW

    @property
    def ill(self) -> bool:
        return self.bad >= IN_A_ROW

    @property
    def flapping(self) -> bool:
        return self.turns >= TURNS

    def __str__(self) -> str:
        flaps = f"its health check flaps ({self.turns} times from good to bad in {self.answers} answers)"
        if self.flapping:
            return flaps
        few = f", {self.good} of {IN_A_ROW} times in a row" if 0 < self.good < IN_A_ROW and self.answers > 1 else ""
        return self.said + few
