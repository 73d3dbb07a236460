"""Relay a range from server to server: the reader's COPY stream goes down the writer's socket as it comes.

Both directions of the protocol frame a row alike, so nothing needs to be taken apart; libpq would hand out a row a
call (figures: docs/decisions/0040). libpq only logs in: with TLS the bytes are its own, and there is no relay.

Whatever is not as expected (an error, a notice, other counts of rows on the two sides) breaks both sessions off before
the mark is made; the ordinary way then says what is wrong.
"""

from __future__ import annotations

import os
import re
import secrets
import select
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runbook_lib.databases.port import KeyRange, Selection
from runbook_lib.databases.postgresql import copy

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

_BLOCK_BYTES = 256 * 1024
_HELD_BYTES = 256  # longer than what follows the rows
_ENOUGH_BYTES = 64 * 1024  # a server sends 8 KiB at a time: waking up for each costs more than passing it on
_WAIT_MS = 5  # for so much to come; the end of a range is shorter
_STUCK_S = 600.0
_IDLE_IN_TRANSACTION, _DONE = b"T", b"c\0\0\0\x04"


class RelayFailed(Exception):
    """The relay did not work out; nothing was committed."""


def relay(
    db: PostgreSQLPort,
    there: PostgreSQLPort,
    selection: Selection,
    key_range: KeyRange,
    table: str,
    columns: Sequence[str],
    progress: tuple[str, Mapping[str, Any]],
) -> int:
    """Move one range in binary; the rows written.

    Raises:
        Broken: it did not work out.
        RowRejected, TransferError, DatabaseError: as `copy_in`.
    """
    query = copy.reading(there, selection, key_range, binary=True)
    with there.sessions.borrowed() as reader:

        def send(writer: Any, into: str) -> int:
            try:
                with _socket(reader) as source, _socket(writer) as target:
                    return _relay(source, query, target, into)
            except (OSError, RelayFailed) as error:
                writer.end()  # in the middle of a message: nothing else can be said on it
                raise RelayFailed(str(error)) from error

        return copy.write(db, table, columns, send, binary=True, progress=[progress])


@contextmanager
def _socket(driver: Any) -> Iterator[socket.socket]:
    """The session's own socket."""
    if driver.pgconn.ssl_in_use:  # nothing may leave in the clear, should this one session differ from the others
        raise RelayFailed("the session is encrypted")
    with socket.socket(fileno=os.dup(driver.pgconn.socket)) as found:
        found.settimeout(_STUCK_S)  # libpq's descriptor stays non-blocking, as it needs it
        yield found


def encrypted(db: PostgreSQLPort) -> bool:
    """Whether its sessions are encrypted by libpq (TLS, Kerberos), so that their bytes are not ours."""
    if "encrypted" not in db.memo:
        asked = (
            "SELECT coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)"
            " OR coalesce((SELECT encrypted FROM pg_stat_gssapi WHERE pid = pg_backend_pid()), false)"
        )
        [(db.memo["encrypted"],)] = db.rows(asked)
    return bool(db.memo["encrypted"])


def _relay(source: socket.socket, query: str, target: socket.socket, into: str) -> int:
    word = secrets.token_hex(16).encode()  # no row can hold it
    # What ends the stream: CopyDone, the count, and the answer to a second query, to be exact about where it ends.
    end = re.compile(
        rb"(?:c\0\0\0\x04C\0\0\0.COPY (\d+)\0Z\0\0\0\x05IT.{37})?%sC\0\0\0\rSELECT 1\0Z\0\0\0\x05I\Z" % word,
        re.DOTALL,
    )
    _ask(target, into)
    _expect(target, b"G")
    _ask(source, query)
    _ask(source, f"SELECT '{word.decode()}' AS w")
    _expect(source, b"H")
    count = _pass_on(source, target, end)
    target.sendall(_DONE)
    written = int(_expect(target, b"C").removeprefix(b"COPY ").rstrip(b"\0"))
    if _expect(target, b"Z") != _IDLE_IN_TRANSACTION or written != count:
        raise RelayFailed(f"{written} rows written, {count} read")
    return written


def _pass_on(source: socket.socket, target: socket.socket, end: re.Pattern[bytes]) -> int:
    """Everything up to the end, the last bytes held back; the rows, as the reader's server counted them."""
    buffer, held, wait_ms = bytearray(_HELD_BYTES + _BLOCK_BYTES), 0, _WAIT_MS
    ready = select.poll()
    ready.register(source, select.POLLIN)
    ready.register(target, select.POLLIN)
    with memoryview(buffer) as view, _in_bulk(source):
        while True:
            if any(descriptor == target.fileno() for descriptor, _ in ready.poll(wait_ms)):
                raise RelayFailed("the writer's server broke off")
            try:
                got = source.recv_into(view[held:])
            except BlockingIOError:
                wait_ms = min(2 * wait_ms, 100)
                continue
            if not got:
                raise RelayFailed("the reader's server is gone")
            size, wait_ms = held + got, _WAIT_MS
            found = end.search(buffer, max(0, size - _HELD_BYTES), size)
            if found and not found[1]:
                raise RelayFailed("the reader's server broke off")
            rest = found.start() if found else max(0, size - _HELD_BYTES)
            target.sendall(view[:rest])
            if found:
                return int(found[1])
            buffer[: size - rest] = buffer[rest:size]
            held = size - rest


@contextmanager
def _in_bulk(source: socket.socket) -> Iterator[None]:
    """Only so many bytes wake us up; reading never waits."""
    before = source.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)
    source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, _ENOUGH_BYTES)
    source.setblocking(False)
    try:
        yield
    finally:
        source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, before)


def _ask(server: socket.socket, statement: str) -> None:
    text = statement.encode() + b"\0"
    server.sendall(b"Q" + (len(text) + 4).to_bytes(4, "big") + text)


def _expect(server: socket.socket, kind: bytes) -> bytes:
    """The body of the server's next message, which has to be of this kind."""
    head = _exactly(server, 5)
    body = _exactly(server, int.from_bytes(head[1:], "big") - 4)
    if head[:1] != kind:
        raise RelayFailed(f"message {head[:1]!r} instead of {kind!r}")
    return body


def _exactly(server: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = server.recv(size - len(found))
        if not more:
            raise RelayFailed("a server is gone")
        found += more
    return found
