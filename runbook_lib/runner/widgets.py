"""Widgets observe and confirm; they never decide anything that the journal does not hold.

In JupyterLab they are live. Everywhere else (papermill, nbval, a plain script) the same call shows static HTML: widget
state is blank in an offline page, and evidence must not be.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runbook_lib.display.error_box import error_html
from runbook_lib.display.progress import as_html
from runbook_lib.display.render import render
from runbook_lib.errors import RunbookError
from runbook_lib.journal.kinds import Approval
from runbook_lib.run.approvals import approve as record_approval

if TYPE_CHECKING:
    from runbook_lib.journal import Ask
    from runbook_lib.run.run import Run


@dataclass(frozen=True)
class Static:
    """HTML that shows itself."""

    html: str
    text: str

    def _repr_html_(self) -> str:
        return self.html

    def __str__(self) -> str:
        return self.text


def interactive() -> bool:
    """Whether somebody can press a button: a Jupyter server's session, not papermill or nbclient."""
    import sys

    if "IPython" not in sys.modules or "JPY_SESSION_NAME" not in os.environ:
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


def watch(run: Run, every_s: float = 1.0) -> Any:
    """Live progress of a run, also of one that another process carries out.

    Args:
        every_s: Seconds between reads of the journal.
    Returns:
        A widget that follows the run until its gate; static HTML where nobody watches.
    """
    if not interactive():
        return _state(run)
    import ipywidgets

    view = ipywidgets.HTML(_state(run).html)
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(every_s):
            try:
                view.value = _state(run).html
            except RunbookError as error:  # the journal is busy or gone: say so, and stop looking
                view.value = error_html(error)
                return
            if run.journal.run(run.run_id).state not in ("open", "rolling_back"):
                return

    threading.Thread(target=look, daemon=True, name="runbook-watch").start()
    view.stop = stop.set
    return view


def approve(run: Run, gate: str) -> Any:
    """A button that records the approval or sign-off that a gate waits for.

    Args:
        gate: Its words, or the phase whose gate waits.
    Returns:
        A comment field with a button; static HTML with the command where nobody can press it.
    """
    asked = _asked(run, gate)
    if asked is None or not interactive():
        return _question(run, gate, asked)
    return _form(run, gate)


def _form(run: Run, gate: str) -> Any:
    import ipywidgets

    comment = ipywidgets.Text(placeholder="comment, kept in the evidence", layout={"width": "28em"})
    button = ipywidgets.Button(description="Approve", button_style="success", tooltip=gate)
    answer = ipywidgets.HTML(_question(run, gate, _asked(run, gate)).html)

    def press(_: object) -> None:
        button.disabled = True  # before the journal is asked: a second click must not be a second approval
        try:
            entry = record_approval(run.journal, run.run_id, gate, comment=comment.value, actor=run.actor)
        except RunbookError as error:
            answer.value, button.disabled = error_html(error), False
            return
        comment.disabled = True
        answer.value = _shown(f"✓ {gate}: approved by {entry.actor}. Run the gate again.").html

    button.on_click(press)
    return ipywidgets.VBox([answer, ipywidgets.HBox([comment, button])])


def _asked(run: Run, gate: str) -> Ask | None:
    """What waits under this name; None when nothing does (any more)."""
    history = run.history()
    return next((ask for ask in history.waiting if gate in (ask.name, ask.phase)), None)


def _question(run: Run, gate: str, asked: Ask | None) -> Static:
    if asked is None:
        return _shown(f"{gate}: nothing waits for an approval")
    command = f'runbook approve {run.run_id} "{asked.name}" --comment …'
    return _shown(f"{asked.name}: waits for {'an approval' if asked.answer is Approval else 'a sign-off'}", command)


def _shown(text: str, command: str = "", bar: str = "") -> Static:
    """A line, a command below it, and a progress bar that is HTML already."""
    page = render("text", title="", lines=[text], command=command)
    return Static(f"{page}{bar}", f"{text}; {command}" if command else text)


def _state(run: Run) -> Static:
    history = run.history()
    going = [unit for unit in history.units.values() if unit.outcome == "interrupted"]
    row = run.journal.get_progress(run.run_id)
    gates = {phase: "✓" if history.phase_passed(phase) else "✗" for phase in history.gates}
    phases = " ".join(f"{mark} {phase.replace('_', ' ')}" for phase, mark in gates.items())
    now = f"{going[-1].phase}: {going[-1].name}" if going else "nothing is under way"
    text = " · ".join(part for part in (now.replace("_", " "), phases) if part)
    bar = as_html(row) if row is not None and going and row.step == going[-1].name else ""
    return _shown(text, bar=bar)
