"""Neutral types as PostgreSQL's."""

from __future__ import annotations

from runbook_lib.databases.neutral_type import MappedType, Neutral, in_list, sized

_WIDER = {"tinyint": "smallint", "smallint": "integer", "integer": "bigint"}


def written(neutral: Neutral) -> MappedType:
    """A neutral type as PostgreSQL's type text."""
    kind, modifiers = neutral.kind, neutral.modifiers
    if kind in _WIDER and neutral.unsigned:
        return MappedType(_WIDER[kind], check="{column} >= 0")
    if kind == "bigint" and neutral.unsigned:
        return MappedType("numeric(20,0)", "unsigned bigint does not fit bigint", check="{column} >= 0")
    plain = {
        "tinyint": "smallint",
        "double": "double precision",
        "varchar": sized("character varying", modifiers),
        "char": sized("character", modifiers),
        "numeric": sized("numeric", modifiers),
        "bytes": "bytea",
        "varbytes": "bytea",
        "time": f"{sized('time', modifiers)} without time zone",
        "timestamp": f"{sized('timestamp', modifiers)} without time zone",
        "timestamptz": f"{sized('timestamp', modifiers)} with time zone",
        "json": "jsonb",
        "bit": sized("bit", modifiers),
    }
    if kind == "enum":
        return MappedType("text", "the order of the labels is lost", check=in_list(neutral.labels))
    if kind == "set":
        listed = ", ".join("'" + label.replace("'", "''") + "'" for label in neutral.labels)
        check = f"string_to_array({{column}}, ',') <@ ARRAY[{listed}]::text[]"
        return MappedType("text", "a set is kept as its text, members joined by commas", check=check)
    if kind == "any":
        return MappedType("text", "a column without a type: numbers and bytes become their text", lossy=True)
    return MappedType(plain.get(kind, kind))
