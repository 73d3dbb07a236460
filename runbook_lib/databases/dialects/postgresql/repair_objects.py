"""The SQL that would repair one object of PostgreSQL beside columns, indexes, constraints; "" where none is known."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from runbook_lib.databases.identifiers import ident, split
from runbook_lib.databases.model import CatalogObject

_DEFAULT = r'(?m)^ALTER VIEW \S+ ALTER COLUMN ("(?:[^"]|"")*"|\w+) SET DEFAULT '  # of a view's column, after its text
ReadySides = tuple[CatalogObject | None, CatalogObject | None]


def repair_object(there: CatalogObject | None, here: CatalogObject | None) -> str:
    """Make the target's object (`here`) what the source's (`there`) is; None: it is not there."""
    item = there or here
    if item is None or item.kind not in _REPAIRS:
        return ""
    return _REPAIRS[item.kind](there, here).rstrip().rstrip(";")


def _view(there: CatalogObject | None, here: CatalogObject | None) -> str:
    if there is None:
        return _dropped(here)
    if there.kind == "view":
        columns = dict.fromkeys(re.findall(_DEFAULT, here.definition)) if here else ()
        gone = "".join(f"ALTER VIEW {here.name} ALTER COLUMN {name} DROP DEFAULT;\n" for name in columns if here)
        return f"{gone}CREATE OR REPLACE VIEW {there.name} {there.definition}"
    gone = f"{_dropped(here)};\n" if here else ""
    return f"{gone}CREATE MATERIALIZED VIEW {there.name} {there.definition}"


def _dropped(here: CatalogObject | None) -> str:
    """What is too many, by its kind's own word; `x on y` is how the catalog names parts of tables."""
    return f"DROP {here.kind.upper()} {here.name}" if here else ""


def _routine(there: CatalogObject | None, here: CatalogObject | None) -> str:
    return there.definition if there else _dropped(here)


def _rule(there: CatalogObject | None, here: CatalogObject | None) -> str:
    if there is None:
        return _dropped(here)
    return re.sub(r"^CREATE RULE", "CREATE OR REPLACE RULE", there.definition.partition("; [")[0])


def _policy(there: CatalogObject | None, here: CatalogObject | None) -> str:
    gone = f"DROP POLICY {here.name}" if here else ""
    made = f"CREATE POLICY {there.name} AS {there.definition}" if there else ""
    return ";\n".join(filter(None, (gone, made)))


def _row_security(there: CatalogObject | None, here: CatalogObject | None) -> str:
    item = there or here
    words = {"enabled": ("ENABLE", "DISABLE"), "forced": ("FORCE", "NO FORCE")}
    wanted, found = (set((side.definition if side else "").split(", ")) for side in (there, here))
    return ";\n".join(
        f"ALTER TABLE {item.name} {yes if word in wanted else no} ROW LEVEL SECURITY"
        for word, (yes, no) in words.items()
        if item and (word in wanted) != (word in found)
    )


def _replica_identity(there: CatalogObject | None, here: CatalogObject | None) -> str:
    return there.statement if there else f"ALTER TABLE {here.name} REPLICA IDENTITY DEFAULT" if here else ""


def _statement(there: CatalogObject | None, here: CatalogObject | None) -> str:
    if there:
        return there.statement
    return re.sub(r" IS '.*$", " IS NULL", here.statement, flags=re.DOTALL) if here and here.kind == "comment" else ""


def _enum(there: CatalogObject | None, here: CatalogObject | None) -> str:
    """Labels can be added, each after the one before it; none can be taken away."""
    if there is None or here is None:
        return f"CREATE TYPE {there.name} AS ENUM ({there.definition})" if there else _dropped_type(here)
    wanted, found = (re.findall(r"'(?:[^']|'')*'", side.definition) for side in (there, here))
    if not set(found) <= set(wanted):
        return ""
    adds, before = list[str](), ""
    for label in wanted:
        if label not in found:
            adds.append(f"ALTER TYPE {there.name} ADD VALUE {label}{f' AFTER {before}' if before else _first(found)}")
        before = label
    return ";\n".join(adds)


def _first(found: list[str]) -> str:
    return f" BEFORE {found[0]}" if found else ""


def _dropped_type(here: CatalogObject | None) -> str:
    return f"DROP TYPE {here.name}" if here else ""


def _domain_rule(there: CatalogObject | None, here: CatalogObject | None) -> str:
    parts = []
    for item, word in ((here, "DROP"), (there, "ADD")):
        if item:
            name, _, domain = item.name.partition(" on ")
            parts.append(
                f"ALTER DOMAIN {domain} {word} CONSTRAINT {name}{f' {item.definition}' if item is there else ''}"
            )
    return ";\n".join(parts)


def _sequence(there: CatalogObject | None, here: CatalogObject | None) -> str:
    if there is None or there.definition.endswith(" UNLOGGED"):
        return _dropped(here) if there is None else ""
    options = there.definition + ("" if there.definition.endswith(" CYCLE") else " NO CYCLE")
    # The repair of a column that it feeds may have made it.
    return f"{'ALTER SEQUENCE' if here else 'CREATE SEQUENCE IF NOT EXISTS'} {there.name} {options}"


def _identity(there: CatalogObject | None, here: CatalogObject | None) -> str:
    if there is None or here is None:
        return ""
    *path, column = map(ident, split(there.name))
    options = re.sub(r"^AS \w+ ", "", there.definition) + ("" if there.definition.endswith(" CYCLE") else " NO CYCLE")
    sets = re.sub(r"(INCREMENT|MINVALUE|MAXVALUE|START|CACHE|NO CYCLE|(?<!NO )CYCLE)", r"SET \1", options)
    return f"ALTER TABLE {'.'.join(path)} ALTER COLUMN {column} {sets}"


def _table(there: CatalogObject | None, here: CatalogObject | None) -> str:
    """Whether it is logged can be changed; how it is partitioned cannot."""
    if there is None or here is None:
        return ""
    wanted, found = (side.definition.removeprefix("UNLOGGED").strip() for side in (there, here))
    if wanted != found:
        return ""
    return f"ALTER TABLE {there.name} SET {'UN' if there.definition.startswith('UNLOGGED') else ''}LOGGED"


def _partition(there: CatalogObject | None, here: CatalogObject | None) -> str:
    if there and here is None and not there.definition.startswith("UNLOGGED"):
        return f"CREATE TABLE {there.name} {there.definition}"
    return _table(there, here)


def _statistics(there: CatalogObject | None, here: CatalogObject | None) -> str:
    gone = f"DROP STATISTICS {here.name}" if here else ""
    made = there.definition.rstrip().removesuffix("TARGET").strip() if there else ""
    return ";\n".join(filter(None, (gone, made)))


_REPAIRS: Mapping[str, Callable[[CatalogObject | None, CatalogObject | None], str]] = {
    "view": _view,
    "materialized view": _view,
    "function": _routine,
    "procedure": _routine,
    "rule": _rule,
    "policy": _policy,
    "row security": _row_security,
    "replica identity": _replica_identity,
    "storage options": _statement,
    "comment": _statement,
    "owner": _statement,
    "grant": _statement,
    "default privilege": _statement,
    "enum": _enum,
    "domain constraint": _domain_rule,
    "sequence": _sequence,
    "identity": _identity,
    "table": _table,
    "partition": _partition,
    "statistics": _statistics,
}
