"""The plan of a copy without a plan: every table of the source, as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from pathlib import Path

from runbook_lib.databases.identifiers import respelled
from runbook_lib.databases.port import Database
from runbook_lib.errors import ConfigurationError
from runbook_lib.plan.model import Plan, Service, TableMapping

QUARANTINE = Path(".runbook/quarantine")  # as for a plan


def whole_plan(
    source: Database,
    target: Database,
    tables: Sequence[str] = (),
    *,
    on_bad_row: str = "stop",
    known: Collection[str] | None = None,
) -> Plan:
    """One service with all the source's tables in short form; `digest` tells one pair and choice from another.

    Args:
        tables: Only these, by name; empty: all.
        on_bad_row: `stop`, or `quarantine`.
        known: The names of the source's tables, where they are read already.
    Raises:
        ConfigurationError: the source has no tables, or none of this name.
    """
    known = source.tables() if known is None else known
    for name in tables:
        if name not in known:
            near = get_close_matches(name, known, 1)
            action = f"did you mean `{near[0]}`?" if near else "see its tables"
            raise ConfigurationError(f"table {name}", f"not in {source.masked_url}", action=action)
    chosen = [name for name in known if not tables or name in tables]
    if not chosen:
        raise ConfigurationError("the source", f"{source.masked_url} has no tables", action="see the database's name")
    text = "\n".join([source.masked_url, target.masked_url, *chosen])
    digest = hashlib.sha256(text.encode()).hexdigest()
    mappings = tuple(TableMapping(respelled(name, source.dialect, target.dialect), name) for name in chosen)
    _refuse_twins(mappings)
    service = Service(f"copy_{digest[:8]}", "target", tables=mappings)
    title = f"{source.masked_url} to {target.masked_url}"
    return Plan(title, "move", "source", (service,), phases=(), on_bad_row=on_bad_row, digest=digest)


def _refuse_twins(mappings: Sequence[TableMapping]) -> None:
    """Two tables may not become one: MySQL and SQLite have no schemas, so `a.b` is a name there."""
    seen: dict[str, str] = {}
    for mapping in mappings:
        twin = seen.setdefault(mapping.target, mapping.source)
        if twin != mapping.source:
            raise ConfigurationError(
                f"tables {twin} and {mapping.source}",
                f"both would be `{mapping.target}` at the target",
                state="nothing was done",
                action="rename one, or copy one of them only (--tables)",
            )
