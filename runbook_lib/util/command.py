"""A command as it is written: a line or a list, with placeholders in braces; run to its end, never by a shell."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import signal
import string
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from runbook_lib.util.child_process import tied, why_not_started
from runbook_lib.util.redact import mask

_KEPT = 100_000  # bytes of each output


def split(given: str | Sequence[object]) -> tuple[str, ...]:
    """Its parts. ValueError: a quote that is not closed, or no program."""
    parts = tuple(shlex.split(given)) if isinstance(given, str) else tuple(map(str, given))
    if not parts:
        raise ValueError("names no program")
    return parts


def unknown_placeholders(parts: Sequence[str], known: Sequence[str]) -> list[str]:
    """Those that nothing fills, sorted. ValueError: a brace that is not closed."""
    used = {key for part in parts for _, key, _, _ in string.Formatter().parse(part) if key is not None}
    return sorted(used - set(known))


@dataclass(frozen=True)
class CommandResult:
    """How a command ended; `problem`: why it has no exit status. The outputs are as they came: `said` is for people."""

    status: int = -1
    output: str = ""
    complaint: str = ""
    problem: str = ""

    @property
    def passed(self) -> bool:
        """It ran, and its exit status is 0."""
        return not self.problem and self.status == 0

    def said(self) -> str:
        """The exit status and the last lines, or why there is none; secrets masked."""
        last = " | ".join(mask(self.complaint or self.output).strip().splitlines()[-3:]) or "no output"
        return self.problem or f"exit status {self.status}: {last[-400:]}"


def run(arguments: Sequence[str], root: Path, timeout_s: float, *, dies_with_us: bool = False) -> CommandResult:
    """Run a command in a process group of its own, which is ended when it takes longer.

    Args:
        root: Its working directory.
        timeout_s: How long it may take (seconds).
        dies_with_us: End it where we are killed ourselves; what it has left behind then, is no longer ours.
    """
    try:
        argv = tied([_found(arguments[0], root), *arguments[1:]], signal.SIGKILL) if dies_with_us else list(arguments)
        # Files, not pipes: what the command leaves behind may keep its output open for ever.
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as complaint:
            status = _exit_status(argv, root, timeout_s, output, complaint)
            return CommandResult(status, _text(output), _text(complaint))
    except subprocess.TimeoutExpired:
        return CommandResult(problem=f"not finished after {timeout_s:g} s; it was ended")
    except OSError as error:
        return CommandResult(problem=f"{arguments[0]}: {why_not_started(error, arguments[0])}")


def _found(program: str, root: Path) -> str:
    path = str(root / program) if os.sep in program else shutil.which(program)
    if path is None or not Path(path).exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return path


def _exit_status(argv: list[str], root: Path, timeout_s: float, output: IO[bytes], complaint: IO[bytes]) -> int:
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=output, stderr=complaint, cwd=root, start_new_session=True
    )
    try:
        return process.wait(timeout_s)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def _text(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _KEPT))
    return output.read().decode(errors="replace")
