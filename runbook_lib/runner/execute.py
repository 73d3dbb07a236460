"""Run one notebook with papermill, strictly: what papermill would only warn about, or take for success, is refused.

papermill only warns about an unknown parameter, takes `sys.exit(0)` for success, and marks the killed cell of a dead
kernel completed. So parameters are checked before anything starts, and whether a phase passed is read from the
journal's gate, never from the notebook.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runbook_lib import errors
from runbook_lib.display.error_box import show_short_errors
from runbook_lib.errors import ConfigurationError, EvidenceError, GateFailed, NotDue
from runbook_lib.journal.history import History
from runbook_lib.runner.kernel import Kernel, start_kernel
from runbook_lib.util.fast_imports import without_iri_grammar

if TYPE_CHECKING:
    from runbook_lib.journal import Journal

__all__ = ["Ending", "Executed", "execute", "parameters_of", "show_short_errors"]


class Ending(StrEnum):
    """How a notebook ended. Only PASSED lets the next phase start."""

    PASSED = "passed"
    RAISED = "raised"  # a cell raised: the gate, a step, or a fault
    WAITS = "waits"  # a step waits for a time; run the phase again then
    NO_GATE = "no gate"  # every cell ran, or sys.exit came first, and the journal knows no passed gate
    KERNEL_DIED = "kernel died"
    TIMED_OUT = "timed out"


@dataclass(frozen=True)
class Executed:
    """What running a notebook led to.

    Attributes:
        overhead_s: Seconds that were spent outside the cells: start and stop of the kernel, saving.
        error: The exception's class name, or empty.
        text: One line: why it did not pass.
    """

    notebook: Path
    output: Path
    phase: str
    ending: Ending
    elapsed_s: float
    overhead_s: float
    error: str = ""
    text: str = ""

    @property
    def passed(self) -> bool:
        return self.ending is Ending.PASSED

    @property
    def exit_status(self) -> int:
        """0 passed; 1 it ran and the answer is no; 2 could not run."""
        if self.passed:
            return 0
        kind = getattr(errors, self.error, None)
        return int(kind.exit_status) if isinstance(kind, type) and issubclass(kind, errors.RunbookError) else 2

    def raise_for_failure(self) -> None:
        """Raise GateFailed with the one line that says why, unless the phase passed."""
        if not self.passed:
            raise GateFailed(self.phase, self.text, action=f"read {self.output}, then run the phase again")


def execute(
    notebook: Path,
    output: Path,
    parameters: Mapping[str, Any],
    *,
    journal: Journal,
    run_id: str,
    phase: str,
    timeout_s: float | None = None,
    root: Path | None = None,
    secrets: Sequence[str] = (),
    kernel: Kernel | None = None,
    parameter_file: Path | None = None,
) -> Executed:
    """Execute a phase's notebook and say whether its gate passed. The notebook is saved after each cell.

    Args:
        notebook: The notebook as committed.
        output: Where the executed one goes; its folder is made.
        parameters: Values for names of the cell tagged `parameters`.
        journal: Where the gate's record is looked up.
        run_id: The run whose gate counts; given to the notebook too where it has such a parameter.
        phase: The phase whose gate counts.
        timeout_s: Longest time for one cell (seconds); None waits as long as it takes.
        root: Working directory of the kernel; the current directory when None.
        secrets: Values that must not be among the parameters: papermill writes those down in clear text.
        kernel: Started ahead, in `root`; ended whatever happens. None starts one.
        parameter_file: Where the kernel that is started here finds its plan and inventory.
    Returns:
        Executed: a failing notebook is a result, not an exception.
    Raises:
        ConfigurationError: missing notebook, unknown parameter; nothing was started.
        EvidenceError: a secret among the parameters; nothing was started.
    """
    try:
        known = parameters_of(notebook)
        values = {"run_id": run_id, **parameters} if "run_id" in known else dict(parameters)
        _require_known(notebook, known, values)
        _require_no_secret(values, secrets)
        output.parent.mkdir(parents=True, exist_ok=True)
        started, root = time.monotonic(), root or Path.cwd()
        kernel = kernel or start_kernel(root, parameter_file)
        options = {"parameters": values, "cwd": str(root), "execution_timeout": timeout_s}
        ending, error, text = _papermill(notebook, output, kernel, options)
    finally:
        if kernel:
            kernel.end()
    elapsed_s = time.monotonic() - started
    if ending is Ending.PASSED and not _gate_passed(journal, run_id, phase):
        ending, text = Ending.NO_GATE, "the notebook ended without a passed gate in the journal"
    return Executed(notebook, output, phase, ending, elapsed_s, elapsed_s - _seconds_in_cells(output), error, text)


def parameters_of(notebook: Path) -> dict[str, str]:
    """Names and default values (source text) of the notebook's `parameters` cell.

    Raises:
        ConfigurationError: the notebook is missing, or is not a notebook.
    """
    papermill = _import_papermill()
    from nbformat import ValidationError
    from nbformat.reader import NotJSONError

    if not notebook.is_file():
        raise ConfigurationError(str(notebook), "no such notebook", action="runbook init, or correct the path")
    try:
        found = papermill.inspect_notebook(str(notebook))
    except (NotJSONError, ValidationError, ValueError, KeyError, AttributeError, TypeError) as error:  # damaged files
        raise ConfigurationError(str(notebook), f"is not a notebook ({_first_line(error)})") from error
    return {name: str(parameter["default"]) for name, parameter in found.items()}


def _require_known(notebook: Path, known: Mapping[str, str], values: Mapping[str, Any]) -> None:
    unknown = sorted(set(values) - set(known))
    if not unknown:
        return
    near = {name: difflib.get_close_matches(name, known, 1) for name in unknown}
    named = ", ".join(f"{name} (did you mean {match[0]}?)" if match else name for name, match in near.items())
    raise ConfigurationError(
        notebook.name,
        f"has no parameter {named}",
        expected=", ".join(known) or "none: it has no cell tagged `parameters`",
        state="nothing was started",
    )


def _require_no_secret(values: Mapping[str, Any], secrets: Sequence[str]) -> None:
    for name, value in values.items():
        if any(secret and secret in text for text in _strings(value) for secret in secrets):
            raise EvidenceError(
                f"parameter {name}",
                "holds a secret's value, and papermill writes parameters down in clear text",
                state="nothing was started",
                action="pass a reference (env:NAME, file:PATH) in the inventory",
            )


def _strings(value: Any) -> Iterator[str]:
    """Every text in a parameter's value, keys too."""
    if isinstance(value, Mapping):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _strings(item)
    else:
        yield str(value)


def _gate_passed(journal: Journal, run_id: str, phase: str) -> bool:
    return History(journal.entries(run_id)).phase_passed(phase)


def _seconds_in_cells(output: Path) -> float:
    """What papermill wrote down beside each cell."""
    cells = json.loads(output.read_text(encoding="utf-8"))["cells"]
    return float(sum(cell["metadata"].get("papermill", {}).get("duration") or 0 for cell in cells))


def _papermill(notebook: Path, output: Path, kernel: Kernel, options: Mapping[str, Any]) -> tuple[Ending, str, str]:
    """How it ended, the name of what was raised, and one line that says why it did not pass."""
    papermill = _import_papermill()
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    _register_engine()
    try:
        with _quiet_loggers():
            papermill.execute_notebook(
                str(notebook),
                str(output),
                engine_name="runbook",
                progress_bar=False,
                runbook_kernel=kernel,
                **options,
            )
    except PapermillExecutionError as error:
        if error.ename == NotDue.__name__:
            return Ending.WAITS, str(error.ename), _first_line(error.evalue)
        return Ending.RAISED, str(error.ename), f"{error.ename}: {_first_line(error.evalue)}"
    except CellTimeoutError:
        return Ending.TIMED_OUT, "", f"a cell took longer than {options['execution_timeout']:g} s"
    except DeadKernelError:
        words = kernel.last_words()
        died = f"the kernel died ({words})" if words else "the kernel died"
        return Ending.KERNEL_DIED, "", f"{died}; run the phase again: it continues where it stopped"
    return Ending.PASSED, "", ""


def _first_line(text: object) -> str:
    return (str(text).splitlines() or [""])[0]


def _register_engine() -> None:
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import Engine, papermill_engines

    class Ours(Engine):  # type: ignore[misc]  # papermill has no types
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> Any:
            """What papermill's own engine does, on a kernel that is there already."""
            manager, timeout_s = options["runbook_kernel"].manager, options["execution_timeout"]
            client = PapermillNotebookClient(nb_man, km=manager, timeout=timeout_s, kernel_name=kernel_name)
            return client.execute(cleanup_kc=True)  # it ends the kernel politely, and closes its own sockets

    papermill_engines.register("runbook", Ours)


@contextlib.contextmanager
def _quiet_loggers() -> Any:
    """papermill and nbclient log what we report ourselves, in our own words."""
    loggers = [logging.getLogger(name) for name in ("papermill", "traitlets")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _import_papermill() -> Any:
    with without_iri_grammar():
        import papermill
    return papermill
