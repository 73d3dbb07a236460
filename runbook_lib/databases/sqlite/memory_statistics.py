"""SQLite, set before its first use not to count its memory; imported before `sqlite3`.

It counts each allocation under one lock of the whole process, and threads that read side by side, each on its own
connection, wait there for each other: 600,000 rows took one thread 1.4 s and two threads 1.8 s; without the count
1.1 s and 0.6 s. Source: https://www.sqlite.org/c3ref/c_config_covering_index_scan.html (SQLITE_CONFIG_MEMSTATUS).
"""

from __future__ import annotations

import ctypes
import sys
from importlib.util import find_spec

_MEMSTATUS = 9


def stop_counting() -> bool:
    """Whether SQLite took the setting; too late where it is in use already (a kernel keeps its history in it)."""
    module = find_spec("_sqlite3")
    if "_sqlite3" in sys.modules or module is None or not module.has_location:  # built into Python: no library to ask
        return False
    try:
        configure = ctypes.CDLL(module.origin).sqlite3_config  # the library which Python's module is linked with
    except (OSError, AttributeError):
        return False
    configure.argtypes = [ctypes.c_int]  # what follows is variadic
    return bool(configure(_MEMSTATUS, 0) == 0)


STOPPED = stop_counting()
