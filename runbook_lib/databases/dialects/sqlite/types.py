"""Neutral types as SQLite's."""

from __future__ import annotations

from runbook_lib.databases.neutral_type import MappedType, Neutral, in_list, sized

EXACT_DIGITS = 15  # what an SQLite number (a double) keeps


def written(neutral: Neutral) -> MappedType:
    """A neutral type as SQLite's type text."""
    kind, modifiers = neutral.kind, neutral.modifiers
    positive = "{column} >= 0" if neutral.unsigned else ""
    if kind == "bigint" and neutral.unsigned:
        return MappedType("decimal text(20,0)", "unsigned bigint is kept as text: exact, but arithmetic needs a CAST")
    if kind in ("tinyint", "smallint", "integer", "bigint"):
        return MappedType("smallint" if kind == "tinyint" else kind, check=positive)
    if kind == "numeric":
        if modifiers and modifiers[0] <= EXACT_DIGITS:
            return MappedType(sized("decimal", modifiers), check=positive)
        note = f"more than {EXACT_DIGITS} digits: kept as text, exact, but arithmetic needs a CAST"
        return MappedType(sized("decimal text", modifiers), note)
    if kind in ("real", "double"):
        return MappedType("float4" if kind == "real" else "double precision", "NaN is refused", lossy=True)
    if kind in ("varchar", "char"):
        return MappedType(sized(kind, modifiers), "SQLite does not enforce the length", check="")
    if kind == "enum":
        return MappedType("text", "the order of the labels is lost", check=in_list(neutral.labels))
    if kind in ("set", "bit", "interval", "inet"):
        return MappedType("text", f"{kind} is kept as its text", lossy=kind != "set")
    if kind in ("time", "timestamp", "timestamptz"):
        name = {"time": "time", "timestamp": "timestamp", "timestamptz": "timestamp with time zone"}[kind]
        return MappedType(sized(name, modifiers))
    plain = {"bytes": "blob", "varbytes": "blob", "json": "json text", "any": ""}
    return MappedType(plain.get(kind, kind))
