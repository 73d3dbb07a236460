"""A person in JupyterLab, in a real browser: open a phase's notebook, run all cells, read the gate."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fix_absent import program
from fix_sandbox import SCALE, free_port_base, wait_for

from runbook_lib.journal import Journal
from runbook_lib.journal.kinds import Gate
from runbook_lib.sandbox.estate import Estate

ROOT = Path(__file__).parents[2]
TOKEN = "only-for-this-test"
pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

# "Run all" right after the idle indicator can hang: first wait for a kernel that answers.
KERNEL_ANSWERS = """async () => {
  const widget = jupyterapp.shell.currentWidget;
  await widget.context.ready; await widget.sessionContext.ready;
  const kernel = widget.sessionContext.session.kernel; await kernel.info;
  await kernel.requestExecute({code: '0', silent: true}).done;
}"""


@pytest.fixture
def chromium() -> str:
    return program("chromium")


@pytest.fixture
def estate(tmp_path: Path) -> Iterator[Estate]:
    with Estate(tmp_path / "estate", port_base=free_port_base(), scale=SCALE, client=True, rate=40) as running:
        yield running


@pytest.fixture
def project(estate: Estate, tmp_path: Path) -> Path:
    """The notebooks and parameters as they are committed, but for the estate's ports."""
    folder = tmp_path / "project"
    for name in ("notebooks", "parameters"):
        shutil.copytree(ROOT / name, folder / name)
    estate.write_inventory(folder / "parameters/inventories/demo.yaml")
    return folder


@pytest.fixture
def lab(project: Path, estate: Estate, tmp_path: Path) -> Iterator[str]:
    settings = tmp_path / "jupyter"
    (settings / "labconfig").mkdir(parents=True)
    disabled = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (settings / "labconfig/page_config.json").write_text(json.dumps(disabled))
    log = tmp_path / "lab.log"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.port={estate.ports.base + 45}", f"--ServerApp.root_dir={project}"]
    command += ["--LabApp.expose_app_in_browser=True"]
    environment = {**os.environ, "JUPYTER_TOKEN": TOKEN, "JUPYTER_CONFIG_PATH": str(settings)}
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd=project)
        try:
            wait_for(lambda: "is running at" in log.read_text(), "JupyterLab is up", 60)
            yield f"http://127.0.0.1:{estate.ports.base + 45}/lab/tree"
        finally:
            server.terminate()
            server.wait(30)


def test_run_all_in_jupyterlab_passes_the_gate_and_shows_it(
    chromium: str, lab: str, project: Path, estate: Estate
) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-quic"])
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.goto(f"{lab}/notebooks/00_preflight.ipynb?token={TOKEN}", timeout=60_000)
        page.wait_for_selector(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook", timeout=60_000)
        page.evaluate(KERNEL_ANSWERS)
        page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
        gate = page.get_by_text(re.compile("Gate: preflight"))
        gate.wait_for(timeout=90_000)
        shown = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)").inner_text()
        browser.close()

    assert "none of the five was found in the plan" in shown
    assert "Traceback" not in shown
    journal = Journal(f"sqlite:///{estate.directory}/journal.sqlite")
    try:
        [run] = journal.runs()
        assert [entry.read(Gate).passed for entry in journal.entries(run.run_id, Gate)] == [True]
    finally:
        journal.close()
