"""Old against new on two databases: `runbook performance`, and notebooks/checks/performance.ipynb by papermill."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from runbook_lib.cli import main
from runbook_lib.databases.sqlite import open_database

ROOT = Path(__file__).parents[2]
PLAN = """migration: Test
source: old
services: {shop: {database: new, tables: [items]}}
phases: [{preparation: {}}]
performance: {tolerance: 100%, workload: plans/w.yaml, metrics: [METRICS], rounds: [6, 18]}
"""
INVENTORY = """
databases: {old: {url: "sqlite:///old.db"}, new: {url: "sqlite:///new.db"}}
policy: {approvals: auto, signoffs: auto, window: ignore, triggers: report}
journal: .runbook/journal.sqlite
"""
WORKLOAD = """
rate: 60
round: 200 ms
turn: 50 ms
warmup: 0
sql:
  - name: items of a part
    sql: "SELECT count(*), max(label) FROM items WHERE part = :part AND 1 = 1"
    target: "SELECT count(*), max(label) FROM items WHERE part = :part AND 1 = 1"
    params: {part: "SELECT part FROM items"}
"""
ROWS = (
    "CREATE TABLE items (id integer PRIMARY KEY, part integer, label text)",
    "INSERT INTO items WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
    "SELECT i, i % 100, 'a' || i FROM n",
    "CREATE INDEX items_part ON items (part)",
)


def write(project: Path, metrics: str = "p50, throughput, error_rate", workload: str = WORKLOAD) -> None:
    (project / "parameters/plans/p.yaml").write_text(PLAN.replace("METRICS", metrics))
    (project / "parameters/plans/w.yaml").write_text(workload)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for folder in ("plans", "inventories"):
        (tmp_path / "parameters" / folder).mkdir(parents=True)
    for name in ("old", "new"):
        made = open_database(name, f"sqlite:///{tmp_path / name}.db", options={"create": True})
        made.execute(*ROWS)
        made.close()
    (tmp_path / "parameters/inventories/i.yaml").write_text(INVENTORY)
    text = "environment: test\nplan: plans/p.yaml\ninventory: inventories/i.yaml\nrun_id: ''\noptions: {}\n"
    (tmp_path / "parameters/test.yaml").write_text(text)
    write(tmp_path)
    return tmp_path


def performance(project: Path, *more: str) -> Result:
    command = ["performance", "-f", str(project / "parameters/test.yaml"), *more]
    return CliRunner().invoke(main, command, prog_name="runbook")


SLOW = WORKLOAD.replace(
    'target: "SELECT count(*), max(label) FROM items WHERE part = :part AND 1 = 1"',
    'target: "WITH RECURSIVE n (i) AS (SELECT :part UNION ALL SELECT i + 1 FROM n WHERE i < 60000) '
    'SELECT count(*), max(label) FROM n JOIN items ON id = i"',
)


def test_equal_sides_are_fine_and_one_that_works_more_is_degraded_and_its_plan_shows_it(project: Path) -> None:
    said = performance(project, "--json", str(project / "fine.json"))
    assert (said.exit_code, said.stdout.splitlines()[-1].partition(" (")[0]) == (
        0,
        "fine: 3 metrics within 100% of the baseline",
    ), said.output
    found = json.loads((project / "fine.json").read_text())
    assert found["rounds"]["old"][0]["requests"] == found["rounds"]["new"][0]["requests"] == 12
    assert len(found["spread_ms"]["new"]) == 101
    assert found["plans"]["statements"][0]["now"]["nodes"][0]["index"] == "items_part"
    write(project, workload=SLOW)
    said = performance(project)
    assert said.exit_code == 1, said.output
    assert "degraded by more than 100%: response time p50" in said.stdout
    assert "plan of items of a part: index items_part only before" in said.stdout


def test_what_cannot_be_measured_is_said_and_does_not_pass(project: Path) -> None:
    write(project, "p50, cpu, memory")
    said = performance(project)
    assert said.exit_code == 2, said.output
    assert "not measured: old: no process here listens at sqlite:///" in said.stdout
    last = said.stdout.splitlines()[-1]
    assert last.startswith("inconclusive: processor, memory (") and last.endswith(" pairs of rounds)")


@pytest.mark.parametrize(
    ("workload", "line"),
    [
        (WORKLOAD.replace("FROM items WHERE", "FROM nowhere WHERE"), "no such table: nowhere"),
        (WORKLOAD.replace("  - name", "  - service: shoop\n    name"), "unknown service `shoop`; expected one of shop"),
        (WORKLOAD.replace("SELECT part FROM items", "SELECT part FROM items WHERE id < 0"), "no row is found by"),
        (WORKLOAD.replace("count(*), max(label) FROM items WHERE part = :part AND 1 = 1", "1"), "no `:part` in sql"),
        ("smoke: [/x]", "has no requests"),
        ("requests: [{path: /x}]", "no router"),
    ],
)
def test_a_workload_that_cannot_be_sent_is_one_line_before_anything_is_measured(
    project: Path, workload: str, line: str
) -> None:
    write(project, workload=workload)
    said = performance(project)
    assert (said.exit_code, said.stdout) == (2, ""), said.output
    assert line in said.stderr and len(said.stderr.splitlines()) == 1


def test_the_notebook_shows_intervals_charts_and_plans_and_its_gate_passes(project: Path) -> None:
    shutil.copytree(ROOT / "notebooks", project / "notebooks")
    command = [sys.executable, "-m", "papermill", "notebooks/checks/performance.ipynb", "out.ipynb"]
    done = subprocess.run(
        [*command, "-f", "parameters/test.yaml"], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    shown = json.dumps(json.loads((project / "out.ipynb").read_text())["cells"])
    assert shown.count("image/svg+xml") >= 3
    for words in ("fine: 3 metrics within", "0 of 1 slowest statements are answered otherwise", "performance_compared"):
        assert words in shown
