"""Types that belong to no engine, and what an engine writes for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Kinds by what they hold; bits of whole numbers.
BITS = {"tinyint": 8, "smallint": 16, "integer": 32, "bigint": 64}
FLOATS = ("real", "double")
NUMBERS = (*BITS, *FLOATS, "numeric")
TEXTS = ("text", "varchar", "char")
MOMENTS = ("date", "timestamp", "timestamptz")


@dataclass(frozen=True)
class Neutral:
    """A type that belongs to no engine. `kind` "unknown" is what has no equivalent elsewhere."""

    kind: str
    modifiers: tuple[int, ...] = ()
    unsigned: bool = False
    labels: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True)
class MappedType:
    """A target's type: its text, what is to be known about it, and the check that replaces what the type promised.

    Attributes:
        note: What differs; empty when every value goes over and back unchanged.
        lossy: Some value does not survive, or is refused.
        unknown: Nothing was found: the plan must decide.
        check: SQL condition with `{column}`, or empty.
    """

    type: str
    note: str = ""
    lossy: bool = False
    unknown: bool = False
    check: str = ""


def sized(name: str, modifiers: Sequence[int]) -> str:
    """A type's text with its modifiers."""
    return f"{name}({','.join(map(str, modifiers))})" if modifiers else name


def in_list(labels: Sequence[str]) -> str:
    """The check that a column holds one of these texts."""
    return "{column} IN (" + ", ".join("'" + label.replace("'", "''") + "'" for label in labels) + ")"
