"""Which parameter file a notebook was given: the plan and the inventory that it names are relative to it, always.

papermill hands over the file's values and not its name. `runbook run` says it in the kernel's environment; of papermill
it is read from the command line of the process that started the kernel.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path

from runbook_lib.config.environment import Environment, load_environment, load_environment_file
from runbook_lib.errors import ConfigurationError
from runbook_lib.plan.yaml_value import read_file

TOLD = "RUNBOOK_PARAMETER_FILE"
_NAMES = {"environment", "plan", "inventory"}


def given_file() -> Path | None:
    """The parameter file of this kernel, where it has one that names an environment, a plan or an inventory."""
    told = os.environ.get(TOLD, "")
    file = Path(told) if told else _of_papermill()
    if file is None or not file.is_file():
        return None
    document = read_file(file, "parameter file")
    named = {entry.name for entry in document.entries("the parameter file")}
    return file if named & _NAMES else None  # one that only has tunables says nothing of where


def notebooks_environment(name: str, plan: str, inventory: str) -> Environment:
    """The parameter file that this kernel was given, as `runbook run -f` reads it; else the working folder's project.

    Raises:
        ConfigurationError: the notebook's parameter says another environment than the file is of.
    """
    file = given_file()
    if file is None:
        return load_environment(name, plan, inventory)
    if file.stem != name:
        raise ConfigurationError(
            f"environment `{name}`",
            f"the notebook was given {file}, which is the parameter file of `{file.stem}`",
            state="nothing was started",
            action="give the parameter file of the environment that is meant, and no other value of `environment`",
        )
    return load_environment_file(file, plan, inventory)


def _of_papermill() -> Path | None:
    try:
        psutil = importlib.import_module("psutil")  # of ipykernel: there is no kernel without it
        parent = psutil.Process(os.getppid())
        words, folder = list(parent.cmdline()), str(parent.cwd())
    except Exception:  # no such module, or a process that may not be read: the working folder's files are read
        return None
    name = _file_of(words) if any(Path(word).name in ("papermill", "papermill.exe") for word in words[:3]) else ""
    return Path(folder, name) if name else None


def _file_of(words: Sequence[str]) -> str:
    """What stands behind papermill's -f, in each way in which it may be written."""
    for at, word in enumerate(words):
        if word in ("-f", "--parameters_file"):
            return words[at + 1] if at + 1 < len(words) else ""
        if word.startswith("--parameters_file="):
            return word.partition("=")[2]
        if word.startswith("-f") and not word.startswith("--"):
            return word[2:]
    return ""
