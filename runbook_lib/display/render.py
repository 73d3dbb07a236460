"""HTML from our templates: whatever is put into one is escaped, unless it is marked as HTML already.

jinja2 is imported with the first page or table: a command that shows none does not pay for it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runbook_lib.display import palette

if TYPE_CHECKING:
    from jinja2 import Environment


def render(name: str, **values: Any) -> str:
    """A template of `partials` filled in.

    Args:
        name: The file's name without `.html.j2`.
        values: What it needs; one that is missing is an error, not an empty place.
    """
    return _environment().get_template(f"{name}.html.j2").render(values).strip()


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "partials"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals |= {"colour": palette.names(), "tone": palette.tone, "wash": palette.tint, "marks": palette.MARKS}
    templates.filters["words"] = lambda name: str(name).replace("_", " ")
    return templates
