"""pg_dump's scripts, read statement by statement: made fit for one transaction, and cut into what may run side by side.

A statement is known by its own words, never by a line that looks like one: bodies, comments and literals stay as they
are, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from runbook_lib.databases import sql_text
from runbook_lib.databases.postgresql import quoting
from runbook_lib.databases.sql_text import NAME, SIGN, WORD, Token
from runbook_lib.databases.statement_names import shared_settings

# An index of 2 M rows: 1.1 s with the default of 64 MB, 0.8 s with this.
_ROOM = "SET LOCAL maintenance_work_mem = '256MB';\n"
_ALONE = "SET LOCAL max_parallel_maintenance_workers = 0;\n"  # several tables at a time: workers cost a fifth more

SETTING, KEY, REFERENCE, INDEX, REMARK, OTHER = "setting", "key", "reference", "index", "remark", "other"


@dataclass(frozen=True)
class Statement:
    """One statement of a script with the comments before it.

    Attributes:
        kind: A setting, a key (primary, unique, exclusion), a foreign key, an index, a constraint's remark, or another.
        table: The parts of the name of the table whose key or index it is; () of the others.
        primary: Whether it is a primary key.
    """

    text: str
    kind: str = OTHER
    table: tuple[str, ...] = ()
    primary: bool = False


def statements(script: str) -> Iterator[Statement]:
    """What a script says, its texts joined are the script."""
    position = 0
    for found in sql_text.statements(script, "postgresql"):
        end = found[-1].end if found else position
        end += script.startswith(";", end)
        spoken = [token for token in found if token.kind not in (sql_text.SPACE, sql_text.COMMENT)]
        if spoken:
            yield _read(script[position:end], spoken)
        elif script[position:end].strip():
            yield Statement(script[position:end])
        position = end


def _read(text: str, spoken: Sequence[Token]) -> Statement:
    first = spoken[0].upper
    if first == "SET" or (first == "SELECT" and any(token.upper == "SET_CONFIG" for token in spoken[:4])):
        return Statement(text, SETTING)
    if first == "CREATE" and "INDEX" in sql_text.words(spoken, 1, 2):
        at = next((i for i, token in enumerate(spoken) if token.upper == "ON"), len(spoken)) + 1
        return Statement(text, INDEX, _table(spoken, at))
    if first == "ALTER" and spoken[1].upper == "TABLE" and (added := _added(spoken)):
        kind = {"FOREIGN": REFERENCE, "PRIMARY": KEY, "UNIQUE": KEY, "EXCLUDE": KEY}.get(added, OTHER)
        return Statement(text, kind, _table(spoken, 2), added == "PRIMARY")
    if sql_text.words(spoken, 0, 3) == ("COMMENT", "ON", "CONSTRAINT"):
        return Statement(text, REMARK)
    return Statement(text)


def _added(spoken: Sequence[Token]) -> str:
    """The word of the constraint that an ALTER TABLE adds."""
    for i, token in enumerate(spoken):
        if i > 2 and token.upper == "ADD" and spoken[i - 1].text != ".":  # a table may be called so, too
            named = i + 1 < len(spoken) and spoken[i + 1].upper == "CONSTRAINT"
            return spoken[i + 3 if named else i + 1].upper if i + 3 < len(spoken) else ""
    return ""


def _table(spoken: Sequence[Token], at: int) -> tuple[str, ...]:
    """The parts of the name that begins there, behind ONLY."""
    at += at < len(spoken) and spoken[at].upper == "ONLY"
    parts: list[str] = []
    while at < len(spoken) and spoken[at].kind in (WORD, NAME):
        parts.append(sql_text.unquoted(spoken[at]))
        if at + 1 >= len(spoken) or spoken[at + 1].text != ".":
            break
        at += 2
    return tuple(parts)


def transactional(script: str) -> str:
    """A pg_restore script without psql's commands and without settings that would outlive the transaction."""
    kept = []
    for found in sql_text.statements(script, "postgresql"):
        bare = _without_commands(found)
        at = [i for i, token in enumerate(bare) if token.kind not in (sql_text.SPACE, sql_text.COMMENT)]
        said = [bare[i] for i in at]
        words = sql_text.words(said, 0, 2)
        if words[:1] == ("SET",) and words[1:] != ("LOCAL",):
            if not words[1].endswith("_TIMEOUT"):
                kept.append(_with(bare, at[0], "SET LOCAL"))
        elif words == ("CREATE", "SCHEMA") and said[2].upper != "IF":
            kept.append(_with(bare, at[1], "SCHEMA IF NOT EXISTS"))
        elif words[:1] == ("SELECT",) and any(token.upper == "SET_CONFIG" for token in said[:4]):
            kept.append("".join("true" if token.upper == "FALSE" else token.text for token in bare) + ";")
        elif said:
            kept.append(sql_text.joined(bare) + ";")
        else:
            kept.append(sql_text.joined(bare))
    return "".join(kept).strip("\n") + "\n"


def _with(found: Sequence[Token], at: int, text: str) -> str:
    return sql_text.joined(found[:at]) + text + sql_text.joined(found[at + 1 :]) + ";"


def _without_commands(found: Sequence[Token]) -> list[Token]:
    """A statement without psql's lines before it: they begin with a backslash, which begins nothing in SQL."""
    kept, command = list[Token](), False
    for token in found:
        command = command or (token.kind == SIGN and token.text == "\\")
        if not command:
            kept.append(token)
        elif token.kind == sql_text.SPACE and "\n" in token.text:
            command = False
            kept.append(token)
    return kept


def dropped(script: str) -> str:
    """What `pg_restore --clean` drops, without the schemas and extensions: others may use them."""
    drops = []
    for found in sql_text.statements(script, "postgresql"):
        said = [i for i, token in enumerate(found) if token.kind not in (sql_text.SPACE, sql_text.COMMENT)]
        words = sql_text.words([found[i] for i in said], 0, 2)
        if words[:1] == ("DROP",) and words[1] not in ("SCHEMA", "EXTENSION"):
            drops.append(sql_text.joined(found[said[0] :]).rstrip() + ";")
    return "\n".join(drops)


def stages(after: str) -> list[list[str]]:
    """What comes after the load, cut so that scripts of one stage may run side by side.

    First a constraint a table, its primary key where it has one (two on one table would wait for each other, and
    changes can be applied once a key is there), then a next one; then the plain indexes, each by itself; then the rest.
    """
    found = list(statements(after))
    head = _head(found)
    keys: dict[tuple[str, ...], list[Statement]] = {}
    for each in found:
        if each.kind == KEY:
            keys.setdefault(each.table, []).append(each)
    for listed in keys.values():
        listed.sort(key=lambda each: not each.primary)
    in_turn = [[each.text for each in turn if each] for turn in zip_longest(*keys.values())]
    indexes = [each.text for each in found if each.kind == INDEX]
    rest = "".join(each.text for each in found if each.kind in (REFERENCE, REMARK, OTHER))
    cut = [*in_turn, indexes, [rest] if rest else []]
    return [[head + _ROOM + (_ALONE if len(stage) > 1 else "") + text for text in stage] for stage in cut if stage]


def _head(found: Sequence[Statement]) -> str:
    text = "".join(each.text for each in found if each.kind == SETTING)
    return f"{text.rstrip()}\n" if text else ""


def about(scripts: Sequence[str], tables: Sequence[str]) -> list[str]:
    """The table of each script's keys or index; one that is named without its schema is the one on the search path."""
    known, head = {quoting.split(table): table for table in tables}, len(shared_settings(scripts))

    def table_of(script: str) -> str:
        said = [each for each in statements(script[head:]) if each.kind != SETTING]
        found = {each.table for each in said}
        if len(found) != 1 or not {KEY, INDEX}.issuperset(each.kind for each in said):
            return ""
        parts = found.pop()
        return known.get(parts) or known.get(parts[-1:], "")

    return [table_of(script) for script in scripts]


def split_references(after: str) -> tuple[str, str]:
    """Everything but the foreign keys, and the foreign keys; both keep the script's settings at its head.

    Comments on constraints follow the foreign keys, where there are any: they may be about one.
    """
    found = list(statements(after))
    last = (REFERENCE, REMARK) if any(each.kind == REFERENCE for each in found) else ()
    keys = "".join(each.text for each in found if each.kind in last)
    others = "".join(each.text for each in found if each.kind not in (*last, SETTING))
    # No more memory for the proof: with 256 MB the planner hashes (1.7 s for 2 M rows), else it merges (0.5 s).
    head = _head(found)
    return head + others, head + keys if keys else ""


def statement_at(script: str, position: int) -> str:
    """The statement at a place (characters from 0) of a script, without the comments before it."""
    start = 0
    for each in statements(script):
        if position < start + len(each.text):
            return sql_text.joined(sql_text.code_from(each.text, "postgresql"))
        start += len(each.text)
    return ""
