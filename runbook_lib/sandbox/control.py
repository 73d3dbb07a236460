"""The estate's control line: `python -m runbook_lib.sandbox.control [--directory DIR] COMMAND NAME`.

Commands: `start | stop | drain | status | inject | deploy | upgrade | backup | restore | version`. NAME: `monolith`,
`user_service@source`, `user_service@target` (the same for the others), `user_service-1` of a fleet, `client`, or empty
for all (`status`). Out comes one line: of the last four commands a word (a release, a backup's name), else JSON. Exit
status 0 done, 1 the service says no (not healthy, not running), 2 could not ask.

Services started this way are children of the estate, so nothing outlives it.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

from runbook_lib.errors import ConfigurationError, RunbookError

DEFAULT_DIRECTORY = Path(".runbook/demo")
TIMEOUT_S = 60.0
COMMANDS = ("start", "stop", "drain", "status", "inject", "deploy", "upgrade", "backup", "restore", "version")


def socket_path(directory: Path) -> str:
    """Where the estate listens, absolute or relative, whichever is shorter: the kernel allows 107 bytes."""
    path = directory.resolve() / "control.sock"
    return min(str(path), os.path.relpath(path), key=len)


def ask(directory: Path, **request: Any) -> dict[str, Any]:
    """Send one command to the estate in `directory` and return its answer.

    Raises:
        ConfigurationError: no estate runs there.
    """
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(TIMEOUT_S)
        try:
            line.connect(socket_path(directory))
        except OSError as error:
            raise ConfigurationError(
                f"estate in {directory}", "not running", action="runbook demo, or python -m runbook_lib.sandbox.estate"
            ) from error
        line.sendall(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads(line.makefile("rb").readline() or b'{"ok": false, "error": "no answer"}')
    return answer


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; `NAME --database source` is the same as `NAME@source`."""
    parser = argparse.ArgumentParser(prog="python -m runbook_lib.sandbox.control")
    parser.add_argument("--directory", type=Path, default=DEFAULT_DIRECTORY)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("--shape", choices=["monolith", "services"])
    parser.add_argument("--database", choices=["source", "target"])
    parser.add_argument("--version", help="of `upgrade`")
    parser.add_argument("--reference", help="of `restore`")
    parser.add_argument("--error-rate", type=float, help="share of requests answered 500 (0-1)")
    parser.add_argument("--latency", type=float, help="added to every request (seconds)")
    options = parser.parse_args(arguments)
    if options.database and "@" not in options.name and options.name != "monolith":
        options.name += f"@{options.database}"
    if not options.name and options.command != "status":
        parser.error("NAME is missing")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Ask, print one line, return the exit status."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    request = {"command": options.command, "name": options.name, "shape": options.shape}
    request |= {"version": options.version, "reference": options.reference}
    request |= {"error_rate": options.error_rate, "latency_s": options.latency}
    try:
        answer = ask(options.directory, **request)
    except (RunbookError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{answer['text'] if 'text' in answer else json.dumps(answer)}\n")
    if not answer["ok"]:
        sys.stderr.write(f"{answer.get('error', 'refused')}\n")
    return 0 if answer["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
