"""A private folder for a kernel's sockets, which does not outlive its owner for long.

The kernel is killed with its owner, and so neither can remove it after a kill -9. The owner holds a lock on the folder
that ends with its process, however that ends; whoever makes the next folder removes those that nobody holds.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

PLACE, PREFIX = Path("/tmp"), "runbook-kernel-"  # noqa: S108  not under TMPDIR: a socket's path has at most 107 bytes


class SocketFolder:
    """A folder that only this user may enter. Whoever has it ends it with `remove`.

    Attributes:
        path: Where it is.
    """

    def __init__(self) -> None:
        _sweep()
        self._held = -1
        while self._held < 0:  # again where another one's sweep came before our lock
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=PLACE))
            self._held = _lock(self.path, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove it and what is in it. Harmless when called again."""
        if self._held >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._held)
            self._held = -1


def _sweep() -> None:
    """Remove the folders of this user whose owner has ended."""
    for path in PLACE.glob(f"{PREFIX}*"):
        held = _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if held >= 0:
            shutil.rmtree(path, ignore_errors=True)
            os.close(held)


def _lock(path: Path, how: int) -> int:
    """The locked folder; -1: gone, another user's, or held by its owner."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return -1
    with suppress(BlockingIOError):
        if os.fstat(folder).st_uid == os.geteuid():
            fcntl.flock(folder, how)
            if path.exists():
                return folder
    os.close(folder)
    return -1
