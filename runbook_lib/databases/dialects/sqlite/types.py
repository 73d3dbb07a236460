"""Neutral types as SQLite's."""

from __future__ import annotations

from runbook_lib.databases.neutral_type import Mapped, Neutral, in_list, sized

EXACT_DIGITS = 15  # what an SQLite number (a double) keeps


def written(neutral: Neutral) -> Mapped:
    """A neutral type as SQLite's type text."""
    kind, modifiers = neutral.kind, neutral.modifiers
    positive = "{column} >= 0" if neutral.unsigned else ""
    if kind == "bigint" and neutral.unsigned:
        return Mapped("decimal text(20,0)", "unsigned bigint is kept as text: exact, but arithmetic needs a CAST")
    if kind in ("tinyint", "smallint", "integer", "bigint"):
        return Mapped("smallint" if kind == "tinyint" else kind, check=positive)
    if kind == "numeric":
        if modifiers and modifiers[0] <= EXACT_DIGITS:
            return Mapped(sized("decimal", modifiers), check=positive)
        note = f"more than {EXACT_DIGITS} digits: kept as text, exact, but arithmetic needs a CAST"
        return Mapped(sized("decimal text", modifiers), note)
    if kind in ("real", "double"):
        return Mapped("float4" if kind == "real" else "double precision", "NaN is refused", lossy=True)
    if kind in ("varchar", "char"):
        return Mapped(sized(kind, modifiers), "SQLite does not enforce the length", check="")
    if kind == "enum":
        return Mapped("text", "the order of the labels is lost", check=in_list(neutral.labels))
    if kind in ("set", "bit", "interval", "inet"):
        return Mapped("text", f"{kind} is kept as its text", lossy=kind != "set")
    if kind in ("time", "timestamp", "timestamptz"):
        name = {"time": "time", "timestamp": "timestamp", "timestamptz": "timestamp with time zone"}[kind]
        return Mapped(sized(name, modifiers))
    plain = {"bytes": "blob", "varbytes": "blob", "json": "json text", "any": ""}
    return Mapped(plain.get(kind, kind))
