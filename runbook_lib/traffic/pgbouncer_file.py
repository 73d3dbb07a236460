"""The file of database entries that PgBouncer's configuration includes: a route is an entry, its home a line above it.

    [databases]
    ; monolith has user_service.writes
    user_service.writes = host=127.0.0.1 port=5432 dbname=shop

Everything else in the file stays as it is. Two backends may have one address (a service on the source's data), so the
home is written down, and not guessed from the address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from runbook_lib.errors import ConfigurationError
from runbook_lib.traffic.port import READS, WRITES

_ENTRY = re.compile(r'\s*"?([^"=\s;#\[]+)"?\s*=\s*(.*?)\s*')
_HOME = re.compile(r"; (\S+) has (\S+)")


@dataclass(frozen=True)
class Entry:
    """A route as the file has it: what stands at the right of `=`, and the backend written above it (empty: none)."""

    target: str
    home: str = ""

    @property
    def address(self) -> tuple[str, str, str]:
        """Host, port and database: what PgBouncer shows of it."""
        words = dict(word.partition("=")[::2] for word in self.target.split())
        return words.get("host", ""), words.get("port", "5432"), words.get("dbname", "")


def read(path: Path) -> str:
    """The file's text; ConfigurationError when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ConfigurationError(str(path), f"cannot be read: {reason}", action="correct router.file") from error


def entries(text: str) -> dict[str, Entry]:
    """The routes of the file."""
    found: dict[str, Entry] = {}
    home: tuple[str, str] = ("", "")
    for line in text.splitlines():
        if entry := _route(line):
            found[entry[0]] = Entry(entry[1], home[0] if home[1] == entry[0] else "")
        home = (mark[1], mark[2]) if (mark := _HOME.fullmatch(line)) else ("", "")
    return found


def pointing(text: str, homes: Mapping[str, str], backends: Mapping[str, str]) -> str:
    """The text with these routes at these backends (route → backend)."""
    return "".join(f"{line}\n" for line in _pointing(text, homes, backends))


def _pointing(text: str, homes: Mapping[str, str], backends: Mapping[str, str]) -> Iterator[str]:
    for line in text.splitlines():
        if (mark := _HOME.fullmatch(line)) and mark[2] in homes:
            continue  # the home of before
        if (entry := _route(line)) and entry[0] in homes:
            home = homes[entry[0]]
            yield f"; {home} has {entry[0]}"
            yield f"{entry[0]} = {backends[home]}"
        else:
            yield line


def _route(line: str) -> tuple[str, str] | None:
    found = _ENTRY.fullmatch(line)
    return (found[1], found[2]) if found and found[1].endswith((READS, WRITES)) else None
