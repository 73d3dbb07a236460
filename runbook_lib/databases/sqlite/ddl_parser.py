"""Read a CREATE TABLE text as sqlite_master keeps it: what no PRAGMA tells (checks, expressions, collations)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""\s+ | --[^\n]*\n? | /\*.*?(?:\*/|$)                    # between the words
      | (?P<word>"(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\] | '(?:[^']|'')*'
                | [^\W\d][\w$]* | \d[\w.]*(?:[eE][+-]?\d+)? | \|\| | [<>!=]=? | <> | .)""",
    re.VERBOSE | re.DOTALL,
)
_CONSTRAINTS = ("CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN")
_CLAUSES = (*_CONSTRAINTS, "NOT", "NULL", "DEFAULT", "COLLATE", "REFERENCES", "GENERATED", "AS")


@dataclass(frozen=True)
class Token:
    """A word and where it stands in the text."""

    text: str
    start: int
    end: int

    @property
    def upper(self) -> str:
        return self.text.upper()


@dataclass(frozen=True)
class Check:
    """A CHECK constraint: its name (or empty), the expression, and the column it is written at (or empty)."""

    name: str
    expression: str
    column: str = ""


@dataclass
class Parsed:
    """What a CREATE TABLE says beyond the PRAGMAs; column names are unquoted."""

    checks: list[Check] = field(default_factory=list)
    generated: dict[str, str] = field(default_factory=dict)  # column → expression
    collations: dict[str, str] = field(default_factory=dict)
    autoincrement: bool = False
    items: list[list[Token]] = field(default_factory=list)


def tokens(sql: str) -> list[Token]:
    """The words of a text, without blanks and comments."""
    return [Token(m["word"], m.start("word"), m.end("word")) for m in _TOKEN.finditer(sql) if m["word"]]


def unquoted(text: str) -> str:
    """A name without its quotes, of any of SQLite's four kinds."""
    if text[:1] in ('"', "`", "'") and text[-1:] == text[:1]:
        return text[1:-1].replace(text[0] * 2, text[0])
    return text[1:-1] if text[:1] == "[" else text


def parse_table(sql: str) -> Parsed:
    """Read a CREATE TABLE; a table made by `CREATE TABLE … AS` has nothing to tell."""
    parsed = Parsed()
    for item in _items(tokens(sql)):
        parsed.items.append(item)
        parsed.autoincrement |= any(token.upper == "AUTOINCREMENT" for token in item)  # of a key on its own line, too
        if item[0].upper in _CONSTRAINTS:
            parsed.checks += [Check(name, text) for name, text in _checks(sql, item)]
            continue
        column = unquoted(item[0].text)
        parsed.checks += [Check(name, text, column) for name, text in _checks(sql, item)]
        for index, token in _top_level(item):
            following = item[index + 1] if index + 1 < len(item) else token
            if token.upper == "COLLATE":
                parsed.collations[column] = unquoted(following.text)
            elif token.upper == "AS" and following.text == "(":
                parsed.generated[column] = _inside(sql, item, index + 1)
    return parsed


def options(parsed: Parsed) -> Iterator[tuple[str, str]]:
    """What no PRAGMA tells of columns and keys: the column (or the columns, in parentheses) and the words."""
    for item in parsed.items:
        words = [token.upper for token in item]
        named = words[0] in _CONSTRAINTS
        key = named and words[2 if words[0] == "CONSTRAINT" else 0] in ("PRIMARY", "UNIQUE")
        if said := [word for at in range(len(words)) if (word := _option(words, at, key=key))]:
            inside = [_inside(" ".join(words), tokens(" ".join(words)), words.index("("))] if named else [item[0].text]
            yield f"({inside[0].lower()})" if named else unquoted(inside[0]), ", ".join(said)


def _option(words: Sequence[str], at: int, *, key: bool) -> str:
    """The option that ends here: an answer to a broken rule, a late check, a key's collation or order; "": none."""
    if words[at - 2 : at] == ["ON", "CONFLICT"] and words[at] != "ABORT":
        rule = next((word for word in words[at - 3 :: -1] if word in ("KEY", "UNIQUE", "NULL")), "")
        return f"{rule} ON CONFLICT {words[at]}".strip()
    if words[at - 1 : at + 1] == ["INITIALLY", "DEFERRED"] and words[at - 3 : at - 2] != ["NOT"]:
        return "INITIALLY DEFERRED"
    if key and words[at - 1] == "COLLATE":
        return f"COLLATE {words[at]}"
    return "DESC" if words[at] == "DESC" else ""


def without_references(sql: str, kept: Set[str]) -> str:
    """A CREATE TABLE without the foreign keys to tables that are not in `kept` (names in small letters)."""
    items = _items(tokens(sql))
    cuts = [cut for before, item in zip([None, *items], items, strict=False) for cut in _cuts(before, item, kept)]
    for start, end in sorted(cuts, reverse=True):
        sql = sql[:start].rstrip() + sql[end:]
    return sql


def _cuts(before: list[Token] | None, item: list[Token], kept: Set[str]) -> Iterator[tuple[int, int]]:
    for index, token in _top_level(item):
        if token.upper != "REFERENCES" or unquoted(item[index + 1].text).lower() in kept:
            continue
        if item[0].upper in ("FOREIGN", "CONSTRAINT"):
            yield before[-1].end if before else item[0].start, item[-1].end  # with the comma before it
        else:
            first = index - 2 if index > 2 and item[index - 2].upper == "CONSTRAINT" else index
            yield item[first].start, _end_of_reference(item, index)


def _end_of_reference(item: list[Token], index: int) -> int:
    """The end of `REFERENCES t (c) ON DELETE … DEFERRABLE …`: up to the next clause of the column."""
    depth, last = 0, item[index + 1]
    for position, token in enumerate(item[index + 1 :], index + 1):
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        before = item[position - 1].upper
        ours = before in ("SET", "NOT") or (token.upper == "NOT" and _next(item, position) == "DEFERRABLE")
        if depth == 0 and position > index + 1 and token.upper in _CLAUSES and not ours:
            break
        last = token
    return last.end


def _next(item: list[Token], position: int) -> str:
    return item[position + 1].upper if position + 1 < len(item) else ""


def _items(found: list[Token]) -> list[list[Token]]:
    """The comma-separated parts between the outer parentheses; a part's first token is its own, the comma is not."""
    opening = next((i for i, token in enumerate(found) if token.text == "("), None)
    if opening is None or any(token.upper == "AS" for token in found[:opening]):
        return []
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in found[opening:]:
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0:
            break
        if token.text == "," and depth == 1:
            parts.append([])
        elif not (token.text == "(" and depth == 1 and token is found[opening]):
            parts[-1].append(token)
    return [part for part in parts if part]


def _top_level(item: list[Token]) -> Iterator[tuple[int, Token]]:
    depth = 0
    for index, token in enumerate(item):
        if depth == 0:
            yield index, token
        depth += {"(": 1, ")": -1}.get(token.text, 0)


def _checks(sql: str, item: list[Token]) -> Iterator[tuple[str, str]]:
    for index, token in _top_level(item):
        if token.upper == "CHECK":
            named = index >= 2 and item[index - 2].upper == "CONSTRAINT"
            yield unquoted(item[index - 1].text) if named else "", _inside(sql, item, index + 1)


def _inside(sql: str, item: list[Token], opening: int) -> str:
    """The text between the parenthesis at `opening` and its partner."""
    depth = 0
    for token in item[opening:]:
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0:
            return sql[item[opening].end : token.start].strip()
    return ""
