"""notebooks/checks/validation.ipynb on two real databases, by plain papermill: it passes, and it fails by name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DDL = """CREATE TABLE items (id integer PRIMARY KEY, name text, price numeric(10,2));
INSERT INTO items SELECT i, 'item ' || i, i / 3.0 FROM generate_series(1, 3000) AS i;"""
PLAN = "migration: Test\nsource: old\nservices:\n  shop: {database: new, tables: [items]}\n"
PLAN += "phases:\n  - preparation: {}\n  - data_migration: {}\n"
INVENTORY = """
databases:
  old: {{url: "{old}", password: "env:OLD_PASSWORD"}}
  new: {{url: "{new}", password: "env:NEW_PASSWORD"}}
policy: {{approvals: auto, signoffs: auto, window: ignore, triggers: report}}
journal: .runbook/journal.sqlite
evidence: evidence
"""


@pytest.fixture
def project(database: Any, target: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for one, name in ((database, "OLD"), (target, "NEW")):
        one.run_script(DDL)
        one.analyze(["items"])
        monkeypatch.setenv(f"{name}_PASSWORD", one.login.password)
    for folder in ("plans", "inventories"):
        (tmp_path / "parameters" / folder).mkdir(parents=True)
    (tmp_path / "parameters/plans/p.yaml").write_text(PLAN)
    text = INVENTORY.format(old=database.masked_url, new=target.masked_url)
    (tmp_path / "parameters/inventories/i.yaml").write_text(text)
    parameters = "environment: test\nplan: plans/p.yaml\ninventory: inventories/i.yaml\nrun_id: ''\noptions: {}\n"
    (tmp_path / "parameters/test.yaml").write_text(parameters)
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    return tmp_path


def papermill(project: Path, out: str) -> tuple[int, str]:
    """Exit status, and what the executed notebook shows."""
    command = [
        sys.executable,
        "-m",
        "papermill",
        "notebooks/checks/validation.ipynb",
        out,
        "-f",
        "parameters/test.yaml",
    ]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert (project / out).exists(), done.stderr
    return done.returncode, json.dumps(json.loads((project / out).read_text())["cells"])


def test_it_passes_over_equal_databases_and_names_the_rows_that_differ(project: Path, target: Any) -> None:
    status, shown = papermill(project, "equal.ipynb")
    assert status == 0, shown[-3000:]
    for words in ("Validation passed", "No row differs", "image/svg+xml"):
        assert words in shown
    target.execute("UPDATE items SET price = 0 WHERE id BETWEEN 1000 AND 1009")
    status, shown = papermill(project, "different.ipynb")
    assert status != 0
    for words in ("Validation failed", "shop.items: 10 different", "GateFailed"):
        assert words in shown


def test_a_table_that_the_target_lacks_is_a_difference_beside_those_that_are_compared(
    project: Path, database: Any
) -> None:
    database.execute("CREATE TABLE others (id bigint PRIMARY KEY)")
    (project / "parameters/plans/p.yaml").write_text(PLAN.replace("[items]", "[items, others]"))
    status, shown = papermill(project, "missing.ipynb")
    assert status != 0
    for words in ("Validation failed", "no such table at the target", "3,000", "GateFailed"):
        assert words in shown
