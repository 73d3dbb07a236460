"""One operator acts on a run at a time: a lease with a heartbeat, and fencing for those who lost it.

A dead holder on this host is recognised by its process and followed at once; one elsewhere when its lease expires.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.errors import JournalError, LeaseHeld
from runbook_lib.journal.content import KINDS, unknown_text
from runbook_lib.journal.tables import entries, leases, runs

Transaction = Callable[[], AbstractContextManager[Connection]]


@dataclass(frozen=True)
class Process:
    """Who a process is: a pid alone may be somebody else's by now, or another container's."""

    host: str
    pid: int
    identity: str  # pid namespace and start time; empty where the system does not tell


def this_process() -> Process:
    """The running process."""
    pid = os.getpid()
    return Process(socket.gethostname(), pid, _identity(pid))


def _identity(pid: int) -> str:
    """Namespace and start time of a process; empty when it is gone, a zombie, or the system has no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else f"{_namespace()}/{fields[19]}"


def _namespace() -> str:
    with suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return ""


def _alive(holder: Process) -> bool:
    """Whether the holder may still run; when in doubt, it does."""
    here = this_process()
    if holder.host != here.host:
        return True
    if here.identity:
        other_namespace = holder.identity.partition("/")[0] != here.identity.partition("/")[0]
        return other_namespace or _identity(holder.pid) == holder.identity
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Lease:
    """The right to act on one run.

    Args:
        transaction: Opens a writing transaction of the journal.
        run_id: The run.
        holder: Name of the operator, for the messages to others.
        ttl_s: Seconds until a lease without heartbeat expires.
        what: The one thing of the run that it is for, beside whoever acts on it; empty: to act on it.
    """

    def __init__(self, transaction: Transaction, run_id: str, holder: str, ttl_s: float = 30.0, what: str = "") -> None:
        self.run_id, self.holder, self.ttl_s = run_id, holder, ttl_s
        self.key = key_of(run_id, what)
        self.token = ""
        self._transaction = transaction
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def held(self) -> bool:
        """Whether we took it and have not given it back; `require` says whether it is still ours."""
        return bool(self.token)

    def acquire(self) -> None:
        """Take the lease and keep it alive. A holder that is dead, or this very process, is followed at once.

        Raises:
            LeaseHeld: names holder, host, pid and since when.
            JournalError: a newer version acted on the run, and this one cannot read what it recorded.
        """
        if self.held:
            return
        token = secrets.token_hex(8)
        with self._transaction() as connection:
            _claim(connection, self, token)
        self.token = token
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, args=(token, self._stop), name="runbook-lease", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Give it back. Idempotent."""
        token, self.token = self.token, ""
        self._stop.set()
        if not token:
            return
        # suppressed: an unreachable journal must not hide what we end with; the lease expires by itself
        with suppress(JournalError), self._transaction() as connection:
            connection.execute(delete(leases).where(leases.c.run_id == self.key, leases.c.token == token))

    def _beat(self, token: str, stop: threading.Event) -> None:
        while not stop.wait(self.ttl_s / 3):
            # suppressed: tried again at the next beat; a lost lease shows in the next append
            with suppress(JournalError), self._transaction() as connection:
                expires_at = database_time(connection) + self.ttl_s
                ours = update(leases).where(leases.c.run_id == self.key, leases.c.token == token)
                if not connection.execute(ours.values(expires_at=expires_at)).rowcount:
                    return

    def __enter__(self) -> Lease:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


def key_of(run_id: str, what: str = "") -> str:
    """The key of a lease on one thing of a run (empty: on the run itself)."""
    return f"{run_id}#{what}" if what else run_id


def database_time(connection: Connection) -> float:
    """Seconds since the epoch by the clock that all holders share."""
    clock = dialect_of(connection.dialect.name).clock
    return float(connection.exec_driver_sql(f"SELECT {clock}").scalar_one()) if clock else time.time()


def lock_run(connection: Connection, run_id: str) -> None:
    """Serialise the writers of one run (on SQLite every writer waits for every other one anyway)."""
    row = connection.execute(select(runs.c.run_id).where(runs.c.run_id == run_id).with_for_update()).first()
    if row is None:
        raise JournalError(run_id, "no such run in this journal", action="runbook status")


def _claim(connection: Connection, lease: Lease, token: str) -> None:
    lock_run(connection, lease.run_id)
    _require_known(connection, lease.run_id)
    now, here = database_time(connection), this_process()
    row = connection.execute(select(leases).where(leases.c.run_id == lease.key)).mappings().first()
    if row is not None:
        holder = Process(row["host"], row["pid"], row["process"])
        if holder != here and row["expires_at"] > now and _alive(holder):
            raise _held(lease.key, row)
        connection.execute(delete(leases).where(leases.c.run_id == lease.key))
    values = {"holder": lease.holder, "host": here.host, "pid": here.pid, "process": here.identity, "token": token}
    times = {"acquired_at": now, "expires_at": now + lease.ttl_s}
    connection.execute(insert(leases).values(run_id=lease.key, **values, **times))


def _require_known(connection: Connection, run_id: str) -> None:
    """Who cannot read what was done must not act on it."""
    unknown = select(entries.c.seq, entries.c.kind).where(entries.c.run_id == run_id, entries.c.kind.not_in(KINDS))
    if found := connection.execute(unknown.order_by(entries.c.seq)).all():
        raise JournalError(
            f"run {run_id}",
            unknown_text((seq, kind) for seq, kind in found),
            state="nothing was done",
            action="act on it with the version that wrote them, or a newer one; runbook status shows it",
        )


def holder_text(connection: Connection, key: str) -> str:
    """Who holds this lease (`key_of`) now, in words; "" where nobody does."""
    row = connection.execute(select(leases).where(leases.c.run_id == key)).mappings().first()
    if row is None or row["expires_at"] <= database_time(connection):
        return ""
    holder = Process(row["host"], row["pid"], row["process"])
    since = datetime.fromtimestamp(row["acquired_at"], UTC).isoformat(timespec="minutes")[:16].replace("T", " ")
    return (
        f"{row['holder']} on {row['host']}, process {row['pid']}, at work since {since} UTC" if _alive(holder) else ""
    )


def require(connection: Connection, key: str, token: str) -> None:
    """Fencing: who slept while the lease went to somebody else must not write as if nothing had happened."""
    row = connection.execute(select(leases).where(leases.c.run_id == key)).mappings().first()
    if row is None:
        raise LeaseHeld(key, "the lease is no longer ours", state="nothing was recorded", action="open the run again")
    if row["token"] != token:
        raise _held(key, row)


def _held(key: str, row: Any) -> LeaseHeld:
    since = datetime.fromtimestamp(row["acquired_at"], UTC).isoformat(timespec="seconds")
    run_id, _, what = key.partition("#")
    return LeaseHeld(
        run_id,
        f"{row['holder']} acts on {f'its {what}' if what else 'this run'}"
        f" (host {row['host']}, process {row['pid']}, since {since})",
        state="nothing was done",
        action="let it end, or end that process" if what else "let it end, or shut down that notebook's kernel",
    )
