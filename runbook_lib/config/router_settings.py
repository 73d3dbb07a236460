"""Every setting of every kind of router, declared once: the inventory is read by them, docs/routers.md shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from runbook_lib.config.secret_references import Reference, read_reference
from runbook_lib.plan.key import Key, Kind, Section
from runbook_lib.plan.keys import DURATION, TEXT
from runbook_lib.plan.yaml_value import Value


def _addresses(value: Value, what: str) -> dict[str, str]:
    """Backend → what stands at the right of a database entry; a password has another place."""
    found = {entry.name: entry.value.text(f"{what} {entry.name}") for entry in value.entries(what)}
    for entry in value.entries(what):
        words = dict(word.partition("=")[::2] for word in found[entry.name].split())
        if "password" in words:
            action = "write it into PgBouncer's auth_file"
            raise entry.value.error(f"{what} {entry.name} holds a password", action=action)
        if not {"host", "dbname"} <= words.keys():
            raise entry.value.error(f"{what} {entry.name} is `{found[entry.name]}`", expected="host=… port=… dbname=…")
    return found


def _console(value: Value, what: str) -> str:
    text = value.text(what)
    if urlsplit(text).password is not None:
        raise value.error(f"{what} holds a password", action="take it out and write `password: env:NAME`")
    if not text.startswith("postgresql://"):
        raise value.error(f"{what} is `{text}`", expected="postgresql://user@host:port/pgbouncer")
    return text


MAPPING = Kind("mapping", _addresses)
CONSOLE = Kind("address", _console)
REFERENCE: Kind[Reference | None] = Kind("reference to a secret", read_reference)

KIND = Key("kind", TEXT, "the kind of router", "", required=True)
ORIGIN = Key("origin", TEXT, "the service that has all the traffic before the migration", "", required=True)
URL = Key("url", TEXT, "what clients talk to over HTTP: smoke requests go there", "", "no `critical_feature_failure`")
TIMEOUT = Key("timeout", DURATION, "how long it may take to answer one question", 5.0)
_COMMON = (KIND, ORIGIN, URL, TIMEOUT)

ENVOY = Section(
    (
        *_COMMON,
        Key("directory", TEXT, "the files that Envoy watches: `rds.json`, `eds_<cluster>.json`", "", required=True),
        Key("admin", TEXT, "http address of Envoy's admin interface", "", required=True),
        Key("tester_header", TEXT, "requests that carry it are a tester's", "x-runbook-tester"),
    )
)
HAPROXY = Section(
    (
        *_COMMON,
        Key("socket", TEXT, "its runtime API: a path, or `host:port`; `level admin`", "", required=True),
        Key("state_file", TEXT, "its `server-state-file`, written before each change", "", required=True),
        Key("testers_map", TEXT, "its map of testers, by the path in its configuration", "", "no tester goes ahead"),
        Key("latency_table", TEXT, "its stick table of response times", "latency"),
    )
)
PGBOUNCER = Section(
    (
        *_COMMON,
        Key(
            "admin",
            Kind("address", _console),
            "its console: `postgresql://user@host:port/pgbouncer`",
            "",
            required=True,
        ),
        Key("password", REFERENCE, "of the console's user", None, "libpq finds it, or none is asked for"),
        Key("file", TEXT, "the file of database entries that its configuration includes", "", required=True),
        Key("backends", MAPPING, "backend to its address: `host=10.0.0.7 port=5432 dbname=shop`", {}, required=True),
        Key("pause", DURATION, "how long a switch waits for transactions to end; then nothing changes", 5.0),
    )
)
KINDS: Mapping[str, Section] = {"envoy": ENVOY, "haproxy": HAPROXY, "pgbouncer": PGBOUNCER}


def read_router(value: Value, services: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of `router:`, by name, with the defaults of what is left out.

    Raises:
        PlanError: an unknown kind or setting, one missing, or an origin that is no service; file, line and nearest.
    """
    given = {entry.name: entry.value for entry in value.entries("router")}
    if "kind" not in given:
        raise value.error("router has no kind", expected="one of " + ", ".join(KINDS))
    kind = given["kind"].text("kind")
    section = KINDS[given["kind"].word(kind, KINDS, f"unknown kind `{kind}`")]
    if "origin" not in given:
        raise value.error("router has no origin", action=f"add `origin:`, {ORIGIN.meaning}")
    settings = {key.attribute: key.default for key in section.keys}
    settings |= section.complete(value, f"router {kind}", f"router {kind}")
    if settings["origin"] not in services:
        observed = f"origin `{settings['origin']}` is not a service of the inventory"
        raise given["origin"].error(observed, action=f"name {ORIGIN.meaning}")
    return settings
