"""A revision as a plain `.sql` file: a head of comments, then the sections up, verify and down.

    -- revision: 0002_country
    -- revises: 0001_audit
    -- Users say where they live

    -- up
    ALTER TABLE users ADD COLUMN country char(2);
    -- verify
    SELECT id FROM users WHERE country = '';
    -- down
    ALTER TABLE users DROP COLUMN country;

A section may be an engine's own: `-- up (mysql)`. Each statement of verify is a question: any row it finds is a
problem. A file without down cannot be undone. `-- transaction: no` is for what PostgreSQL refuses inside one. A line
within a quote or a body is no section, whatever it says: each engine reads the file with its own quoting.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from runbook_lib.databases import sql_text
from runbook_lib.databases.dialect import ENGINES, SPELLINGS, engine_named
from runbook_lib.errors import PlanError

_HEAD = re.compile(r"^--\s*(revision|revises|transaction)\s*:\s*(.*?)\s*$", re.IGNORECASE)
_SECTION = re.compile(r"--[ \t]*(up|verify|down)[ \t]*(?:\([ \t]*(\w+)[ \t]*\))?[ \t\r]*(?:\n|$)", re.IGNORECASE)

Section = tuple[str, str]  # (up | verify | down, dialect or "")


def load_sql(path: Path) -> ModuleType:
    """The file as a module that Alembic takes for a revision in Python.

    Raises:
        PlanError: no `-- revision:`, no `-- up`, or an unknown section; with file and line.
    """
    read = _Readings(path)
    if not read.head.get("revision"):
        raise PlanError(str(path), "no `-- revision:`", expected="the version's name in the file's head")
    if not read.has("up"):
        raise PlanError(str(path), "no `-- up`", expected="sections -- up, -- verify, -- down")
    module: Any = ModuleType(f"revision {read.head['revision']}", read.title)
    module.revision = read.head["revision"]
    module.down_revision = (
        None if read.head.get("revises", "").lower() in ("", "base", "none") else read.head["revises"]
    )
    module.transactional = read.head.get("transaction", "yes").lower() not in ("no", "false", "off")
    module.upgrade, module.verify = _carrier(read, "up"), _verifier(read)
    if read.has("down"):
        module.downgrade = _carrier(read, "down")
    return module  # type: ignore[no-any-return]  # it is one


def statements(text: str, dialect: str = "") -> Iterator[str]:
    """The statements of a section; strings, quoted names, comments and bodies may hold semicolons."""
    for found in sql_text.statements(text, engine_named(dialect) or "postgresql"):
        if any(token.kind not in (sql_text.SPACE, sql_text.COMMENT) for token in found):
            yield sql_text.joined(found).strip()


class _Readings:
    """A file as each engine reads it: head, title and sections. An engine for which it is wrong says so when asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = path.read_text(encoding="utf-8")
        self.sections: dict[str, dict[Section, str]] = {}
        self.errors: dict[str, PlanError] = {}
        self.head: dict[str, str] = {}
        self.title = ""
        for dialect in ENGINES:
            try:
                head, title, sections = _read(path, text, dialect)
            except PlanError as error:
                self.errors[dialect] = error
                continue
            self.head, self.title = self.head or head, self.title or title
            self.sections[dialect] = sections
        if not self.sections:
            raise next(iter(self.errors.values()))

    def has(self, name: str) -> bool:
        """Whether there is a section of this name, as the first engine that can read the file sees it."""
        return any(section == name for section, _ in next(iter(self.sections.values())))

    def section(self, name: str, dialect: str) -> str:
        """A section's text for an engine: its own, else the one for all.

        Raises:
            PlanError: this engine reads the file differently: a quote is not closed, or the section is inside one.
        """
        dialect = engine_named(dialect)
        if dialect in self.errors:
            raise self.errors[dialect]
        found = self.sections[dialect]
        if self.has(name) and not any(section == name for section, _ in found):
            raise PlanError(
                str(self.path), f"`-- {name}` is inside a quote, as {dialect} reads it", state="nothing was run"
            )
        return found.get((name, dialect), found.get((name, ""), ""))


def _read(path: Path, text: str, dialect: str) -> tuple[dict[str, str], str, dict[Section, str]]:
    head: dict[str, str] = {}
    title, position = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        if _SECTION.match(line):
            break
        if found := _HEAD.match(line):
            head[found[1].lower()] = found[2]
        elif line.startswith("--"):
            title = title or line.lstrip("- ").rstrip()
        elif line.strip():
            raise PlanError(f"{path}:{number}", "a statement before the first section", expected="-- up above it")
        position += len(line) + 1
    sections: dict[Section, str] = {}
    while found := _SECTION.match(text, position):
        place = f"{path}:{text.count(chr(10), 0, position) + 1}"
        here = (found[1].lower(), _engine(found[2] or "", place))
        if here in sections:
            raise PlanError(place, f"a second `{found[0].strip()}`", action="join them")
        start, position = found.end(), _end_of_section(path, text, found.end(), here[1] or dialect)
        sections[here] = text[start:position].lstrip("\n")
    return head, title, sections


def _end_of_section(path: Path, text: str, start: int, dialect: str) -> int:
    """Where the next section's line begins: a line that is in no quote, comment or body.

    Raises:
        PlanError: a quote that nobody closes, or a body with a section's line in it; with file and line.
    """
    end = len(text)
    for token in sql_text.tokens(text[start:], dialect):
        at = start + token.start
        if token.kind == sql_text.OPEN:
            place = f"{path}:{text.count(chr(10), 0, at) + 1}"
            raise PlanError(place, f"{token.text.split()[0]} opens a quote that is not closed", state="nothing was run")
        if text[at - 1] == "\n" and _SECTION.match(text, at):
            end = at
            break
    *_, last = [[], *sql_text.statements(text[start:end], dialect)]
    if end < len(text) and sql_text.unfinished(last, dialect):
        line = text[end:].split("\n", 1)[0].strip()
        raise PlanError(
            f"{path}:{text.count(chr(10), 0, end) + 1}",
            f"`{line}` inside a statement that is not ended",
            state="nothing was run",
            action="end it, or word the comment otherwise",
        )
    return end


def _engine(name: str, place: str) -> str:
    engine = engine_named(name)
    if name and not engine:
        raise PlanError(place, f"unknown engine `{name}`", expected=f"one of {', '.join(SPELLINGS)}")
    return engine


def _carrier(read: _Readings, name: str) -> Callable[[], None]:
    def carry_out() -> None:
        """Hands the statements on as they are: neither colons nor percent signs mean anything in them."""
        from alembic import op

        context = op.get_context()
        for statement in statements(read.section(name, context.dialect.name), context.dialect.name):
            context.impl.static_output(statement)

    return carry_out


def _verifier(read: _Readings) -> Callable[[Any], list[str]]:
    def verify(connection: Any) -> list[str]:
        dialect, problems = connection.dialect.name, []
        for question in statements(read.section("verify", dialect), dialect):
            found = connection.exec_driver_sql(question, execution_options={"no_parameters": True}).fetchmany(4)
            if found:
                shown = ", ".join("/".join(map(str, row)) for row in found[:3]) + (", …" if len(found) > 3 else "")
                problems.append(f"`{' '.join(question.split())}` finds {shown}")
        return problems

    return verify
