"""Whether anybody carries over what is captured: without a sync, rows that wait in a log are no rows under way.

The lock that a sync holds is the truth about it: it is gone with the process, however that ends.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from runbook_lib.databases.port import Database
from runbook_lib.errors import DatabaseError
from runbook_lib.transfer.links import Link
from runbook_lib.util.text import counted

ASIDE_S = 0.5  # a follower that steps aside for a moment, or turns round, holds no lock meanwhile


BEHIND_S = 30.0  # a sync that runs is never so far behind for long; one that is stuck soon is


@dataclass(frozen=True)
class SyncState:
    """Whether what is captured is carried over.

    Attributes:
        idle: That no sync runs, in one line; "" where one runs or nothing is captured.
        late: That the sync which runs is too far behind for a comparison to prove anything; "" where it is not.
        unknown: Why nobody can tell whether differences in flight are carried over; "" where that is known.
        keys: Keys that wait while no sync runs (count).
    """

    idle: str = ""
    late: str = ""
    unknown: str = ""
    keys: int = 0


def carried(link: Link) -> SyncState:
    """Who carries this link's changes over, in either direction, as far as this login can tell."""
    between = f"{link.reader.name} and {link.writer.name}"
    ways = [way for way in (link, link.opposite) if way and captured(way.reader, way.channel)]
    if not ways:
        untold = f"nothing is captured between {between}, so that nobody known carries over what still changes"
        return SyncState(unknown=f"{untold}: compare again while nobody writes")
    from runbook_lib.transfer.capture import pending  # here: most comparisons have nothing captured

    try:
        waits = [way for way in ways if pending([way]).keys]
        synced = all(_synced([way]) for way in waits) if waits else _synced(ways)
        lag = pending(ways)
    except DatabaseError as error:  # a folder or a login in which no lock is to be had
        return SyncState(unknown=f"whether a sync runs between {between} cannot be told: {error.observed}")
    said = f"{counted(lag.keys, 'key')} wait{'s' if lag.keys == 1 else ''}"
    if synced:
        late = f"the sync between {between} is {lag.oldest_s:.0f} s behind, {said}"
        return SyncState(late=f"{late}: see what holds it up" if lag.oldest_s > BEHIND_S else "")
    oldest = f", the oldest for {lag.oldest_s:.1f} s" if lag.keys else ""
    return SyncState(
        f"no sync runs between {between}: changes are logged and not carried over; "
        f"{said}{oldest}. Next: `runbook copy … --follow` again, or the run's phase, then compare again",
        keys=lag.keys,
    )


def captured(database: Database, channel: str) -> bool:
    """Whether changes are captured under this channel, as far as the login may see."""
    try:
        return bool(database.capture_installed(channel))
    except Exception:
        return False


def _synced(ways: list[Link]) -> bool:
    """Whether somebody drains one of these logs."""
    from runbook_lib.transfer.sync_process import running

    deadline = time.monotonic() + ASIDE_S
    while not running(ways):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)  # a lock that is taken gives no signal
    return True
