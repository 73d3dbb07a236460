"""`runbook demo`: the whole plan on the demo estate, and at the end the clients' ledger against the databases."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runbook_lib.config.environment import Environment, find_root, load_environment
from runbook_lib.journal import Journal
from runbook_lib.journal.kinds import Result
from runbook_lib.plan.phase_order import PHASES
from runbook_lib.run.context import acting_person
from runbook_lib.run.find_run import supersede
from runbook_lib.runner.run_phases import Finished, Runner
from runbook_lib.sandbox.estate import Estate
from runbook_lib.sandbox.fault import fault_to_return_s
from runbook_lib.sandbox.ledger import Ledger, LostWrite, missing_writes

Show = Callable[[str], None]
Act = Callable[[Runner, Estate], Finished]


@dataclass(frozen=True)
class Setting:
    """Where and how large an estate is played on.

    Attributes:
        directory: The estate's own.
        scale: Of the sample data; 1.0 is about 260,000 rows.
        keep: Leave the estate running at the end, until Ctrl-C or SIGTERM.
        rate: The clients' requests a second.
        port_base: First of the estate's ports.
    """

    directory: Path
    scale: float = 1.0
    keep: bool = False
    rate: float = 120.0
    port_base: int = 15400


@dataclass(frozen=True)
class Ending:
    """How it ended: the phases, the acknowledged writes that the databases in force have not, the clients' figures."""

    finished: Finished
    lost: Sequence[LostWrite]
    figures: Mapping[str, Any]


def run_demo(show: Show, setting: Setting) -> int:
    """Start the estate, run the whole plan on it under traffic, and hold the ledger against the databases.

    Returns:
        int: the exit status: 0 only when every phase passed, no request failed and no acknowledged write was lost.
    """
    return play(show, setting, lambda runner, _: runner.carry_out(PHASES), _all_passed)


def play(
    show: Show,
    setting: Setting,
    act: Act,
    reached: Callable[[Ending], bool],
    environment: str = "demo",
) -> int:
    """Act on an estate under traffic, hold the ledger against the databases, and write the run's evidence.

    Args:
        act: What happens, while the clients are at work.
        reached: Whether what was asked for happened.
        environment: The parameter file, whose inventory is the estate's.
    Returns:
        int: 0 when it was reached; else the phases' own status, or 1.
    """
    begun = time.monotonic()
    with Estate(
        setting.directory, port_base=setting.port_base, scale=setting.scale, client=True, rate=setting.rate
    ) as estate:
        show(f"estate up in {time.monotonic() - begun:.1f} s: {sum(estate.rows.values()):,} rows, clients at work")
        with _bound_to_us():
            found = demo_environment(estate, setting.port_base, environment)
            end_unfinished(found)
            runner = Runner(found, show)
            finished = act(runner, estate)
            estate.services.stop("client")
            ledger = Ledger(estate.ledger)
            at_source = writes_go_to_source(found)
            lost = lost_writes(estate, ledger, at_source=at_source)
            back_s = fault_to_return_s(runner.journal, runner.run_id)
            figures = {**figures_of(ledger, lost), "fault_to_return_s": back_s}
            index = runner.finish(ledger=figures, charts=_charts(runner, ledger))
            runner.close()
            _tell(show, figures, lost, at_source, index, time.monotonic() - begun)
            if setting.keep:
                wait_for_the_end(show, estate)
    if reached(Ending(finished, lost, figures)):
        return 0
    return finished.exit_status or 1


def _all_passed(ending: Ending) -> bool:
    return not (ending.finished.exit_status or ending.lost or ending.figures["failed_requests"])


def demo_environment(estate: Estate, port_base: int, name: str = "demo") -> Environment:
    """The demo's environment, or another one of its estate; another estate than the usual gets an own inventory."""
    root = find_root()
    if port_base == 15400 and estate.directory == root / ".runbook/demo":
        return load_environment(name, root=root)
    inventory = estate.write_inventory(estate.directory / "inventory.yaml")
    return load_environment(name, inventory=str(inventory), root=root)


def end_unfinished(environment: Environment) -> None:
    """Close the run that a killed demo left open: the databases it was about are gone, and the new ones are empty.

    Without this the next run would take up that one, and trust steps that were done elsewhere.
    """
    with closing(Journal(environment.journal_url, secrets=environment.secrets())) as journal:
        row = journal.latest_run(environment.name, states=("open", "rolling_back"))
        if row is not None:
            supersede(journal, row, "a new estate began", acting_person())


def writes_go_to_source(environment: Environment) -> bool:
    """Which databases are in force: the router knows."""
    routes = environment.router().routes()
    origin = environment.router_settings["origin"]
    return any(name.endswith(".writes") and state.weights.get(origin) for name, state in routes.items())


def lost_writes(estate: Estate, ledger: Ledger, *, at_source: bool) -> list[LostWrite]:
    """Every acknowledged write that the databases in force do not have."""
    if at_source:
        home = estate.conninfo("monolith")
        return missing_writes(ledger, users=home, orders=home, payments=home, shape="monolith")
    users, orders, payments = (estate.conninfo(name) for name in ("users_db", "orders_db", "payments_db"))
    return missing_writes(ledger, users=users, orders=orders, payments=payments)


def figures_of(ledger: Ledger, lost: list[LostWrite]) -> dict[str, Any]:
    """The clients' figures, for the summary."""
    seen = ledger.summary()
    return {
        "acknowledged_writes": seen.acknowledged_writes,
        "lost_writes": len(lost),
        "failed_requests": seen.failed_requests,
        "write_pause_ms": seen.write_max_ms,
        "reads": seen.reads,
        "write_p50_ms": seen.write_p50_ms,
        "write_p99_ms": seen.write_p99_ms,
    }


def _charts(runner: Runner, ledger: Ledger) -> dict[str, str]:
    """What the clients saw and what the run recorded, as SVG by caption."""
    from runbook_lib import charts

    journal, run_id = runner.journal, runner.run_id
    cutover = [entry.read(Result).data for entry in journal.entries(run_id, Result, step="cutover")]
    events: list[Any] = next((data["events"] for data in reversed(cutover) if "events" in data), [])
    writes = [{"at": w["at"], "value": w["latency_ms"]} for w in ledger.records("write")]
    figures: Mapping[str, Any] = {
        "Every write around the cutover": charts.pause(events, writes),
        **client_figures(ledger),
        "Rows copied": charts.throughput(charts.rates(journal.samples(run_id, "rows_copied"))),
        "How far the sync was behind": charts.lag(journal.samples(run_id, "lag_keys")),
        "Share of reads that the services answered": charts.traffic(journal.samples(run_id, "traffic")),
    }
    return {caption: charts.svg(figure) for caption, figure in figures.items()}


def client_figures(ledger: Ledger) -> dict[str, Any]:
    """What the clients saw all the time, as figures by caption."""
    from runbook_lib import charts

    seconds = ledger.samples()
    waits = [
        {"at": s["at"], "value": s[f"write_{name}_ms"], "quantile": name} for name in ("p50", "p99") for s in seconds
    ]
    failed = [{"at": s["at"], "value": s["failed"] / max(1, s["reads"] + s["writes"] + s["failed"])} for s in seconds]
    return {
        "What the clients' writes took, second by second": charts.latency(waits),
        "Requests that failed": charts.error_rate(failed),
    }


def _tell(
    show: Show, figures: Mapping[str, Any], lost: list[LostWrite], at_source: bool, index: Path, elapsed_s: float
) -> None:
    tell_figures(show, figures, lost, elapsed_s)
    where = "the monolith has the writes" if at_source else "the services have the writes"
    show(f"\n{where}; evidence: {index}")


def tell_figures(
    show: Show, figures: Mapping[str, Any], lost: Sequence[LostWrite], elapsed_s: float, *, reads: bool = False
) -> None:
    """What the clients saw, and the first writes that were lost.

    Args:
        reads: How many they read, too.
    """
    show("")
    show(f"  acknowledged writes  {figures['acknowledged_writes']:>8,}")
    if reads:
        show(f"  reads                {figures['reads']:>8,}")
    show(f"  lost writes          {figures['lost_writes']:>8,}")
    show(f"  failed requests      {figures['failed_requests']:>8,}")
    show(f"  longest write        {figures['write_pause_ms']:>8,.0f} ms")
    if figures.get("fault_to_return_s") is not None:
        show(f"  fault to return      {figures['fault_to_return_s']:>8,.1f} s")
    show(f"  took                 {elapsed_s:>8,.0f} s")
    for one in lost[:5]:
        show(f"  LOST {one.entity} {one.id}: {one.problem}; expected {one.expected}, found {one.found}")


def wait_for_the_end(show: Show, estate: Estate) -> None:
    """Leave the estate running until Ctrl-C or SIGTERM."""
    show(f"the estate stays up: {estate.url}; Ctrl-C ends it, from elsewhere `kill {os.getpid()}`")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        show("ending the estate")


@contextmanager
def _bound_to_us() -> Any:
    """What the notebooks start (the sync) ends with this process, however it ends."""
    before = os.environ.get("RUNBOOK_PARENT_PID")
    os.environ["RUNBOOK_PARENT_PID"] = str(os.getpid())
    try:
        yield
    finally:
        if before is None:
            del os.environ["RUNBOOK_PARENT_PID"]
        else:
            os.environ["RUNBOOK_PARENT_PID"] = before
