"""Random kills of whole runs under traffic: `python -m tests.crash.campaign --kills 200 --seed 1`.

Each run is the example's plan on an estate of its own, with clients that write without pause. At random moments the
run, its kernel, the sync or a service gets SIGKILL; `runbook run` is then called again, as an operator would, until
the run has ended. At the end of each run: every acknowledged write is in the databases (the clients' ledger), the
evidence verifies, no process is left. A run is stuck when FAILURES attempts in a row fail without a kill.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from runbook_lib.evidence.bundle import closed
from runbook_lib.journal import Journal
from runbook_lib.plan.phase_order import PHASES
from runbook_lib.sandbox.control import ask
from runbook_lib.sandbox.estate import Estate
from runbook_lib.sandbox.ledger import Ledger, missing_writes

ROOT = Path(__file__).parents[2]
RUNBOOK = [sys.executable, "-m", "runbook_lib.cli"]
FAILURES = 5
ATTEMPT_S = 600.0  # longest for one call of `runbook run`
MARK = "RUNBOOK_CAMPAIGN"
VICTIMS = {"run": 4, "kernel": 4, "sync": 2, "service": 3}  # how often each is chosen
PARAMETERS = """environment: campaign
plan: plans/monolith_to_microservices.yaml
inventory: inventories/campaign.yaml
run_id: ""
options:  # what is judged is loss, not speed: on a machine that others load, too, a run must not fail for being slow
  {chunk_rows: 2_000, baseline_s: 1, step_watch_s: 0.5, min_requests: 3, floor_ms: 5000, watch_s: 2, after_s: 1,
   max_write_pause_s: 8, settle_s: 30}
"""


@dataclass
class Tally:
    """What happened, over all runs of a campaign. `kills` by what was killed, `phases` by the phase under way."""

    kills: Counter[str] = field(default_factory=Counter)
    phases: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    attempts: int = 0
    writes: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def killed(self) -> int:
        return sum(self.kills.values())


class Project:
    """A project of its own for one run: the example's notebooks and plan, and the estate's inventory."""

    def __init__(self, folder: Path, estate: Estate) -> None:
        self.folder, self.file = folder, folder / "parameters" / "campaign.yaml"
        shutil.copytree(ROOT / "notebooks", folder / "notebooks")
        shutil.copytree(ROOT / "parameters", folder / "parameters")
        self.file.write_text(PARAMETERS)
        plan = folder / "parameters/plans/monolith_to_microservices.yaml"
        plan.write_text(plan.read_text().replace("[1%, 10%, 50%, 100%]", "[50%, 100%]"))
        inventory = estate.write_inventory(folder / "parameters/inventories/campaign.yaml")
        inventory.write_text(re.sub(r"triggers: act\b", "triggers: report", inventory.read_text()))
        self.journal_url = f"sqlite:///{estate.directory}/journal.sqlite"
        self.evidence = estate.directory / "evidence" / "campaign"

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        """One more `runbook run`."""
        with log.open("wb") as output:
            command = [*RUNBOOK, "run", "-f", str(self.file)]
            return subprocess.Popen(command, cwd=self.folder, stdout=output, stderr=output)

    def where(self) -> tuple[str, str]:
        """The run's state, and the phase of its last entry."""
        with closing(Journal(self.journal_url)) as journal:
            row = journal.latest_run("campaign")
            if row is None:
                return "", "before the run"
            entries = [entry for entry in journal.entries(row.run_id) if entry.phase]
            return row.state, entries[-1].phase if entries else "before the run"

    def bundle(self) -> Path:
        """The evidence of the run."""
        with closing(Journal(self.journal_url)) as journal:
            row = journal.latest_run("campaign")
            assert row is not None
            return self.evidence / row.run_id

    def ended(self) -> bool:
        """Whether the run is done, and its evidence closed."""
        return self.where()[0] == "done" and closed(self.bundle())


class Killer:
    """Chooses what is killed and when; the same seed chooses in the same way."""

    def __init__(self, options: argparse.Namespace, estate: Estate, project: Project, tally: Tally) -> None:
        self.chance = random.Random(options.seed * 1000 + tally.runs)
        self.estate, self.project, self.tally = estate, project, tally
        self.limit = min(options.kills, tally.killed + options.per_run)
        self.span_s, self.phases = options.span, options.phases
        self.target, self.due, self._looked = "", 0.0, 0.0
        self.down: list[tuple[float, str]] = []  # when to start a killed service again, as its supervisor would

    def aim(self) -> None:
        """Choose the phase of the next kill: one of those asked for that are left; else this one or the next two."""
        here = self.project.where()[1]
        left = PHASES[PHASES.index(here) :] if here in PHASES else PHASES
        wanted = [phase for phase in left if phase in self.phases]
        self.target, self.due = self.chance.choice(wanted or left[:3]), 0.0

    def is_due(self) -> bool:
        """Whether the moment has come: somewhere in the phase, or while the passed ones before it are replayed."""
        now = time.monotonic()
        if not self.due and now - self._looked > 0.25:
            self._looked = now
            if self.project.where()[1] == self.target:
                self.due = now + self.chance.uniform(0.0, self.span_s)
        return bool(self.due) and now > self.due

    def kill(self, run: subprocess.Popen[bytes]) -> None:
        """Kill one of what is there."""
        [wanted] = self.chance.choices(list(VICTIMS), list(VICTIMS.values()))
        there = self._there(run)
        what = wanted if there.get(wanted) else "run"
        if not there[what]:
            return
        name, pid = self.chance.choice(there[what])
        phase = self.project.where()[1]
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.tally.kills[what] += 1
            self.tally.phases[phase] += 1
            say(f"  kill {self.tally.killed}: {name} in {phase}")
        if what == "service":
            self.down.append((time.monotonic() + self.chance.uniform(0.0, 1.5), name))

    def restart_services(self) -> None:
        """Start what is due, unless it was stopped on purpose meanwhile."""
        due = [each for each in self.down if each[0] <= time.monotonic()]
        self.down = [each for each in self.down if each not in due]
        for _, name in due:
            if name in self.estate.services.children:
                ask(self.estate.directory, command="start", name=name)

    def _there(self, run: subprocess.Popen[bytes]) -> dict[str, list[tuple[str, int]]]:
        found = {pid: line for pid, line in marked().items() if pid != run.pid}
        children = dict(self.estate.services.children)
        return {
            "run": [("runbook run", run.pid)] if run.poll() is None else [],
            "kernel": [("kernel", pid) for pid, line in found.items() if "ipykernel" in line],
            "sync": [("sync", pid) for pid, line in found.items() if "runbook_lib.cli sync" in line],
            "service": [(n, child.process.pid) for n, child in children.items() if n != "client" and child.alive],
        }


def marked() -> dict[int, str]:
    """Every process of this campaign but the campaign itself: pid and command line."""
    mark = f"{MARK}={os.environ[MARK]}".encode()
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0") and int(folder.name) != os.getpid():
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def say(line: str) -> None:
    """One line, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def attempts(project: Project, killer: Killer, folder: Path) -> Iterator[tuple[int, int, Path]]:
    """Call `runbook run` until the run has ended; its exit status, how many kills it saw, and its log, each time."""
    number = 0
    while not (number and project.ended()):
        number += 1
        log, before = folder / f"attempt-{number}.log", killer.tally.killed
        run = project.start(log)
        killer.aim()
        deadline = time.monotonic() + ATTEMPT_S
        while run.poll() is None:
            killer.restart_services()
            if killer.tally.killed < killer.limit and killer.is_due():
                killer.kill(run)
                killer.aim()
            if time.monotonic() > deadline:
                run.kill()
            time.sleep(0.02)
        yield run.returncode, killer.tally.killed - before, log


def carry_out(project: Project, killer: Killer, folder: Path, tally: Tally) -> bool:
    """One run to its end; False when it is stuck."""
    in_a_row = 0
    for status, kills, log in attempts(project, killer, folder):
        tally.attempts += 1
        if status == 0 or kills:
            in_a_row = 0
            continue
        in_a_row += 1
        words = " | ".join(line for line in log.read_text(errors="replace").splitlines() if "passed before" not in line)
        say(f"  not killed, status {status}: {words[-700:]}")
        if in_a_row == FAILURES:
            tally.problems.append(f"run {tally.runs} is stuck: {words[-700:]}")
            return False
    return True


def judge(project: Project, estate: Estate, tally: Tally) -> None:
    """After a run: the ledger against the services' databases, and the evidence."""
    ask(estate.directory, command="stop", name="client")
    ledger = Ledger(estate.ledger)
    users, orders, payments = (estate.conninfo(name) for name in ("users_db", "orders_db", "payments_db"))
    lost = missing_writes(ledger, users=users, orders=orders, payments=payments)
    tally.writes += ledger.summary().acknowledged_writes
    tally.problems += [f"run {tally.runs}: lost {one.entity} {one.id}: {one.problem}" for one in lost]
    command = [*RUNBOOK, "evidence", "verify", str(project.bundle())]
    verified = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, timeout=120, check=False)
    if verified.returncode:
        tally.problems.append(f"run {tally.runs}: evidence: {verified.stdout}{verified.stderr}")


def one_run(options: argparse.Namespace, folder: Path, tally: Tally) -> None:
    """An estate, a run on it, and what is left of both."""
    from tests.fix_sandbox import free_port_base

    folder.mkdir(parents=True)
    with Estate(
        folder / "e", port_base=free_port_base(), scale=options.scale, client=True, rate=options.rate
    ) as estate:
        project = Project(folder / "project", estate)
        killer = Killer(options, estate, project, tally)
        if carry_out(project, killer, folder, tally):
            judge(project, estate, tally)
            left = [line for line in marked().values() if "runbook_lib.cli" in line or "ipykernel" in line]
            tally.problems += [f"run {tally.runs}: left behind: {line}" for line in left]
    left = list(marked().items())
    tally.problems += [f"run {tally.runs}: left behind by the estate: {line}" for _, line in left]
    for pid, _ in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run after run until so many kills were made; 0 when nothing was lost, stuck or left and all verified."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.campaign", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-run", type=int, default=8, help="kills in one run, at most")
    parser.add_argument("--phases", nargs="+", choices=PHASES, default=(), help="kill in these, as long as they last")
    parser.add_argument("--scale", type=float, default=0.02, help="sample data; 1 is about 260,000 rows")
    parser.add_argument("--rate", type=float, default=60.0, help="the clients' requests a second")
    parser.add_argument(
        "--span", type=float, default=10.0, help="seconds from a phase's first entry to a kill, at most"
    )
    parser.add_argument("--directory", type=Path, help="kept, with all logs, when something went wrong")
    options = parser.parse_args(arguments)
    os.environ[MARK] = f"{os.getpid()}-{time.time_ns()}"
    os.environ["RUNBOOK_PARENT_PID"] = str(os.getpid())  # a sync must not outlive the campaign
    tally, begun = Tally(), time.monotonic()
    home = options.directory or Path(tempfile.mkdtemp(prefix="campaign-"))
    try:
        while tally.killed < options.kills and len(tally.problems) < 10:
            tally.runs += 1
            one_run(options, home / f"run-{tally.runs}", tally)
            say(f"run {tally.runs}: {tally.killed} kills, {tally.writes:,} writes, {len(tally.problems)} problems")
            if not tally.problems:
                shutil.rmtree(home / f"run-{tally.runs}")
    finally:
        del os.environ[MARK], os.environ["RUNBOOK_PARENT_PID"]
    figures = {"kills": tally.killed, **tally.kills, "runs": tally.runs, "attempts": tally.attempts}
    figures |= {"acknowledged_writes": tally.writes, "problems": tally.problems, "by_phase": dict(tally.phases)}
    say(json.dumps(figures | {"seconds": round(time.monotonic() - begun)}, indent=1))
    if not tally.problems:
        shutil.rmtree(home, ignore_errors=True)
    return 1 if tally.problems else 0


if __name__ == "__main__":
    sys.exit(main())
