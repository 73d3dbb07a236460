"""Neutral types as MySQL's."""

from __future__ import annotations

from collections.abc import Sequence

from runbook_lib.databases.neutral_type import MappedType, Neutral

KEY_BYTES, BYTES_A_CHARACTER = 3072, 4  # InnoDB's longest index entry; utf8mb4


def written(neutral: Neutral, key_parts: int) -> MappedType:
    """A neutral type as MySQL's type text."""
    kind, modifiers = neutral.kind, neutral.modifiers
    unsigned = " unsigned" if neutral.unsigned else ""
    if kind in ("tinyint", "smallint", "integer", "bigint"):
        return MappedType(("int" if kind == "integer" else kind) + unsigned)
    if kind == "numeric":
        return _numeric(modifiers)
    if kind in ("text", "varchar", "char", "any", "bytes", "varbytes", "interval", "inet"):
        return _text(neutral, key_parts)
    if kind in ("time", "timestamp", "timestamptz"):
        digits = modifiers[0] if modifiers else 6
        if kind == "timestamptz":
            return MappedType(f"datetime({digits})", "moments are kept in UTC, without their zone")
        return MappedType(f"{'time' if kind == 'time' else 'datetime'}({digits})")
    if kind == "bit":
        digits = modifiers[0] if modifiers else 1
        return MappedType(f"bit({digits})") if digits <= 64 else MappedType("longtext", "more than 64 bits", lossy=True)
    if kind in ("enum", "set"):
        listed = ",".join("'" + label.replace("'", "''") + "'" for label in neutral.labels)
        return MappedType(f"{kind}({listed})")
    note = "NaN and infinity are refused" if kind in ("real", "double") else ""
    plain = {"boolean": "tinyint(1)", "real": "float", "uuid": "char(36)"}
    return MappedType(plain.get(kind, kind), note, lossy=bool(note))


def _numeric(modifiers: Sequence[int]) -> MappedType:
    if not modifiers:
        note = "a number without limits: 35 digits before the point, 30 behind it are kept"
        return MappedType("decimal(65,30)", note, lossy=True)
    digits, scale = modifiers[0], modifiers[1] if len(modifiers) > 1 else 0
    if digits > 65 or scale > 30:
        return MappedType(
            f"decimal({min(digits, 65)},{min(scale, 30)})", "at most 65 digits, 30 behind the point", lossy=True
        )
    return MappedType(f"decimal({digits},{scale})")


def _text(neutral: Neutral, key_parts: int) -> MappedType:
    kind, modifiers = neutral.kind, neutral.modifiers
    binary = kind in ("bytes", "varbytes")
    limit = KEY_BYTES // max(key_parts, 1) // (1 if binary else BYTES_A_CHARACTER)
    limit = min(limit, 255) if not binary else min(limit, 768)
    length = modifiers[0] if modifiers else 0
    if kind == "char" and 0 < (length or 1) <= 255:
        return MappedType(f"char({length or 1})")
    if key_parts and (not length or length > limit):
        base = "varbinary" if binary else "varchar"
        return MappedType(f"{base}({limit})", f"part of a key: at most {limit}, longer values are refused", lossy=True)
    if kind == "interval":
        return MappedType("varchar(100)", "an interval is kept as its text", lossy=True)
    if kind == "inet":
        return MappedType("varchar(50)", "an address is kept as its text", lossy=True)
    if kind == "any":
        return MappedType("longtext", "a column without a type: numbers and bytes become their text", lossy=True)
    if length and length <= (65_000 if binary else 16_000):
        return MappedType(f"{'varbinary' if binary else 'varchar'}({length})")
    return MappedType("longblob" if binary else "longtext")
