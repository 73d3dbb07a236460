"""A run that the code of commit 3a5dacf began (fixtures/old_journal/make.py) continues with today's, or is undone."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fix_run import WriteFile, small_environment, small_plan, start

from runbook_lib import steps
from runbook_lib.config.environment import Environment, load_environment_file
from runbook_lib.errors import GateFailed, OutOfOrder
from runbook_lib.journal import History, Journal
from runbook_lib.journal.renamed_steps import NAMES as NAMES_OF_STEPS
from runbook_lib.plan.model import Task
from runbook_lib.plan.vocabulary import library_steps
from runbook_lib.run.approvals import approve
from runbook_lib.run.run import Run, begin
from runbook_lib.run.step_spec import describe, rebuild
from runbook_lib.verdict import Outcome, Verdict

OLD = Path(__file__).parents[1] / "fixtures" / "old_journal"
NAMES = ("legacy", "users_db", "orders_db")
MOVED = [f"database {name}" for name in NAMES]  # is in another place now, which a person has to approve
OPTIONS = {"small_enough_keys": 10}


class Router:
    """Takes what it is told, and keeps it in a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def routes(self) -> dict[str, Any]:
        known = json.loads(self.file.read_text())
        return {name: SimpleNamespace(weights=some, acknowledged=True) for name, some in known.items()}

    def set_weights(self, changes: Mapping[str, Mapping[str, int]]) -> None:
        self.file.write_text(json.dumps(json.loads(self.file.read_text()) | changes))

    def hold(self, routes: Sequence[str], within_s: float) -> None:
        """Nobody sends anything."""

    def release(self) -> None:
        """Nothing is held."""


class Shop(Environment):
    """The old run's environment; its services are well, and nobody sends traffic."""

    def router(self) -> Any:
        return Router(self.root / "routes.json")

    def service(self, name: str) -> Any:
        return SimpleNamespace(health=lambda: SimpleNamespace(ok=True))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A copy of what was left."""
    shutil.copytree(OLD, tmp_path, dirs_exist_ok=True)
    loaded = load_environment_file(tmp_path / "parameters/old.yaml")
    return Shop(**{name: getattr(loaded, name) for name in loaded.__dataclass_fields__})


def agreed(shop: Shop, act: Callable[[], Any], *words: str) -> Any:
    """What `act` returns, once a person has said yes to each thing that it is refused for, in this order."""
    for wanted in words:
        with pytest.raises(GateFailed, match=wanted):
            act()
        with closing(Journal(shop.journal_url)) as journal:
            [row] = journal.runs()
            history = History(journal.entries(row.run_id))
            asks = [ask.name for ask in history.waiting]
            assert len(asks) == 1 and wanted in asks[0]
            approve(journal, row.run_id, asks[0], comment="agreed", actor="bob")
    return act()


def opened(shop: Shop, phase: str) -> Run:
    return begin(shop, phase, options=OPTIONS)


def state(shop: Shop) -> str:
    """The run's, its chain being whole from the old entries to the new ones."""
    with closing(Journal(shop.journal_url)) as journal:
        [row] = journal.runs()
        journal.verify_chain(row.run_id)
        return row.state


def rows(shop: Shop, database: str, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(shop.root / f"{database}.db")) as driver:
        return driver.execute(sql).fetchall()


def test_an_old_run_goes_on_to_its_end_and_what_was_done_is_not_repeated(shop: Shop) -> None:
    with agreed(shop, lambda: opened(shop, "cutover"), *MOVED) as run:
        assert run.step(steps.StartReverseCapture()).repeated
        run.step(steps.StartSync("forward"))
        run.step(steps.VerifyData("before_cutover"))
        with closing(sqlite3.connect(shop.root / "legacy.db")) as driver, driver:
            driver.execute("INSERT INTO users (email) VALUES ('carl@example.org')")
        assert run.step(steps.Cutover()).passed
        run.step(steps.VerifyData("after_cutover"))
        run.gate()
    assert rows(shop, "users_db", "SELECT email FROM users WHERE id = 3") == [("carl@example.org",)]
    with opened(shop, "cleanup") as run:
        run.step(steps.ArchiveSource())
        run.gate()
    assert state(shop) == "done"


def test_an_old_run_is_undone_by_todays_code(shop: Shop) -> None:
    with agreed(shop, lambda: opened(shop, "rollback"), *MOVED) as run:
        names = [item.name for item in run.rollback().items]
    assert len(names) == len(set(names)) == 10
    assert state(shop) == "rolled_back"
    made = (
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'runbook*' AND name NOT GLOB 'sqlite*'"
    )
    assert rows(shop, "legacy", made) == [("users",), ("orders",)]
    assert rows(shop, "legacy", "SELECT name FROM sqlite_schema WHERE type = 'trigger'") == []
    assert rows(shop, "users_db", made) == rows(shop, "orders_db", made) == []


def test_a_step_of_a_former_name_is_found_by_both_names(shop: Shop) -> None:
    with agreed(shop, lambda: opened(shop, "cutover"), *MOVED) as run:
        history = run.history()
        for former, today in NAMES_OF_STEPS.items():
            assert history.step_passed(former) and history.step_passed(today)
            assert run.record(former) == run.record(today)
            assert run.record(former).name == today
        assert run.record("rehearse_fence").data["fence_s"] > 0


def test_notebooks_plans_and_steps_that_say_a_former_name_are_understood(tmp_path: Path) -> None:
    assert steps.OpenWayBack is steps.StartReverseCapture
    assert set(NAMES_OF_STEPS) <= set(library_steps())
    plan = small_plan(tasks=[Task(step="open_way_back")], steps=["enable_writes_to_both"])
    environment = small_environment(tmp_path, plan)
    with start(environment) as run:
        run.step(WriteFile(str(tmp_path), "begun"))
        run.gate()
    with start(environment, "preparation") as run:
        run.step(WriteFile(str(tmp_path), "start_capture"))
        asks = WriteFile(str(tmp_path), "start_reverse_capture", needs=("prove_way_back",))
        with pytest.raises(OutOfOrder, match="prove_way_back has not passed"):
            run.step(asks)
        run.verdict("verify_reverse_mapping", Verdict(Outcome.PASS, ""))
        assert run.step(asks).passed
        before = steps.BackupSource(requires=("open_way_back",))
        assert rebuild(describe(before)) == steps.BackupSource(requires=("start_reverse_capture",))
        assert run.step(before).passed and run.step(before).repeated
        assert run.gate().passed
