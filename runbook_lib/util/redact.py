"""Take secrets out of text that people will see: error messages, command output, notices."""

from __future__ import annotations

import os
import re

_PAIR = re.compile(
    r"""(?ix) \b ((?:[a-z0-9]+[_-])* (?:password|passwd|pwd|pgpassword|secret|token|api[_-]?key|authorization))
    (["']?\s*[=:]\s*)
    (?: "[^"]*" | '[^']*' | (?:bearer\s+|basic\s+)? [^\s&;,"']+ )"""
)
_USERINFO = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s:/@]*):[^\s/]*@")
_NAMES = re.compile(r"(?i)password|passwd|secret|token|api_?key|private_?key")
_SHORTEST = 6  # a shorter value of an environment variable ("yes", "1") would blot out ordinary words
_LOOKED_UP: set[str] = set()


def remember(secret: str) -> str:
    """Mask this value from now on wherever this process shows text; the value itself is returned."""
    if len(secret) >= _SHORTEST:
        _LOOKED_UP.add(secret)
    return secret


def mask(text: str) -> str:
    """Return `text` with passwords in URLs, `password=…` pairs and known secret values as `***`.

    Known are the values of secret environment variables, and every secret that this process looked up (`remember`).

    Args:
        text: Anything that may be shown, e.g. the end of a command's error output.
    Returns:
        The same text without those values; names and hosts stay readable.
    """
    for secret in _LOOKED_UP:
        text = text.replace(secret, "***")
    for name, value in os.environ.items():
        if _NAMES.search(name) and len(value) >= _SHORTEST:
            text = text.replace(value, "***")
    return _PAIR.sub(r"\1\2***", _USERINFO.sub(r"\1:***@", text))
