"""A fault in the services after they have the writes, and how long it is until the monolith has all traffic again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from runbook_lib.errors import RunbookError
from runbook_lib.journal import Journal
from runbook_lib.journal.kinds import Note, Result, StandaloneVerdict
from runbook_lib.runner.run_phases import Runner
from runbook_lib.sandbox.estate import Estate

BEFORE_WATCH = "smoke_test:target:cutover"  # an error before it would fail this test, and no trigger would fire
_LOOK_S = 0.1
_FAULT, _BACK = "fault injected", "all traffic is at the monolith again"


@contextmanager
def error_rates(runner: Runner, estate: Estate, shares: Mapping[str, float]) -> Iterator[None]:
    """Let services fail once they have the writes and their smoke test has passed; both moments are noted.

    Args:
        shares: Instance → share of its requests that it answers with an error.
    """
    done = threading.Event()
    thread = threading.Thread(target=_inject, args=(runner, estate, shares, done), name="fault", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def fault_to_return_s(journal: Journal, run_id: str) -> float | None:
    """From the fault until all traffic was at the monolith again (seconds); None: not both happened."""
    at = {note.text: note.data["at"] for one in journal.entries(run_id, Note) if "at" in (note := one.read(Note)).data}
    return round(at[_BACK] - at[_FAULT], 2) if {_FAULT, _BACK} <= at.keys() else None


def _inject(runner: Runner, estate: Estate, shares: Mapping[str, float], done: threading.Event) -> None:
    while not runner.journal.entries(runner.run_id, Result, StandaloneVerdict, step=BEFORE_WATCH):
        if done.wait(_LOOK_S):
            return
    for name, share in shares.items():
        estate.services.inject(name, share, None)
    runner.journal.append(runner.run_id, Note(_FAULT, {"at": time.time(), **shares}))
    origin, router = runner.environment.router_settings["origin"], runner.environment.router()
    while not done.wait(_LOOK_S):
        with suppress(RunbookError):  # asked again at the next look
            if all(state.weights.get(origin) == 100 for state in router.routes().values()):
                runner.journal.append(runner.run_id, Note(_BACK, {"at": time.time()}))
                return
