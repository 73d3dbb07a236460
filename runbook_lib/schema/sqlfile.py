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
problem. A file without down cannot be undone. `-- transaction: no` is for what PostgreSQL refuses inside one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from runbook_lib.errors import PlanError

_HEAD = re.compile(r"^--\s*(revision|revises|transaction)\s*:\s*(.*?)\s*$", re.IGNORECASE)
_SECTION = re.compile(r"^--\s*(up|verify|down)\s*(?:\(\s*(\w+)\s*\))?\s*$", re.IGNORECASE)
_EITHER = r"\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$|'(?:[^']|'')*'"
_STANDARD = re.compile(r"[eE]'(?:[^'\\]|\\.|'')*'|" + _EITHER, re.DOTALL)
_BACKSLASHES = re.compile(r"'(?:[^'\\]|\\.|'')*'|\#[^\n]*|" + _EITHER, re.DOTALL)
_WORD = re.compile(r"\w+")
_BODY = re.compile(r"\s*CREATE\b[^;]*?\b(?:TRIGGER|PROCEDURE|FUNCTION|EVENT)\b", re.IGNORECASE)  # has a body, perhaps
_ENDS_LESS = re.compile(r"\s+(?:IF|LOOP|WHILE|REPEAT)\b", re.IGNORECASE)
_ENDED = re.compile(r"\bEND\s+$", re.IGNORECASE)  # END CASE

ENGINES = {"postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql", "sqlite": "sqlite"}
Section = tuple[str, str]  # (up | verify | down, dialect or "")


def load_sql(path: Path) -> ModuleType:
    """The file as a module that Alembic takes for a revision in Python.

    Raises:
        PlanError: no `-- revision:`, no `-- up`, or an unknown section; with file and line.
    """
    head, title, sections = _read(path)
    if not head.get("revision"):
        raise PlanError(str(path), "no `-- revision:`", expected="the version's name in the file's head")
    if not any(name == "up" for name, _ in sections):
        raise PlanError(str(path), "no `-- up`", expected="sections -- up, -- verify, -- down")
    module: Any = ModuleType(f"revision {head['revision']}", title)
    module.revision = head["revision"]
    module.down_revision = None if head.get("revises", "").lower() in ("", "base", "none") else head["revises"]
    module.transactional = head.get("transaction", "yes").lower() not in ("no", "false", "off")
    module.upgrade, module.verify = _carrier(sections, "up"), _verifier(sections)
    if any(name == "down" for name, _ in sections):
        module.downgrade = _carrier(sections, "down")
    return module  # type: ignore[no-any-return]  # it is one


def statements(text: str, dialect: str = "") -> Iterator[str]:
    """The statements of a section; strings, quoted names, comments and dollar quotes may hold semicolons."""
    token = _BACKSLASHES if dialect == "mysql" else _STANDARD
    start = position = depth = 0
    while position < len(text):
        if found := token.match(text, position) or _WORD.match(text, position):
            if found[0].lower() in ("begin", "case", "end") and _BODY.match(token.sub(" ", text[start:position])):
                depth += _nesting(text, found)
            position = found.end()
            continue
        if text[position] == ";" and depth <= 0:
            yield from _spoken(text[start:position], token)
            start, depth = position + 1, 0
        position += 1
    yield from _spoken(text[start:], token)


def _nesting(text: str, word: re.Match[str]) -> int:
    """How much deeper in BEGIN … END and CASE … END a word leads; `END IF` and the like end what was not counted."""
    if text[word.start() - 1] == ".":
        return 0  # a column
    if word[0].lower() == "end":
        return 0 if _ENDS_LESS.match(text, word.end()) else -1
    return 0 if _ENDED.search(text[max(word.start() - 20, 0) : word.start()]) else 1


def _spoken(text: str, token: re.Pattern[str]) -> Iterator[str]:
    """The statement, unless there is nothing in it but comments."""
    if token.sub(lambda found: "" if found[0][:2] in ("--", "/*") or found[0][0] == "#" else "x", text).strip():
        yield text.strip()


def _read(path: Path) -> tuple[dict[str, str], str, dict[Section, str]]:
    head: dict[str, str] = {}
    title, here = "", None
    sections: dict[Section, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if found := _SECTION.match(line):
            here = (found[1].lower(), _engine(found[2] or "", f"{path}:{number}"))
            if here in sections:
                raise PlanError(f"{path}:{number}", f"a second `{line.strip()}`", action="join them")
            sections[here] = ""
        elif here is not None:
            sections[here] += line + "\n"
        elif found := _HEAD.match(line):
            head[found[1].lower()] = found[2]
        elif line.startswith("--"):
            title = title or line.lstrip("- ").rstrip()
        elif line.strip():
            raise PlanError(f"{path}:{number}", "a statement before the first section", expected="-- up above it")
    return head, title, sections


def _engine(name: str, place: str) -> str:
    engine = ENGINES.get(name.lower()) if name else ""
    if engine is None:
        raise PlanError(place, f"unknown engine `{name}`", expected=f"one of {', '.join(ENGINES)}")
    return engine


def _section(sections: dict[Section, str], name: str, dialect: str) -> str:
    return sections.get((name, dialect), sections.get((name, ""), ""))


def _carrier(sections: dict[Section, str], name: str) -> Callable[[], None]:
    def carry_out() -> None:
        """Hands the statements on as they are: neither colons nor percent signs mean anything in them."""
        from alembic import op

        context = op.get_context()
        for statement in statements(_section(sections, name, context.dialect.name), context.dialect.name):
            context.impl.static_output(statement)

    return carry_out


def _verifier(sections: dict[Section, str]) -> Callable[[Any], list[str]]:
    def verify(connection: Any) -> list[str]:
        dialect, problems = connection.dialect.name, []
        for question in statements(_section(sections, "verify", dialect), dialect):
            found = connection.exec_driver_sql(question, execution_options={"no_parameters": True}).fetchmany(4)
            if found:
                shown = ", ".join("/".join(map(str, row)) for row in found[:3]) + (", …" if len(found) > 3 else "")
                problems.append(f"`{' '.join(question.split())}` finds {shown}")
        return problems

    return verify
