"""Processor time and memory of processes and their children, from /proc (Linux)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """Processor time used so far (seconds) and resident memory now (bytes) of some processes together."""

    cpu_s: float
    memory_bytes: int


def usage(pids: Sequence[int]) -> Usage | None:
    """What these processes and all their children use; None where that cannot be seen (no /proc, none, none alive)."""
    if not pids:
        return None
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    cpu, memory, seen = 0, 0, False
    for pid in _with_children(pids):
        with contextlib.suppress(OSError, IndexError):  # ended between looking and reading
            fields = _stat(pid)
            cpu += sum(int(field) for field in fields[11:15])  # own and waited-for children's, user and system
            memory += int(fields[21]) * page
            seen = True
    return Usage(cpu / ticks, memory) if seen else None


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _with_children(pids: Sequence[int]) -> list[int]:
    children: dict[int, list[int]] = {}
    for pid in _all_pids():
        with contextlib.suppress(OSError, IndexError):
            children.setdefault(int(_stat(pid)[1]), []).append(pid)
    found, waiting = [], list(pids)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.append(pid)
            waiting += children.get(pid, [])
    return found


_LISTENS = "0A"


def listening(host: str, port: int) -> tuple[int, ...]:
    """The processes of this machine that listen at an address; none of another machine's, or where /proc hides it."""
    if not (host in ("localhost", "::1") or host.startswith("127.")):
        return ()
    sockets = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):  # no such protocol, or no /proc
            lines = [line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
            at = {f[9] for f in lines if f[3] == _LISTENS and int(f[1].rpartition(":")[2], 16) == port}
            sockets |= {f"socket:[{inode}]" for inode in at}
    return tuple(pid for pid in _all_pids() if sockets & _open_files(pid)) if sockets else ()


def _all_pids() -> list[int]:
    return sorted(int(entry.name) for entry in Path("/proc").glob("[0-9]*"))


def _open_files(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):  # another user's, or it has ended
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(entry.readlink()))
    return found
