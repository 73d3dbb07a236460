"""`runbook lab`: the demo estate with JupyterLab in front of it, to step through the notebooks by hand."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from runbook_lib.config.environment import find_root, load_environment
from runbook_lib.errors import ConfigurationError
from runbook_lib.sandbox.demo import end_unfinished
from runbook_lib.sandbox.estate import Estate
from runbook_lib.sandbox.processes import Child, listening, require_free_ports, spawn, wait_until

Show = Callable[[str], None]
FIRST = "notebooks/00_preflight.ipynb"
START_TIMEOUT_S = 60.0  # a first start compiles JupyterLab's modules: 6 s here, more on a busy machine
STOP_TIMEOUT_S = 20.0  # it asks each kernel to end first
_OWN_COPY = "runbook-lab"
_COPIED = ("notebooks", "parameters")


def run_lab(show: Show, *, scale: float = 1.0, port: int = 8888, browser: bool = True) -> int:
    """Run the demo estate and JupyterLab on its notebooks until Ctrl-C; then both end, and nothing is left running.

    Args:
        show: Gets each line for the person at the terminal.
        scale: Size of the sample data; 1.0 is about 260,000 rows.
        port: JupyterLab's port on 127.0.0.1.
        browser: Open a browser as well.
    Returns:
        int: the exit status, 0.
    Raises:
        ConfigurationError: a port in use, no room, an estate that runs already, JupyterLab that does not start.
    """
    require_free_ports({"JupyterLab": port})
    root = _project(show)
    show("starting the estate ...")
    # The notebooks' own parameters name this directory and the usual ports.
    with Estate(root / ".runbook/demo", scale=scale, client=True) as estate:
        end_unfinished(load_environment("demo", root=root))
        token = secrets.token_urlsafe(24)
        lab = _start(root, estate.directory, port, token)
        try:
            wait_until(lambda: listening(port), START_TIMEOUT_S, "JupyterLab", lab)
            url = f"http://127.0.0.1:{port}/lab/tree/{FIRST}?token={token}"
            _tell(show, estate, url)
            if browser:
                _open(url)
            with suppress(KeyboardInterrupt):
                _wait(lab)
            show("ending JupyterLab and the estate")
        finally:
            lab.stop(timeout_s=STOP_TIMEOUT_S)
    return 0


def _wait(lab: Child) -> None:
    """Until somebody shuts JupyterLab down from within; Ctrl-C ends the wait as well."""
    if lab.process.wait():
        raise ConfigurationError("JupyterLab", f"ended: {lab.last_words()}", action=f"read {lab.log}")


def _project(show: Show) -> Path:
    """The project's folder; of an installed package a copy here, because notebooks are saved where they are opened."""
    root = find_root()
    if root != Path(__file__).parents[1] / "_share":
        return root
    copy = Path.cwd() / _OWN_COPY
    for name in _COPIED:
        if not (copy / name).exists():
            shutil.copytree(root / name, copy / name)
    show(f"the notebooks are copied to {copy}")
    return copy


def _start(root: Path, directory: Path, port: int, token: str) -> Child:
    argv = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        f"--ServerApp.root_dir={root}",
        "--LabApp.expose_app_in_browser=True",  # what a browser test waits on (tests/browser)
    ]
    if os.geteuid() == 0:
        argv.append("--allow-root")
    return spawn("JupyterLab", argv, log=directory / "logs/jupyterlab.log", environment=_surroundings(directory, token))


def _surroundings(directory: Path, token: str) -> dict[str, str]:
    """The token goes by the environment: an argument would stand in everybody's list of processes."""
    settings = directory / "jupyter"
    (settings / "labconfig").mkdir(parents=True, exist_ok=True)
    # No news feed: the estate asks nothing of the network, and the pop-up would lie over the first notebook.
    quiet = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (settings / "labconfig/page_config.json").write_text(json.dumps(quiet))
    paths = [str(settings), *filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")])]
    return {
        **os.environ,
        "JUPYTER_TOKEN": token,
        "JUPYTER_CONFIG_PATH": os.pathsep.join(paths),
        "RUNBOOK_PARENT_PID": str(os.getpid()),  # the sync that a notebook starts ends with us
    }


def _tell(show: Show, estate: Estate, url: str) -> None:
    show(f"{sum(estate.rows.values()):,} rows, clients at work through {estate.url}")
    show(f"\n  {url}\n")
    show(f"Open it, run {FIRST} from top to bottom, then 01, 02 and so on; 90_rollback goes back at any time.")
    show(f"`{_command()} status` in another terminal says where the run is. Ctrl-C here ends everything.")


def _command() -> str:
    """How another terminal calls us: `make` leaves the environment's programs out of the path."""
    return "runbook" if shutil.which("runbook") else str(Path(sys.executable).with_name("runbook"))


def _open(url: str) -> None:
    import webbrowser

    webbrowser.open(url)
