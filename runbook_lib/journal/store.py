"""The journal's store: runs, entries, samples and progress in SQLite or PostgreSQL."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from sqlalchemy import Connection, Delete, Engine, Table, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from runbook_lib.errors import JournalError
from runbook_lib.journal import former_kinds, tables
from runbook_lib.journal.chain import Entry, canonical_json, now_text, plain, verify_entries
from runbook_lib.journal.content import KINDS, Content, payload_of
from runbook_lib.journal.kinds import Approval, RunOpened, Signoff
from runbook_lib.journal.lease import Lease, database_time, holder_text, key_of, lock_run, require, this_process
from runbook_lib.journal.progress import ProgressRow
from runbook_lib.util.points import passed

_OPEN_LOCK = 0x72756E6F  # "runo": only one process opens a run of an environment
_SHORTEST_SECRET = 6  # masking "pass" would destroy the record; so short a password protects nothing
_FORKED: weakref.WeakSet[Engine] = weakref.WeakSet()


@dataclass(frozen=True)
class RunRow:
    """One run. `state` is open, rolling_back, rolled_back, done or superseded; times are ISO 8601, UTC."""

    run_id: str
    environment: str
    plan_digest: str
    plan_path: str
    inventory_digest: str
    actor: str
    host: str
    created_at: str
    closed_at: str | None
    state: str


@dataclass(frozen=True)
class Sample:
    """One point of a time series; `at` in seconds since the epoch (0: now, by the journal's clock)."""

    series: str
    value: float
    at: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)


class Journal:
    """The record of all runs in one SQLite file or PostgreSQL database.

    Args:
        url: SQLAlchemy URL; an SQLite file is made when missing.
        secrets: Values that must never be written: they are masked wherever they occur.
    Raises:
        JournalError: unreachable, locked, damaged, or of another kind of database.
    """

    def __init__(self, url: str, *, secrets: Sequence[str] = ()) -> None:
        parsed = tables.parse_url(url)
        self.masked_url = tables.masked(parsed)
        self._secrets = tuple(secret for secret in secrets if len(secret) >= _SHORTEST_SECRET)
        try:
            self._engine = tables.make_engine(parsed)
        except OSError as error:
            raise self._refusal(error) from error
        _FORKED.add(self._engine)
        self._writing = self._engine.execution_options(writes=True)
        with self._transaction(write=True) as connection:
            tables.create_tables(connection)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, *, write: bool = False) -> Iterator[Connection]:
        try:
            with (self._writing if write else self._engine).begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> JournalError:
        words = str(getattr(error, "orig", None) or error).strip().splitlines()
        return JournalError(
            f"journal {self.masked_url}",
            words[0] if words else type(error).__name__,
            state="nothing was recorded",
            action="see that it is reachable, that its disk has room, and that no other program holds it",
        )

    # -- runs ---
    def open_run(
        self,
        run_id: str,
        *,
        environment: str,
        plan_digest: str,
        actor: str,
        plan_path: str = "",
        inventory_digest: str = "",
    ) -> RunRow:
        """The environment's unfinished run, whatever its plan; or this one, recorded as opened now."""
        host = this_process().host
        row = RunRow(
            run_id, environment, plan_digest, plan_path, inventory_digest, actor, host, now_text(), None, "open"
        )
        with self._transaction(write=True) as connection:
            tables.lock(connection, _OPEN_LOCK)
            unfinished = _latest(connection, environment, ("open", "rolling_back"))
            if unfinished is not None:
                return unfinished
            connection.execute(insert(tables.runs).values(**asdict(row)))
            _append(connection, run_id, RunOpened.kind, actor, "", "", _opening(row))
        return row

    def set_state(self, run_id: str, state: str) -> None:
        """Change a run's state; every state but open and rolling_back closes it."""
        closed = None if state in ("open", "rolling_back") else now_text()
        with self._transaction(write=True) as connection:
            lock_run(connection, run_id)
            changed = update(tables.runs).where(tables.runs.c.run_id == run_id)
            connection.execute(changed.values(state=state, closed_at=closed))

    def run(self, run_id: str) -> RunRow:
        """The run of this id. Raises JournalError when there is none."""
        with self._transaction() as connection:
            query = select(tables.runs).where(tables.runs.c.run_id == run_id)
            row = connection.execute(query).mappings().first()
        if row is None:
            raise JournalError(run_id, f"no such run in {self.masked_url}", action="runbook status")
        return RunRow(**row)

    def holder(self, run_id: str, what: str = "") -> str:
        """Who acts on the run (or has the lease on this of it) now, in words; empty where nobody does."""
        with self._transaction() as connection:
            return holder_text(connection, key_of(run_id, what))

    def runs(self) -> list[RunRow]:
        """All runs, the oldest first."""
        with self._transaction() as connection:
            query = select(tables.runs).order_by(tables.runs.c.created_at)
            return [RunRow(**row) for row in connection.execute(query).mappings()]

    def latest_run(self, environment: str, *, states: Sequence[str] = ()) -> RunRow | None:
        """The environment's newest run (in one of these states); None when there is none."""
        with self._transaction() as connection:
            return _latest(connection, environment, states)

    # -- entries ---
    def append(
        self,
        run_id: str,
        content: Content,
        *,
        phase: str = "",
        step: str = "",
        actor: str = "",
        token: str = "",
        lease: str = "",
        condenses: str = "",
    ) -> Entry:
        """Write one entry; it is durable on return. Concurrent writers take turns.

        Args:
            content: What it says (kinds.py); its fields become JSON (`chain.plain`), secrets in them are masked.
            token: A lease's token; the entry is refused when the lease is no longer ours.
            lease: What that lease is for; empty: the run.
            condenses: A time series that is forgotten in the same transaction: the entry says what it said.
        Raises:
            LeaseHeld: the lease went to somebody else.
            JournalError: the journal cannot be written.
        """
        kind = content.kind
        if KINDS.get(kind) is not type(content):
            raise JournalError(kind, "no such kind of entry", expected=", ".join(KINDS))
        payload = canonical_json(_masked(plain(payload_of(content)), self._secrets))
        passed("before append")
        with self._transaction(write=True) as connection:
            lock_run(connection, run_id)
            if token:
                require(connection, key_of(run_id, lease), token)
            if condenses:
                connection.execute(_of_series(run_id, condenses))
            entry = _append(connection, run_id, kind, actor, phase, step, payload)
            passed("during append")
        passed("after append")
        return entry

    def entries(
        self, run_id: str, *kinds: type[Content], phase: str = "", step: str = "", after: int = 0
    ) -> list[Entry]:
        """The run's entries of these kinds (none: all) in order, those numbered higher than `after`; empty criteria
        match everything."""
        wanted = {name: value for name, value in (("phase", phase), ("step", step)) if value}
        of_run = (tables.entries.c.run_id == run_id, tables.entries.c.seq > after)
        query = select(tables.entries).where(*of_run).order_by(tables.entries.c.seq)
        if kinds:
            query = query.where(tables.entries.c.kind.in_(former_kinds.columns(kinds)))
        with self._transaction() as connection:
            rows = connection.execute(query.filter_by(**wanted)).mappings().all()
        return [entry for entry in map(_entry, rows) if not kinds or isinstance(entry.content, kinds)]

    def head(self, run_id: str) -> str:
        """The hash of the run's last entry; empty when it has none."""
        with self._transaction() as connection:
            return _head(connection, run_id)[1]

    def approvals(self, run_id: str) -> list[Entry]:
        """Approvals and sign-offs, those waived by policy too."""
        return self.entries(run_id, Approval, Signoff)

    def verify_chain(self, run_id: str, *, containing: str = "") -> str:
        """Recompute the run's chain and return its head; `containing` as in `verify_entries`.

        Raises:
            JournalError: names the first entry that does not fit.
        """
        entries, row = self.entries(run_id), self.run(run_id)
        head = verify_entries(entries, containing=containing)
        if not entries or entries[0].payload_json != _opening(row):
            raise JournalError(run_id, "the run's row does not fit its first entry", expected="an unbroken chain")
        return head

    def lease(self, run_id: str, holder: str, ttl_s: float = 30.0, what: str = "") -> Lease:
        """A lease on the run (or on this of it), taken by `with` or `acquire()`; see `Lease`."""
        return Lease(lambda: self._transaction(write=True), run_id, holder, ttl_s, what)

    # -- time series and progress ---
    def sample(self, run_id: str, series: str, value: float, /, **labels: str) -> None:
        """Record one point of a time series, now."""
        self.sample_many(run_id, [Sample(series, value, labels=labels)])

    def sample_many(self, run_id: str, points: Sequence[Sample]) -> None:
        """Record many points in one transaction."""
        if not points:
            return
        with self._transaction(write=True) as connection:
            connection.execute(insert(tables.samples), _rows(connection, run_id, points))

    def replace_sample(self, run_id: str, point: Sample, *, token: str, lease: str) -> None:
        """Let this be the only point of its series, while the lease on this of the run is ours.

        Raises:
            LeaseHeld: the lease went to somebody else.
        """
        with self._transaction(write=True) as connection:
            require(connection, key_of(run_id, lease), token)
            connection.execute(_of_series(run_id, point.series))
            masked = replace(point, labels=_masked(plain(point.labels), self._secrets))
            connection.execute(insert(tables.samples), _rows(connection, run_id, [masked]))

    def samples(self, run_id: str, series: str = "") -> list[Sample]:
        """The points of one series (or of all) in the order of time."""
        query = select(tables.samples).where(tables.samples.c.run_id == run_id).order_by(tables.samples.c.at)
        if series:
            query = query.where(tables.samples.c.series == series)
        with self._transaction() as connection:
            rows = connection.execute(query).mappings().all()
        return [Sample(row["series"], row["value"], row["at"], _labels(row["labels"])) for row in rows]

    def set_progress(self, run_id: str, row: ProgressRow) -> None:
        """Replace the run's progress row."""
        with self._transaction(write=True) as connection:
            connection.execute(delete(tables.progress).where(tables.progress.c.run_id == run_id))
            connection.execute(insert(tables.progress).values(run_id=run_id, **asdict(row)))

    def get_progress(self, run_id: str) -> ProgressRow | None:
        """How far the run is; None before the first report."""
        query = select(*_columns(tables.progress, ProgressRow)).where(tables.progress.c.run_id == run_id)
        with self._transaction() as connection:
            row = connection.execute(query).mappings().first()
        return ProgressRow(**row) if row else None


def _forget_inherited() -> None:
    for engine in _FORKED:
        engine.dispose(close=False)  # a forked child must neither use nor close its parent's connections


os.register_at_fork(after_in_child=_forget_inherited)


def _columns(table: Table, shape: type) -> list[Any]:
    return [table.c[field.name] for field in fields(shape)]


def _rows(connection: Connection, run_id: str, points: Sequence[Sample]) -> list[dict[str, Any]]:
    now = database_time(connection)
    return [
        {
            "run_id": run_id,
            "at": point.at or now,
            "series": point.series,
            "labels": canonical_json(plain(point.labels)),
            "value": float(point.value),
        }
        for point in points
    ]


def _of_series(run_id: str, series: str) -> Delete:
    return delete(tables.samples).where(tables.samples.c.run_id == run_id, tables.samples.c.series == series)


def _masked(value: Any, secrets: Sequence[str]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, "***")
    elif isinstance(value, dict):
        return {key: _masked(item, secrets) for key, item in value.items()}
    elif isinstance(value, list):
        return [_masked(item, secrets) for item in value]
    return value


def _labels(content: str) -> Mapping[str, str]:
    parsed: Mapping[str, str] = json.loads(content)
    return parsed


def _opening(row: RunRow) -> str:
    """What the first entry says of a run: everything that never changes."""
    return canonical_json({one.name: getattr(row, one.name) for one in fields(RunOpened)})


def _latest(connection: Connection, environment: str, states: Sequence[str]) -> RunRow | None:
    table = tables.runs
    query = select(table).where(table.c.environment == environment).order_by(table.c.created_at.desc()).limit(1)
    if states:
        query = query.where(table.c.state.in_(states))
    row = connection.execute(query).mappings().first()
    return RunRow(**row) if row else None


def _head(connection: Connection, run_id: str) -> tuple[int, str]:
    table = tables.entries
    query = select(table.c.seq, table.c.hash).where(table.c.run_id == run_id).order_by(table.c.seq.desc()).limit(1)
    row = connection.execute(query).first()
    return (int(row[0]), str(row[1])) if row else (0, "")


def _append(connection: Connection, run_id: str, kind: str, actor: str, phase: str, step: str, payload: str) -> Entry:
    seq, previous = _head(connection, run_id)
    blank = Entry(seq + 1, run_id, now_text(), actor, phase, step, kind, payload, previous)
    values = asdict(blank) | {"hash": blank.computed_hash()}
    entry = Entry(**values)
    values["payload"] = values.pop("payload_json")
    connection.execute(insert(tables.entries).values(**values))
    return entry


def _entry(row: Any) -> Entry:
    values = dict(row)
    values["payload_json"] = values.pop("payload")
    return Entry(**values)
