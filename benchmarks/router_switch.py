"""Switches and drains under clients that never pause: at least 50,000 requests through each router, none may fail.

Between them a switch is cancelled half-way (Ctrl-C when its file is written). `RUNBOOK_BENCH_REQUESTS` says how many.
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from benchmarks.bench import Outcome, report

REQUESTS = int(os.environ.get("RUNBOOK_BENCH_REQUESTS", "50000"))
COMMAND = "python -m benchmarks.router_switch"
WRITES_ITS_FILE = {"envoy": "envoy_files", "haproxy": "haproxy", "pgbouncer": "pgbouncer"}


def main() -> None:
    from fix_servers import PostgresServer
    from router_estate import ESTATES, home

    for kind in sys.argv[1:] or sorted(ESTATES):
        server = PostgresServer() if kind == "pgbouncer" else None
        try:
            with home() as folder:
                estate = ESTATES[kind](folder, **({"server": server} if server else {}))
                try:
                    _under_load(kind, estate)
                finally:
                    estate.stop()
        finally:
            if server:
                server.stop()


def _under_load(kind: str, estate: Any) -> None:
    from router_estate import BLUE, GREEN, READS, WRITES

    took, drained, cancelled, side = list[float](), list[float](), 0, BLUE
    with estate.load(clients=4) as load:
        while load.answered[""] < REQUESTS:
            other, side = side, GREEN if side == BLUE else BLUE
            weights = {READS: {side: 100}, WRITES: {side: 100}}
            cancelled += _cancelled(kind, lambda weights=weights: estate.router.set_weights(weights))
            took.append(estate.router.set_weights(weights).elapsed_s * 1000)
            drained.append(estate.router.drain(other).elapsed_s * 1000)
            load.wait_for(REQUESTS // 100)
    requests, failed = load.answered[""], len(load.failed)
    what = f"{len(took)} switches, {len(drained)} drains, {cancelled} switches cancelled half-way"
    print(f"{kind}: {requests:,} requests, {failed} failed; {what}")
    work = f"{kind}: requests failed of {requests:,}, in {what}"
    report(Outcome(f"router_{kind}_failed", work, "one", failed, 1.0, 0.0, unit="", command=COMMAND))
    longest = f"longest {max(took):.0f} ms; longest request {load.longest_s * 1000:.0f} ms"
    work, median = f"{kind}: a switch, median of {len(took)} ({longest})", statistics.median(took)
    report(Outcome(f"router_{kind}_ms", work, "500 ms", median, 500.0, 1.0, unit="ms", command=COMMAND))
    if failed:
        sys.exit(f"{kind}: {load.failed[:3]}")


def _cancelled(kind: str, switch: Callable[[], object]) -> int:
    """Begin a switch that is interrupted when its file is written; 1."""
    module: Any = import_module(f"runbook_lib.traffic.{WRITES_ITS_FILE[kind]}")
    real = module.write_durably

    def interrupting(*arguments: Any) -> None:
        module.write_durably = real
        real(*arguments)
        signal.raise_signal(signal.SIGINT)

    module.write_durably = interrupting
    try:
        switch()
    except KeyboardInterrupt:
        return 1
    finally:
        module.write_durably = real
    raise SystemExit(f"{kind}: a switch was not interrupted")


if __name__ == "__main__":
    main()
