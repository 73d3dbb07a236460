"""Column types across engines: an engine's own text → a neutral type → the other engine's text.

docs/type-mapping.md shows the table; a test holds it against this module.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from runbook_lib.databases import sql_text
from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.neutral_type import MappedType as MappedType
from runbook_lib.databases.neutral_type import Neutral as Neutral
from runbook_lib.schema.convert.expression_tree import value_of


@dataclass(frozen=True)
class DomainRules:
    """What a domain demands of its values: checks by name (about VALUE), NOT NULL, and what it gives by default."""

    checks: tuple[tuple[str, str], ...] = ()
    required: bool = False
    default: str | None = None


@dataclass(frozen=True)
class UserTypes:
    """PostgreSQL's own types of a database: enum → labels, domain → the type below it, and its rules."""

    enums: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    domains: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, DomainRules] = field(default_factory=dict)


_KINDS = {
    "tinyint": "tinyint", "smallint": "smallint", "mediumint": "integer", "int": "integer", "integer": "integer",
    "bigint": "bigint", "numeric": "numeric", "decimal": "numeric", "real": "real", "float": "real",
    "double precision": "double", "double": "double", "boolean": "boolean", "text": "text", "tinytext": "text",
    "mediumtext": "text", "longtext": "text", "character varying": "varchar", "varchar": "varchar",
    "character": "char", "char": "char", "bpchar": "char", "bytea": "bytes", "blob": "bytes", "tinyblob": "bytes",
    "mediumblob": "bytes", "longblob": "bytes", "varbinary": "varbytes", "binary": "varbytes", "date": "date",
    "time": "time", "time without time zone": "time", "timestamp without time zone": "timestamp",
    "datetime": "timestamp", "timestamp": "timestamp", "timestamp with time zone": "timestamptz", "uuid": "uuid",
    "json": "json", "jsonb": "json", "bit": "bit", "year": "smallint", "enum": "enum", "set": "set", "any": "any",
    "interval": "interval", "inet6": "inet", "inet4": "inet", "inet": "inet",
    "json text": "json", "decimal text": "numeric", "numeric text": "numeric", "float4": "real",  # as SQLite declares
}  # fmt: skip


# How MariaDB keeps a column is no part of what it holds.
_COMPRESSED = re.compile(r"\s*/\*m!\d+ compressed\*/")


def read_type(text: str, dialect: str, user: UserTypes = UserTypes()) -> Neutral:
    """An engine's type text as a neutral type."""
    if text in user.enums:
        return Neutral("enum", labels=tuple(user.enums[text]), text=text)
    if text in user.domains:
        return read_type(user.domains[text], dialect, user)
    if text[:5].lower() in ("enum(", "set('"):
        return _listed(text, dialect)
    lower = _COMPRESSED.sub("", text.lower())
    name = " ".join(re.sub(r"\([^)]*\)", " ", lower).replace("zerofill", "").split())
    name = "interval" if name.startswith("interval ") else name  # day to second: fields are no other type
    unsigned = name.endswith(" unsigned")
    kind = _KINDS.get(name.removesuffix(" unsigned"), "unknown")
    modifiers: tuple[int, ...] = ()
    if found := re.search(r"\(([\d ,]+)\)", lower):
        modifiers = tuple(int(part) for part in found[1].split(","))
    kind, modifiers = dialect_of(dialect).read_kind(lower, name, kind, modifiers)
    return Neutral(kind, modifiers, unsigned, (), text)


def _listed(text: str, dialect: str) -> Neutral:
    """An enum or a set, whose labels may hold any sign."""
    found = [token for token in sql_text.code(text, dialect) if token.kind == sql_text.STRING]
    labels = tuple(value_of(token, dialect) for token in found)
    return Neutral(text.partition("(")[0].lower(), labels=labels, text=text)


def write_type(neutral: Neutral, dialect: str, *, key_parts: int = 0, unmapped: str = "error") -> MappedType:
    """A neutral type as an engine's type text.

    Args:
        key_parts: In a key or unique index: how many text columns share it (0: in none).
        unmapped: `text` keeps what has no equivalent as text; `error` leaves it to the plan.
    """
    if neutral.kind == "unknown":
        text = dialect_of(dialect).long_text.lower()
        if unmapped == "text":
            return MappedType(
                text, f"{neutral.text} has no equivalent: its text form is kept, its operators are not", lossy=True
            )
        return MappedType(text, f"{neutral.text} has no equivalent", lossy=True, unknown=True)
    return dialect_of(dialect).write_type(neutral, key_parts)
