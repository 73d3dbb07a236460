"""Tell people: a line in a file, a POST to a webhook, a command's standard input, a service that apprise knows.

    team:  {kind: webhook, url: "env:TEAM_WEBHOOK"}
    log:   {kind: file, path: .runbook/notices.txt}
    pager: {kind: command, command: [pager, "--high"]}
    chat:  {kind: apprise, url: "env:CHAT_URL"}   # any of the services that apprise knows: slack://…, mailto://…

A target that fails never fails the run: the delivery says so, and the run reports it.
"""

from __future__ import annotations

import json
import logging
import shlex
import subprocess
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runbook_lib.display.html_table import html_table
from runbook_lib.errors import ConfigurationError, RunbookError
from runbook_lib.util import extras
from runbook_lib.util.child_process import why_not_started
from runbook_lib.util.http import fetch
from runbook_lib.util.redact import mask
from runbook_lib.verdict import Outcome

TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Notice:
    """What people are notified of.

    Attributes:
        event: Short and stable, e.g. `cutover_started`, `rollback_trigger`, `gate_failed`.
        text: One line for people.
        data: Figures for machines.
    """

    event: str
    text: str
    environment: str = ""
    run_id: str = ""
    phase: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """The notice as a person reads it; `text` is the key that chat webhooks show."""
        where = " ".join(part for part in (self.environment, self.run_id, self.phase) if part)
        return mask(f"[{where}] {self.event}: {self.text}" if where else f"{self.event}: {self.text}")

    def as_json(self) -> bytes:
        """The body that webhooks and commands get, secrets masked."""
        body = {**asdict(self), "at": datetime.now(UTC).isoformat(timespec="seconds"), "text": self.line()}
        return json.dumps(_masked(body), default=str).encode()


@dataclass(frozen=True)
class Delivery:
    """How one target took a notice; `problem` is empty when it did."""

    target: str
    kind: str
    elapsed_s: float
    problem: str = ""

    @property
    def delivered(self) -> bool:
        """Whether the target took it."""
        return not self.problem


@dataclass(frozen=True)
class Deliveries:
    """How every target took a notice."""

    notice: Notice
    deliveries: tuple[Delivery, ...]

    @property
    def failed(self) -> tuple[Delivery, ...]:
        """The deliveries that did not arrive."""
        return tuple(one for one in self.deliveries if not one.delivered)

    def as_dict(self) -> dict[str, Any]:
        """JSON for the journal; no address of a target is in it."""
        return {"event": self.notice.event, "deliveries": [asdict(one) for one in self.deliveries]}

    def _repr_html_(self) -> str:
        outcome = Outcome.COULD_NOT_RUN if self.failed or not self.deliveries else Outcome.PASS
        rows = [(one.target, one.kind, one.problem or "delivered") for one in self.deliveries]
        return html_table(self.notice.line(), outcome, ("target", "kind", ""), rows)


def notify(notice: Notice, targets: Mapping[str, Mapping[str, Any]], root: Path) -> Deliveries:
    """Tell every target, one after the other; at most 10 seconds each.

    Args:
        targets: Name → settings, references resolved (`Environment.notify_targets()`).
        root: The project's root: files and commands are relative to it.
    Returns:
        Deliveries: never raises for a target that fails.
    """
    return Deliveries(notice, tuple(_deliver(notice, name, settings, root) for name, settings in targets.items()))


def _deliver(notice: Notice, name: str, settings: Mapping[str, Any], root: Path) -> Delivery:
    kind, begun, problem = str(settings.get("kind", "")), time.perf_counter(), ""
    try:
        if kind == "file":
            _to_file(notice, root / _setting(name, settings, "path"))
        elif kind == "webhook":
            _to_webhook(notice, _setting(name, settings, "url"), settings.get("headers") or {})
        elif kind == "command":
            _to_command(notice, _setting(name, settings, "command"), root)
        elif kind == "apprise":
            _to_apprise(notice, _setting(name, settings, "url"))
        else:
            problem = f"unknown kind {kind!r}; expected file, webhook, command or apprise"
    except RunbookError as error:
        problem = error.observed  # without its subject: a webhook's address is often its secret
    except subprocess.TimeoutExpired:
        problem = f"the command took over {TIMEOUT_S:g} s and was ended"
    except OSError as error:
        problem = error.strerror or type(error).__name__
    return Delivery(name, kind, round(time.perf_counter() - begun, 3), mask(problem))


def _masked(value: Any) -> Any:
    """The same JSON with every text masked; masking the JSON's own text could break it."""
    if isinstance(value, Mapping):
        return {key: _masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(item) for item in value]
    return mask(value) if isinstance(value, str) else value


def _setting(name: str, settings: Mapping[str, Any], key: str) -> Any:
    if not settings.get(key):
        raise ConfigurationError(f"notify.{name}", f"has no {key}", action="add it to the inventory")
    return settings[key]


def _to_file(notice: Notice, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    with path.open("a", encoding="utf-8") as output:
        output.write(f"{at} {' '.join(notice.line().split())}\n")


def _to_webhook(notice: Notice, url: str, headers: Mapping[str, str]) -> None:
    sent = {"content-type": "application/json", **headers}
    answer = fetch(url, method="POST", body=notice.as_json(), headers=sent, timeout_s=TIMEOUT_S, use_proxy=True)
    if not 200 <= answer.status < 300:
        raise ConfigurationError("webhook", f"HTTP {answer.status}: {answer.text(100)}")


def _to_command(notice: Notice, command: str | Sequence[str], root: Path) -> None:
    try:
        arguments = shlex.split(command) if isinstance(command, str) else [str(part) for part in command]
    except ValueError as error:
        raise ConfigurationError("command", f"cannot be read: {error}") from error
    if not arguments:
        raise ConfigurationError("command", "names no program")
    try:
        done = subprocess.run(
            arguments, input=notice.as_json(), cwd=root, capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except OSError as error:
        raise ConfigurationError("command", why_not_started(error, arguments[0])) from error
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise ConfigurationError("command", f"exit status {done.returncode}: {' '.join(last) or 'no message'}")


def _to_apprise(notice: Notice, url: str) -> None:
    """A refusal names the service only: what apprise logs about it may hold parts of the address."""
    extras.require("kind: apprise", "notify", state="the others were told")
    import apprise

    log = logging.getLogger("apprise")
    before, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of what it imports with Python 3.11: imghdr
            service = apprise.Apprise()
            if not service.add(url):
                raise ConfigurationError("apprise", "its url is none that apprise knows", expected="SERVICE://…")
            if not service.notify(title=f"{notice.environment} {notice.event}".strip(), body=notice.line()):
                raise ConfigurationError("apprise", f"{service[0].service_name} did not take it")
    finally:
        log.disabled = before
