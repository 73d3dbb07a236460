"""What nobody foresaw: one line for the person, the traceback in a file of its own that only its owner can read.

No secret is in the file: passwords in URLs, `password=…` pairs, and every secret that this process looked up are
masked, and the values of variables are not written at all.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import traceback
from datetime import UTC, datetime
from pathlib import Path

from runbook_lib.util.redact import mask

LONGEST = 300  # of the line; the file has all of it


def is_ours(error: BaseException) -> bool:
    """Whether the error came out of this library, and not out of a line that somebody wrote in a cell."""
    package = str(Path(__file__).resolve().parents[1]) + os.sep
    frames = [frame for one in _chain(error) for frame, _ in traceback.walk_tb(one.__traceback__)]
    return any(frame.f_code.co_filename.startswith(package) for frame in frames)


def report_line(error: BaseException) -> str:
    """Write the report, and say in one line what happened and where the report is."""
    words = mask(" ".join(str(error).split())) or "no message"
    words = words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"
    where = _written(error)
    kept = f"the report is in {where}" if where else "no report could be written"
    return (
        f"unexpected: {type(error).__name__}: {words}; what was committed stays, and the same command resumes;"
        f" {kept}. Next: put right what the message names and run it again; if it is our fault, send us the report"
    )


def _written(error: BaseException) -> Path | None:
    """The file, in `.runbook` where the project has one, else among the temporary files; None: neither can be had."""
    from runbook_lib.util.version import version_text

    head = [
        f"runbook-lib {version_text()}, Python {platform.python_version()}, {platform.platform()}",
        f"at {datetime.now(UTC).isoformat(timespec='seconds')}",
        f"command: {' '.join(sys.argv)}",
        "",
    ]
    text = mask("\n".join(head) + "\n" + "".join(traceback.format_exception(error)))
    folder = Path(".runbook")
    for place in ([folder] if folder.is_dir() else []) + [Path(tempfile.gettempdir())]:
        try:
            handle, name = tempfile.mkstemp(".txt", "fault-", place)  # mode 0600
        except OSError:
            continue
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        return Path(name)
    return None


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
