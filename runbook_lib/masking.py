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


def mask(text: str) -> str:
    """Return `text` with passwords in URLs, `password=…` pairs and the values of secret environment variables as `***`.

    Args:
        text: Anything that may be shown, e.g. the end of a command's error output.
    Returns:
        The same text without those values; names and hosts stay readable.
    """
    for name, value in os.environ.items():
        if _NAMES.search(name) and len(value) >= _SHORTEST:
            text = text.replace(value, "***")
    return _PAIR.sub(r"\1\2***", _USERINFO.sub(r"\1:***@", text))
