"""How many bytes a MySQL row may declare, whatever its values: 65,535, the columns kept elsewhere (TEXT) aside."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

MOST = 65_535
_BYTES_A_CHARACTER = 4  # utf8mb4
_POINTER = 12  # what a TEXT or BLOB counts in the row
_FIXED = {"tinyint": 1, "smallint": 2, "int": 4, "bigint": 8, "float": 4, "double": 8, "date": 3, "time": 6, "enum": 2,
          "datetime": 8, "set": 8, "bit": 8, "decimal": 30}  # fmt: skip


def too_long(types: Mapping[str, str], keyed: Collection[str]) -> list[str]:
    """The columns that are to be TEXT so that the row may be declared: the longest first, none of a key.

    Args:
        types: Column → MySQL's type.
        keyed: Columns of keys and indexes: they keep their length.
    """
    sizes = {name: _size(kind) for name, kind in types.items()}
    nulls = (len(types) + 7) // 8
    chosen = []
    for name in sorted((n for n in types if n not in keyed and types[n].startswith("var")), key=lambda n: -sizes[n]):
        if sum(sizes.values()) + nulls <= MOST:
            break
        if sizes[name] > _POINTER:
            sizes[name] = _POINTER
            chosen.append(name)
    return chosen


def _size(kind: str) -> int:
    found = re.match(r"(\w+)(?:\((\d+))?", kind.lower())
    name, length = (found[1], int(found[2] or 0)) if found else ("", 0)
    if name in ("varchar", "char"):
        return length * _BYTES_A_CHARACTER + (2 if name == "varchar" else 0)
    if name in ("varbinary", "binary"):
        return length + 2
    return _FIXED.get(name, _POINTER)
