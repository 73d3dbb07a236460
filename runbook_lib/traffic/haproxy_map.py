"""HAProxy's map of testers: route → the server that requests with the tester's header go to.

The file is what HAProxy reads at its start; what it runs is replaced as a whole (`prepare map`, `commit map`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runbook_lib.errors import ConfigurationError
from runbook_lib.traffic.changes import write_durably
from runbook_lib.traffic.haproxy_socket import RuntimeApi


@dataclass(frozen=True)
class TestersMap:
    """The map of this file, by the path that HAProxy's configuration names it with."""

    api: RuntimeApi
    file: Path

    def in_use(self) -> bool:
        """Whether HAProxy's configuration has this map."""
        return f"({self.file})" in self.api.ask("show map")

    def running(self) -> dict[str, str]:
        """Route → backend, as HAProxy runs it now."""
        lines = [line.split() for line in self.api.ask(f"show map {self.file}").splitlines() if line.strip()]
        if any(len(words) != 3 or not words[0].startswith("0x") for words in lines):
            known = " ".join(" ".join(words) for words in lines).partition(" Please")[0]
            raise ConfigurationError(f"haproxy map {self.file}", known, action="see docs/routers.md")
        return {route: server.replace(":", "@") for _, route, server in lines}

    def replace(self, homes: Mapping[str, str]) -> str:
        """Send the testers of these routes to these backends, or (empty) nowhere special; the new version's name.

        Raises:
            ConfigurationError: HAProxy refused or did not answer; the file is as before.
        """
        before = self.running()
        after = {route: backend for route, backend in {**before, **homes}.items() if backend}
        try:
            write_durably(self.file, _text(after))
            self._commit(after)
        except BaseException:
            write_durably(self.file, _text(before))
            raise
        return str(time.time_ns())

    def _commit(self, homes: Mapping[str, str]) -> None:
        made = re.search(r"created: (\d+)", answer := self.api.ask(f"prepare map {self.file}"))
        if not made:
            raise ConfigurationError(f"haproxy map {self.file}", f"refused the change: {' '.join(answer.split())}")
        version = f"@{made[1]} {self.file}"
        entries = [f"add map {version} {line}" for line in _text(homes).splitlines()]
        with self.api.session() as session:
            session.carry_out([*entries, f"commit map {version}"])


def _text(homes: Mapping[str, str]) -> str:
    return "".join(f"{route} {backend.replace('@', ':')}\n" for route, backend in homes.items())
