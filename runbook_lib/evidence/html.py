"""An executed notebook as one page that needs no network: narrative, results and charts; code is folded away.

Scripts are forbidden by the page itself (Content-Security-Policy): widgets would be blank offline, and evidence does
not change while it is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from runbook_lib.display.render import render
from runbook_lib.util.fast_imports import without_iri_grammar

# Another phase's notebook is not in this folder, and may never be in the run's: its name stays, the dead link does not.
_LINK = re.compile(r"\[([^\]]*)\]\([\w./-]+\.ipynb\)")
# What is shown of an output that has several forms: pictures and markup before text; never scripts or widgets.
_PRIORITY = ("image/svg+xml", "image/png", "image/jpeg", "text/html", "text/markdown", "text/plain")
_WIDGET = "application/vnd.jupyter.widget-view+json"
_ERROR_MARKER = "papermill-error-cell-tag"


@dataclass(frozen=True)
class _Output:
    """`kind`: text, error, html, or a picture's type; `words` stand above an error, or for a picture."""

    kind: str
    body: str
    words: str = ""


@dataclass(frozen=True)
class _Cell:
    kind: str
    html: str
    first: str = ""
    seconds: str = ""
    outputs: tuple[_Output, ...] = ()


def notebook_html(notebook: Path, *, run_id: str, passed: bool) -> str:
    """Render an executed notebook.

    Args:
        notebook: The executed notebook.
        run_id: Shown above the title.
        passed: Whether the phase's gate passed.
    """
    content = json.loads(notebook.read_text(encoding="utf-8"))
    cells = [_cell(cell) for cell in content["cells"] if _ERROR_MARKER not in _tags(cell)]
    return render(
        "evidence_notebook",
        title=_title(content) or notebook.parent.name,
        run_id=run_id,
        passed=passed,
        cells=[cell for cell in cells if cell.html or cell.outputs],
        highlight_css=_highlight_css(),
    )


def _html(text: str) -> Markup:
    """What a converter has made of a cell: it has escaped what is text. A page's policy forbids scripts in it."""
    return Markup(text)  # noqa: S704  escaped by the converter, see above


@cache
def _highlight_css() -> Markup:
    from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]  # has no types

    return _html(HtmlFormatter(style="friendly", nobackground=True).get_style_defs(".highlight"))


@cache
def _filters() -> tuple[Callable[[str], Markup], Callable[[str], Markup], Callable[[str], Markup]]:
    with without_iri_grammar():
        from nbconvert.filters import Highlight2HTML, ansi2html, markdown2html

    def marked(convert: Callable[[str], str]) -> Callable[[str], Markup]:
        return lambda text: _html(convert(text))

    return marked(markdown2html), marked(Highlight2HTML(pygments_lexer="python")), marked(ansi2html)


def _cell(cell: Mapping[str, Any]) -> _Cell:
    markdown, highlight, _ = _filters()
    source = _text(cell.get("source", ""))
    if cell["cell_type"] == "markdown":
        return _Cell("markdown", markdown(_LINK.sub(r"\1", source)))
    if cell["cell_type"] != "code" or not source.strip():
        return _Cell("code", "")
    outputs = cell.get("outputs", [])
    boxed = any("text/html" in output.get("data", {}) for output in outputs)
    shown = tuple(found for found in (_output(output, boxed) for output in outputs) if found.body or found.words)
    return _Cell("code", highlight(source), source.strip().splitlines()[0], _seconds(cell), shown)


def _output(output: Mapping[str, Any], boxed: bool) -> _Output:
    kind, ansi = output["output_type"], _filters()[2]
    if kind == "stream":
        return _Output("text", ansi(_text(output["text"])))
    if kind != "error":
        return _data(output["data"])
    if boxed and len(output["traceback"]) == 1:  # an error of ours has said everything in its box
        return _Output("text", "")
    return _Output("error", ansi("\n".join(output["traceback"])), f"{output['ename']}: {_text(output['evalue'])}")


def _data(data: Mapping[str, Any]) -> _Output:
    kind = next((known for known in _PRIORITY if known in data), "")
    text = _text(data[kind]) if kind else ""
    if kind == "image/svg+xml":
        return _Output("html", _html(text[text.find("<svg") :]))
    if kind.startswith("image/"):
        return _Output(kind, re.sub(r"\s", "", text), _text(data.get("text/plain", "chart")))
    if kind == "text/html":
        return _Output("html", _html(text))
    if kind == "text/markdown":
        return _Output("html", _filters()[0](text))
    return _Output("text", "" if _WIDGET in data else text)


def _text(value: str | list[str]) -> str:
    return value if isinstance(value, str) else "".join(value)


def _tags(cell: Mapping[str, Any]) -> list[str]:
    return list(cell.get("metadata", {}).get("tags", []))


def _title(content: Mapping[str, Any]) -> str:
    """The notebook's first heading."""
    sources = (_text(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "markdown")
    found = (re.search(r"^# +(.+)$", source, re.MULTILINE) for source in sources)
    return next((match.group(1).strip() for match in found if match), "")


def _seconds(cell: Mapping[str, Any]) -> str:
    """How long papermill saw the cell run; short ones say nothing."""
    spent = cell.get("metadata", {}).get("papermill", {}).get("duration") or 0
    return f"{spent:.1f} s" if spent >= 0.1 else ""
