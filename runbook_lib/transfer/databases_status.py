"""Where a copy or a run stands now, asked of the databases: who has the writes, which side is fenced, the sync's lag.

A database that does not answer takes nothing away from what the others say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runbook_lib.databases.port import Database, Pending
from runbook_lib.errors import RunbookError
from runbook_lib.schema.convert.left_behind import account_at
from runbook_lib.schema.kept_scripts import keeps
from runbook_lib.transfer.sync_process import lock_of
from runbook_lib.transfer.waiting_log import read
from runbook_lib.transfer.writers import Fences, Side, Writers, fences_of
from runbook_lib.util.text import counted


@dataclass(frozen=True)
class Place:
    """One database of a copy or a run.

    Attributes:
        role: source or target.
        name: As people call it.
        open: Gives the database; it may raise, and it is closed here.
        tables: Its tables that are moved.
        channels: What logs its changes, with the tables that each logs.
        service: Of a copy's target: under which name its account is kept there.
    """

    role: str
    name: str
    open: Callable[[], Database]
    tables: tuple[str, ...]
    channels: tuple[tuple[str, tuple[str, ...]], ...]
    service: str = ""


@dataclass(frozen=True)
class Seen:
    """What one database said; `error` is why it did not.

    Attributes:
        waiting: Keys in its log that are to be carried to the other side.
        captured: Whether each of its tables is logged; None: none is.
        syncs: Logs whose sync runs, of all (counts).
        held: Tables whose changes the sync cannot apply, or whose capture has lost some, with the reason.
        account: Outcome → how many objects of the source (count), as the copy kept it.
    """

    place: Place
    fences: Fences = field(default_factory=lambda: Fences(""))
    waiting: Pending = field(default_factory=lambda: Pending(0, 0.0))
    captured: bool | None = None
    syncs: tuple[int, int] = (0, 0)
    held: tuple[str, ...] = ()
    account: Mapping[str, int] = field(default_factory=dict)
    error: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        said = {"role": self.place.role, "database": self.place.name, "error": self.error or None}
        if self.error:
            return said
        fences = {"fenced": len(self.fences.fenced), "tables": self.fences.total, "missing": len(self.fences.missing)}
        log = {"captured": self.captured, "keys": self.waiting.keys, "oldest_s": round(self.waiting.oldest_s, 1)}
        return {
            **said,
            **fences,
            **({"account": dict(self.account)} if self.account else {}),
            "log": {
                **log,
                "held_back": list(self.held),
                "sync_runs": self.syncs[0] == self.syncs[1] and self.syncs[1] > 0,
            },
        }


@dataclass(frozen=True)
class DatabasesStatus:
    """What all databases of a copy or a run say together."""

    source: Seen
    targets: tuple[Seen, ...]

    @property
    def every(self) -> tuple[Seen, ...]:
        """The source, and the targets."""
        return (self.source, *self.targets)

    @property
    def side(self) -> Side | None:
        """Who has the writes; None where a database did not answer."""
        if any(seen.error for seen in self.every):
            return None
        return Writers(self.source.fences, tuple(seen.fences for seen in self.targets)).side

    @property
    def writers(self) -> str:
        """Who has the writes, in words."""
        if silent := [seen.place.name for seen in self.every if seen.error]:
            return f"not known: {', '.join(silent)} did not answer"
        if self.source.fences.writable and all(seen.fences.missing for seen in self.targets):
            return "the source; the target's tables are not made yet"
        words = {
            Side.SOURCE: "the source",
            Side.TARGET: "the target",
            Side.BETWEEN: "nobody: both sides reject writes, a cutover was interrupted",
            Side.BOTH: "not decided: neither side rejects writes",
        }
        return words.get(self.side or Side.MIXED, "not proven: a side is fenced in part")

    @property
    def rollback_path(self) -> str:
        """Whether a return to the source loses no write, as a sentence."""
        if self.side is Side.SOURCE or (self.source.fences.writable and not self.source.error):
            return "not needed: the source has the writes"
        if any(seen.error for seen in self.targets):
            return "not known: a target did not answer"
        if self.targets and all(seen.captured for seen in self.targets):
            return "open: each write at the target is logged for the source"
        return "closed: writes at the target are not logged for the source"

    def logs(self) -> Iterator[tuple[str, Seen]]:
        """The logs that matter now, each with its direction in words: away from the side that has the writes."""
        for seen in self.every:
            other = Side.TARGET if seen.place.role == "source" else Side.SOURCE
            if seen.error or seen.captured is None or (self.side is other and not seen.waiting.keys):
                continue
            yield f"{seen.place.name} → {'target' if seen.place.role == 'source' else 'source'}", seen

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        side = self.side.name.lower() if self.side else None
        words = {"writers": side, "writers_text": self.writers, "rollback_path": self.rollback_path}
        return {**words, "databases": [seen.as_dict() for seen in self.every]}


def account_text(seen: Seen) -> str:
    """How everything that the source had was handled, in one line; "" where no account is kept here."""
    said = ", ".join(f"{count:,} {outcome}" for outcome, count in seen.account.items() if count)
    where = f'{seen.place.name}: table "later" in schema runbook, or runbook_later; kind "account"'
    return f"{said}; each that is not moved: {where}" if said else ""


def ask_databases(source: Place, targets: Sequence[Place]) -> DatabasesStatus:
    """Ask every database; none that is silent keeps the others from being asked."""
    return DatabasesStatus(_seen(source), tuple(map(_seen, targets)))


def log_text(seen: Seen) -> str:
    """How far the sync of this log is behind, and whether it runs."""
    running, of = seen.syncs
    runs = "runs" if running == of else "does not run" if not running else f"runs for {running} of {of} services"
    held = "".join(f"; held back: {each}" for each in seen.held)
    if not seen.waiting.keys:
        return f"{runs}; no key waits{held}"
    waits = f"{counted(seen.waiting.keys, 'key')} wait{'s' if seen.waiting.keys == 1 else ''}"
    return f"{runs}; {waits}, the oldest for {seen.waiting.oldest_s:,.1f} s{held}"


def _seen(place: Place) -> Seen:
    try:
        database = place.open()
        try:
            return _ask(place, database)
        finally:
            database.close()
    except RunbookError as error:
        return Seen(place, error=error.observed + (f". Next: {error.action}" if error.action else ""))


def _ask(place: Place, database: Database) -> Seen:
    logs = [(name, tables, database.capture_installed(name)) for name, tables in place.channels]
    gaps = {name: database.capture_gaps(name) for name, *_ in logs}
    present = [(name, set(tables) <= installed) for name, tables, installed in logs if installed or gaps[name]]
    lags = [lag for name, _ in present for lag in database.pending(name).values()]
    running = 0
    for name, _ in present:
        with database.advisory_lock(lock_of(name)) as granted:
            running += not granted
    return Seen(
        place,
        fences_of(database, place.tables),
        Pending(sum(lag.keys for lag in lags), max((lag.oldest_s for lag in lags), default=0.0)),
        len(present) == len(logs) and all(whole for _, whole in present) if present else None,
        (running, len(present)),
        (
            *(f"{table}: {why.reason}" for name, _ in present for table, why in read(database, name).items()),
            *(f"{table}: {why}" for lost in gaps.values() for table, why in lost.items()),
        ),
        _account(place, database),
    )


def _account(place: Place, database: Database) -> Mapping[str, int]:
    kept = account_at(place.service, database) if place.service and keeps(database) else None
    outcomes: Mapping[str, int] = kept["outcomes"] if kept else {}
    return outcomes
