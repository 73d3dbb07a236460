"""A key of a plan: how it is written and read, where it stands, what it means. `plan.keys` declares them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from runbook_lib.plan.yaml_value import Value

T = TypeVar("T")


@dataclass(frozen=True)
class Kind(Generic[T]):
    """How a value is written.

    Attributes:
        words: For people, e.g. "duration".
        read: The value of what is written, given what messages call it. None: its loader reads it, for it is a
            structure of its own.
        unit: Suffix of the model's field, e.g. `_s` for seconds.
    """

    words: str
    read: Callable[[Value, str], T] | None = None
    unit: str = ""


@dataclass(frozen=True, eq=False)
class Key(Generic[T]):
    """One key, declared once.

    Attributes:
        name: As it is written in the plan.
        meaning: One line for docs/writing-a-plan.md.
        default: Its value when it is left out.
        left_out: What that means, where the default does not say it.
        required: Leaving it out is an error.
        phases: Phases that may have it; empty: wherever its section stands.
        also: Other spellings.
        stored_as: The model's field; empty: the name with the kind's unit.
        options: Phase to the option that wins over the plan's value there.
    """

    name: str
    kind: Kind[T]
    meaning: str
    default: T
    left_out: str = ""
    required: bool = False
    phases: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    stored_as: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def attribute(self) -> str:
        """Name of the model's field."""
        return self.stored_as or self.name + self.kind.unit


class Given(dict[Key[Any], Value]):
    """The keys that a file gives in one section, each with its value as it is written."""

    def read(self, key: Key[T]) -> T:
        """The value of this key, or its default."""
        if key not in self or key.kind.read is None:
            return key.default
        return key.kind.read(self[key], key.name)

    def settings(self) -> dict[str, Any]:
        """What is given for the model, by its fields; what is a structure of its own is not among it."""
        return {key.attribute: self.read(key) for key in self if key.kind.read}


@dataclass(frozen=True)
class Section:
    """Keys that stand side by side."""

    keys: tuple[Key[Any], ...]

    def in_phase(self, phase: str) -> Iterator[Key[Any]]:
        """Those that may stand there."""
        return (key for key in self.keys if not key.phases or phase in key.phases)

    def named(self, name: str) -> Key[Any] | None:
        """The key of this name or spelling."""
        return next((key for key in self.keys if name in (key.name, *key.also)), None)

    def read(self, value: Value, what: str, phase: str = "") -> Given:
        """What is given; an unknown key is answered with the nearest known one."""
        known = {key.name: key for key in self.in_phase(phase)}
        spellings = {other: key.name for key in self.keys for other in key.also}
        found = value.fields(what, known, spellings)
        return Given({known[name]: at for name, at in found.items()})

    def complete(self, value: Value, what: str, noun: str, at: Value | None = None) -> dict[str, Any]:
        """`settings()` of a section with everything that is required; `noun` names the whole in messages."""
        settings = (given := self.read(value, what)).settings()
        for key in self.keys:
            if key.required and key not in given:
                raise (at or value).error(f"{noun} without `{key.name}`", action=f"add `{key.name}:`")
        return settings
