"""HAProxy's runtime API: commands in, text out, over its stats socket, each with a time limit."""

from __future__ import annotations

import contextlib
import csv
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from runbook_lib.errors import ConfigurationError
from runbook_lib.traffic.changes import UNCHANGED

_PROMPT = b"\n> "
_LINE = 12_000  # bytes of one line of commands; HAProxy reads at most tune.bufsize (16,384)


@dataclass(frozen=True)
class RuntimeApi:
    """The stats socket: a path, or `host:port`."""

    address: str
    timeout_s: float = 5.0

    def ask(self, command: str) -> str:
        """The answer to one line of commands.

        Raises:
            ConfigurationError: nobody listens, or the answer did not end within `timeout_s`.
        """
        deadline, answer = time.monotonic() + self.timeout_s, bytearray()
        try:
            with self._connected() as line:
                line.sendall(command.encode() + b"\n")
                while True:
                    line.settimeout(max(0.001, deadline - time.monotonic()))
                    if not (part := line.recv(65_536)):
                        return answer.decode(errors="replace")
                    answer += part
        except TimeoutError as error:
            raise self.silent(f"no answer within {self.timeout_s:g} s") from error
        except OSError as error:
            raise self.silent(f"no answer: {error.strerror or error}") from error

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """A connection on which changes are made in the order in which they are given, however late they are read."""
        try:
            line = self._connected()
        except OSError as error:
            raise self.silent(f"no answer: {error.strerror or error}") from error
        with line:
            session = Session(self, line)
            session.send(["prompt"])
            yield session

    def table(self, command: str) -> Iterator[Mapping[str, str]]:
        """The rows of an answer whose header is the line that begins with `# `: by comma, else by blanks."""
        answer = self.ask(command)
        _, begun, rest = answer.partition("# ")  # a version may stand before it
        lines = [line for line in rest.splitlines() if line.strip()]
        if not begun:
            words = " ".join(answer.split())[:200] or "nothing"
            raise ConfigurationError(f"haproxy {self.address}", f"`{command}` was answered {words}", state=UNCHANGED)
        return csv.DictReader(lines, delimiter="," if "," in lines[0] else " ")

    def _connected(self) -> socket.socket:
        host, colon, port = self.address.rpartition(":")
        if colon and port.isdigit():
            return socket.create_connection((host, int(port)), self.timeout_s)
        line = socket.socket(socket.AF_UNIX)
        line.settimeout(self.timeout_s)
        try:
            line.connect(self.address)
        except OSError:
            line.close()
            raise
        return line

    def silent(self, observed: str) -> ConfigurationError:
        action = "is it started, and may this user use its stats socket?"
        return ConfigurationError(f"haproxy {self.address}", observed, action=action)


@dataclass
class Session:
    """Commands are given without waiting; each is answered with a prompt at last."""

    api: RuntimeApi
    line: socket.socket
    owed: int = 0  # prompts that have not come yet

    def carry_out(self, commands: Sequence[str]) -> None:
        """Give commands that answer nothing when they are carried out, and wait until they are.

        Raises:
            ConfigurationError: with HAProxy's words, or it did not answer in time: then they are read later, in order.
        """
        self.send(commands)
        if refusals := [words.strip() for words in self._wait().splitlines() if words.strip()]:
            raise ConfigurationError(f"haproxy {self.api.address}", f"refused the change: {refusals[0]}")

    def send(self, commands: Sequence[str]) -> None:
        """Give commands; one that goes in front of another is carried out before it."""
        try:
            for line in _lines(commands):
                self.line.sendall(line.encode() + b"\n")
            self.owed += len(commands)
        except OSError as error:
            raise self.api.silent(f"no answer: {error.strerror or error}") from error

    def _wait(self) -> str:
        """What was answered to all that was given and not yet waited for."""
        deadline, answer = time.monotonic() + self.api.timeout_s, b""
        try:
            while answer.count(_PROMPT) < self.owed:
                self.line.settimeout(max(0.001, deadline - time.monotonic()))
                if not (part := self.line.recv(65_536)):
                    raise self.api.silent("the connection was closed")
                answer += part
        except TimeoutError as error:
            self.owed -= answer.count(_PROMPT)
            raise self.api.silent(f"no answer within {self.api.timeout_s:g} s") from error
        except OSError as error:
            raise self.api.silent(f"no answer: {error.strerror or error}") from error
        self.owed = 0
        return answer.replace(_PROMPT, b"\n").decode(errors="replace")


def _lines(commands: Sequence[str]) -> Iterator[str]:
    """The commands, as many to a line as HAProxy reads: those of a line are carried out at once."""
    line = ""
    for command in commands:
        if line and len(line) + len(command) > _LINE:
            yield line
            line = ""
        line = f"{line}; {command}" if line else command
    if line:
        yield line
