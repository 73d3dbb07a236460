"""PostgreSQL's COPY text format, in and out: rows as tuples of text, None for NULL.

Source:
    PostgreSQL documentation, COPY, "Text Format". Every escape that COPY TO writes is read; so is \\N.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

Row = tuple[str | None, ...]

_NAMED = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_OUT = str.maketrans({"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"})
_BLOCK = 65_536


def decode(blocks: Iterable[bytes]) -> Iterator[Row]:
    """Rows from blocks; a row may be cut between two blocks."""
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield tuple(_field(field) for field in line.split(b"\t"))
    if rest:
        yield tuple(_field(field) for field in rest.split(b"\t"))


def encode(rows: Iterable[Row]) -> Iterator[bytes]:
    """Blocks of about 64 KiB from rows."""
    block: list[bytes] = []
    size = 0
    for row in rows:
        line = "\t".join("\\N" if value is None else value.translate(_OUT) for value in row).encode() + b"\n"
        block.append(line)
        size += len(line)
        if size >= _BLOCK:
            yield b"".join(block)
            block, size = [], 0
    if block:
        yield b"".join(block)


def _field(field: bytes) -> str | None:
    if field == b"\\N":
        return None
    if b"\\" in field:
        field = _ESCAPE.sub(lambda found: _NAMED.get(found[1], found[1]), field)
    return field.decode()
