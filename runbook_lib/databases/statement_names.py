"""What a statement is for, by its own words: `adding index x of table y`. For messages, never to decide by."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from runbook_lib.databases import sql_text

_NAME = r'(?:"(?:[^"]|"")+"|`(?:[^`]|``)+`|[^\s"`(;,.]+)'
_PATH = rf"{_NAME}(?:\.{_NAME})*"
# pg_dump's heading of each object; its name holds the table's for constraints and triggers.
_HEADING = re.compile(r"(?m)^--\n-- Name: (.*); Type: ([A-Z ]+); Schema: (.*); Owner: .*\n--\n")
_FORMS = (
    ("unique index", rf"CREATE UNIQUE INDEX (?:IF NOT EXISTS )?({_PATH}) ON (?:ONLY )?({_PATH})[\s(;]"),
    ("index", rf"CREATE INDEX (?:CONCURRENTLY )?(?:IF NOT EXISTS )?({_PATH}) ON (?:ONLY )?({_PATH})[\s(;]"),
    ("trigger", rf"CREATE (?:OR REPLACE )?(?:CONSTRAINT )?TRIGGER ({_PATH})\s.*?\sON ({_PATH})\s"),
    (
        "index",
        rf"ALTER TABLE (?:ONLY )?(?P<t>{_PATH})\s+ADD (?:UNIQUE |FULLTEXT |SPATIAL )?(?:KEY|INDEX) ({_NAME})[\s(]",
    ),
    ("foreign key", rf"ALTER TABLE (?:ONLY )?(?P<t>{_PATH})\s+ADD (?:CONSTRAINT ({_NAME}) )?FOREIGN KEY"),
    ("primary key", rf"ALTER TABLE (?:ONLY )?(?P<t>{_PATH})\s+ADD (?:CONSTRAINT ({_NAME}) )?PRIMARY KEY"),
    ("constraint", rf"ALTER TABLE (?:ONLY )?(?P<t>{_PATH})\s+ADD (?:CONSTRAINT ({_NAME}) )?(?:UNIQUE|CHECK|EXCLUDE)"),
    ("materialized view", rf"CREATE MATERIALIZED VIEW ({_PATH})[\s;]"),
    ("rows of materialized view", rf"REFRESH MATERIALIZED VIEW ({_PATH})[\s;]"),
    ("view", rf"CREATE (?:OR REPLACE )?(?:[A-Z]+=\S+ |SQL SECURITY \w+ |RECURSIVE )*VIEW ({_PATH})[\s(]"),
    ("table", rf"CREATE (?:UNLOGGED |FOREIGN |TEMPORARY )?TABLE (?:IF NOT EXISTS )?({_PATH})[\s(]"),
    ("", rf"CREATE (?:OR REPLACE )?(?P<k>[A-Z]+(?: [A-Z]+)?) ({_PATH})[\s(;]"),
)
_COMPILED = [(kind, re.compile(rf"\s*{form}", re.DOTALL)) for kind, form in _FORMS]


class NamedObject(NamedTuple):
    """An object that a script makes; `table` is empty where it stands by itself."""

    kind: str
    name: str
    table: str = ""

    @property
    def purpose(self) -> str:
        """As the end of a sentence."""
        of = f" of table {self.table}" if self.table else ""
        return f"{'adding' if self.table else 'making'} {self.kind} {self.name}".rstrip() + of


def pieces(script: str) -> tuple[str, list[str]]:
    """A script of pg_dump's as its settings and its objects, each with its heading; other scripts are one object.

    A heading is one where a statement may begin: what looks like one inside a literal or a body is none.
    """
    starts = list(_headings(script)) if "-- Name: " in script else []
    if not starts or not _settings_only(script[: starts[0]]):
        return "", [script] if script.strip() else []
    ends = [*starts[1:], len(script)]
    return script[: starts[0]], [script[a:b] for a, b in zip(starts, ends, strict=True)]


def shared_settings(scripts: Sequence[str]) -> str:
    """The settings that all of these scripts begin with, so that they need not be read in each of them."""
    head = ""
    for line in scripts[0].splitlines(keepends=True) if scripts else ():
        if not all(script.startswith(line, len(head)) for script in scripts):
            break
        head += line
    head = head[: head.rfind(";\n") + 2] if ";\n" in head else ""
    return head if head and _settings_only(head) else ""


def _headings(script: str) -> Iterator[int]:
    for token in sql_text.tokens(script, "postgresql"):
        at_line = token.start == 0 or script[token.start - 1] == "\n"
        if token.kind == sql_text.COMMENT and at_line and _HEADING.match(script, token.start):
            yield token.start


def _settings_only(text: str) -> bool:
    """Whether there are only settings before the first heading, as pg_dump writes them."""
    found = sql_text.statements(text, "postgresql")
    first = [next((t.upper for t in each if t.kind not in (sql_text.SPACE, sql_text.COMMENT)), "SET") for each in found]
    return set(first) <= {"SET", "SELECT"}


def named(script: str) -> NamedObject | None:
    """The (first) object that a script makes; None where that is not known."""
    found = _HEADING.findall(script)
    body = script[match.end() :] if (match := _HEADING.search(script)) else script
    body = re.sub(r"^(?:\s+|--[^\n]*\n|DELIMITER [^\n]*\n|SET [^;]*;|SELECT pg_catalog\.set_config[^;]*;)*", "", body)
    for kind, form in _COMPILED:
        if made := form.match(body):
            groups = made.groupdict()
            words = [word for word in made.groups() if word and word not in groups.values()]
            table = groups.get("t") or (words[1] if len(words) > 1 else "")
            return NamedObject(kind or groups["k"].lower(), _bare(words[0]) if words else "", _bare(table))
    if found and found[0][0] != "-":
        return NamedObject(found[0][1].lower(), found[0][0])
    return None


def _bare(path: str) -> str:
    """A name as people read it: quotes and the schema `public` are left out."""
    parts = [re.sub(r'^(["`])(.*)\1$', r"\2", part, flags=re.DOTALL) for part in re.findall(_NAME, path)]
    return ".".join(parts[1:] if parts[:1] == ["public"] else parts) or path
