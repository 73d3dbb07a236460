"""Write the tables of keys and routers in the pages from their declarations: `make docs`. A test compares them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runbook_lib.config import fleets, router_settings
from runbook_lib.plan import keys
from runbook_lib.plan.key import Key, Section
from runbook_lib.plan.units import duration
from runbook_lib.traffic.capabilities import CAPABILITIES

DOCS = Path(__file__).parents[1] / "docs"
# Each page with the module that declares the sections it has tables of.
PAGES: dict[Path, Any] = {
    DOCS / "writing-a-plan.md": keys,
    DOCS / "routers.md": router_settings,
    DOCS / "rolling.md": fleets,
}
# A table stands below its mark, up to the next line that is none of its rows.
ABILITIES = re.compile(r"(?<=^)(<!-- capabilities -->\n)(?:\|.*\n)*", re.MULTILINE)
TABLE = re.compile(r"(?<=^<!-- keys: )(\w+)( -->\n)(?:\|.*\n)*", re.MULTILINE)


def page(text: str, declared: Any) -> str:
    """The text of a page, with each table as the declarations have it."""
    text = TABLE.sub(lambda mark: f"{mark[1]}{mark[2]}{''.join(table(getattr(declared, mark[1].upper())))}", text)
    return ABILITIES.sub(lambda mark: f"{mark[1]}{''.join(abilities())}", text)


def marked(text: str, declared: Any) -> list[Section]:
    """The sections that a page has a table of."""
    return [getattr(declared, found[1].upper()) for found in TABLE.finditer(text)]


def abilities() -> Iterator[str]:
    """What each kind of router can do, one line a capability."""
    yield f"| | {' | '.join(CAPABILITIES)} |\n|{'---|' * (len(CAPABILITIES) + 1)}\n"
    for name, _ in next(iter(CAPABILITIES.values())):
        each = [getattr(capabilities, name) for capabilities in CAPABILITIES.values()]
        cells = [f"{'yes' if one.can else '**no**'}: {one.found}" for one in each]
        yield f"| {name.replace('_', ' ')} | {' | '.join(cells)} |\n"


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
    for path, declared in PAGES.items():
        path.write_text(page(path.read_text(encoding="utf-8"), declared), encoding="utf-8")
        sys.stdout.write(f"{path}: {len(TABLE.findall(path.read_text(encoding='utf-8')))} tables of keys\n")
