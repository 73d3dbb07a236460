"""Write the tables of keys in docs/writing-a-plan.md from their declarations: `make docs`. A test compares the page."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runbook_lib.plan import keys
from runbook_lib.plan.key import Key, Section
from runbook_lib.plan.units import duration

PAGE = Path(__file__).parents[1] / "docs/writing-a-plan.md"
# A table stands below its mark, up to the next line that is none of its rows.
TABLE = re.compile(r"(?<=^<!-- keys: )(\w+)( -->\n)(?:\|.*\n)*", re.MULTILINE)


def page(text: str) -> str:
    """The text of the page, with each table as the keys have it."""
    return TABLE.sub(lambda mark: f"{mark[1]}{mark[2]}{''.join(table(getattr(keys, mark[1].upper())))}", text)


def marked(text: str) -> list[Section]:
    """The sections that the page has a table of."""
    return [getattr(keys, found[1].upper()) for found in TABLE.finditer(text)]


def table(section: Section) -> Iterator[str]:
    """Its rows, each with its end of line."""
    where = any(key.phases for key in section.keys)
    head = ("key", *(["phase"] if where else []), "value", "meaning", "when it is left out")
    yield f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n"
    for key in section.keys:
        cells = [f"`{key.name}`", *([", ".join(key.phases) or "any"] if where else []), key.kind.words]
        yield f"| {' | '.join([*cells, meaning(key), left_out(key)])} |\n"


def meaning(key: Key[Any]) -> str:
    """With what else may be written, and the option that wins."""
    options = ", ".join(f"`{name}`" for name in key.options.values())
    also = ", ".join(f"`{name}`" for name in key.also)
    more = [f"option {options}"] * bool(options) + [f"also {also}"] * bool(also)
    return key.meaning + (f" ({'; '.join(more)})" if more else "")


def left_out(key: Key[Any]) -> str:
    """What holds then: an error, what is said of it, or its default."""
    if key.required:
        return "an error"
    if key.left_out or not key.default:
        return key.left_out or "none"
    if key.kind is keys.DURATION:
        return duration(key.default)
    if key.kind is keys.SHARE:
        return f"{key.default:.0%}"
    return f"{key.default:,}" if isinstance(key.default, int) else f"`{key.default}`"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{PAGE}: {len(TABLE.findall(PAGE.read_text(encoding='utf-8')))} tables of keys\n")
