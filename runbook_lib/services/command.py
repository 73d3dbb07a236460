"""A service run by commands from the inventory: systemd, docker, kubectl, ssh or the demo's own alike.

user_service:
  url: http://127.0.0.1:15431
  health: /health                              # or {path: /health, status: 200, timeout_s: 2}
  start: "{python} -m tool start {name}"       # a line or a list; never given to a shell
  stop: [systemctl, stop, "{name}"]
  status: [systemctl, is-active, "{name}"]     # optional; without it: does anything answer at `url`?
  timeout_s: 60                                # of each command, and of reaching the state after it

The instances of a fleet (`config.fleets`) have the fleet's commands, and placeholders of their own.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runbook_lib.errors import ConfigurationError
from runbook_lib.services.port import COMMANDS, PLACEHOLDERS, Health, ServiceController
from runbook_lib.util.command import CommandResult, run, split, unknown_placeholders
from runbook_lib.util.http import fetch
from runbook_lib.util.redact import mask

_SETTINGS = {"url", "health", "timeout_s", "values", *COMMANDS}
_TIED = ("backup", "upgrade", "rollback", "restore")  # a half of one is done again: it must not go on beside that
_POLL_S = 0.05


@dataclass(frozen=True)
class HealthCheck:
    """The question: GET `path`, answered with `status` within `timeout_s` (seconds)."""

    path: str = "/health"
    status: int = 200
    timeout_s: float = 2.0


def open_service(name: str, settings: Mapping[str, Any], root: Path) -> ServiceController:
    """The controller of one service of the inventory.

    Args:
        name: The service's name there.
        settings: Its entry; see the module.
        root: The project's root: the commands' working directory.
    Raises:
        ConfigurationError: an unknown setting or placeholder, or no `url`.
    """
    subject = f"service {name}"
    if unknown := sorted(settings.keys() - _SETTINGS):
        raise ConfigurationError(
            subject, f"unknown setting {unknown[0]!r}", expected=f"one of {', '.join(sorted(_SETTINGS))}"
        )
    if not settings.get("url"):
        raise ConfigurationError(subject, "has no url", action="add it to the inventory")
    values: Mapping[str, str] = settings.get("values", {})
    commands = {what: _template(subject, what, settings[what], values) for what in COMMANDS if settings.get(what)}
    check = _health_check(subject, settings.get("health", "/health"))
    url, timeout_s = str(settings["url"]).rstrip("/"), float(settings.get("timeout_s", 60))
    return CommandService(name, url, commands, check, timeout_s, root, values)


def _health_check(subject: str, given: str | Mapping[str, Any]) -> HealthCheck:
    settings = {"path": given} if isinstance(given, str) else given
    if unknown := sorted(settings.keys() - HealthCheck.__dataclass_fields__.keys()):
        known = ", ".join(HealthCheck.__dataclass_fields__)
        raise ConfigurationError(subject, f"health: unknown setting {unknown[0]!r}", expected=known)
    return HealthCheck(**settings)


def _template(subject: str, what: str, given: str | list[str], values: Mapping[str, str]) -> tuple[str, ...]:
    known = (*PLACEHOLDERS, *values)
    try:
        parts = split(given)
        unknown = unknown_placeholders(parts, known)
    except ValueError as error:
        action = "close each quote, and write a literal brace twice"
        raise ConfigurationError(subject, f"{what}: {error}", action=action) from error
    if unknown:
        expected = ", ".join(known)
        raise ConfigurationError(subject, f"{what}: unknown placeholder {{{unknown[0]}}}", expected=expected)
    return parts


@dataclass  # not frozen: the port's attributes are settable
class CommandService:
    """See the ServiceController port; `timeout_s` bounds each command and each wait for a state (seconds).

    `values`: what its own placeholders stand for.
    """

    name: str
    url: str
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    check: HealthCheck = HealthCheck()
    timeout_s: float = 60.0
    root: Path = Path()
    values: Mapping[str, str] = field(default_factory=dict)

    def deploy(self, version: str = "") -> None:
        """Install this version (empty: the inventory's own); a running service is healthy again afterwards."""
        was_running = self.running()
        self.run("deploy", version=version)
        if was_running:
            self._wait(lambda: self.health().ok, "deploy", lambda: f"not healthy: {self.health().text}")

    def start(self) -> None:
        """Start it unless it is healthy already, and wait until it is."""
        if not self.health().ok:
            self.run("start")
            self._wait(lambda: self.health().ok, "start", lambda: f"not healthy: {self.health().text}")

    def stop(self) -> None:
        """Stop it unless it is stopped already, and wait until it is."""
        if self.running():
            self.run("stop")
            self._wait(lambda: not self.running(), "stop", lambda: "still running")

    def running(self) -> bool:
        """Whether it runs, healthy or not: the `status` command's exit, else whether anything answers."""
        if "status" in self.commands:
            ended = self._finished("status", {})
            if ended.problem:
                raise self._error("status", ended.problem)
            return ended.passed
        try:
            return bool(self._ask())
        except ConfigurationError:
            return False

    def health(self) -> Health:
        """One question to its health address."""
        begun = time.perf_counter()
        try:
            status, text = self._ask()
        except ConfigurationError as error:  # refused at once and silent for long are distinguished
            return Health(False, (time.perf_counter() - begun) * 1000, error.observed)
        elapsed_ms = (time.perf_counter() - begun) * 1000
        if status != self.check.status:
            return Health(False, elapsed_ms, f"HTTP {status}, expected {self.check.status}: {text}")
        if elapsed_ms > self.check.timeout_s * 1000:
            return Health(False, elapsed_ms, f"answered after {elapsed_ms:.0f} ms")
        return Health(True, elapsed_ms, text)

    def backup(self) -> str:
        """Run the `backup` command; the last line of its output is the reference."""
        return self._last_line("backup", "no reference", "its last line of output names the backup")

    def restore(self, reference: str) -> None:
        """Run the `restore` command for what `backup` returned."""
        self.run("restore", reference=reference)

    def drain(self) -> None:
        """Run the `drain` command, where there is one."""
        if "drain" in self.commands:
            self.run("drain")

    def upgrade(self, version: str) -> None:
        """Run the `upgrade` command; whoever calls it sees to health."""
        self.run("upgrade", version=version)

    def roll_back(self, reference: str, version: str) -> None:
        """Run the `rollback` command, else `restore`, with what `backup` returned and the release before."""
        command = "rollback" if "rollback" in self.commands else "restore"
        self.run(command, reference=reference, version=version)

    def version(self) -> str:
        """The last line that the `version` command prints; empty where there is none."""
        if "version" not in self.commands:
            return ""
        return self._last_line("version", "no version", "its last line of output is the release that runs")

    def _last_line(self, command: str, none: str, expected: str) -> str:
        lines = [line.strip() for line in self.run(command).splitlines() if line.strip()]
        if not lines:
            raise self._error(command, f"printed {none}", expected)
        return lines[-1]

    def run(self, command: str, **values: str) -> str:
        """Run one of the inventory's commands and return its output.

        Args:
            command: One of `COMMANDS`.
            values: `version` and `reference` for the template.
        Raises:
            ConfigurationError: there is no such command, it cannot be started, fails, or takes over `timeout_s`.
        """
        if command not in self.commands:
            raise self._error(command, "the inventory has no such command", f"services.{self.name}.{command}")
        ended = self._finished(command, values)
        if not ended.passed:
            raise self._error(command, ended.said())
        return ended.output

    def _ask(self) -> tuple[int, str]:
        response = fetch(self.url + self.check.path, timeout_s=self.check.timeout_s)
        return response.status, response.text(120)

    def arguments(self, command: str, **values: str) -> list[str]:
        """One of the inventory's commands as it is run."""
        known = {"python": sys.executable, "name": self.name, "url": self.url, "root": str(self.root)}
        filled = {"version": "", "reference": "", **self.values, **known, **values}
        return [part.format_map(filled) for part in self.commands[command]]

    def _finished(self, command: str, values: Mapping[str, str]) -> CommandResult:
        tied = command in _TIED
        return run(self.arguments(command, **values), self.root, self.timeout_s, dies_with_us=tied)

    def _wait(self, reached: Callable[[], bool], command: str, complaint: Callable[[], str]) -> None:
        deadline = time.monotonic() + self.timeout_s
        while not reached():
            if time.monotonic() > deadline:
                raise self._error(command, f"{complaint()} {self.timeout_s:g} s after the command")
            time.sleep(_POLL_S)

    def _error(self, command: str, observed: str, expected: str = "") -> ConfigurationError:
        action = f"read its log, or run by hand: {mask(shlex.join(self.commands.get(command, ())))}"
        return ConfigurationError(
            f"{self.name}: {command}",
            observed,
            expected=expected,
            action=action if command in self.commands else "add the command to the inventory",
        )
