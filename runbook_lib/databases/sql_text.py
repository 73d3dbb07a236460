"""SQL text as words: the one place that knows how each engine quotes, so that nobody searches in a literal or a body.

    PostgreSQL  'a''b'  E'a\\'b'  U&'\\0061'  $tag$ … $tag$  "name"  -- …  /* /* nested */ */
    MySQL       'a''b'  'a\\'b'   "text"  `name`  # …  -- …  /* … */; what is between /*! and */ is code
    SQLite      'a''b'  x'00'   "name"  `name`  [name]  -- …  /* … */

The tokens of a text joined give the text: whatever is done with some of them, the others stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

SPACE, COMMENT, STRING, NAME, NUMBER, WORD, SIGN, OPEN = (
    "space", "comment", "string", "name", "number", "word", "sign", "open",
)  # fmt: skip
MODES = ("NO_BACKSLASH_ESCAPES", "ANSI_QUOTES")  # of MySQL's sql_mode: those that change what a quote means


class Token(NamedTuple):
    """A piece of a text. `kind`: one of the words above; OPEN is a quote or comment that nobody closes, to the end."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        """Where the next token begins."""
        return self.start + len(self.text)

    @property
    def upper(self) -> str:
        """A word in capitals; "" for all that is no word: a literal or a quoted name is never a keyword."""
        return self.text.upper() if self.kind == WORD else ""


# (?!') behind the last quote: without it a quote that nobody closes would end at its last doubled one.
_PLAIN = r"'[^']*(?:''[^']*)*'(?!')"
_BACKSLASHED = r"'[^'\\]*(?:(?:\\.|'')[^'\\]*)*'(?!')"
_DOUBLED = r'"[^"]*(?:""[^"]*)*"(?!")'
_DOUBLED_BACKSLASHED = r'"[^"\\]*(?:(?:\\.|"")[^"\\]*)*"(?!")'
_TICKED = r"`[^`]*(?:``[^`]*)*`(?!`)"
_FLAT_COMMENT = r"/\*.*?\*/"
_NUMBER = r"0[xX][0-9A-Fa-f]+|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_SIGNS = r"<=>|->>|->|<<|>>|<>|!=|<=|>=|==|\|\||&&|:=|."
# PostgreSQL's operators are as long as they can be, end before a comment, and in + or - only with one of ~!@#%^&|`?.
_SAFE, _ANY = r"(?:(?!--|/\*)[-+*/<>=])", r"(?:(?!--|/\*)[-+*/<>=~!@#%^&|`?])"
_OPERATORS = rf"::|:=|{_SAFE}*(?:(?!--|/\*)[~!@#%^&|`?]){_ANY}*|{_SAFE}*(?!--|/\*)[*/<>=]|."


def _grammar(*parts: tuple[str, str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in parts), re.DOTALL)


@cache
def _pattern(dialect: str, modes: frozenset[str]) -> re.Pattern[str]:
    if dialect == "mysql":
        bare = "NO_BACKSLASH_ESCAPES" in modes
        text, doubled = (_PLAIN, _DOUBLED) if bare else (_BACKSLASHED, _DOUBLED_BACKSLASHED)
        names = rf"{_TICKED}|{_DOUBLED}" if "ANSI_QUOTES" in modes else _TICKED
        return _grammar(
            (SPACE, r"\s+"),
            (COMMENT, r"\#[^\n]*|--(?=[\s\x00-\x20]|$)[^\n]*|/\*(?!M?!).*?\*/"),
            (NAME, names),  # before the texts: with ANSI_QUOTES a double quote is a name's
            (STRING, rf"[xXbBnN]?{text}|{doubled}"),
            (OPEN, r"['\"`].*|/\*(?!M?!).*"),
            (NUMBER, rf"(?:{_NUMBER})(?![\w$])"),
            (WORD, r"[\w$]+"),
            (SIGN, rf"/\*M?!\d*|\*/|{_SIGNS}"),
        )
    if dialect == "sqlite":
        return _grammar(
            (SPACE, r"\s+"),
            (COMMENT, rf"--[^\n]*|{_FLAT_COMMENT}|/\*.*"),
            (STRING, rf"[xX]?{_PLAIN}"),
            (NAME, rf"{_DOUBLED}|{_TICKED}|\[[^\]]*\]"),
            (OPEN, r"['\"`\[].*"),
            (NUMBER, _NUMBER),
            (WORD, r"[^\W\d][\w$]*"),
            (SIGN, _SIGNS),
        )
    plain = _BACKSLASHED if "BACKSLASHES" in modes else _PLAIN
    return _grammar(
        (SPACE, r"\s+"),
        (COMMENT, r"--[^\n]*|/\*(?:[^*/]|\*(?!/)|/(?!\*))*\*/"),  # a nested one is read by _nested
        (STRING, rf"[eE]{_BACKSLASHED}|(?:[bBxXnN]|[uU]&)?{plain}|\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$"),
        (NAME, rf"(?:[uU]&)?{_DOUBLED}"),
        (OPEN, r"(?:[eEbBxXnN]|[uU]&)?'.*|(?:[uU]&)?\".*|/\*.*|\$(?:[^\W\d]\w*)?\$.*"),
        (NUMBER, _NUMBER),
        (WORD, r"[^\W\d][\w$]*"),
        (SIGN, _OPERATORS),
    )


def tokens(text: str, dialect: str, modes: Collection[str] = ()) -> Iterator[Token]:
    """The tokens of a text, blanks and comments too; joined they are the text.

    Args:
        dialect: postgresql, mysql or sqlite.
        modes: Words of MySQL's sql_mode; for PostgreSQL `BACKSLASHES` where standard_conforming_strings is off.
    """
    match = _pattern(dialect, frozenset(modes)).match
    position, end = 0, len(text)
    while position < end:
        found = match(text, position)
        if found is None:  # never: the last alternative is any sign
            raise ValueError(text[position : position + 20])
        kind, stop = found.lastgroup or SIGN, found.end()
        nests = kind == OPEN and dialect == "postgresql" and text.startswith("/*", position)
        if nests and (closed := _nested(text, position)):
            kind, stop = COMMENT, closed
        yield Token(kind, text[position:stop], position)
        position = stop


_COMMENT_MARK = re.compile(r"/\*|\*/")


def _nested(text: str, position: int) -> int:
    """Where a comment that holds others ends; 0 where nobody closes it."""
    depth = 0
    for mark in _COMMENT_MARK.finditer(text, position):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    return 0


def code(text: str, dialect: str, modes: Collection[str] = ()) -> list[Token]:
    """The tokens without blanks and comments."""
    return [token for token in tokens(text, dialect, modes) if token.kind not in (SPACE, COMMENT)]


def code_from(text: str, dialect: str, modes: Collection[str] = ()) -> list[Token]:
    """The tokens of a statement from its first word on: without the blanks and comments before it."""
    found = list(tokens(text, dialect, modes))
    first = next((i for i, token in enumerate(found) if token.kind not in (SPACE, COMMENT)), len(found))
    return found[first:]


def joined(found: Iterable[Token]) -> str:
    """The text of these tokens."""
    return "".join(token.text for token in found)


def unquoted(token: Token | str) -> str:
    """A name without its quotes, of any engine's kind; a bare word as it is written."""
    text = token if isinstance(token, str) else token.text
    if text[:1] in ('"', "`", "'") and len(text) > 1 and text[-1:] == text[:1]:
        return text[1:-1].replace(text[0] * 2, text[0])
    return text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text


def words(found: Sequence[Token], at: int = 0, many: int = 3) -> tuple[str, ...]:
    """The next keywords in capitals, quoted names and signs as ""."""
    return tuple(token.upper for token in found[at : at + many])


def depths(found: Sequence[Token]) -> list[int]:
    """How many parentheses are open before each token."""
    depth, listed = 0, []
    for token in found:
        depth -= token.text == ")" and token.kind == SIGN
        listed.append(depth)
        depth += token.text == "(" and token.kind == SIGN
    return listed


_BODIES = frozenset(["TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "PACKAGE"])
_UNCOUNTED = frozenset(["IF", "LOOP", "WHILE", "REPEAT"])  # END IF ends what no BEGIN or CASE began


class _Nesting:
    """How deep in parentheses, and in BEGIN … END of a body, a statement is after its words so far."""

    def __init__(self, dialect: str) -> None:
        self.atomic = dialect == "postgresql"  # where only BEGIN ATOMIC opens a body that is no literal
        self.parentheses = self.bodies = 0
        self.made = self.bodied = False
        self.before = ""

    @property
    def deep(self) -> bool:
        return self.parentheses > 0 or self.bodies > 0

    def read(self, token: Token, following: str) -> None:
        """Take in one token; `following`: the next one's word in capitals."""
        word = token.upper
        if token.kind == SIGN and token.text in "()":
            self.parentheses += 1 if token.text == "(" else -1
        elif word:
            self.made = self.made or (word == "CREATE" and not self.before)
            self.bodied = self.bodied or (self.made and word in _BODIES)
            opens = not self.atomic or self.bodies > 0 or (word, following) == ("BEGIN", "ATOMIC")
            if self.bodied and opens and self.before != ".":  # x.end is a column
                self._count(word, following)
        self.before = token.text.upper()

    def _count(self, word: str, following: str) -> None:
        if word == "END":
            self.bodies -= following not in _UNCOUNTED
        elif word in ("BEGIN", "CASE"):
            self.bodies += self.before != "END"  # END CASE


def statements(text: str, dialect: str, modes: Collection[str] = ()) -> Iterator[list[Token]]:
    """The statements of a script, each with the blanks and comments around it, without its semicolon.

    A semicolon in parentheses (the actions of a rule) ends nothing, nor does one between BEGIN and END of a body.
    """
    found = list(tokens(text, dialect, modes))
    start, nesting = 0, _Nesting(dialect)
    for i, following in _significant_tokens(found):
        if found[i].text == ";" and found[i].kind == SIGN and not nesting.deep:
            yield found[start:i]
            start, nesting = i + 1, _Nesting(dialect)
        else:
            nesting.read(found[i], following)
    if start < len(found):
        yield found[start:]


def unfinished(statement: Sequence[Token], dialect: str) -> bool:
    """Whether a statement ends within parentheses or a body."""
    nesting = _Nesting(dialect)
    for i, following in _significant_tokens(statement):
        nesting.read(statement[i], following)
    return nesting.deep


def _significant_tokens(found: Sequence[Token]) -> Iterator[tuple[int, str]]:
    """The places of the tokens that are neither blanks nor comments, each with the next one's word."""
    last = -1
    for i, token in enumerate(found):
        if token.kind not in (SPACE, COMMENT):
            if last >= 0:
                yield last, token.upper
            last = i
    if last >= 0:
        yield last, ""
