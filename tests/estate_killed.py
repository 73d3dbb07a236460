"""Processes that kill themselves at a chosen call, forked from one that has imported everything already."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# The moments of a cutover and of a return, in their order.
EVENTS = (
    "fence requested",
    "writes rejected",
    "final sync done",
    "last keys verified",
    "sequences set",
    "traffic switched",
    "writers let in at the new side",
)
TESTS = Path(__file__).parent
_SERVER = """
import importlib, json, os, sys
module = importlib.import_module(sys.argv[1])
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            module.carry_out(json.loads(line))
        finally:
            os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def killed_at(point: str) -> dict[str, str]:
    """The environment of a process that ends there, and of those that it starts."""
    known = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    path = os.pathsep.join([str(TESTS / "killed"), str(TESTS), *known])
    return {**os.environ, "TEST_CRASH_AT": point, "PYTHONPATH": path}


def die_where_told() -> None:
    """This process ends at the point TEST_CRASH_AT; "before:7" is before its 7th entry of the journal."""
    wanted, appends = os.environ.get("TEST_CRASH_AT", ""), [0]
    moment, _, number = wanted.partition(":")

    def die(point: str) -> None:
        appends[0] += point == "before append"
        counted = point == f"{moment} append" and str(appends[0]) == number
        if counted or point == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    if wanted:
        from runbook_lib.util.points import observers

        observers.append(die)


@contextmanager
def killer(module: str) -> Iterator[subprocess.Popen[str]]:
    """A process whose children run `carry_out` of a module in tests/crash."""
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS / 'crash'}"}
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", _SERVER, module], env=environment, **pipes) as process:
        yield process
        process.stdin.close()  # type: ignore[union-attr]


def carry_out_and_die(process: Any, order: dict[str, Any]) -> None:
    """Give an order, and see that it ended by SIGKILL."""
    process.stdin.write(f"{json.dumps(order)}\n")
    process.stdin.flush()
    assert process.stdout.readline() == f"{-signal.SIGKILL}\n"


def arm(database: Any, method: str, moment: str, number: int) -> None:
    """Let this process kill itself before, within or after the number-th call of a method."""
    original, calls = getattr(database, method), [0]

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def cut(blocks: Iterator[bytes]) -> Iterator[bytes]:
        yield next(blocks)
        die()

    def call(*args: Any, **options: Any) -> Any:
        calls[0] += 1
        due = calls[0] == number
        if due and moment == "before":
            die()
        if due and moment == "within" and method == "run_script":  # where each statement commits by itself
            original(args[0].split(";\n", 1)[0] + ";")
            die()
        if due and moment == "within":
            args = (*args[:2], cut(args[2]), *args[3:])
        result = original(*args, **options)
        if due and moment == "after":
            die()
        return result

    setattr(database, method, call)
