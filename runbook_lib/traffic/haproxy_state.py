"""HAProxy's servers as its state file and `show servers state` have them: read, change, write down again.

The file is HAProxy's own (`server-state-file`, `load-server-state-from-file global`): what stands there when HAProxy
starts is what it starts with. A backend of ours is a server's name with `:` for `@`, which HAProxy's names cannot have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from runbook_lib.errors import ConfigurationError
from runbook_lib.traffic.haproxy_socket import RuntimeApi
from runbook_lib.traffic.port import READS, WRITES

_MAINT, _DRAIN = 0x01, 0x08  # forced by an operator: bits of srv_admin_state
_STOPPED = "0"
Row = Mapping[str, str]


@dataclass(frozen=True)
class Server:
    """A server of a route; `row` is its line, with everything that is not ours."""

    route: str
    backend: str
    weight: int
    admin: int
    row: Row

    @property
    def command(self) -> str:
        """How a command about it begins."""
        return f"set server {self.row['be_name']}/{self.row['srv_name']}"

    @property
    def in_rotation(self) -> bool:
        """Nobody drained it, or put it into maintenance."""
        return not self.admin & (_MAINT | _DRAIN)

    @property
    def down(self) -> bool:
        """HAProxy's own health check says so."""
        return self.in_rotation and self.row["srv_op_state"] == _STOPPED

    def ready(self) -> Server:
        """The same, in rotation."""
        return replace(self, admin=self.admin & ~(_MAINT | _DRAIN))

    def weighing(self, weight: int) -> Server:
        """The same with this weight (percent)."""
        return replace(self, weight=weight)

    def drained(self) -> Server:
        """The same, getting nothing new."""
        return replace(self.ready(), admin=self.ready().admin | _DRAIN)

    def parked(self) -> Server:
        """The same, in maintenance."""
        return replace(self.ready(), admin=self.ready().admin | _MAINT)


def running(api: RuntimeApi) -> tuple[list[Server], list[Row]]:
    """Every server of every route as HAProxy runs it now; and the lines of its other servers."""
    rows = list(api.table("show servers state"))
    ours = [row["be_name"].endswith((READS, WRITES)) for row in rows]
    servers = [_server(row) for row, one in zip(rows, ours, strict=True) if one]
    return servers, [row for row, one in zip(rows, ours, strict=True) if not one]


def written(path: Path) -> dict[tuple[str, str], tuple[int, int]]:
    """Route and backend → weight and administrative state in the file; empty when nothing was asked yet."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ConfigurationError(str(path), f"cannot be read: {reason}", action="correct router.state_file") from error
    if len(lines) < 2:
        return {}
    names = lines[1].removeprefix("# ").split(" ")
    servers = [_server(dict(zip(names, line.split(" "), strict=False))) for line in lines[2:]]
    return {(server.route, server.backend): (server.weight, server.admin) for server in servers}


def as_file(servers: Iterable[Server], others: Iterable[Row]) -> str:
    """The text of the state file: these servers, and the lines of what is no route of ours."""
    rows = [
        *others,
        *({**s.row, "srv_uweight": str(s.weight), "srv_admin_state": str(s.admin)} for s in servers),
    ]
    head = " ".join(rows[0]) if rows else ""
    return "\n".join(["1", f"# {head}", *(" ".join(row.values()) for row in rows), ""])


def commands(before: Iterable[Server], after: Iterable[Server]) -> list[str]:
    """What takes the servers from one state to another; what gets more comes first, so that nobody is without one."""
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    changed.sort(key=lambda pair: pair[0].weight - pair[1].weight)
    found = []
    for old, new in changed:
        if old.admin != new.admin:
            state = "maint" if new.admin & _MAINT else "drain" if new.admin & _DRAIN else "ready"
            found.append(f"{new.command} state {state}")
        if old.weight != new.weight:
            found.append(f"{new.command} weight {new.weight}")
    return found


def _server(row: Row) -> Server:
    backend = row["srv_name"].replace(":", "@")
    return Server(row["be_name"], backend, int(row["srv_uweight"]), int(row["srv_admin_state"]), row)
