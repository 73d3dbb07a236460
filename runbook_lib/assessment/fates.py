"""How each kind of object is handled: rules by engines, then the account that they predict or that was measured."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from runbook_lib.assessment.account import (
    LEFT,
    MOVED,
    REFUSED,
    TRANSLATED,
    UNACCOUNTED,
    Account,
    Line,
    with_counts,
)
from runbook_lib.assessment.kinds import ACROSS, BROUGHT, BY_STATEMENT, GUESTS, LEFT_BEHIND, WITH_TABLE
from runbook_lib.databases.identifiers import split
from runbook_lib.databases.port import CatalogObject, Inventory


@dataclass(frozen=True)
class Route:
    """From where to where, and what was asked for.

    Attributes:
        source: The source's engine.
        target: The target's engine.
        tables: Table at the source → at the target, of those that are moved.
        whole: Whether everything beside the tables was asked for too.
        mapped: Tables that the plan changes on the way (other columns, another name).
        privileges: Whether owners and privileges are given at the target; a plan's services have their own.
        kept: Whether tables that the target had are left as they are.
        carried: Of another engine: (kind, table at the source, name) of what its translation carries over; None: the
            translation was not asked.
        columns: Of another engine: (table at the source, column, how) of the columns that are translated.
        counters: Of another engine: (table, bare name) of a sequence → the column that counts in its place.
        said: (kind, name) → what the copy says of it: how it was translated, or why it could not be made.
        refused: `comparable_name` of what the target's database refused → why, what to do.
    """

    source: str
    target: str
    tables: Mapping[str, str]
    whole: bool = True
    kept: bool = False
    mapped: Collection[str] = ()
    privileges: bool = True
    carried: Collection[tuple[str, str, str]] | None = None
    columns: Collection[tuple[str, str, str]] = ()
    counters: Mapping[tuple[str, str], str] = field(default_factory=dict)
    said: Mapping[tuple[str, str], str] = field(default_factory=dict)
    refused: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def same_engine(self) -> bool:
        return self.source == self.target


Side = tuple[Route, Inventory | None]


def predict(there: Inventory, here: Inventory | None, route: Route, *more: Side) -> Account:
    """How everything that the source has will be handled.

    Args:
        there: The source's.
        here: The target's as it is now, for what lies outside of the database; None: not known.
        more: Further targets of a plan; each thing is accounted for where its table goes.
    """
    sides = ((route, here), *more)
    present = {id(target): _present(target) for _, target in sides if target is not None}
    lines = []
    for item in there.objects:
        way, target = _side(item, sides)
        line = _predicted(item, target, way)
        if target is not None and way.same_engine:
            line = _there_already(line, item, present[id(target)], target)
        lines.append(line)
    return _counted(Account((*_with_hosts(lines), *_translated(sides))), there)


def _translated(sides: Sequence[Side]) -> Iterator[Line]:
    """The columns that are another at the target, which no inventory has as things of their own."""
    for way, _ in sides:
        for table, column, how in way.columns:
            yield Line("column", f"{table}.{column}", table, TRANSLATED, how)


def _there_already(
    line: Line, item: CatalogObject, present: Mapping[tuple[str, str], CatalogObject], here: Inventory
) -> Line:
    """What a copy leaves alone, and the target has just so: the database's collation, a definer."""
    if item.kind == "definer" and item.definition == here.login:
        return _line(item, MOVED)
    if item.kind == "row history" and here.outside.issuperset(item.needs):
        return _line(item, MOVED)
    found = present.get((item.kind, item.name)) if item.kind in LEFT_BEHIND else None
    return _line(item, MOVED) if found is not None and found.definition == item.definition else line


def measure(there: Inventory, here: Inventory, route: Route, *more: tuple[Route, Inventory]) -> Account:
    """How everything that the source has was handled, as all databases show it."""
    sides = ((route, here), *more)
    present = {id(target): _present(target) for _, target in sides}
    lines = []
    for item in there.objects:
        own = [side for side in sides if item.table in side[0].tables] or sides
        there_ = [side for side in own if (item.kind, item.name) in present[id(side[1])]] or own
        way, target = there_[0]
        lines.append(_measured(item, _predicted(item, target, way), present[id(target)], target, way))
    return _counted(Account((*_with_hosts(lines), *_translated(sides)), measured=True), there)


def _side(item: CatalogObject, sides: Sequence[Side]) -> Side:
    return next((side for side in sides if item.table in side[0].tables), sides[0])


def _counted(account: Account, there: Inventory) -> Account:
    return with_counts(account, there.counts, Counter(item.kind for item in there.objects))


def _line(item: CatalogObject, outcome: str, why: str = "", action: str = "") -> Line:
    return Line(item.kind, item.name, item.table, outcome, why, action)


def _predicted(item: CatalogObject, here: Inventory | None, route: Route) -> Line:
    if item.table and item.table not in route.tables:
        return _line(item, LEFT, "its table was not asked for")
    if not route.whole and not item.table:
        return _line(item, LEFT, "what no table needs was not asked for")
    absent = [table for table in item.refers if table not in route.tables]
    if absent and (route.same_engine or item.kind != "table"):
        return _alone(item, absent[0])
    if not route.same_engine:
        return _across(item, route)
    if item.kind in BY_STATEMENT and not route.privileges:
        return _line(item, LEFT, "the target's services have roles and privileges of their own", item.statement)
    if item.table in route.mapped and item.kind in BROUGHT:
        return _line(item, TRANSLATED, f"as the plan maps {item.table}")
    if item.kind == "foreign table" and item.definition.startswith("PARTITION OF "):
        why = "its rows are on another server, where the copy would write them a second time"
        return _line(item, REFUSED, why, f"detach {item.name}, or leave {item.table} out")
    if item.kind in LEFT_BEHIND:
        why, action = LEFT_BEHIND[item.kind]
        return _line(item, LEFT, why, item.statement or action)
    if item.kind not in BROUGHT:
        return _line(item, UNACCOUNTED, "no rule knows this kind")
    if here is not None and (missing := [name for name in item.needs if name not in here.outside]):
        return _without(item, missing)
    return _line(item, MOVED)


def _alone(item: CatalogObject, table: str) -> Line:
    """It cannot be without a table that is not moved with it."""
    if item.kind == "table":
        return _line(item, REFUSED, f"inherits from {table}, which is not among the tables", f"take {table} along")
    return _line(item, LEFT, f"refers to {table}, which is not moved with it")


def _without(item: CatalogObject, missing: list[str]) -> Line:
    """What it names outside of the database is not at the target."""
    why = " and ".join(map(_missing, missing))
    if item.kind in BY_STATEMENT:
        return _line(item, LEFT, why, item.statement)
    return _line(item, REFUSED, why, f"{_make(missing[0])}, at the target")


def _missing(name: str) -> str:
    kind, _, own = name.partition(" ")
    return f"the login at the target is no member of {own}" if kind == "member" else f"the target has no {name}"


def _make(missing: str) -> str:
    kind, _, name = missing.partition(" ")
    return f"install the extension {name}" if kind == "extension" else f"create the {kind} {name}"


def comparable_name(name: str) -> str:
    """A name as scripts and catalogs have it in common: without schema, arguments, table and quotes."""
    bare = name.partition("(")[0].partition(" on ")[0].strip()
    return (split(bare) or (bare,))[-1].strip('"')


def _with_hosts(lines: Sequence[Line]) -> tuple[Line, ...]:
    """What says something of an object (`GUESTS`) stays behind with it."""
    left = {line.name: line for line in lines if line.outcome in (LEFT, REFUSED) and line.kind not in GUESTS}
    return tuple(_with_host(line, left) if line.kind in GUESTS else line for line in lines)


def _with_host(line: Line, left: Mapping[str, Line]) -> Line:
    if line.outcome not in (MOVED, UNACCOUNTED) or (line.kind == "owner" and line.outcome == MOVED):
        return line
    words = re.sub(r"^.*? on | (?:to|from) \S+$", "", line.name) if line.kind == "grant" else line.name
    parts = words.split(" ")
    for start in range(1, min(4, len(parts))):
        if host := left.get(" ".join(parts[start:])):
            return replace(line, outcome=LEFT, why=f"{host.kind} {host.name} stays behind", action="")
    return line


def own_name(item: CatalogObject) -> str:
    """The bare name of an index or a constraint: without its schema and its table."""
    name = item.name.removesuffix(f" on {item.table}").partition(" on ")[0]
    parts = split(name)
    return parts[-1] if item.kind == "index" and parts else name.strip('"')


def _across(item: CatalogObject, route: Route) -> Line:
    if said := route.said.get((item.kind, item.name)):
        return _line(item, TRANSLATED, said)
    if item.kind in WITH_TABLE:
        by_name = (item.kind, item.table, own_name(item))
        by_columns = (item.kind, item.table, "\0".join(item.columns)) if item.columns else by_name
        known = route.carried is None or by_name in route.carried or by_columns in route.carried
        if item.kind == "table" or known:
            return _line(item, TRANSLATED, WITH_TABLE[item.kind])
        return _line(item, LEFT, f"has no equivalent in {route.target}")
    if item.kind == "sequence" and (counts := route.counters.get((item.table, comparable_name(item.name)))):
        return _line(item, TRANSLATED, f"{counts} counts as the target does")
    if item.kind == "sequence" and item.columns:
        return _line(item, TRANSLATED, f"{item.table}.{item.columns[0]} counts as the target does")
    if item.kind in ACROSS:
        outcome, why = ACROSS[item.kind]
        return _line(item, outcome, why.format(target=route.target))
    if item.kind in LEFT_BEHIND or item.kind in BROUGHT:
        return _line(item, LEFT, f"{route.target} needs its own")
    return _line(item, UNACCOUNTED, "no rule knows this kind")


def _present(here: Inventory) -> dict[tuple[str, str], CatalogObject]:
    return {(item.kind, item.name): item for item in here.objects}


def _measured(
    item: CatalogObject,
    predicted: Line,
    present: Mapping[tuple[str, str], CatalogObject],
    here: Inventory,
    route: Route,
) -> Line:
    if not route.same_engine:
        return _measured_across(item, predicted, here, route)
    found = present.get((item.kind, item.name))
    if found is not None and found.definition == item.definition:
        return replace(predicted, outcome=MOVED, why="", action="")
    if item.kind == "definer" and (told := route.refused.get(comparable_name(item.name.partition(" ")[2]))):
        own = predicted.outcome == MOVED  # else it is not given back with what it is of
        waits = told if own else (f"{told[0]}; {predicted.why}", predicted.action)
        return replace(predicted, outcome=LEFT, why=waits[0], action=waits[1])
    if predicted.outcome in (LEFT, REFUSED, TRANSLATED):
        return predicted
    if why := route.said.get((item.kind, item.name)):
        return replace(predicted, outcome=LEFT, why=why, action=item.statement)
    if told := route.refused.get(comparable_name(item.name)):
        return replace(predicted, outcome=LEFT, why=told[0], action=told[1])
    if route.kept and item.table:
        return replace(predicted, outcome=LEFT, why="the target's table was kept as it is", action="runbook compare")
    if found is None:
        return predicted if _owners_own(item, here) else _vanished(predicted)
    return replace(predicted, outcome=UNACCOUNTED, why="the target's is another", action="runbook compare")


def _owners_own(item: CatalogObject, here: Inventory) -> bool:
    """What is granted to the owner of everything there need not be granted."""
    return item.kind == "grant" and f"role {here.login}" in item.needs


def _vanished(predicted: Line) -> Line:
    return replace(predicted, outcome=UNACCOUNTED, why="it is not at the target, and nobody said why", action="")


def _measured_across(item: CatalogObject, predicted: Line, here: Inventory, route: Route) -> Line:
    """Tables by their names; what belongs to them was checked when the translation was made."""
    if predicted.outcome != TRANSLATED or item.kind != "table":
        return predicted
    tables = {found.table.lower() for found in here.objects if found.kind == "table"}
    return predicted if route.tables[item.table].lower() in tables else _vanished(predicted)
