"""Read the messages of pgoutput, the server's own logical decoding plugin (protocol 1), as far as a capture needs them.

Values arrive in the server's text form, under our session's pinned settings: what the log's key columns take.
Source: "Logical Replication Message Formats" in PostgreSQL's manual.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

UNCHANGED = b"\0unchanged"  # a value that is stored apart and was not touched; no text value holds a NUL

Tuple = tuple[bytes | None, ...]  # None is NULL


@dataclass(frozen=True)
class Begin:
    """A transaction: where its commit is in the log, when it committed (microseconds since 2000), its number."""

    lsn: int
    at: int
    xid: int


@dataclass(frozen=True)
class Commit:
    """The end of a transaction, and of its commit record."""

    end: int


@dataclass(frozen=True)
class Mark:
    """A message that somebody wrote into the transaction."""

    prefix: str


@dataclass(frozen=True)
class Relation:
    """A table as it was when the rows after it were written.

    Attributes:
        identity: What an update and a delete log of the row before: d(efault), n(othing), f(ull), i(ndex).
        columns: In the order of the tuples; whether each is among what is logged of the row before, and its type's OID.
    """

    oid: int
    name: str
    identity: str
    columns: tuple[tuple[str, bool, int], ...]


@dataclass(frozen=True)
class Change:
    """One row: without `old` where it was inserted or kept its identity, without `new` where it was deleted."""

    oid: int
    old: Tuple | None
    new: Tuple | None


@dataclass(frozen=True)
class Truncate:
    """Tables emptied by one statement."""

    oids: tuple[int, ...]


Message = Begin | Commit | Mark | Relation | Change | Truncate


def read_message(data: bytes) -> Message | None:
    """One message; None for what no capture needs (types, origins).

    Raises:
        ValueError: this is none that protocol 1 has.
    """
    kind = data[:1]
    if kind in (b"I", b"U", b"D"):
        return _change(kind, data)
    if kind == b"B":
        lsn, at, xid = struct.unpack_from(">qqI", data, 1)
        return Begin(lsn, at, xid)
    if kind == b"C":
        return Commit(struct.unpack_from(">q", data, 10)[0])
    if kind == b"M":
        return Mark(_text(data, 10)[0])
    if kind == b"R":
        return _relation(data)
    if kind == b"T":
        (count,) = struct.unpack_from(">I", data, 1)
        return Truncate(struct.unpack_from(f">{count}I", data, 6))
    if kind in (b"Y", b"O"):
        return None
    raise ValueError(f"unknown message {kind!r}")


def _relation(data: bytes) -> Relation:
    (oid,) = struct.unpack_from(">I", data, 1)
    schema, at = _text(data, 5)
    table, at = _text(data, at)
    identity, (count,) = chr(data[at]), struct.unpack_from(">H", data, at + 1)
    at += 3
    columns = []
    for _ in range(count):
        flags = data[at]
        column, at = _text(data, at + 1)
        columns.append((column, bool(flags & 1), int.from_bytes(data[at : at + 4])))
        at += 8  # type and its modifier
    return Relation(oid, f"{schema}.{table}", identity, tuple(columns))


def _change(kind: bytes, data: bytes) -> Change:
    (oid,) = struct.unpack_from(">I", data, 1)
    old, at = None, 5
    if data[at : at + 1] in (b"K", b"O"):
        old, at = _tuple(data, at + 1)
    new = None if kind == b"D" else _tuple(data, at + 1)[0]
    return Change(oid, old, new)


def _tuple(data: bytes, at: int) -> tuple[Tuple, int]:
    (count,) = struct.unpack_from(">H", data, at)
    at += 2
    values: list[bytes | None] = []
    for _ in range(count):
        kind, at = data[at], at + 1
        if kind == 0x74:  # t: text
            end = at + 4 + int.from_bytes(data[at : at + 4])
            values.append(data[at + 4 : end])
            at = end
        else:
            values.append(UNCHANGED if kind == 0x75 else None)
    return tuple(values), at


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(0, at)
    return data[at:end].decode(), end + 1
