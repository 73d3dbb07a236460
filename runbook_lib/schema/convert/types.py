"""Column types across engines: an engine's own text → a neutral type → the other engine's text.

docs/type-mapping.md shows the table; a test holds it against this module.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runbook_lib.databases import sql_text
from runbook_lib.schema.convert.expression_tree import value_of

EXACT_DIGITS = 15  # what an SQLite number (a double) keeps
KEY_BYTES, BYTES_A_CHARACTER = 3072, 4  # InnoDB's longest index entry; utf8mb4


@dataclass(frozen=True)
class Neutral:
    """A type that belongs to no engine. `kind` "unknown" is what has no equivalent elsewhere."""

    kind: str
    modifiers: tuple[int, ...] = ()
    unsigned: bool = False
    labels: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True)
class Mapped:
    """A target's type: its text, what is to be known about it, and the check that replaces what the type promised.

    Attributes:
        note: What differs; empty when every value goes over and back unchanged.
        lossy: Some value does not survive, or is refused.
        unknown: Nothing was found: the plan must decide.
        check: SQL condition with `{column}`, or empty.
    """

    type: str
    note: str = ""
    lossy: bool = False
    unknown: bool = False
    check: str = ""


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
    if dialect == "mysql" and lower.replace(" ", "") == "tinyint(1)":
        return Neutral("boolean", text=text)
    if dialect == "mysql" and name == "timestamp":  # it holds moments; the session shows them in UTC
        kind = "timestamptz"
    if dialect == "mysql" and kind in ("time", "timestamp", "timestamptz") and not modifiers:
        modifiers = (0,)
    if dialect == "sqlite" and kind in ("smallint", "integer"):
        kind = "bigint"  # whatever is declared, SQLite keeps 64 bits
    return Neutral(kind, modifiers, unsigned, (), text)


def _listed(text: str, dialect: str) -> Neutral:
    """An enum or a set, whose labels may hold any sign."""
    found = [token for token in sql_text.code(text, dialect) if token.kind == sql_text.STRING]
    labels = tuple(value_of(token, dialect) for token in found)
    return Neutral(text.partition("(")[0].lower(), labels=labels, text=text)


def write_type(neutral: Neutral, dialect: str, *, key_parts: int = 0, unmapped: str = "error") -> Mapped:
    """A neutral type as an engine's type text.

    Args:
        key_parts: In a key or unique index: how many text columns share it (0: in none).
        unmapped: `text` keeps what has no equivalent as text; `error` leaves it to the plan.
    """
    if neutral.kind == "unknown":
        text = {"postgresql": "text", "mysql": "longtext", "sqlite": "text"}[dialect]
        if unmapped == "text":
            return Mapped(
                text, f"{neutral.text} has no equivalent: its text form is kept, its operators are not", lossy=True
            )
        return Mapped(text, f"{neutral.text} has no equivalent", lossy=True, unknown=True)
    return {"postgresql": _postgresql, "mysql": _mysql, "sqlite": _sqlite}[dialect](neutral, key_parts)


def _sized(name: str, modifiers: Sequence[int]) -> str:
    return f"{name}({','.join(map(str, modifiers))})" if modifiers else name


def _in_list(labels: Sequence[str]) -> str:
    return "{column} IN (" + ", ".join("'" + label.replace("'", "''") + "'" for label in labels) + ")"


_WIDER = {"tinyint": "smallint", "smallint": "integer", "integer": "bigint"}


def _postgresql(neutral: Neutral, _: int) -> Mapped:
    kind, modifiers = neutral.kind, neutral.modifiers
    if kind in _WIDER and neutral.unsigned:
        return Mapped(_WIDER[kind], check="{column} >= 0")
    if kind == "bigint" and neutral.unsigned:
        return Mapped("numeric(20,0)", "unsigned bigint does not fit bigint", check="{column} >= 0")
    plain = {
        "tinyint": "smallint",
        "double": "double precision",
        "varchar": _sized("character varying", modifiers),
        "char": _sized("character", modifiers),
        "numeric": _sized("numeric", modifiers),
        "bytes": "bytea",
        "varbytes": "bytea",
        "time": f"{_sized('time', modifiers)} without time zone",
        "timestamp": f"{_sized('timestamp', modifiers)} without time zone",
        "timestamptz": f"{_sized('timestamp', modifiers)} with time zone",
        "json": "jsonb",
        "bit": _sized("bit", modifiers),
    }
    if kind == "enum":
        return Mapped("text", "the order of the labels is lost", check=_in_list(neutral.labels))
    if kind == "set":
        listed = ", ".join("'" + label.replace("'", "''") + "'" for label in neutral.labels)
        check = f"string_to_array({{column}}, ',') <@ ARRAY[{listed}]::text[]"
        return Mapped("text", "a set is kept as its text, members joined by commas", check=check)
    if kind == "any":
        return Mapped("text", "a column without a type: numbers and bytes become their text", lossy=True)
    return Mapped(plain.get(kind, kind))


def _mysql(neutral: Neutral, key_parts: int) -> Mapped:
    kind, modifiers = neutral.kind, neutral.modifiers
    unsigned = " unsigned" if neutral.unsigned else ""
    if kind in ("tinyint", "smallint", "integer", "bigint"):
        return Mapped(("int" if kind == "integer" else kind) + unsigned)
    if kind == "numeric":
        return _mysql_numeric(modifiers)
    if kind in ("text", "varchar", "char", "any", "bytes", "varbytes", "interval", "inet"):
        return _mysql_text(neutral, key_parts)
    if kind in ("time", "timestamp", "timestamptz"):
        digits = modifiers[0] if modifiers else 6
        if kind == "timestamptz":
            return Mapped(f"datetime({digits})", "moments are kept in UTC, without their zone")
        return Mapped(f"{'time' if kind == 'time' else 'datetime'}({digits})")
    if kind == "bit":
        digits = modifiers[0] if modifiers else 1
        return Mapped(f"bit({digits})") if digits <= 64 else Mapped("longtext", "more than 64 bits", lossy=True)
    if kind in ("enum", "set"):
        listed = ",".join("'" + label.replace("'", "''") + "'" for label in neutral.labels)
        return Mapped(f"{kind}({listed})")
    note = "NaN and infinity are refused" if kind in ("real", "double") else ""
    plain = {"boolean": "tinyint(1)", "real": "float", "uuid": "char(36)"}
    return Mapped(plain.get(kind, kind), note, lossy=bool(note))


def _mysql_numeric(modifiers: Sequence[int]) -> Mapped:
    if not modifiers:
        note = "a number without limits: 35 digits before the point, 30 behind it are kept"
        return Mapped("decimal(65,30)", note, lossy=True)
    digits, scale = modifiers[0], modifiers[1] if len(modifiers) > 1 else 0
    if digits > 65 or scale > 30:
        return Mapped(
            f"decimal({min(digits, 65)},{min(scale, 30)})", "at most 65 digits, 30 behind the point", lossy=True
        )
    return Mapped(f"decimal({digits},{scale})")


def _mysql_text(neutral: Neutral, key_parts: int) -> Mapped:
    kind, modifiers = neutral.kind, neutral.modifiers
    binary = kind in ("bytes", "varbytes")
    limit = KEY_BYTES // max(key_parts, 1) // (1 if binary else BYTES_A_CHARACTER)
    limit = min(limit, 255) if not binary else min(limit, 768)
    length = modifiers[0] if modifiers else 0
    if kind == "char" and 0 < (length or 1) <= 255:
        return Mapped(f"char({length or 1})")
    if key_parts and (not length or length > limit):
        base = "varbinary" if binary else "varchar"
        return Mapped(f"{base}({limit})", f"part of a key: at most {limit}, longer values are refused", lossy=True)
    if kind == "interval":
        return Mapped("varchar(100)", "an interval is kept as its text", lossy=True)
    if kind == "inet":
        return Mapped("varchar(50)", "an address is kept as its text", lossy=True)
    if kind == "any":
        return Mapped("longtext", "a column without a type: numbers and bytes become their text", lossy=True)
    if length and length <= (65_000 if binary else 16_000):
        return Mapped(f"{'varbinary' if binary else 'varchar'}({length})")
    return Mapped("longblob" if binary else "longtext")


def _sqlite(neutral: Neutral, _: int) -> Mapped:
    kind, modifiers = neutral.kind, neutral.modifiers
    positive = "{column} >= 0" if neutral.unsigned else ""
    if kind == "bigint" and neutral.unsigned:
        return Mapped("decimal text(20,0)", "unsigned bigint is kept as text: exact, but arithmetic needs a CAST")
    if kind in ("tinyint", "smallint", "integer", "bigint"):
        return Mapped("smallint" if kind == "tinyint" else kind, check=positive)
    if kind == "numeric":
        if modifiers and modifiers[0] <= EXACT_DIGITS:
            return Mapped(_sized("decimal", modifiers), check=positive)
        note = f"more than {EXACT_DIGITS} digits: kept as text, exact, but arithmetic needs a CAST"
        return Mapped(_sized("decimal text", modifiers), note)
    if kind in ("real", "double"):
        return Mapped("float4" if kind == "real" else "double precision", "NaN is refused", lossy=True)
    if kind in ("varchar", "char"):
        return Mapped(_sized(kind, modifiers), "SQLite does not enforce the length", check="")
    if kind == "enum":
        return Mapped("text", "the order of the labels is lost", check=_in_list(neutral.labels))
    if kind in ("set", "bit", "interval", "inet"):
        return Mapped("text", f"{kind} is kept as its text", lossy=kind != "set")
    if kind in ("time", "timestamp", "timestamptz"):
        name = {"time": "time", "timestamp": "timestamp", "timestamptz": "timestamp with time zone"}[kind]
        return Mapped(_sized(name, modifiers))
    plain = {"bytes": "blob", "varbytes": "blob", "json": "json text", "any": ""}
    return Mapped(plain.get(kind, kind))
