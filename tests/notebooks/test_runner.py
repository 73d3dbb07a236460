"""The strict runner on real kernels: whatever papermill would let pass is distinguished."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fix_evidence import RUN, SECRET, Evidence, write_notebook

from runbook_lib.errors import ConfigurationError, EvidenceError, GateFailed
from runbook_lib.evidence.html import notebook_html
from runbook_lib.journal.kinds import Gate
from runbook_lib.runner.execute import Ending, Executed, execute, parameters_of

PARAMETERS = 'run_id: str = ""\njournal_url: str = ""\noptions: dict = {}   # tunables'
OPEN = """from runbook_lib.journal import Journal
from runbook_lib.journal.kinds import Gate
journal = Journal(journal_url)"""
GATE = 'journal.append(run_id, Gate({passed}), phase="preflight").kind'
REFUSE = (
    "from runbook_lib.errors import GateFailed\n"
    'raise GateFailed("orders", "target has 3 rows, source 4", state="nothing was switched", action="runbook repair")'
)


def run(evidence: Evidence, tmp_path: Path, *cells: str, timeout_s: float = 60, **parameters: object) -> Executed:
    notebook = write_notebook(tmp_path / "in.ipynb", "# Try it", *cells, parameters=PARAMETERS)
    values = {"journal_url": f"sqlite:///{tmp_path / 'journal.db'}", **parameters}
    return execute(
        notebook, tmp_path / "out" / "out.ipynb", values,
        journal=evidence.journal, run_id=RUN, phase="preflight", timeout_s=timeout_s, root=Path(__file__).parents[2],
    )  # fmt: skip


def cells_of(path: Path) -> list[dict]:
    return json.loads(path.read_text())["cells"]


def test_a_notebook_whose_gate_is_in_the_journal_passes(evidence: Evidence, tmp_path: Path):
    done = run(evidence, tmp_path, OPEN, GATE.format(passed=True))
    assert (done.ending, done.exit_status, done.text) == (Ending.PASSED, 0, "")
    assert any(cell.get("outputs") for cell in cells_of(done.output))
    done.raise_for_failure()


def test_the_kernel_costs_little(evidence: Evidence, tmp_path: Path):
    first = run(evidence, tmp_path, "1 + 1")
    again = run(evidence, tmp_path, "1 + 1")
    # 1.3–1.9 s on two idle cores, up to 6 s beside seven other jobs: this bound finds only hangs
    assert min(first.overhead_s, again.overhead_s) < 12


def test_a_failing_gate_fails_and_the_notebook_shows_one_box_and_no_frames(evidence: Evidence, tmp_path: Path):
    quiet = "from runbook_lib.display.error_box import show_short_errors\nshow_short_errors()"
    done = run(evidence, tmp_path, OPEN, GATE.format(passed=False), quiet, REFUSE, "print('never')")
    assert (done.ending, done.error, done.exit_status) == (Ending.RAISED, "GateFailed", 1)
    assert "target has 3 rows, source 4" in done.text
    outputs = [output for cell in cells_of(done.output) for output in cell.get("outputs", [])]
    box, error = outputs[-2:]
    assert "nothing was switched" in box["data"]["text/html"][0]
    assert error["output_type"] == "error"
    assert len(error["traceback"]) == 1
    assert "Traceback" not in done.output.read_text()
    page = notebook_html(done.output, run_id=RUN, passed=False)
    assert page.count("target has 3 rows, source 4") == 1 + 1  # the box, and the folded code
    with pytest.raises(GateFailed, match=r"out\.ipynb"):
        done.raise_for_failure()


@pytest.mark.parametrize(("cell", "frames"), [("run.gate()", False), ("rum.gate()", True)])
def test_a_cell_below_one_that_was_refused_says_that_the_run_is_to_be_opened(
    evidence: Evidence, tmp_path: Path, cell: str, frames: bool
):
    done = run(
        evidence, tmp_path, "from runbook_lib.display.error_box import show_short_errors\nshow_short_errors()", cell
    )
    shown = done.output.read_text()
    assert (done.ending, done.exit_status) == (Ending.RAISED, 2)
    assert ("the cell that opens it has not passed in this kernel; this cell did nothing" in shown) is not frames
    assert ("Traceback" in shown) is frames


def test_an_error_that_nobody_foresaw_is_a_box_with_the_file_of_its_report(evidence: Evidence, tmp_path: Path):
    quiet = f"import os\nos.chdir({str(tmp_path)!r})\n"
    quiet += "from runbook_lib.display.error_box import show_short_errors\nshow_short_errors()"
    done = run(evidence, tmp_path, quiet, "from runbook_lib.util.redact import remember\nremember(7)")
    shown = done.output.read_text()
    assert (done.error, done.exit_status) == ("TypeError", 2)
    assert "Traceback" not in shown and f"the report is in {tmp_path}/.runbook/fault-" in shown
    assert len(list((tmp_path / ".runbook").glob("fault-*.txt"))) == 1


def test_a_cell_that_was_interrupted_says_what_is_left_and_what_to_do_without_frames(
    evidence: Evidence, tmp_path: Path
):
    quiet = "from runbook_lib.display.error_box import show_short_errors\nshow_short_errors()"
    stop = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(20)"
    done = run(evidence, tmp_path, quiet, stop, "print('never')")
    shown = done.output.read_text()
    assert done.exit_status == 2
    assert "KeyboardInterrupt: this cell: was interrupted" in shown and "run the cell again" in shown
    assert "Traceback" not in shown


def test_the_steps_of_one_cell_share_one_bar(evidence: Evidence, tmp_path: Path):
    show = (
        "from runbook_lib.display.progress import notebook_listener\nfrom runbook_lib.journal.progress import Progress"
    )
    show += "\nprogress = Progress(notebook_listener())"
    moves = "for step in ('first', 'second'):\n    progress.report('p', step, 1, 1)"
    done = run(evidence, tmp_path, show, moves)
    outputs = [output for cell in cells_of(done.output) for output in cell.get("outputs", [])]
    assert len(outputs) == 1 and "second: 1 of 1 rows" in str(outputs)


def test_a_refused_opening_leaves_no_earlier_run_to_act_on(evidence: Evidence, tmp_path: Path):
    again = "from contextlib import suppress\nfrom runbook_lib import open_run\nrun = 'of an earlier phase'"
    refused = "with suppress(Exception):\n    run = open_run('preflight', environment='nowhere')"
    done = run(evidence, tmp_path, again, refused, "run.upper()")
    assert done.ending is Ending.RAISED
    assert "the cell that opens it has not passed in this kernel; this cell did nothing" in done.output.read_text()


def test_a_killed_kernel_is_a_failure_and_what_ran_before_is_kept(evidence: Evidence, tmp_path: Path):
    kill = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    done = run(evidence, tmp_path, "print('before')", kill, "print('never')")
    assert (done.ending, done.exit_status) == (Ending.KERNEL_DIED, 2)
    assert "it continues where it stopped" in done.text
    assert "before" in done.output.read_text()


@pytest.mark.parametrize("call", ["sys.exit(0)", 'sys.exit("")'])
def test_an_exit_before_the_gate_is_not_success(evidence: Evidence, tmp_path: Path, call: str):
    done = run(evidence, tmp_path, f"import sys\n{call}")
    assert (done.ending, done.exit_status) == (Ending.NO_GATE, 2)


def test_a_gate_of_another_phase_does_not_count(evidence: Evidence, tmp_path: Path):
    other = 'journal.append(run_id, Gate(True), phase="cutover").kind'
    assert run(evidence, tmp_path, OPEN, other).ending is Ending.NO_GATE


def test_an_earlier_pass_does_not_cover_a_cell_that_raises_now(evidence: Evidence, tmp_path: Path):
    evidence.journal.append(RUN, Gate(passed=True), phase="preflight")
    done = run(evidence, tmp_path, "1 / 0")
    assert (done.ending, done.error, done.exit_status) == (Ending.RAISED, "ZeroDivisionError", 2)


def test_an_unknown_parameter_is_refused_by_name_before_anything_starts(evidence: Evidence, tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"option \(did you mean options\?\)"):
        run(evidence, tmp_path, "1", option={"chunk_rows": 1})
    assert not (tmp_path / "out" / "out.ipynb").exists()


def test_a_secret_among_the_parameters_is_refused_before_anything_starts(evidence: Evidence, tmp_path: Path):
    notebook = write_notebook(tmp_path / "in.ipynb", "1", parameters=PARAMETERS)
    with pytest.raises(EvidenceError, match="parameter options") as caught:
        execute(
            notebook, tmp_path / "out.ipynb", {"options": {"url": SECRET}},
            journal=evidence.journal, run_id=RUN, phase="preflight", secrets=[SECRET],
        )  # fmt: skip
    assert SECRET not in str(caught.value)
    assert not (tmp_path / "out.ipynb").exists()


def test_a_cell_that_takes_too_long_is_told_apart(evidence: Evidence, tmp_path: Path):
    done = run(evidence, tmp_path, "import threading\nthreading.Event().wait(60)", timeout_s=2)
    assert (done.ending, done.exit_status) == (Ending.TIMED_OUT, 2)


def test_what_a_cell_takes_is_not_the_kernel_s(evidence: Evidence, tmp_path: Path):
    done = run(evidence, tmp_path, "import threading\nthreading.Event().wait(1.5)", "1 / 0")
    assert 0 < done.overhead_s <= done.elapsed_s - 1.5


@pytest.mark.parametrize("content", ["", "not JSON", "{}", '{"nbformat": 4}'])
def test_what_is_not_a_notebook_is_one_clear_line(tmp_path: Path, content: str):
    path = tmp_path / "in.ipynb"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match="is not a notebook"):
        parameters_of(path)
    with pytest.raises(ConfigurationError, match="no such notebook"):
        parameters_of(tmp_path / "missing.ipynb")
