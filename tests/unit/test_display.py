"""Pages and tables: one palette that is readable, one place that makes HTML, and no value that becomes markup."""

from __future__ import annotations

import re
from html import unescape
from itertools import product
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from runbook_lib.display import palette
from runbook_lib.display.error_box import error_html
from runbook_lib.display.html_table import html_table
from runbook_lib.display.progress import as_html
from runbook_lib.display.render import render
from runbook_lib.errors import GateFailed
from runbook_lib.journal import ProgressRow
from runbook_lib.journal.kinds import Item
from runbook_lib.plan.model import Tolerance
from runbook_lib.run.records import GateRecord, RollbackRecord, StepRecord, StepRecords
from runbook_lib.runner.widgets import _shown
from runbook_lib.validation.report.as_html import LISTED
from runbook_lib.validation.report.mismatches import CheckResult, Kind, Mismatch
from runbook_lib.validation.report.report import Report
from runbook_lib.validation.report.tolerance import Tolerated
from runbook_lib.verdict import Outcome

PACKAGE = Path(__file__).parents[2] / "runbook_lib"
HOSTILE = """<script>alert('x')</script>"><b onload="y">&amp;{{ colour }}{% raw %}"""


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("outcome", ["pass", "fail", "could_not_run", "interrupted", "waived", "tolerated", "undone"])
def test_an_outcome_is_readable_on_paper_and_on_its_own_wash(outcome: str) -> None:
    assert contrast(palette.tone(outcome), palette.PAPER) >= 4.5
    assert contrast(palette.tone(outcome), palette.tint(outcome)) >= 4.5


def test_text_is_readable_on_everything_that_stands_behind_text() -> None:
    behind = {name: value for name, value in palette.names().items() if name in ("paper", "wash") or "_wash" in name}
    weak = {
        (text, name): round(contrast(palette.names()[text], value), 2)
        for text, (name, value) in product(("ink", "muted", "link"), behind.items())
        if contrast(palette.names()[text], value) < 4.5
    }
    assert len(behind) == 6 and weak == {}


def test_colours_and_markup_are_written_in_the_palette_and_the_templates_alone() -> None:
    colour = re.compile(r"""["':;\s(,]#(?:[0-9a-fA-F]{6}|[0-9a-fA-F]{3})\b""")
    markup = re.compile(r"(?<![?P`/])</?(?:div|table|t[rdh]|span|pre|p|b|ul|li|code|details)\b[^\n]*>|style=.?[a-z-]+:")
    files = [path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".j2")]
    found = [
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in files
        for line in path.read_text(encoding="utf-8").splitlines()
        if not line.lstrip().startswith("# ")
        if (colour.search(line) and path.name != "palette.py") or (path.suffix == ".py" and markup.search(line))
    ]
    assert found == []


REPORT = Report(
    results=(
        CheckResult("row_counts", (f"s.{HOSTILE}", "s.b"), errors={"s.b": HOSTILE}),
        CheckResult(
            "checksums",
            (f"s.{HOSTILE}", "s.b"),
            tuple(
                Mismatch("checksums", "s", HOSTILE, Kind.DIFFERENT, (HOSTILE, n), (HOSTILE,), HOSTILE, HOSTILE)
                for n in range(LISTED + 2)
            ),
        ),
    ),
    started="2026-12-01T03:00:00Z",
    elapsed_s=1.5,
    tolerances=(Tolerated(Tolerance("schemas", HOSTILE), 0),),
    idle=(HOSTILE,),
)
SHOWN = {
    "report": REPORT._repr_html_(),
    "table": html_table(HOSTILE, Outcome.FAIL, [HOSTILE, "b"], [[HOSTILE, 1], [None, HOSTILE]]),
    "step": StepRecord(HOSTILE, "p", "pass", HOSTILE, {HOSTILE: 1, "x": HOSTILE[:70]}, HOSTILE)._repr_html_(),
    "steps": StepRecords([StepRecord(HOSTILE, "p", HOSTILE, HOSTILE)])._repr_html_(),
    "gate": GateRecord(HOSTILE, False, [Item(HOSTILE, HOSTILE, HOSTILE)])._repr_html_(),
    "rollback": RollbackRecord([Item("a", "pass", HOSTILE)], kept=[HOSTILE])._repr_html_(),
    "error": error_html(GateFailed(HOSTILE, HOSTILE, expected=HOSTILE, state=HOSTILE, action=HOSTILE)),
    "other error": error_html(ValueError(HOSTILE)),
    "progress": as_html(ProgressRow("p", HOSTILE, 1, 3, HOSTILE, None, None, HOSTILE, 0.0)),
    "widget": _shown(HOSTILE, HOSTILE).html,
    "run": render("text", title=HOSTILE, lines=[HOSTILE], command=HOSTILE),
    "preview": render("preview", state=HOSTILE, aim=HOSTILE, revisions=[(HOSTILE, [HOSTILE], HOSTILE)]),
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_hostile_value_stays_text_wherever_it_is_shown(name: str) -> None:
    page = SHOWN[name]
    assert "<script" not in page and "<b onload" not in page
    assert HOSTILE[:70] in unescape(page), "the value is shown as it is, and no template's word in it is carried out"


def test_a_value_that_a_template_needs_and_is_not_given_is_an_error_not_an_empty_place() -> None:
    with pytest.raises(UndefinedError, match="title"):
        render("table", outcome="pass", header=[], rows=[])


def test_a_report_shows_every_table_what_differs_and_how_much_is_not_listed() -> None:
    page = SHOWN["report"]
    assert "Validation failed" in page and "2 checks, 2 tables" in page
    assert page.count("different") == LISTED + 1 and "and 2 more; the JSON has all" in page
    for part in ("Could not run", "Declared in the plan", "0: matches nothing any more", "sample seed 0"):
        assert part in page, part
