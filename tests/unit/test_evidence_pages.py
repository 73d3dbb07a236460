"""The summary's figures, and pages that need no network."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
from fix_evidence import RUN, Evidence, record_phase

from runbook_lib.evidence.html import notebook_html
from runbook_lib.evidence.summary import build_summary
from runbook_lib.journal.kinds import StandaloneVerdict
from runbook_lib.run.records import StepRecord

REPORT = {
    "results": [
        {"check": "row_counts", "tables": {"u.users": "pass"}, "tolerated": []},
        {"check": "schemas", "tables": {"u.users": "pass"}, "tolerated": [{"service": "u", "table": "users"}]},
    ]
}
KEYS = {
    "run_id", "phases", "acknowledged_writes", "lost_writes", "failed_requests", "write_pause_ms", "rows_copied",
    "checks", "duration_s",
}  # fmt: skip


def verified(evidence: Evidence, **more: object) -> None:
    verdict = StandaloneVerdict("pass", "2 checks", {**REPORT, **more})
    evidence.journal.append(RUN, verdict, phase="data_migration", step="verify")


def test_the_summary_has_the_figures_of_the_run(evidence: Evidence):
    record_phase(evidence.journal, "preflight")
    record_phase(evidence.journal, "data_migration")
    verified(evidence)
    ledger = {"acknowledged_writes": 10, "lost_writes": 0, "failed_requests": 0, "write_pause_ms": 88.0, "reads": 7}
    summary = build_summary(evidence.journal.entries(RUN), ledger=ledger)
    assert set(summary) >= KEYS
    assert (summary["rows_copied"], summary["write_pause_ms"], summary["lost_writes"]) == (1000, 88.0, 0)
    assert summary["checks"] == {"row_counts": "pass", "schemas": "pass"}
    assert summary["checks_by_table"]["schemas"] == {"u.users": "tolerated"}
    assert summary["ledger"] == {"reads": 7}
    assert [phase["name"] for phase in summary["phases"]] == ["preflight", "data_migration"]
    assert summary["outcome"] == "pass"
    json.dumps(summary)


def test_a_figure_that_nobody_measured_is_null(evidence: Evidence):
    record_phase(evidence.journal, "preflight")
    summary = build_summary(evidence.journal.entries(RUN))
    assert (summary["lost_writes"], summary["rows_copied"], summary["write_pause_ms"]) == (None, None, None)


def test_a_delta_verification_does_not_replace_the_whole_one(evidence: Evidence):
    record_phase(evidence.journal, "data_migration")
    verified(evidence)
    delta = StandaloneVerdict("pass", data={"results": [], "only_keys": True})
    evidence.journal.append(RUN, delta, phase="cutover", step="delta")
    assert build_summary(evidence.journal.entries(RUN))["checks"] == {"row_counts": "pass", "schemas": "pass"}


def test_a_failed_gate_and_a_rollback_are_told(evidence: Evidence):
    record_phase(evidence.journal, "preflight", passed=False)
    failed = build_summary(evidence.journal.entries(RUN))
    assert (failed["outcome"], failed["phases"][0]["gate"]["items"][0]["text"]) == ("fail", "3 rows are missing")
    record_phase(evidence.journal, "rollback")
    assert build_summary(evidence.journal.entries(RUN))["outcome"] == "rolled_back"


def test_the_pages_need_no_network_and_run_no_scripts(evidence: Evidence):
    evidence.phase("preflight", "00_preflight")
    index = evidence.close(charts={"one": "<svg xmlns='http://www.w3.org/2000/svg'/>"}, title="A <b>plan</b>")
    for page in (index, evidence.bundle / "00_preflight" / "notebook.html"):
        text = page.read_text()
        assert "default-src 'none'" in text
        assert "<script" not in text
        assert not re.findall(r'(?:src|href)="(?!data:)[a-z]+:', text)
        for link in re.findall(r'href="([^"#]+)"', text):
            assert (page.parent / link).resolve().exists(), link
    assert "A &lt;b&gt;plan&lt;/b&gt;" in index.read_text()


def test_lost_writes_turn_the_page_red(evidence: Evidence):
    evidence.phase("preflight", "00_preflight")
    ledger = {"acknowledged_writes": 10, "lost_writes": 2, "write_pause_ms": 88.0}
    text = evidence.close(ledger=ledger).read_text()
    assert "longest write" in text and "write pause" not in text, "the cutover's pause is another figure"
    assert "2 acknowledged writes are missing." in text
    assert '<div class="banner fail">' in text


def test_every_kind_of_output_is_shown_statically(tmp_path: Path):
    output = nbformat.v4.new_output
    cell = nbformat.v4.new_code_cell("work()\nmore()")
    cell.outputs = [
        output("stream", name="stdout", text="\x1b[32mgreen\x1b[0m <tag>"),
        output("display_data", {"image/png": "iVBO\nRw0K", "text/plain": "chart"}),
        output("display_data", {"image/svg+xml": "<?xml version='1.0'?><svg id='s'></svg>"}),
        output("execute_result", {"text/html": "<table class='dataframe'></table>", "text/plain": "no"}),
        output("display_data", {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "IntSlider()"}),
        output("display_data", {"application/javascript": "alert(1)"}),
        output("error", ename="KeyError", evalue="'x'", traceback=["\x1b[31mTraceback\x1b[0m", "line 1"]),
    ]
    marker = nbformat.v4.new_markdown_cell(
        "An Exception was encountered", metadata={"tags": ["papermill-error-cell-tag"]}
    )
    head = nbformat.v4.new_markdown_cell("# Copy the history\n\nSome *words*.")
    path = tmp_path / "n.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[marker, head, cell]), path)
    page = notebook_html(path, run_id=RUN, passed=False)
    for shown in ("<h1>Copy the history</h1>", "<em>words</em>", "&lt;tag&gt;", "data:image/png;base64,iVBORw0K",
                  "<svg id='s'>", "class='dataframe'", "KeyError: &#39;x&#39;", "did not pass its gate"):  # fmt: skip
        assert shown in page, shown
    for hidden in ("IntSlider", "alert(1)", "An Exception was encountered", "\x1b", "<?xml"):
        assert hidden not in page, hidden


def test_a_phase_that_the_text_leads_to_is_named_without_a_dead_link(tmp_path: Path):
    next_one = nbformat.v4.new_markdown_cell("# Cut over\n\nNext: [05_cleanup](05_cleanup.ipynb), see [b](b.html).")
    nbformat.write(nbformat.v4.new_notebook(cells=[next_one]), tmp_path / "n.ipynb")
    page = notebook_html(tmp_path / "n.ipynb", run_id=RUN, passed=True)
    assert "Next: 05_cleanup, see" in page and "05_cleanup.ipynb" not in page and 'href="b.html"' in page


def test_a_step_is_one_table_without_stray_lines():
    record = StepRecord("copy", "data_migration", "pass", "3 rows", data={"rows": 3}, verdict="all there")
    assert "<td>" not in record._repr_html_(), "a cell without a style of its own gets the page's underline"
