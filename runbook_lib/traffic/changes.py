"""What every router's change begins with: the request is judged before anything is written, one change at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from runbook_lib.errors import ConfigurationError
from runbook_lib.traffic.port import READS, WRITES, RouteState

Weights = Mapping[str, Mapping[str, int]]
UNCHANGED = "nothing was changed"


def refuse_wrong(changes: Weights, routes: Collection[str], backends: Collection[str]) -> None:
    """Raise ConfigurationError for a name that the router does not have, a wrong sum, or writes with two homes."""
    for route, weights in changes.items():
        require_known("route", route, routes)
        for backend in weights:
            require_known("backend", backend, backends)
        if sum(weights.values()) != 100 or any(weight < 0 for weight in weights.values()):
            raise refused(route, f"weights {dict(weights)}", "percentages from 0 that add up to 100")
        if route.endswith(WRITES) and 100 not in weights.values():
            raise refused(route, f"weights {dict(weights)}", "one backend at 100: writes have one home")


def refuse_wrong_homes(homes: Mapping[str, str], routes: Collection[str], backends: Collection[str]) -> None:
    """Raise ConfigurationError for a route or backend that the router does not have; an empty backend is none."""
    for route, backend in homes.items():
        require_known("route", route, routes)
        if backend:
            require_known("backend", backend, backends)


def refuse_copied_writes(copies: Mapping[str, str]) -> None:
    """Raise ConfigurationError for a route of writes among those to be mirrored: each would be carried out twice."""
    for route, backend in copies.items():
        if backend and not route.endswith(READS):
            raise refused(route, f"to be mirrored to {backend}", "a route of reads: a write would be carried out twice")


def refuse_in_use(backend: str, states: Mapping[str, RouteState]) -> None:
    """Raise ConfigurationError when a route still sends this backend something."""
    for name, state in states.items():
        if name.endswith((READS, WRITES)) and state.weights.get(backend):
            observed = f"{name} sends it {state.weights[backend]} %"
            raise refused(backend, observed, "no weight", "set_weights to another first")
        if backend in (state.testers, state.mirror):
            what = "its testers" if state.testers == backend else "a copy of its requests"
            raise refused(backend, f"{name} sends it {what}", "no request", "send_testers or mirror to none first")


def require_known(what: str, name: str, names: Collection[str]) -> None:
    """Raise ConfigurationError for a name that is not one of these."""
    if name not in names:
        raise refused(name, f"no such {what}", ", ".join(sorted(names)))


def refused(subject: str, observed: str, expected: str, action: str = "") -> ConfigurationError:
    """The error of a change that was not begun."""
    return ConfigurationError(subject, observed, expected=expected, state=UNCHANGED, action=action)


@contextlib.contextmanager
def one_at_a_time(directory: Path, setting: str) -> Iterator[None]:
    """Keep other changes on this machine out: read, change and write belong together.

    Args:
        directory: Where the router's files are.
        setting: The inventory's key that names it, for the message.
    """
    try:
        handle = os.open(directory, os.O_RDONLY)
    except OSError as error:
        observed = f"cannot be read: {error.strerror}"
        raise ConfigurationError(str(directory), observed, action=f"correct router.{setting}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def write_durably(path: Path, text: str) -> None:
    """Replace a file in one rename, on the disk before anybody can see it; ConfigurationError when it cannot be."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new_")
        with os.fdopen(handle, "w") as output:
            output.write(text)
            output.flush()
            os.fsync(output.fileno())
        Path(temporary).chmod(0o644)  # the router may run as another user; addresses are no secret
        Path(temporary).replace(path)
    except OSError as error:
        raise refused(str(path), f"cannot be written: {error.strerror}", "a folder that this user may write") from error


def wait(reached: Callable[[], bool], timeout_s: float, poll_s: float, complaint: Callable[[], str], name: str) -> None:
    """Ask until it is so, or raise ConfigurationError with the complaint after `timeout_s` (seconds)."""
    deadline = time.monotonic() + timeout_s
    while not reached():
        if time.monotonic() > deadline:
            raise ConfigurationError(name, f"{complaint()} after {timeout_s:g} s", action=f"read {name}'s log")
        time.sleep(poll_s)
