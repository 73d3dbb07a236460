"""The inventory: where an environment's databases, services, router and notification targets are, and its policy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from runbook_lib.config.fleets import Fleet, read_services
from runbook_lib.config.router_settings import read_router
from runbook_lib.config.secret_references import Reference, available, is_reference, libpq_secrets, read_reference
from runbook_lib.databases.dialect import ENGINES, dialect_of
from runbook_lib.errors import ConfigurationError
from runbook_lib.plan.yaml_value import Value, nearest, read_file

TARGETS = ("file", "webhook", "command", "apprise")
METRIC_SOURCES = ("prometheus",)
GAUGES = ("cpu_share", "memory_bytes")  # what a metric source is asked for
POLICIES = {
    "approvals": ("ask", "auto"),
    "signoffs": ("ask", "auto"),
    "window": ("enforce", "ignore"),
    "triggers": ("ask", "act", "report"),
}
_SECTIONS = ("databases", "services", "router", "metrics", "notify", "policy", "journal", "evidence")


@dataclass(frozen=True)
class Policy:
    """What an environment decides without asking. The defaults are the careful ones."""

    approvals: str = "ask"
    signoffs: str = "ask"
    window: str = "enforce"
    triggers: str = "ask"


@dataclass(frozen=True)
class DatabaseEntry:
    """One database: its URL without a password, and where the password is."""

    name: str
    url: URL = field(repr=False)
    password: Reference | None = None
    url_reference: Reference | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dialect(self) -> str:
        """The engine's name."""
        return self.url.drivername.partition("+")[0]

    def resolved(self, root: Path) -> tuple[URL, str | None]:
        """The URL without a password, and the password (None: the driver finds it by itself, or needs none)."""
        url, password = self.url, None
        if self.url_reference:
            url = _parse(self.url_reference.resolve(root), self.url_reference.subject)
            url, password = url.set(password=None), url.password
        if self.password and not self.password.by_libpq:
            password = self.password.resolve(root)
        return url, password

    def secrets(self, root: Path) -> Iterator[str]:
        """The secret values of this database; a variable that is not set holds none."""
        url = self.url
        if self.url_reference and available(self.url_reference):
            url, secret = self.resolved(root)
            yield from filter(None, (secret,))
        elif self.password and not self.password.by_libpq and available(self.password):
            yield self.password.resolve(root)
        if dialect_of(self.dialect).libpq:
            yield from libpq_secrets(url)


@dataclass(frozen=True)
class Inventory:
    """What one inventory file says. It holds references to secrets only; `digest` is over its content."""

    file: str
    databases: Mapping[str, DatabaseEntry]
    services: Mapping[str, Mapping[str, Any]]
    fleets: Mapping[str, Fleet]
    router: Mapping[str, Any]
    metrics: Mapping[str, Any]
    notify: Mapping[str, Mapping[str, Any]]
    policy: Policy
    journal: DatabaseEntry | None
    evidence: str
    digest: str


def read_inventory(path: Path) -> Inventory:
    """Read and check an inventory.

    Raises:
        PlanError: the first mistake, at its file and line; a secret written there is refused and not repeated.
    """
    document = read_file(path, "inventory")
    fields = document.fields("the inventory", _SECTIONS)
    if "databases" not in fields:
        raise document.error("the inventory has no databases", action="add `databases:` with name and url")
    databases = {entry.name: _database(entry.name, entry.value) for entry in fields["databases"].entries("databases")}
    services, fleets = read_services(fields["services"]) if "services" in fields else ({}, {})
    return Inventory(
        file=document.file,
        databases=databases,
        services=services,
        fleets=fleets,
        router=read_router(fields["router"], services) if "router" in fields else {},
        metrics=_metrics(fields["metrics"]) if "metrics" in fields else {},
        notify={e.name: _kind(e.value, e.name, TARGETS) for e in fields["notify"].entries("notify")}
        if "notify" in fields
        else {},
        policy=_policy(fields["policy"]) if "policy" in fields else Policy(),
        journal=_journal(fields["journal"]) if "journal" in fields else None,
        evidence=fields["evidence"].text("evidence") if "evidence" in fields else "evidence",
        digest=hashlib.sha256(json.dumps(document.plain(), sort_keys=True, default=str).encode()).hexdigest(),
    )


def _database(name: str, value: Value) -> DatabaseEntry:
    fields = value.fields(f"database {name}", ("url", "password", "options"))
    if "url" not in fields:
        raise value.error(f"database {name} has no url", action="add `url: postgresql://user@host:port/database`")
    password = read_reference(fields["password"], "password") if "password" in fields else None
    options = fields["options"].plain() if "options" in fields and not fields["options"].is_null else {}
    url, reference = _url(fields["url"], name)
    entry = DatabaseEntry(name, url, password, reference, options)
    dialect = dialect_of(entry.dialect)
    if (options or {}).get("capture") == "wal" and not (log := dialect.capabilities.wal_capture):
        raise fields["options"].error(log.found, expected=log.needed)
    if password and password.by_libpq and not dialect.libpq:
        raise fields["password"].error(f"{password.kind} is PostgreSQL's", expected="env:, file: or keyring:")
    return entry


def _url(value: Value, name: str) -> tuple[URL, Reference | None]:
    text, subject = value.text("url"), f"{value.file}:{value.line}"
    if is_reference(text):
        return URL.create("postgresql"), read_reference(value, "url")
    if text.startswith("service:"):
        return URL.create("postgresql", query={"service": text.removeprefix("service:")}), None
    url = _parse(text, subject)
    if url.password is not None or any(word in url.query for word in ("password", "passwd", "sslpassword")):
        action = "take it out and write `password: file:PATH` (or env:NAME, pgpass, keyring:SERVICE/USER)"
        raise value.error(f"the url of database {name} holds a password", action=action)
    return url, None


def _parse(text: str, subject: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # the text may hold a password: it is not repeated
        url = None
    if url is None:
        expected = "dialect://user@host:port/database"
        raise ConfigurationError(subject, "the url cannot be read", expected=expected) from None
    dialect = url.drivername.partition("+")[0]
    if dialect not in ENGINES:
        expected = "one of " + ", ".join(ENGINES)
        raise ConfigurationError(
            subject, f"unknown engine `{dialect}`", expected=expected, action=nearest(dialect, ENGINES)
        )
    return url


def _kind(value: Value, what: str, kinds: tuple[str, ...]) -> Mapping[str, Any]:
    entries = {entry.name: entry.value for entry in value.entries(what)}
    if "kind" not in entries:
        raise value.error(f"{what} has no kind", expected="one of " + ", ".join(kinds))
    kind = entries["kind"].text("kind")
    entries["kind"].word(kind, kinds, f"unknown kind `{kind}`")
    settings: Mapping[str, Any] = value.plain()
    return settings


def _metrics(value: Value) -> Mapping[str, Any]:
    """Where triggers, and processor and memory of both sides of a performance comparison, are asked for."""
    settings = _kind(value, "metrics", METRIC_SOURCES)
    given = value.fields("metrics", ("kind", "url", "queries"))
    if "url" not in given:
        raise value.error("metrics has no url", action="add `url:`")
    given["url"].text("url")
    for metric, asked in given["queries"].fields("queries", GAUGES).items() if "queries" in given else ():
        sides = asked.fields(metric, ("old", "new"))
        if len(sides) < 2:
            raise asked.error(f"{metric} has a query of one side only", expected="{old: …, new: …}")
        for side, query in sides.items():
            query.text(side)
    return settings


def _policy(value: Value) -> Policy:
    chosen = {}
    for name, choice in value.fields("policy", POLICIES).items():
        text = choice.text(name)
        if text not in POLICIES[name]:
            raise choice.error(f"{name} is `{text}`", expected=" or ".join(POLICIES[name]))
        chosen[name] = text
    return Policy(**chosen)


def _journal(value: Value) -> DatabaseEntry:
    if value.is_mapping:
        return _database("journal", value)
    text = value.text("journal")
    if "://" in text or is_reference(text):
        return DatabaseEntry("journal", *_swap(_url(value, "journal")))
    return DatabaseEntry("journal", URL.create("sqlite", database=text))


def _swap(found: tuple[URL, Reference | None]) -> tuple[URL, None, Reference | None]:
    return found[0], None, found[1]
