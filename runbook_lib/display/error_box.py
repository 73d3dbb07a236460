"""In a notebook, an error of this library is one red box and one line, not a wall of frames.

So is one that nobody foresaw. The failure stays a failure: nbclient, papermill and nbval read the `error` message that
is sent as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from runbook_lib.display.render import render
from runbook_lib.errors import ConfigurationError, RunbookError
from runbook_lib.plan.phase_order import notebook_of

_NOT_OPENED = ConfigurationError(
    "run",
    "the cell that opens it has not passed in this kernel",
    state="this cell did nothing",
    action="run the cells above this one, from the first; if one is refused, do what its box says",
)


def show_short_errors() -> bool:
    """Show every error that this library raises as a short box. Harmless outside IPython, and when called again.

    Returns:
        bool: whether there is a kernel to speak to.
    """
    import sys

    if "IPython" not in sys.modules:  # a plain script: nothing to set up, and nothing to import for it
        return False
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None:
        return False
    shell.set_custom_exc((Exception, KeyboardInterrupt), _show)
    if shell.InteractiveTB.mode == "Verbose":  # prints every local variable, passwords among them
        shell.InteractiveTB.set_mode("Context")
    return True


def forget_run() -> None:
    """After a refused opening, no earlier `run` of this kernel may stand there for the cells below to act on."""
    import sys

    if "IPython" not in sys.modules:
        return
    from IPython import get_ipython

    shell = get_ipython()
    earlier = shell.user_ns.pop("run", None) if shell is not None else None
    if earlier is not None and hasattr(earlier, "release"):
        earlier.release()


def error_html(error: BaseException, kind: str = "") -> str:
    """The box: what was seen, what was expected, the state left, the next act, the notes.

    Args:
        kind: What stands before it; empty: the error's class.
    """
    title, clauses = f"{kind or type(error).__name__}: {error}", list[tuple[str, str]]()
    if isinstance(error, RunbookError):
        title = f"{kind or type(error).__name__}: {error.subject}: {error.observed}"
        clauses = [("Expected", error.expected), ("State", error.state), ("Next", error.action)]
        clauses += [("Note", note) for note in getattr(error, "__notes__", ())]
    return render("error_box", title=title, clauses=clauses)


def _show(
    shell: Any, kind: type[BaseException], error: BaseException, _tb: TracebackType, tb_offset: int | None = None
) -> list[str]:
    from IPython.display import HTML, display

    from runbook_lib.util import extras
    from runbook_lib.util.fault_report import is_ours, report_line

    del tb_offset  # IPython's interface; frames are exactly what is not shown
    if isinstance(error, NameError) and error.name == "run" and not is_ours(error):
        error = _NOT_OPENED  # what a cell below one that was refused would say
    elif isinstance(error, KeyboardInterrupt):
        error = _interrupted(getattr(error, "__notes__", ()))
    elif is_ours(error) and (missing := extras.explain(error)):
        error = missing
    elif not isinstance(error, RunbookError):
        if not is_ours(error) or os.environ.get("RUNBOOK_TRACEBACK"):  # a line that somebody wrote in a cell
            shell.showtraceback(running_compiled_code=True)
            return []
        error = RuntimeError(report_line(error).removeprefix(f"unexpected: {kind.__name__}: "))
    # text/plain too: terminals and nbval read it, and a repr of the HTML object says nothing
    display({"text/html": HTML(error_html(error, kind.__name__)).data, "text/plain": str(error)}, raw=True)
    line = [f"{kind.__name__}: {error}"]
    shell._showtraceback(kind, error, line)
    return line


def _interrupted(notes: Iterable[str]) -> RunbookError:
    """What a person who stopped a cell reads: frames of the library say nothing about the databases."""
    error = RunbookError(
        "this cell",
        "was interrupted",
        state="what it had begun is in the journal, and may be in place in part",
        action=f"run the cell again: it resumes where it was; or go back with {notebook_of('rollback')}",
    )
    for note in notes:  # a cutover that put everything back says so here
        error.add_note(note)
    return error
