"""What an entry says, as a dataclass and as JSON.

The name of a kind in the journal is its class's in snake case, the payload is its fields; a field that is None is left
out. A field of a newer version is not read, and stays in the entry. What former versions wrote otherwise is read by
former_kinds.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cache, partial
from types import UnionType
from typing import Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

KINDS: dict[str, type[Content]] = {}


class Content:
    """What an entry says; `aside`: it stands beside the phases, so that it begins none and ends none."""

    kind: ClassVar[str]
    aside: ClassVar[bool]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __init_subclass__(cls, *, aside: bool = False) -> None:
        cls.kind, cls.aside = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower(), aside
        KINDS[cls.kind] = cls


AnyContent = TypeVar("AnyContent", bound=Content)


@dataclass(frozen=True)
class Unknown:
    """What a newer version of this library recorded: shown, never acted upon."""

    kind: str
    payload: Mapping[str, Any]
    aside: ClassVar[bool] = True


def unknown_text(entries: Iterable[tuple[int, str]]) -> str:
    """Number and kind of entries that a newer version wrote, in words."""
    return f"{', '.join(f'entry {seq} ({kind})' for seq, kind in entries)}: of a newer version, not known to this one"


def payload_of(content: Content) -> dict[str, Any]:
    """The fields by name, without those that are None; a trailing underscore belongs to Python."""
    given = {one.name.rstrip("_"): getattr(content, one.name) for one in fields(content)}
    return {name: value for name, value in given.items() if value is not None}


def from_payload(kind: Any, payload: Mapping[str, Any]) -> Any:
    """The dataclass of this payload. Raises TypeError when a field without a default is missing."""
    return kind(**{name: read(payload[key]) for name, key, read in _readers(kind) if key in payload})


@cache
def _readers(kind: Any) -> tuple[tuple[str, str, Callable[[Any], Any]], ...]:
    """Each field, its key in the payload, and how it is read."""
    hints = get_type_hints(kind)
    return tuple((one.name, one.name.rstrip("_"), _reader(hints[one.name])) for one in fields(kind))


def _reader(hint: Any) -> Callable[[Any], Any]:
    """How a JSON value becomes the field's type: nested dataclasses, enums and tuples; mappings stay as they are."""
    if get_origin(hint) is UnionType:  # … | None
        read = _reader(get_args(hint)[0])
        return lambda value: None if value is None else read(value)
    if get_origin(hint) is tuple:
        inner = _reader(get_args(hint)[0])
        return lambda value: tuple(map(inner, value))
    if isinstance(hint, type) and is_dataclass(hint):
        return partial(from_payload, hint)
    return hint if isinstance(hint, type) and issubclass(hint, Enum) else lambda value: value
