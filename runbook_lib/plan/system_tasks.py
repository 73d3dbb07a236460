"""What a plan says of a system step: commands, HTTP requests, or SQL, each with check, apply, verify and rollback.

Everything here is frozen; requests and queries are mappings with the fields of `Request` and `Query`, so that a step
of them can be written into the journal and rebuilt from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """One HTTP request and what its answer must be; `status` 0: any 2xx, `match`: a regular expression of the body."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    status: int = 0
    match: str = ""


@dataclass(frozen=True)
class Query:
    """A question to a database, and the rows that are expected, in order, each value as text."""

    query: str
    rows: tuple[tuple[str | None, ...], ...]


@dataclass(frozen=True)
class CommandTask:
    """Commands; `timeout_s` bounds each (seconds)."""

    name: str
    apply: tuple[str, ...]
    verify: tuple[str, ...]
    check: tuple[str, ...] = ()
    rollback: tuple[str, ...] = ()
    on: str = ""
    timeout_s: float = 60.0


@dataclass(frozen=True)
class HttpTask:
    """Requests; `timeout_s` bounds each (seconds), `retries` says how often one is sent again."""

    name: str
    apply: Mapping[str, Any]
    verify: Mapping[str, Any]
    check: Mapping[str, Any] = field(default_factory=dict)
    rollback: Mapping[str, Any] = field(default_factory=dict)
    on: str = ""
    timeout_s: float = 10.0
    retries: int = 0


@dataclass(frozen=True)
class SqlTask:
    """Statements at a database of the inventory; `verify` and `check` are queries with expected rows."""

    name: str
    database: str
    apply: tuple[str, ...]
    verify: Mapping[str, Any]
    check: Mapping[str, Any] = field(default_factory=dict)
    rollback: tuple[str, ...] = ()
