"""notebooks/checks/validation.ipynb on two real databases, by plain papermill: it passes, and it fails by name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from estate_validation import plan_of
from estate_validation import project as write_project
from nightly import at_night

from runbook_lib.cli import main
from runbook_lib.config.environment import load_environment_file
from runbook_lib.steps.routes_and_links import links_of
from runbook_lib.transfer.capture import disable_capture, enable_capture

ROOT = Path(__file__).parents[2]
DDL = """CREATE TABLE items (id integer PRIMARY KEY, name text, price numeric(10,2));
INSERT INTO items SELECT i, 'item ' || i, i / 3.0 FROM generate_series(1, 3000) AS i;"""


@pytest.fixture
def project(database: Any, target: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for one, name in ((database, "SOURCE"), (target, "TARGET")):
        one.run_script(DDL)
        one.analyze(["items"])
        monkeypatch.setenv(f"RUNBOOK_{name}_PASSWORD", one.login.password)
    write_project(tmp_path, database, target, "items")
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


@at_night
def test_rows_that_wait_for_a_sync_that_does_not_run_pass_neither_the_notebook_nor_the_command(
    project: Path, database: Any
) -> None:
    [link] = links_of(load_environment_file(project / "parameters/test.yaml"))
    enable_capture(link)
    database.execute("UPDATE items SET name = 'left behind' WHERE id IN (7, 8)")
    waits = "2 rows wait for a sync, and none runs"
    status, shown = papermill(project, "waits.ipynb")
    assert status != 0
    for words in ("Validation failed", waits, "GateFailed"):
        assert words in shown
    assert "No row differs" not in shown
    command = ["compare", "-f", str(project / "parameters/test.yaml"), "--settle", "0.2"]
    said = CliRunner().invoke(main, command, prog_name="runbook")
    assert (said.exit_code, said.stdout.splitlines()[-1].partition(";")[0]) == (1, f"different: {waits}")
    database.execute("UPDATE items SET name = 'item ' || id WHERE id IN (7, 8)")  # equal again, and not carried over
    said = CliRunner().invoke(main, command, prog_name="runbook")
    assert (said.exit_code, said.stdout.splitlines()[-1].partition(":")[0]) == (2, "could not tell")
    disable_capture(link)
    link.reader.close()
    link.writer.close()


@at_night
def test_papermill_from_another_folder_takes_the_files_beside_its_parameter_file(
    project: Path, database: Any, target: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The folder papermill is started in has a plan and an inventory of the same names, of other databases."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_project(elsewhere, target, target, "items")
    shutil.copytree(ROOT / "notebooks", elsewhere / "notebooks")
    notebook, file = project / "notebooks/checks/validation.ipynb", project / "parameters/test.yaml"
    command = [sys.executable, "-m", "papermill", str(notebook), "out.ipynb", f"--parameters_file={file}"]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (project / ".runbook/journal.sqlite").exists() and not (elsewhere / ".runbook").exists()
    inventory = project / "parameters/inventories/i.yaml"
    inventory.write_text(inventory.read_text().replace(target.masked_url, database.masked_url))
    status, shown = papermill(project, "moved.ipynb")
    assert status != 0
    assert f"and {inventory} says {database.masked_url}" in shown.replace("parameters/inv", f"{project}/parameters/inv")
    assert "database new has moved to" in shown and "runbook approve" in shown


def test_a_table_that_the_target_lacks_is_a_difference_beside_those_that_are_compared(
    project: Path, database: Any
) -> None:
    database.execute("CREATE TABLE others (id bigint PRIMARY KEY)")
    (project / "parameters/plans/p.yaml").write_text(plan_of("items, others"))
    status, shown = papermill(project, "missing.ipynb")
    assert status != 0
    for words in ("Validation failed", "no such table at the target", "3,000", "GateFailed"):
        assert words in shown
