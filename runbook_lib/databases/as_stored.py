"""Values given as an engine stores them, where their column's type has no such value: for comparing, never for writing.

SQLite keeps any value in any column. Each such text stands for one stored value and its storage class, so that two are
equal exactly when what is stored is; no value of another engine's has it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Self

_AMBIGUOUS = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|-?inf|nan|\\x.*|.* \(text\)", re.DOTALL)


class Native(str):
    """The text of a value that would not lead back to exactly what is stored, which is `native`."""

    __slots__ = ("native",)
    native: Any

    def __new__(cls, native: Any, text: str = "") -> Self:
        made = super().__new__(cls, text or _words(native))
        made.native = native
        return made


class AsStored(Native):
    """A stored value in words."""

    __slots__ = ()


def _words(value: Any) -> str:
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if not isinstance(value, str):
        return repr(value)
    text = f"{value} (text)" if _AMBIGUOUS.fullmatch(value) else value
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


def or_as_stored(render: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The rendering, and where it fails the value as it is stored."""

    def rendered(value: Any) -> Any:
        try:
            text = render(value)
            if isinstance(text, str) and not text.isascii():
                text.encode()  # fails for bytes that are no UTF-8
        except ValueError:
            return AsStored(value)
        return text

    return rendered


def escaped(raw: bytes) -> str:
    """A text as SQLite stores it, though its bytes be no UTF-8."""
    return raw.decode(errors="surrogateescape")
