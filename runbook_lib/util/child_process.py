"""Programs that cannot outlive us, and why one could not be started."""

from __future__ import annotations

import errno
import os
import pwd
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

# Runs in a fresh interpreter instead of preexec_fn: forking Python code in a threaded process can deadlock.
# Credentials first: changing them clears the parent-death signal. About 20 ms a start.
_LAUNCH = """
import ctypes, os, sys
parent, uid, gid, death = map(int, sys.argv[1:5])
if uid >= 0:
    os.setgroups([]); os.setgid(gid); os.setuid(uid)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, death)
if os.getppid() != parent:
    sys.exit(1)
os.execv(sys.argv[5], sys.argv[5:])
"""


def tied(
    argv: Sequence[str], death_signal: signal.Signals = signal.SIGTERM, user: pwd.struct_passwd | None = None
) -> list[str]:
    """The command that becomes `argv`, and is sent `death_signal` when the calling *thread* ends, however that happens.

    Args:
        argv: Absolute program path and arguments.
        user: Whose rights it gets; None keeps ours.
    """
    ids = [str(user.pw_uid), str(user.pw_gid)] if user else ["-1", "-1"]
    return [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), *ids, str(int(death_signal)), *argv]


def why_not_started(error: OSError, program: str) -> str:
    """The system's words for a program that could not be started; right where PATH has folders that we may not read.

    The system reports such a folder ("Permission denied") even where the program is in none of those that can be read.

    Args:
        program: As it was given: a name that is looked up in PATH, or a path.
    """
    if isinstance(error, PermissionError) and os.sep not in program:
        seen = any(os.path.lexists(Path(folder) / program) for folder in os.get_exec_path())
        if not seen:
            return os.strerror(errno.ENOENT)
    return error.strerror or type(error).__name__
