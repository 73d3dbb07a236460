"""An executed notebook as one page that needs no network: narrative, results and charts; code is folded away.

Scripts are forbidden by the page itself (Content-Security-Policy): widgets would be blank offline, and evidence does
not change while it is read.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from runbook_lib.util.fast_imports import without_iri_grammar

_TEMPLATES = Path(__file__).parent / "template"
# Another phase's notebook is not in this folder, and may never be in the run's: its name stays, the dead link does not.
_LINK = re.compile(r"\[([^\]]*)\]\([\w./-]+\.ipynb\)")
# What is shown of an output that has several forms: pictures and markup before text; never scripts or widgets.
_PRIORITY = ("image/svg+xml", "image/png", "image/jpeg", "text/html", "text/markdown", "text/plain")
_WIDGET = "application/vnd.jupyter.widget-view+json"
_ERROR_MARKER = "papermill-error-cell-tag"


@dataclass(frozen=True)
class _Cell:
    kind: str
    html: str
    first: str = ""
    seconds: str = ""
    outputs: tuple[str, ...] = ()


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
        "notebook.html.j2",
        title=_title(content) or notebook.parent.name,
        run_id=run_id,
        passed=passed,
        cells=[cell for cell in cells if cell.html or cell.outputs],
        highlight_css=_highlight_css(),
    )


def render(template: str, **values: Any) -> str:
    """A page from one of our templates; everything in it is escaped unless the template says `safe`."""
    return str(_environment().get_template(template).render(css=_style(), **values))


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )


@cache
def _style() -> Any:
    from markupsafe import Markup

    return Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8"))  # noqa: S704  our own file


@cache
def _highlight_css() -> Any:
    from markupsafe import Markup
    from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]  # has no types

    return Markup(HtmlFormatter(style="friendly", nobackground=True).get_style_defs(".highlight"))  # noqa: S704  a style sheet of ours


@cache
def _filters() -> tuple[Callable[[str], str], Callable[[str], str], Callable[[str], str]]:
    with without_iri_grammar():
        from nbconvert.filters import Highlight2HTML, ansi2html, markdown2html

    return markdown2html, Highlight2HTML(pygments_lexer="python"), ansi2html


def _cell(cell: Mapping[str, Any]) -> _Cell:
    markdown, highlight, _ = _filters()
    source = _text(cell.get("source", ""))
    if cell["cell_type"] == "markdown":
        return _Cell("markdown", markdown(_LINK.sub(r"\1", source)))
    if cell["cell_type"] != "code" or not source.strip():
        return _Cell("code", "")
    outputs = cell.get("outputs", [])
    boxed = any("text/html" in output.get("data", {}) for output in outputs)
    shown = tuple(filter(None, (_output(output, boxed) for output in outputs)))
    return _Cell("code", highlight(source), source.strip().splitlines()[0], _seconds(cell), shown)


def _output(output: Mapping[str, Any], boxed: bool) -> str:
    kind = output["output_type"]
    if kind == "stream":
        return f"<pre>{_filters()[2](_text(output['text']))}</pre>"
    if kind == "error":
        # An error of ours has said everything in its box; its one line would only say it again.
        return "" if boxed and len(output["traceback"]) == 1 else _error(output)
    return _data(output["data"])


def _error(output: Mapping[str, Any]) -> str:
    line = html.escape(f"{output['ename']}: {_text(output['evalue'])}")
    trace = _filters()[2]("\n".join(output["traceback"]))
    folded = f"<details><summary>where it was raised</summary><pre>{trace}</pre></details>" if trace else ""
    return f'<div class="error"><strong>{line}</strong>{folded}</div>'


def _data(data: Mapping[str, Any]) -> str:
    if _WIDGET in data and "text/html" not in data:
        return ""
    kind = next((known for known in _PRIORITY if known in data), "")
    text = _text(data[kind]) if kind else ""
    if kind == "image/svg+xml":
        return text[text.find("<svg") :]
    if kind.startswith("image/"):
        encoded = re.sub(r"\s", "", text)
        return f'<img alt="{html.escape(_text(data.get("text/plain", "chart")))}" src="data:{kind};base64,{encoded}">'
    if kind == "text/html":
        return text
    if kind == "text/markdown":
        return _filters()[0](text)
    return f"<pre>{html.escape(text)}</pre>" if text else ""


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
