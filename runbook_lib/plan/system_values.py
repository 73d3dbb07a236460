"""What a system step is told: commands, addresses, headers, expected rows, as a plan writes them."""

from __future__ import annotations

import re
from typing import Any

from runbook_lib.plan.yaml_value import Value
from runbook_lib.util.command import split, unknown_placeholders

OF_A_SERVICE = ("name", "url")  # of the service that `on` names
PLACEHOLDERS = (*OF_A_SERVICE, "python", "root", "run_id")
OF_TESTS = ("python", "root", "run_id", "inventory")  # the last one: the path of the inventory
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
REFERENCE = re.compile(r"(?:\w+ )?(?:env|file|keyring):\S+")  # after a scheme: Bearer env:TOKEN
_SECRET = re.compile(r"(?i)authorization|token|secret|password|cookie|key")


def read_title(value: Value, what: str) -> str:
    """The name of a step: letters, digits, `_` and `-`."""
    text = value.text(what)
    if not re.fullmatch(r"[A-Za-z0-9][\w-]*", text):
        raise value.error(f"{what} is `{text}`", expected="letters, digits, `_` and `-`")
    return text


def read_command(value: Value, what: str, placeholders: tuple[str, ...] = PLACEHOLDERS) -> tuple[str, ...]:
    """A command: a line, which is split as a shell does and given to none, or a list."""
    try:
        parts = split([item.verbatim(what) for item in value.items(what)] if value.is_list else value.verbatim(what))
        return _known(value, what, parts, placeholders)
    except ValueError as error:
        raise value.error(f"{what}: {error}", action="close each quote, and write a literal brace twice") from error


def read_tests(value: Value, what: str) -> tuple[str, ...]:
    """A command that no service is named for."""
    return read_command(value, what, OF_TESTS)


def _known(
    value: Value, what: str, parts: tuple[str, ...], placeholders: tuple[str, ...] = PLACEHOLDERS
) -> tuple[str, ...]:
    if unknown := unknown_placeholders(parts, placeholders):
        observed = f"{what}: unknown placeholder {{{unknown[0]}}}"
        raise value.error(observed, expected=", ".join(placeholders), action="write a literal brace twice")
    return parts


def read_address(value: Value, what: str) -> str:
    """An HTTP address, or one that begins with the service's `{url}`."""
    text = value.text(what)
    if not re.match(r"https?://|\{url\}", text):
        raise value.error(f"{what} is `{text}`", expected="https://…, or {url}/… of the service that `on` names")
    try:
        return _known(value, what, (text,))[0]
    except ValueError as error:
        raise value.error(f"{what}: {error}", action="write a literal brace twice") from error


def read_method(value: Value, what: str) -> str:
    """An HTTP method."""
    return value.word(value.text(what).upper(), METHODS, f"{what} is `{value.text(what)}`")


def read_status(value: Value, what: str) -> int:
    """An HTTP status."""
    text = value.text(what)
    if not re.fullmatch(r"[1-5]\d\d", text):
        raise value.error(f"{what} is `{text}`", expected="an HTTP status such as 200")
    return int(text)


def read_retries(value: Value, what: str) -> int:
    """How often again, at most 20."""
    text = value.text(what)
    if not text.isdigit() or int(text) > 20:
        raise value.error(f"{what} is `{text}`", expected="a count from 0 to 20")
    return int(text)


def read_pattern(value: Value, what: str) -> str:
    """A regular expression."""
    try:
        return re.compile(value.verbatim(what)).pattern
    except re.error as error:
        raise value.error(f"{what} is no regular expression: {error}") from error


def read_headers(value: Value, what: str) -> dict[str, str]:
    """Header to its value; that of a secret is a reference, alone or after its scheme."""
    found = {entry.name: entry.value for entry in value.entries(what)}
    for name, at in found.items():
        if _SECRET.search(name) and not REFERENCE.fullmatch(at.text(name)):  # its text is not repeated
            expected = "env:NAME, file:PATH or keyring:SERVICE/USER, also after a scheme: Bearer env:TOKEN"
            raise at.error(
                f"header {name} is not a reference", expected=expected, action="keep secrets out of the plan"
            )
    return {name: at.text(name) for name, at in found.items()}


def read_rows(value: Value, what: str) -> tuple[tuple[str | None, ...], ...]:
    """Expected rows, in order, each value as text; a row of one value may stand without its brackets."""
    rows = [item.items(what) if item.is_list else [item] for item in value.items(what)]
    return tuple(tuple(None if cell.is_null else written(cell.plain()) for cell in row) for row in rows)


def written(value: Any) -> str:
    """A value of a row as it is compared: true and false in small letters, as YAML has them."""
    return str(value).lower() if isinstance(value, bool) else str(value)
