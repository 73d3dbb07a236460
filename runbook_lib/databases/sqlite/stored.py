"""Keys and texts of SQLite as a comparison reads them, whatever is stored (databases/as_stored.py)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from runbook_lib.databases.as_stored import AsStored, Native, escaped
from runbook_lib.databases.port import Selection
from runbook_lib.databases.sqlite.types import INTEGERS, Kind, parser, renderer


def key_form(kind: Kind, as_stored: str) -> Callable[[Any], Any]:
    """A key's value as the port wants it; where its text would not lead back to it, with what is stored."""
    render, parse = renderer(kind.type), parser(kind)

    def form(value: Any) -> Any:
        try:
            text = render(value)
            if text is None or ((back := parse(text)) == value and type(back) is type(value)):
                return int(text) if text and kind.type in INTEGERS else text
        except ValueError:
            return AsStored(value)
        return AsStored(value) if as_stored == "all" else Native(value, text)

    return form


@contextmanager
def any_text(driver: sqlite3.Connection, selection: Selection) -> Iterator[None]:
    """Texts that are no UTF-8 are read, too, where the selection takes values as they are stored."""
    if selection.as_stored:
        driver.text_factory = escaped
    try:
        yield
    finally:
        driver.text_factory = str
