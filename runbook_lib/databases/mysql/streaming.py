"""A PyMySQL connection that streams a one-column result as bytes, and feeds LOAD DATA from an iterator.

PyMySQL builds three objects a row; here a row is one slice of the socket's buffer (figures: docs/decisions/0022). A
server may ask any client with LOCAL INFILE for any file: this one only ever sends the blocks it was given.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

from pymysql import err
from pymysql.connections import Connection as PyMySQLConnection
from pymysql.constants import COMMAND, CR
from pymysql.protocol import OKPacketWrapper

BLOCK_BYTES = 64 * 1024
_READ_BYTES = 256 * 1024
_SEND_BYTES = 1024 * 1024  # far below every max_allowed_packet
_LONGEST = 0xFFFFFF  # a payload of this size continues in the next packet

_plain: list[ssl.SSLContext] = []


class Connection(PyMySQLConnection):
    """One connection with the LOCAL INFILE capability, which only `load` can use."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(local_infile=True, **arguments)
        self._local_infile = False  # negotiated; every other statement that is asked for a file is refused

    def _create_ssl_ctx(self, sslp: Any) -> ssl.SSLContext:
        """One for all connections without options of their own: reading every certificate takes 22 ms of CPU."""
        if sslp or not _plain:
            made: ssl.SSLContext = super()._create_ssl_ctx(sslp)  # type: ignore[misc]  # the stubs leave it out
            if sslp:
                return made
            _plain.append(made)
        return _plain[0]

    def _get_server_information(self) -> None:
        """As PyMySQL, within the connect timeout: at PostgreSQL's port both sides wait for the other to speak."""
        whole, self._read_timeout = self._read_timeout, self.connect_timeout
        try:
            super()._get_server_information()  # type: ignore[misc]  # not in its stub
        except err.OperationalError as error:
            if error.args[0] != CR.CR_SERVER_LOST:
                raise
            silent = f"no greeting of a MySQL or MariaDB server within {self.connect_timeout} s"
            raise err.OperationalError(CR.CR_SERVER_LOST, silent) from error
        finally:
            self._read_timeout = whole

    # Parts of PyMySQL that its type stubs leave out; the version is pinned, tests/contract holds them to it.
    _execute_command: Any
    _read_timeout: float | None
    connect_timeout: float
    _read_packet: Any
    _rfile: Any
    server_version: str

    def stream(self, sql: str) -> Iterator[bytes]:
        """Run a query of one column and yield its rows, each with a line feed, in blocks of about 64 KiB.

        Raises:
            DataError: a row is longer than the server's max_allowed_packet.
        """
        self._execute_command(COMMAND.COM_QUERY, sql)
        first = self._read_packet()
        for _ in range(first.read_length_encoded_integer() + 1):  # the column's description, and the end of it
            self._read_packet()
        buffer, done = b"", False
        rows: list[bytes] = []
        size = 0
        while not done:
            chunk = self._rfile.read1(_READ_BYTES)
            if not chunk:
                raise err.OperationalError(CR.CR_SERVER_LOST, "lost connection to the server during a query")
            found, buffer, done = _split(buffer + chunk)
            rows += found
            size += len(chunk)
            if size >= BLOCK_BYTES and rows:
                yield b"\n".join([*rows, b""])
                rows, size = [], 0
        if rows:
            yield b"\n".join([*rows, b""])

    def load(self, sql: str, blocks: Iterator[bytes]) -> tuple[int, int]:
        """Run LOAD DATA LOCAL INFILE with these blocks as the file: the rows and the warnings (counts).

        When the iterator fails the statement is ended and the error is passed on: the caller rolls back.
        """
        self._execute_command(COMMAND.COM_QUERY, sql)
        packet = self._read_packet()
        if not packet.is_load_local_packet():
            raise err.OperationalError(CR.CR_COMMANDS_OUT_OF_SYNC, "the server did not ask for the rows")
        try:
            for block in blocks:
                for start in range(0, len(block), _SEND_BYTES):
                    self.write_packet(block[start : start + _SEND_BYTES])
        finally:
            self.write_packet(b"")
            answer = OKPacketWrapper(self._read_packet())
        return int(answer.affected_rows), int(answer.warning_count)


def _split(buffer: bytes) -> tuple[list[bytes], bytes, bool]:
    """Rows in the buffer, what is left of it, and whether the result has ended."""
    rows: list[bytes] = []
    position, end = 0, len(buffer)
    while end - position >= 4:
        size = buffer[position] | buffer[position + 1] << 8 | buffer[position + 2] << 16
        after = position + 4 + size
        if after > end:
            break
        kind = buffer[position + 4]
        if size == _LONGEST:
            payload, after = _joined(buffer, position)
            if not after:
                break
            rows.append(_value(payload))
        elif kind < 251:
            rows.append(buffer[position + 5 : after])
        elif kind == 252:
            rows.append(buffer[position + 7 : after])
        elif kind == 254 and size < 9:
            return rows, b"", True
        elif kind == 255:
            err.raise_mysql_exception(buffer[position + 4 : after])
        else:
            rows.append(_value(buffer[position + 4 : after]))
        position = after
    return rows, buffer[position:], False


def _joined(buffer: bytes, position: int) -> tuple[bytes, int]:
    """A payload that spans packets, and where it ends; 0 while it is not complete."""
    parts: list[bytes] = []
    while len(buffer) - position >= 4:
        size = int.from_bytes(buffer[position : position + 3], "little")
        after = position + 4 + size
        if after > len(buffer):
            break
        parts.append(buffer[position + 4 : after])
        position = after
        if size < _LONGEST:
            return b"".join(parts), after
    return b"", 0


def _value(payload: bytes) -> bytes:
    """The one value of a row, whose length is written in front of it."""
    if payload[0] == 251:  # NULL, which our rows never are by themselves
        raise err.DataError(1301, "a row is longer than the server's max_allowed_packet")
    return payload[{252: 3, 253: 4, 254: 9}.get(payload[0], 1) :]
