"""The sample application's tests: `python -m runbook_lib.sandbox.acceptance INVENTORY`.

Asks blue and green the same questions, past the router, and compares the answers; it writes nothing. Both are in use
meanwhile: a row whose answers differ is asked for again, until green has what blue has, or `SETTLED_S` is over.
Exit status 0: all answers are equal; 1: some are not; 2: somebody did not answer.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runbook_lib.plan.yaml_value import read_file

ROWS = 20  # of each kind; they exist at every scale of the demo
SETTLED_S = 10.0
BLUE = "monolith"
_PATHS = {
    "user_service": ("/api/users/{id}", "/api/users/{id}/preferences"),
    "order_service": ("/api/orders/{id}",),
    "payment_service": ("/api/payments/{id}",),
}
Answer = tuple[int, Any]


def questions() -> Iterator[tuple[str, str]]:
    """Service and path, of every question."""
    for service, paths in _PATHS.items():
        for path in paths:
            for number in range(1, ROWS + 1):
                yield service, path.format(id=number)


def differences(urls: Mapping[str, str]) -> list[str]:
    """Paths that blue and green answer differently, with both answers.

    Raises:
        OSError: one of them does not answer.
    """
    found = []
    for service, path in questions():
        deadline = time.monotonic() + SETTLED_S
        blue, green = _ask(urls[BLUE] + path), _ask(urls[f"{service}@target"] + path)
        while blue != green and time.monotonic() < deadline:
            time.sleep(0.05)
            blue, green = _ask(urls[BLUE] + path), _ask(urls[f"{service}@target"] + path)
        if blue != green:
            found.append(f"{path}: blue {blue}, green {green}")
    return found


def _ask(url: str) -> Answer:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  of the inventory
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, None


def main() -> int:
    """Ask, tell, return the exit status."""
    services = read_file(Path(sys.argv[1]), "inventory").plain()["services"]
    try:
        found = differences({name: entry["url"] for name, entry in services.items()})
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for line in found:
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{len(found)} of {sum(1 for _ in questions())} answers differ\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
