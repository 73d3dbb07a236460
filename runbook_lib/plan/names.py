"""Names of tables and columns, and what is said of columns, as a plan writes them."""

from __future__ import annotations

import re

from runbook_lib.plan.yaml_value import Value


def read_name(value: Value, what: str) -> str:
    """A table or column."""
    return name_of(value.text(what), value)


def read_names(value: Value, what: str) -> tuple[str, ...]:
    """A list of them, or a comma-separated text."""
    return tuple(name_of(text, at) for text, at in value.texts(what))


def read_names_by_name(value: Value, what: str) -> dict[str, str]:
    """Column to column."""
    return {column: name_of(text, at) for column, (text, at) in _by_name(value, what).items()}


def read_expressions(value: Value, what: str) -> dict[str, str]:
    """Column to an SQL expression."""
    return {column: text for column, (text, _) in _by_name(value, what).items()}


def _by_name(value: Value, what: str) -> dict[str, tuple[str, Value]]:
    if not value.is_mapping:
        raise value.error(f"`{what}` is not a mapping", expected=f"{what}: {{column: …}}")
    found = {}
    for entry in value.entries(what):
        text = entry.value.text(f"{what} {entry.name}")
        found[name_of(entry.name, entry.at)] = (text, entry.value)
    return found


def name_of(text: str, at: Value) -> str:
    """The text, if it is a name or schema.name."""
    parts = re.split(r'\.(?=(?:[^"]*"[^"]*")*[^"]*$)', text)  # not at a dot within quotes
    if len(parts) > 2 or not all(part.strip() for part in parts) or not text.isprintable():
        raise at.error(f"name `{text}`", expected="a name, or schema.name")
    if any(len(part.encode()) > 63 for part in parts):
        raise at.error(f"name `{text[:20]}…` has more than 63 bytes", expected="a name that PostgreSQL does not cut")
    return text
