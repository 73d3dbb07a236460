"""A service run by commands from the inventory: systemd, docker, kubectl, ssh or the demo's own alike.

user_service:
  url: http://127.0.0.1:15431
  health: /health                              # or {path: …, status: …}, or {sql: …, database: …}: services/health.py
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
from runbook_lib.services.health import HealthCheck, OpenDatabase, asked, over_http, over_sql, read_health_check
from runbook_lib.services.port import COMMANDS, PLACEHOLDERS, Health, ServiceController
from runbook_lib.util.command import CommandResult, run, split, unknown_placeholders
from runbook_lib.util.http import fetch
from runbook_lib.util.redact import mask

_SETTINGS = {"url", "health", "timeout_s", "values", *COMMANDS}
_TIED = ("backup", "upgrade", "rollback", "restore")  # a half of one is done again: it must not go on beside that
_POLL_S = 0.05


def open_service(
    name: str, settings: Mapping[str, Any], root: Path, open_database: OpenDatabase | None = None
) -> ServiceController:
    """The controller of one service of the inventory.

    Args:
        name: The service's name there.
        settings: Its entry; see the module.
        root: The project's root: the commands' working directory.
        open_database: Opens a database of the inventory by its name, for a health check by `sql`.
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
    check = read_health_check(subject, settings.get("health", "/health"))
    url, timeout_s = str(settings["url"]).rstrip("/"), float(settings.get("timeout_s", 60))
    return CommandService(name, url, commands, check, timeout_s, root, values, open_database)


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
    check: HealthCheck = field(default_factory=HealthCheck)
    timeout_s: float = 60.0
    root: Path = Path()
    values: Mapping[str, str] = field(default_factory=dict)
    open_database: OpenDatabase | None = None

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
        """Whether it runs, healthy or not: the `status` command's exit, else whether anything answers.

        Where health is asked by `sql`, and there is no `status`, it runs when it is healthy.
        """
        if "status" in self.commands:
            ended = self._finished("status", {})
            if ended.problem:
                raise self._error("status", ended.problem)
            return ended.passed
        if self.check.sql:
            return self.health().ok
        try:
            return bool(fetch(self.url + self.check.path, timeout_s=self.check.timeout_s))
        except ConfigurationError:
            return False

    def health(self) -> Health:
        """The answer to its health check, after as many retries as that has."""
        return asked(self._ask, self.check)

    def backup(self) -> str:
        """Run the `backup` command; the last line of its output is the reference."""
        reference = self._last_line("backup", "no reference", "its last line of output names the backup")
        if "***" in reference:
            raise self._error("backup", "its reference holds a secret", "a name that may be written down")
        return reference

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
        """Run one of the inventory's commands and return its output, secrets masked.

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
        return mask(ended.output)

    def _ask(self) -> Health:
        if not self.check.sql:
            return over_http(self.url, self.check)
        if self.open_database is None:
            return Health(False, 0.0, f"nobody opens {self.check.database} here")
        return over_sql(self.open_database, self.check)

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
