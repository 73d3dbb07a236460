"""The version that runs here; of an editable install with its commit."""

from __future__ import annotations

import json
import os
import subprocess
from importlib.metadata import PackageNotFoundError, distribution
from urllib.parse import unquote, urlsplit

import runbook_lib

_WITHIN_S = 5.0


def version_text() -> str:
    """Such as `0.2.0`, or `0.2.0 (editable, commit 3a5dacf1, with changes)`."""
    try:
        written = distribution("runbook-lib").read_text("direct_url.json")
    except PackageNotFoundError:
        return f"{runbook_lib.__version__} (not installed)"
    origin = json.loads(written or "{}")
    if not origin.get("dir_info", {}).get("editable"):
        return runbook_lib.__version__
    commit = _commit(unquote(urlsplit(origin["url"]).path))
    return f"{runbook_lib.__version__} (editable{f', commit {commit}' if commit else ''})"


def _commit(folder: str) -> str:
    """The folder's commit, and whether files of it are changed; empty where git knows nothing of it."""
    command = ["git", "-C", folder, "describe", "--always", "--exclude=*", "--abbrev=8", "--dirty=, with changes"]
    # in a hook git says by its variables which repository is meant: another one
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=_WITHIN_S, check=False, env=plain)
    except (OSError, subprocess.TimeoutExpired):  # no git, or a folder that does not answer
        return ""
    return ran.stdout.strip() if ran.returncode == 0 else ""
