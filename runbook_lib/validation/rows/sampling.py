"""Draw random keys of a table through the port: a condition picks the rows, `row_sums` gives their keys back."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from runbook_lib.databases import canonical
from runbook_lib.databases.canonical import canonical_type
from runbook_lib.databases.port import Database, KeyRange, Selection
from runbook_lib.validation.rows.compared import Compared, Key

OVERSAMPLE = 1.3  # drawn keys per wanted one, as keys have holes
PIECE_ROWS = 1_000_000  # numbered in one statement: half a second
LONGEST_LIST = 20_000  # keys in one condition; sparser keys are drawn by their position instead


def draw(
    database: Database, selection: Selection, side: Compared, rows: int, total: int, random: Random
) -> tuple[list[Key], list[Key]]:
    """Up to `rows` random keys, and the first and the last one (none of an empty table).

    Integer keys without big holes: random numbers, an index lookup each. Other keys: random positions in key order,
    one pass over the index, a million rows a statement.

    Args:
        total: The rows of the selection, counted not long ago.
    """
    if total == 0:
        return [], []
    if total <= rows:
        return _keys(database, selection, side, ""), []
    picked = _by_number(database, selection, side, rows, total, random)
    if picked is None:
        picked = _by_position(database, selection, side, rows, total, random)
    return picked, ends(database, selection, side)


def _by_position(
    database: Database, selection: Selection, side: Compared, rows: int, total: int, random: Random
) -> list[Key]:
    """Random positions; of a large table as many in each of its pieces: no long transaction on a live source."""
    pieces = database.ranges(selection, PIECE_ROWS) if total > 2 * PIECE_ROWS else [KeyRange(0)]
    each, found = total // len(pieces), list[Key]()
    for number, piece in enumerate(pieces):
        share = rows * (number + 1) // len(pieces) - rows * number // len(pieces)
        positions = sorted(random.sample(range(1, each + 1), min(share, each)))
        within = replace(selection, where=database.condition(selection, piece))
        found += _keys(database, within, side, _at(within, positions)) if positions else []
    return found


def ends(database: Database, selection: Selection, side: Compared) -> list[Key]:
    """The first and the last key in the engine's order."""
    orders = (", ".join(selection.key), ", ".join(f"{part} DESC" for part in selection.key))
    # Two statements: an OR of two sub-selects would scan the table.
    return [key for by in orders for key in _keys(database, selection, side, _first(selection, by))]


def _names(selection: Selection) -> list[str]:
    """Names for the key's parts. Long ones: an ORDER BY takes a short alias for a column of the same name."""
    return [f"runbook_k{i}" for i in range(len(selection.key))]


def _first(selection: Selection, order: str) -> str:
    """The key that comes first in an order; one nested level down, as MySQL takes LIMIT only there."""
    names = _names(selection)
    inner = ", ".join(f"{sql} AS {alias}" for sql, alias in zip(selection.key, names, strict=True))
    where = f" WHERE {selection.where}" if selection.where else ""
    return (
        f"({', '.join(selection.key)}) IN (SELECT {', '.join(names)} FROM"
        f" (SELECT {inner} FROM {selection.relation}{where} ORDER BY {order} LIMIT 1) AS e)"
    )


def _at(selection: Selection, positions: list[int]) -> str:
    names = _names(selection)
    inner = ", ".join(f"{sql} AS {alias}" for sql, alias in zip(selection.key, names, strict=True))
    where = f" WHERE {selection.where}" if selection.where else ""
    numbered = (
        f"SELECT {inner}, ROW_NUMBER() OVER (ORDER BY {', '.join(selection.key)}) AS runbook_n FROM"
        f" {selection.relation}{where}"
    )
    chosen = (
        f"SELECT {', '.join(names)} FROM ({numbered}) AS walk WHERE runbook_n IN ({', '.join(map(str, positions))})"
    )
    return f"({', '.join(selection.key)}) IN ({chosen})"


def _by_number(
    database: Database, selection: Selection, side: Compared, rows: int, total: int, random: Random
) -> list[Key] | None:
    """Random existing numbers of a single integer key; None when the key is something else or has too many holes."""
    if len(selection.key) > 1 or canonical_type(side.key_types[0]).tag != canonical.NUMBER:
        return None
    key, where = selection.key[0], f" WHERE {selection.where}" if selection.where else ""
    [(least, greatest)] = database.rows(f"SELECT {key}, {key} FROM {selection.relation}{where} LIMIT 1")
    if not isinstance(least, int) or isinstance(least, bool):
        return None
    [(least, greatest)] = database.rows(f"SELECT MIN({key}), MAX({key}) FROM {selection.relation}{where}")
    span = greatest - least + 1
    wanted = int(rows * OVERSAMPLE * max(1.0, span / total)) + 1
    if wanted > LONGEST_LIST:
        return None
    numbers = random.sample(range(least, greatest + 1), min(wanted, span))
    found = _keys(database, selection, side, f"{key} IN ({', '.join(map(str, numbers))})")
    return random.sample(found, min(rows, len(found)))


def _keys(database: Database, selection: Selection, side: Compared, condition: str) -> list[Key]:
    """The keys of the rows that fulfil a condition, in the form in which the adapter binds them back."""
    where = " AND ".join(f"({part})" for part in (selection.where, condition) if part)
    narrow = replace(selection, columns=selection.key, where=where)
    # Their hashes are not checked; an engine's own hash may not know the other engine's types.
    return list(database.row_sums(narrow, side.key_types, KeyRange(0), canonical=True))
