"""The command line. Exit status: 0 done, 1 a check or gate failed, 2 could not run.

One module for each family of commands; importing it adds them to the group. What a command needs is imported when
it runs.
"""

from __future__ import annotations

import atexit
import gc
import sys

try:
    from runbook_lib.cli import (
        assessment,
        demo,
        evidence,
        follow,
        performance,
        replay,
        run,
        schema,
        status,
        switchover,
        transfer,
        validation,
        watch,
    )
    from runbook_lib.cli.base import main
except KeyboardInterrupt:  # a tenth of a second, in which nothing is begun yet
    sys.stderr.write("runbook: interrupted; run the same command again\n")
    sys.exit(2)

gc.set_threshold(50_000)  # of what the imports make nothing is garbage, and it was looked through ten times: 15 ms
atexit.register(gc.freeze)  # at its end Python would look through all there is once more: 50 ms

__all__ = [
    "assessment",
    "demo",
    "evidence",
    "follow",
    "main",
    "performance",
    "replay",
    "run",
    "schema",
    "status",
    "switchover",
    "transfer",
    "validation",
    "watch",
]
