"""Defaults across engines: only what means the same on both sides is carried over."""

from __future__ import annotations

import re

from runbook_lib.databases import sql_text
from runbook_lib.databases.dialect import dialect_of
from runbook_lib.schema.convert.expression_tree import Unreadable, read

CASTS = re.compile(
    r"::(?:character varying|double precision|timestamp with(?:out)? time zone|\w+)(?:\([\d,]+\))?(?:\[\])?"
)
NOW = {
    "now()", "current_timestamp", "current_timestamp()", "localtimestamp", "datetime('now')", "transaction_timestamp()",
    "statement_timestamp()", "clock_timestamp()", "(now() at time zone 'utc')", "now() at time zone 'utc'",
    "(current_timestamp at time zone 'utc')", "strftime('%y-%m-%d %h:%m:%f', 'now')",
    "strftime('%y-%m-%d %h:%m:%f+00', 'now')",
}  # fmt: skip
TODAY = {"current_date", "curdate()", "date('now')", "(curdate())", "current_date()"}
RANDOM = {"gen_random_uuid()", "uuid_generate_v4()", "uuid()", "(uuid())"}


def default(text: str, kind: str, source: str, target: str, digits: int = 6) -> str | None:
    """A column's default in the target's words; None when it has no equivalent there.

    Args:
        kind: The neutral kind of the column.
        source: The engine whose words the text is in.
        digits: Of the target's fraction of a second.
    """
    value = _constant(text, source)
    if value is not None:
        return _literal(*value, kind, target)
    bare = _unwrapped(CASTS.sub("", text).strip())
    stripped = re.sub(r"\(\d+\)$", "()", bare.lower())
    if stripped in NOW:
        return _now(kind, target, digits)
    if stripped in TODAY:
        return dialect_of(target).today
    if stripped in RANDOM:
        return dialect_of(target).random_uuid
    return _literal(bare, "bits", kind, target) if re.fullmatch(r"[bB]'[01]+'", bare) else None


def apart(text: str) -> tuple[str, str]:
    """A default of MySQL's and its ON UPDATE, each by itself ("" where there is none)."""
    found = sql_text.code(text, "mysql")
    for i, token in enumerate(found):
        if sql_text.words(found, i, 2) == ("ON", "UPDATE"):
            return text[: token.start].strip(), text[token.start :].strip()
    return text, ""


def _constant(text: str, source: str) -> tuple[str, str] | None:
    """A constant's value and what it is written as: string, number, word; None: it is no constant."""
    try:
        tree = read(text, source, ())
    except Unreadable:
        return None
    negative = False
    while tree[0] in ("cast", "neg"):
        negative ^= tree[0] == "neg"
        tree = tree[2] if tree[0] == "cast" else tree[1]
    if tree[0] in ("string", "number"):
        return f"{'-' if negative else ''}{tree[1]}", tree[0]
    return (tree[0], "word") if tree[0] in ("null", "true", "false") and not negative else None


def _unwrapped(text: str) -> str:
    while text.startswith("(") and text.endswith(")") and text.count("(") == 1:
        text = text[1:-1].strip()
    return text


def _literal(value: str, written: str, kind: str, target: str) -> str | None:
    if value == "null" and written == "word":
        return "NULL"
    if kind == "boolean":
        return _boolean(value.lower(), target)
    if written in ("word", "bits") or kind in ("bytes", "varbytes", "bit", "any", "unknown"):
        return None  # written differently everywhere
    if kind in ("tinyint", "smallint", "integer", "bigint", "numeric", "real", "double"):
        return value if re.fullmatch(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", value) else None
    dialect = dialect_of(target)
    return dialect.text_default(dialect.string(value), kind)


def _boolean(value: str, target: str) -> str | None:
    if value not in ("true", "false", "1", "0", "t", "f", "b'1'", "b'0'"):
        return None
    return dialect_of(target).boolean(value=value in ("true", "1", "t", "b'1'")).lower()


def _now(kind: str, target: str, digits: int) -> str | None:
    if kind not in ("timestamp", "timestamptz"):
        return None
    return dialect_of(target).now(zone=kind == "timestamptz", digits=digits)
