"""What the engines' classes have alike, and what one answers that has nothing of its own; each overrides the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from threading import local
from typing import Any, Protocol

from runbook_lib.databases import adapter_helpers
from runbook_lib.databases.capabilities import Capabilities
from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Database, FiringTrigger, KeyRange, RangeSum, Selection, Sequence_, Table
from runbook_lib.errors import DatabaseError


class Rehearsal(local):
    """Whether this thread only tries what it writes."""

    on = False


class AdapterPort(Database, Protocol):
    """The port, and what an engine's own modules know of its class beside it."""

    lock_wait_s: float  # in all, with retries
    rehearsal: Rehearsal
    memo: dict[Any, Any]

    def explain(self, error: Exception, doing: str = "") -> DatabaseError:
        """One clear line about a driver's error."""
        ...


class Adapter:
    """The part of `runbook_lib.databases.port.Database` that needs no engine.

    Attributes:
        lock_wait_s: How long locks are waited for in all, with retries (seconds; option `lock_wait_s`, default 30).
        memo: What an engine's modules look up once.
    """

    dialect: str

    def __init__(self, name: str, masked_url: str, options: Mapping[str, Any]) -> None:
        self.name, self.masked_url = name, masked_url
        self.lock_wait_s = float(options.get("lock_wait_s", 30.0))
        self.rehearsal = Rehearsal()
        self.memo: dict[Any, Any] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}, {self.masked_url})"

    @property
    def capabilities(self) -> Capabilities:
        """See Database.capabilities."""
        return dialect_of(self.dialect).capabilities

    def quote(self, identifier: str) -> str:
        """See Database.quote."""
        return dialect_of(self.dialect).quoted(identifier)

    def ident(self, name: str) -> str:
        """See Database.ident."""
        return dialect_of(self.dialect).ident(name)

    def describe_again(self, relation: str) -> None:
        """See Database.describe_again."""
        for asked in [one for one in list(self.memo) if isinstance(one, tuple) and relation in one]:
            self.memo.pop(asked, None)

    @contextmanager
    def rehearsing(self) -> Iterator[None]:
        """See Database.rehearsing."""
        self.rehearsal.on = True
        try:
            yield
        finally:
            self.rehearsal.on = False

    # -- the catalog of an engine without types of users, partitions that are tables, or sequences of their own ---
    def fingerprint(self: Database, tables: Sequence[str], known: Mapping[str, Table] | None = None) -> str:
        """See Database.fingerprint."""
        return adapter_helpers.fingerprint(known or self.catalog(tables), tables)

    def small_tables(self: Database, tables: Sequence[str], most_bytes: int) -> list[str]:
        """See Database.small_tables."""
        return [name for name, table in self.catalog(tables).items() if table.size_bytes <= most_bytes]

    def standalone_sequences(self) -> list[Sequence_]:
        """None: its counters all belong to columns."""
        return []

    # -- an engine that cannot do several small things at once, or tell sizes beforehand ---
    def small_sums(
        self: Database, asked: Sequence[tuple[Selection, Sequence[str]]], *, canonical: bool
    ) -> list[RangeSum]:
        """Each by itself."""
        return [self.range_sums(selection, types, [KeyRange(0)], canonical=canonical)[0] for selection, types in asked]

    def only_ranges(self, wanted: Sequence[tuple[Selection, int]]) -> list[KeyRange | None]:
        """None: `ranges` cuts each."""
        return [None] * len(wanted)

    def together(self) -> AbstractContextManager[None]:
        """Raises DatabaseError: see `capabilities.joined_loads`."""
        raise self.capabilities.joined_loads.refusal(self.name)

    # -- an engine without programs of its own, triggers that stay loud, versions of rows, or logs that it keeps ---
    def copy_across(self, *_: Any) -> int | None:
        """Not possible."""
        return None

    def firing_triggers(self, tables: Sequence[str], *, silent: bool = False) -> list[FiringTrigger]:  # noqa: ARG002  the port
        """None: a session can silence them."""
        return []

    def firing_trigger_of(self, script: str) -> FiringTrigger | None:  # noqa: ARG002  the port
        """None of that kind."""
        return None

    def take_history(self, *_: Any) -> dict[str, str]:
        """Nothing to take."""
        return {}

    def keep_up(self) -> None:
        """Nothing is kept for a capture but its own logs."""
