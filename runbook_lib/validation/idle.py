"""Whether anybody carries over what is captured: without a sync, rows that wait in a log are no rows under way.

The lock that a sync holds is the truth about it: it is gone with the process, however that ends.
"""

from __future__ import annotations

import time

from runbook_lib.databases.port import Database
from runbook_lib.databases.shared import counted
from runbook_lib.errors import DatabaseError
from runbook_lib.transfer.flow import Link

ASIDE_S = 0.5  # a follower that steps aside for a moment, or turns round, holds no lock meanwhile


def idle(link: Link) -> str:
    """That this link's changes are captured and no sync runs, in one line; "" where one runs or nothing is captured."""
    ways = [way for way in (link, link.opposite) if way and captured(way.reader, way.channel)]
    if not ways:
        return ""
    from runbook_lib.transfer.capture import pending  # here: most comparisons have nothing captured

    try:
        if _synced(ways):
            return ""
        lag = pending(ways)
    except DatabaseError:  # a folder or a login in which no lock is to be had: nothing can be said
        return ""
    waits = f"{counted(lag.keys, 'key')} wait{'s' if lag.keys == 1 else ''}"
    oldest = f", the oldest for {lag.oldest_s:.1f} s" if lag.keys else ""
    return (
        f"no sync runs between {link.reader.name} and {link.writer.name}: changes are logged and not carried over; "
        f"{waits}{oldest}. Next: `runbook copy … --follow` again, or the run's phase, then compare again"
    )


def captured(database: Database, channel: str) -> bool:
    """Whether changes are captured under this channel, as far as the login may see."""
    try:
        return bool(database.capture_installed(channel))
    except Exception:
        return False


def _synced(ways: list[Link]) -> bool:
    from runbook_lib.transfer.worker import running

    deadline = time.monotonic() + ASIDE_S
    while not running(ways):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)  # a lock that is taken gives no signal
    return True
