"""A small environment for tests of journal and run: a real SQLite source, real steps that write files."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runbook_lib.databases.port import Problem
from runbook_lib.databases.sqlite import SQLite, open_database
from runbook_lib.errors import ConfigurationError
from runbook_lib.plan.model import Phase, Plan, Task
from runbook_lib.run.run import Run, begin
from runbook_lib.verdict import Outcome, StepResult, Verdict


@dataclass(frozen=True)
class SmallPolicy:
    approvals: str = "ask"
    signoffs: str = "ask"
    window: str = "enforce"
    triggers: str = "ask"


@dataclass(frozen=True)
class SmallEnvironment:
    root: Path
    plan: Plan
    name: str = "demo"
    policy: SmallPolicy = SmallPolicy()
    options: Mapping[str, Any] = field(default_factory=dict)
    inventory_digest: str = "inventory-1"
    step_packages: tuple[str, ...] = ("fix_run",)
    journal: str = ""

    @property
    def parameter_file(self) -> Path:
        return self.root / "parameters" / f"{self.name}.yaml"

    @property
    def inventory_path(self) -> Path:
        return self.root / "parameters" / "inventories" / f"{self.name}.yaml"

    @property
    def journal_url(self) -> str:
        return self.journal or f"sqlite:///{self.root}/journal.sqlite"

    @property
    def evidence_root(self) -> Path:
        return self.root / "evidence"

    @property
    def quarantine(self) -> Path:
        return self.root / ".runbook" / "quarantine"

    def notify_targets(self) -> dict[str, dict[str, Any]]:
        return {}

    def secrets(self) -> tuple[str, ...]:
        return ("hunter2secret",)

    def database(self, name: str) -> SQLite:
        return open_database(name, f"sqlite:///{self.root}/{name}.db")

    def router(self) -> Any:
        raise ConfigurationError("inventory", "the inventory has no router")

    def service(self, name: str) -> Any:
        raise ConfigurationError("inventory", f"no service {name}")


def small_plan(
    digest: str = "plan-1",
    tasks: Sequence[Task] = (),
    steps: Sequence[str] = (),
    phases: Sequence[str] = ("preparation", "cutover"),
) -> Plan:
    first = Phase("preparation", tasks=tuple(tasks), steps=tuple(steps))
    phases = (first, *(Phase(name, max_write_pause_s=2.0) for name in phases[1:]))
    return Plan("Test", "dual_write", "legacy", (), phases, path="plans/test.yaml", digest=digest)


def small_environment(root: Path, plan: Plan | None = None, **more: Any) -> SmallEnvironment:
    sqlite3.connect(root / "legacy.db").close()
    (root / "legacy.db").touch()
    return SmallEnvironment(root, plan or small_plan(), **more)


def start(environment: SmallEnvironment, phase: str = "preflight", **more: Any) -> Run:
    return begin(environment, phase, **more)  # type: ignore[arg-type]


@dataclass(frozen=True)
class WriteFile:
    """Writes one file. A file `<stage>-<title>` beside it makes that stage fail; `log` tells what was called."""

    folder: str
    title: str
    content: str = "content"
    needs: tuple[str, ...] = ()
    reversible: bool = True
    barrier: bool = False

    @property
    def name(self) -> str:
        return self.title

    @property
    def requires(self) -> tuple[str, ...]:
        return self.needs

    @property
    def path(self) -> Path:
        return Path(self.folder, f"{self.title.replace(':', '-')}.out")

    def _called(self, stage: str) -> None:
        with Path(self.folder, "log").open("a") as log:
            log.write(f"{stage} {self.title}\n")
        if os.environ.get("TEST_DIE_AT") == f"{stage}:{self.title}":
            os.kill(os.getpid(), signal.SIGKILL)

    def _broken(self, stage: str) -> bool:
        return Path(self.folder, f"{stage}-{self.title}").exists()

    def check(self, run: Run) -> list[Problem]:
        self._called("check")
        return [Problem("disk", "is full", "make room")] if self._broken("check") else []

    def apply(self, run: Run) -> StepResult:
        self._called("apply")
        if self._broken("interrupt"):
            raise KeyboardInterrupt
        if self._broken("apply"):
            raise ValueError("password=hunter2secret was wrong")
        self.path.write_text(self.content)
        self._called("applied")
        return StepResult(f"wrote {self.title}", {"bytes": len(self.content)})

    def verify(self, run: Run) -> Verdict:
        self._called("verify")
        if self._broken("unclear"):
            return Verdict(Outcome.COULD_NOT_RUN, "the disk does not answer")
        good = self.path.exists() and self.path.read_text() == self.content and not self._broken("verify")
        return Verdict(Outcome.PASS if good else Outcome.FAIL, "the file is there" if good else "the file is not there")

    def rollback(self, run: Run) -> StepResult:
        self._called("rollback")
        if self._broken("rollback"):
            raise OSError("the disk refuses")
        if not self._broken("stuck"):
            self.path.unlink(missing_ok=True)
        return StepResult(f"removed {self.title}")


@dataclass(frozen=True)
class MakeTable(WriteFile):
    """Makes a table of its title at the source as well, and says so."""

    reshapes: tuple[str, ...] = ("source",)

    def apply(self, run: Run) -> StepResult:
        run.source.execute(f'CREATE TABLE IF NOT EXISTS "{self.title}" (id integer PRIMARY KEY)')
        return super().apply(run)

    def rollback(self, run: Run) -> StepResult:
        run.source.execute(f'DROP TABLE IF EXISTS "{self.title}"')
        return super().rollback(run)


def calls(root: Path, stage: str = "") -> list[str]:
    """What the steps were asked to do, in order; of one stage: the titles."""
    log = root / "log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.removeprefix(f"{stage} ") for line in lines if line.startswith(f"{stage} ")] if stage else lines


def switch(root: Path, name: str, *, on: bool = True) -> None:
    """Plant or remove a fault, e.g. `verify-first`."""
    (root / name).touch() if on else (root / name).unlink()
