"""Defaults, checks and generated columns across engines: only what means the same on both sides is carried over."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

_TOKEN = re.compile(
    r"""\s+ | (?P<string>(?:_\w+)?[EN]?'(?:[^'\\]|''|\\.)*') | (?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`)
      | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?) | (?P<word>[^\W\d]\w*) | (?P<sign><>|!=|<=|>=|\|\||::|.)""",
    re.VERBOSE | re.DOTALL,
)
_WORDS = frozenset(
    [
        "and",
        "or",
        "not",
        "in",
        "between",
        "is",
        "null",
        "true",
        "false",
        "case",
        "when",
        "then",
        "else",
        "end",
        "coalesce",
        "nullif",
        "abs",
        "like",
    ]
)
_SIGNS = frozenset(["(", ")", ",", "+", "-", "*", "=", "<>", "!=", "<", ">", "<=", ">=", "||"])
CASTS = re.compile(
    r"::(?:character varying|double precision|timestamp with(?:out)? time zone|\w+)(?:\([\d,]+\))?(?:\[\])?"
)
_ANY = re.compile(
    r"=\s*ANY\s*\(\s*(?:\(\s*ARRAY\[(?P<cast>.*?)\]\s*\)|ARRAY\[(?P<bare>.*?)\])\s*\)", re.IGNORECASE | re.DOTALL
)

NOW = {
    "now()", "current_timestamp", "current_timestamp()", "localtimestamp", "datetime('now')", "transaction_timestamp()",
    "statement_timestamp()", "clock_timestamp()", "(now() at time zone 'utc')", "now() at time zone 'utc'",
    "(current_timestamp at time zone 'utc')", "strftime('%y-%m-%d %h:%m:%f', 'now')",
    "strftime('%y-%m-%d %h:%m:%f+00', 'now')",
}  # fmt: skip
TODAY = {"current_date", "curdate()", "date('now')", "(curdate())", "current_date()"}
RANDOM = {"gen_random_uuid()", "uuid_generate_v4()", "uuid()", "(uuid())"}
_SQLITE_UUID = (
    "(lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-' || "
    "substr('89ab', 1 + (abs(random()) % 4), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))))"
)


def portable(
    expression: str,
    columns: Collection[str],
    target: str,
    quote: Callable[[str], str],
    *,
    booleans: Collection[str] = (),
) -> str | None:
    """An expression in the target's words; None when it uses anything that could mean something else there.

    Args:
        columns: The table's columns: every name in the expression must be one.
        booleans: Those that are boolean: where the target has numbers for them, they compare with 1 and 0.
    """
    text = CASTS.sub("", expression)
    text = _ANY.sub(lambda found: f"IN ({found['cast'] or found['bare']})", text)
    folded = {name.lower(): name for name in columns}
    parts = []
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup
        if kind is None:
            continue
        part = _part(kind, found[kind], columns, folded, target, quote)
        if part is None:
            return None
        parts.append(part)
    if target != "postgresql" and booleans and any(part in ("TRUE", "FALSE") for part in parts):
        parts = [{"TRUE": "1", "FALSE": "0"}.get(part, part) for part in parts]
    return " ".join(parts).replace("( ", "(").replace(" )", ")").replace(" ,", ",") or None


def _part(
    kind: str, text: str, columns: Collection[str], folded: dict[str, str], target: str, quote: Callable[[str], str]
) -> str | None:
    if kind == "string":
        return None if "\\" in text else "'" + text.partition("'")[2]
    if kind == "number":
        return text
    if kind == "quoted":
        name = text[1:-1].replace(text[0] * 2, text[0])
        return quote(name) if name in columns else None
    if kind == "word":
        if text.lower() in _WORDS:
            return text.upper()
        return quote(folded[text.lower()]) if text.lower() in folded else None
    if text == "||" and target == "mysql":
        return None  # an OR there
    return text if text in _SIGNS else None


def default(text: str, kind: str, target: str, digits: int = 6) -> str | None:
    """A column's default in the target's words; None when it has no like there.

    Args:
        kind: The neutral kind of the column.
        digits: Of the target's fraction of a second.
    """
    bare = _unwrapped(CASTS.sub("", text).strip())
    bare = re.sub(r"(?i)^_\w+'", "'", bare)
    if re.search(r"(?i)\bon update\b", bare):
        return None
    stripped = re.sub(r"\(\d+\)$", "()", bare.lower())
    if stripped in NOW:
        return _now(kind, target, digits)
    if stripped in TODAY:
        return "(CURRENT_DATE)" if target == "mysql" else "CURRENT_DATE"
    if stripped in RANDOM:
        return {"postgresql": "gen_random_uuid()", "mysql": "(UUID())", "sqlite": _SQLITE_UUID}[target]
    if stripped == "null":
        return "NULL"
    return _literal(bare, kind, target)


def _unwrapped(text: str) -> str:
    while text.startswith("(") and text.endswith(")") and text.count("(") == 1:
        text = text[1:-1].strip()
    return text


def _literal(text: str, kind: str, target: str) -> str | None:
    string = re.fullmatch(r"'((?:[^'\\]|'')*)'", text)
    if kind == "boolean":
        value = (string[1] if string else text).lower()
        if value not in ("true", "false", "1", "0", "t", "f", "b'1'", "b'0'"):
            return None
        true = value in ("true", "1", "t", "b'1'")
        return str(true).lower() if target == "postgresql" else str(int(true))
    if kind in ("bytes", "varbytes", "bit", "any", "interval", "unknown"):
        return None  # written differently everywhere
    number = re.fullmatch(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", string[1] if string else text)
    if kind in ("tinyint", "smallint", "integer", "bigint", "numeric", "real", "double"):
        return number[0] if number else None
    value = f"'{string[1]}'" if string else f"'{text}'" if number else ""
    if not value:
        return None
    return f"({value})" if target == "mysql" and kind in ("text", "json") else value


def _now(kind: str, target: str, digits: int) -> str | None:
    if kind not in ("timestamp", "timestamptz"):
        return None
    if target == "postgresql":
        return "CURRENT_TIMESTAMP" if kind == "timestamptz" else "(CURRENT_TIMESTAMP AT TIME ZONE 'UTC')"
    if target == "mysql":
        return f"CURRENT_TIMESTAMP({digits})" if digits else "CURRENT_TIMESTAMP"
    zone = "+00" if kind == "timestamptz" else ""
    return f"(strftime('%Y-%m-%d %H:%M:%f{zone}', 'now'))"
