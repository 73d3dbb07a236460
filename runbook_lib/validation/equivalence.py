"""Indexes and constraints compared by what they do, not by what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from runbook_lib.validation.findings import Kind, Mismatch


@dataclass(frozen=True)
class Described:
    """An index or a constraint: `like` groups those that stand for each other (kind and columns)."""

    name: str
    like: tuple[object, ...]
    definition: str
    columns: tuple[str, ...]
    mend: str = ""


@dataclass(frozen=True)
class Kinds:
    """What the three ways to differ are called for this sort of object."""

    missing: Kind
    extra: Kind
    different: Kind


def compare(
    check: str, service: str, table: str, kinds: Kinds, there: Sequence[Described], here: Sequence[Described]
) -> list[Mismatch]:
    """What is promised and not there, there and not promised, or there over the same columns with another rule."""
    promised = {(d.like, d.definition): d for d in there}
    present = {(d.like, d.definition): d for d in here}
    missing = [d for key, d in promised.items() if key not in present]
    extra = [d for key, d in present.items() if key not in promised]
    found = []
    for origin in missing:
        twin = next((d for d in extra if d.like == origin.like), None)
        if twin is None:
            text = f"there is no {origin.name}, nor its like"
            mismatch = Mismatch(check, service, table, kinds.missing, (), origin.columns, origin.definition, text=text)
            found.append(replace(mismatch, name=origin.name, mend=origin.mend))
        else:
            extra.remove(twin)
            text = f"{twin.name} is not what {origin.name} is"
            values = (origin.definition, twin.definition)
            found.append(
                Mismatch(check, service, table, kinds.different, (), origin.columns, *values, origin.name, text)
            )
    for twin in extra:
        text = f"{twin.name} is not at the source"
        values = ("", twin.definition)
        found.append(Mismatch(check, service, table, kinds.extra, (), twin.columns, *values, twin.name, text))
    return found
