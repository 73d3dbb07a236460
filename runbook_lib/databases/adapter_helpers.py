"""What the adapters share: waiting for locks, ranges between boundaries, names of our own objects, messages."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

from runbook_lib.databases import sql_text
from runbook_lib.databases.port import (
    Column,
    Database,
    Hazard,
    KeyRange,
    Recount,
    Selection,
    Table,
)
from runbook_lib.errors import ConfigurationError, DatabaseError, KeyNotAdvancing, Refused
from runbook_lib.util.text import counted

Result = TypeVar("Result")
Item = TypeVar("Item")


def filled(db: Database, relations: Sequence[str]) -> list[str]:
    """Those of these relations (SQL) that have rows; a hundred are asked with one statement."""
    found = []
    for piece in in_pieces(relations, 100):
        [row] = db.rows(f"SELECT {', '.join(f'EXISTS (SELECT 1 FROM {each})' for each in piece)}")
        found += [each for each, has in zip(piece, row, strict=True) if has]
    return found


def about_all(scripts: Sequence[str], tables: Sequence[str]) -> list[str]:  # noqa: ARG001  each is about all tables
    """`Database.about` of an engine that makes everything at once."""
    return [""] * len(scripts)


def chosen(database: str, options: Mapping[str, Any], name: str, values: Sequence[str]) -> str:
    """An option of a database that has one of these values; the first where it is not given.

    Raises:
        ConfigurationError: it has another.
    """
    value = options.get(name, values[0])
    if value not in values:
        expected = " or ".join(values)
        raise ConfigurationError(f"database {database}", f"option {name} is `{value}`", expected=expected)
    return str(value)


_COMMENTS = re.compile(r"\s*(?:(?:--|#)[^\n]*(?:\n|$)|/\*.*?\*/)", re.DOTALL)


def without_comments(statement: str) -> str:
    """A statement without the comments before it."""
    while found := _COMMENTS.match(statement):
        statement = statement[found.end() :]
    return statement.strip()


def hazards_of_words(
    statements: Sequence[str], rules: Mapping[str, tuple[str, str, str]], dialect: str
) -> list[Hazard]:
    """Hazards that a statement's own words show; what stands in a literal or a comment is none of them.

    Args:
        rules: The rule's name to (pattern at the statement's beginning, what it does, what to do instead).
    """
    return [
        Hazard(rule, number, text, action)
        for number, words in enumerate((_words_and_names(statement, dialect) for statement in statements), 1)
        for rule, (pattern, text, action) in rules.items()
        if re.match(pattern, words, re.IGNORECASE | re.DOTALL)
    ]


def _words_and_names(statement: str, dialect: str) -> str:
    kept = {sql_text.STRING: "''", sql_text.COMMENT: " "}
    return "".join(kept.get(token.kind, token.text) for token in sql_text.tokens(statement, dialect)).strip()


def duplicate_values(number: int, table: str, keys: Sequence[str], many: int, example: str) -> Hazard:
    """Rows that a unique key would not let stand.

    Args:
        many: Keys that more than one row has (count).
        example: The values of one of them.
    """
    text = f"{counted(many, 'key')} of {table} under UNIQUE ({', '.join(keys)}) would be there twice, e.g. {example}"
    action = "make these rows different in a revision before it"
    return Hazard("duplicate-values", number, text, action)


DENSE = 0.5  # rows per possible key: above it, even steps of the key hold at most twice the wanted rows
RIGHTS = "grant it to this login, or log in as the owner"  # next, where the server says: permission denied


def secret_of(name: str) -> str:
    """How to hand in another password for a database of this name: no journal keeps the one of a URL."""
    if name not in ("source", "target"):
        return "check its secret in the inventory"
    return f"set RUNBOOK_{name.upper()}_PASSWORD for a URL, or correct the secret in the inventory"


def patiently(
    attempt: Callable[[int], Result],
    transient: type[Exception] | tuple[type[Exception], ...],
    *,
    within_s: float,
    refused: Callable[[Exception, int], Exception],
    passing: Callable[[Exception], bool] = lambda error: True,
) -> Result:
    """Attempt again, after a jittered pause that grows, while locks are refused.

    Args:
        attempt: Gets the number of the attempt (from 1).
        transient: Errors worth another attempt, where `passing` says so too; every other error goes through.
        within_s: How long to continue (seconds).
        refused: Makes the error that is raised in the end, from the last one and the number of attempts.
    """
    deadline, pause_s, number = time.monotonic() + within_s, 0.05, 0
    while True:
        number += 1
        try:
            return attempt(number)
        except transient as error:
            if not passing(error):
                raise
            if time.monotonic() + pause_s > deadline:
                raise refused(error, number) from error
        time.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311  jitter, not a secret
        pause_s = min(pause_s * 2, 2.0)


def require_advancing(selection: Selection, bounds: Sequence[tuple[Any, ...]]) -> None:
    """Raise KeyNotAdvancing when two neighbouring boundaries are equal: the key is not unique then."""
    for before, bound in pairwise(bounds):
        if before == bound:
            raise KeyNotAdvancing(
                selection.relation,
                f"the key ({', '.join(selection.key)}) has the value {bound} more than once",
                expected="a unique key",
                state="nothing was read",
                action="choose a unique key in the plan",
            )


def between(bounds: Sequence[tuple[Any, ...]], estimate: int, kind: str = "key") -> list[KeyRange]:
    """Ranges between boundaries, open at both ends: rows added beyond them still belong somewhere."""
    edges = [None, *bounds, None]
    each = max(1, estimate // (len(bounds) + 1)) if estimate else 0
    return [KeyRange(i, after, upto, each, kind) for i, (after, upto) in enumerate(pairwise(edges))]


def one_database(source: Database, target: Database) -> bool:
    """Whether two addresses lead to one database: a lock taken at one side shows at the other, under any name.

    In a read-only folder SQLite has no lock: then its file is taken for another one.
    """
    if source.dialect != target.dialect:
        return False
    if source.masked_url == target.masked_url:
        return True
    name = f"one database {token_hex(8)}"
    with suppress(DatabaseError), target.advisory_lock(name) as free, source.advisory_lock(name) as free_too:
        return free and not free_too
    return False


def require_empty(directory: Path) -> None:
    """Refuse to make a backup where there is something.

    Raises:
        ConfigurationError: the directory has files.
    """
    if directory.exists() and any(directory.iterdir()):
        raise ConfigurationError(str(directory), "is not empty", state="nothing was written", action="choose another")


@contextmanager
def filled_folder(directory: Path) -> Iterator[Path]:
    """A new folder beside `directory` that takes its name once all is in it, and goes away where something failed."""
    partial = directory.with_name(f".{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if directory.exists():
        directory.rmdir()
    partial.rename(directory)


def digest(file: Path) -> str:
    """SHA-256 of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def even_bounds(db: Database, selection: Selection, rows_per_range: int, estimate: int) -> list[int] | None:
    """Boundaries of an integer key at even steps; None when the keys are too sparse for these to give even ranges."""
    key = selection.key[0]
    where = f" WHERE {selection.where}" if selection.where else ""
    least, greatest = db.rows(f"SELECT min({key}), max({key}) FROM {selection.relation}{where}")[0]
    return [] if least is None else even_steps(int(least), int(greatest), rows_per_range, estimate)


def even_steps(least: int, greatest: int, rows_per_range: int, estimate: int) -> list[int] | None:
    """Boundaries between a key's least and greatest value; see `even_bounds`."""
    density = estimate / (greatest - least + 1)
    if density < DENSE:
        return None
    step = max(1, round(rows_per_range / min(1.0, density)))
    return list(range(least + step - 1, greatest, step))


def numbered_ranges(
    selection: Selection, ranges: Sequence[KeyRange], condition: Callable[[Selection, KeyRange], str]
) -> tuple[str, KeyRange]:
    """For one pass over contiguous ranges: SQL of a row's range (its number from 0), and the range that is all of them.

    Without an index that serves the key each range would cost a scan of the table.
    """
    bare = Selection(selection.relation, selection.key, selection.columns)
    cases = [
        f"WHEN {condition(bare, KeyRange(0, None, each.upto))} THEN {number}" for number, each in enumerate(ranges[:-1])
    ]
    return f"CASE {' '.join(cases)} ELSE {len(ranges) - 1} END", KeyRange(0, ranges[0].after, ranges[-1].upto)


def in_pieces(items: Sequence[Item], most: int) -> Iterator[Sequence[Item]]:
    """The items, at most so many at a time."""
    for start in range(0, len(items), most):
        yield items[start : start + most]


def require_counts(table: str, found: Mapping[str, int], changes: Mapping[str, Recount]) -> None:
    """Refuse where rows of a table without a key are not there as often as they were when it was compared."""
    moved = sum(found.get(each, 0) != change.now for each, change in changes.items())
    if moved:
        raise Refused(
            f"table {table}",
            f"{counted(moved, 'row')} of {len(changes):,} there in other numbers than when the table was compared",
            expected="a target that nobody writes to",
            state="the batch was rolled back",
            action="stop its writers, and repair again",
        )


_NO_TABLE = "correct the plan's table names; where a followed copy's table is gone, runbook follow apply-ddl lets it go"


class Catalog(dict[str, Table]):
    """Tables by the name they were asked by; a missing one is an error in words."""

    def __init__(self, database: str) -> None:
        super().__init__()
        self.database = database

    def __missing__(self, name: str) -> Table:
        raise DatabaseError(f"database {self.database}", f"no table {name}", action=_NO_TABLE)


def contiguous(ranges: Sequence[KeyRange]) -> bool:
    """Whether each range begins where the one before it ends, so that one pass can tell them apart by their ends."""
    ends = all(one.upto is not None and one.upto == two.after for one, two in pairwise(ranges))
    return ends and all(each.kind == "key" for each in ranges)


def also(selection: Selection, condition: str) -> Selection:
    """A selection of those rows only that meet a further condition."""
    return replace(selection, where=f"({selection.where}) AND {condition}" if selection.where else condition)


def fingerprint(found: Mapping[str, Table], tables: Sequence[str], types: Iterable[str] = ()) -> str:
    """SHA-256 over columns, indexes, constraints and triggers of these tables; names of indexes aside."""
    described: dict[str, Any] = {}
    for name in sorted(set(tables)):
        table = found[name]
        described[name] = {
            "columns": [_facts(column) for column in table.columns],
            "key": table.key,
            "indexes": sorted(f"{i.definition} valid={i.valid}" for i in table.indexes),
            "constraints": sorted(f"{c.kind} {c.definition} validated={c.validated}" for c in table.constraints),
            "triggers": sorted(table.triggers),
        }
    body = json.dumps([described, sorted(types)], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(body.encode()).hexdigest()


def _facts(column: Column) -> Mapping[str, Any]:
    kept = ("name", "type", "nullable", "default", "generated", "identity", "collation")
    return {field: getattr(column, field) for field in kept}  # no ordinal: dropped columns leave holes in it


def free_bytes(directory: str | None, host: str) -> int | None:
    """Free space where a server keeps its data (bytes); None where it is not on this machine, or not to be seen."""
    if not directory or host not in ("", "localhost", "127.0.0.1", "::1"):
        return None
    try:
        stats = os.statvfs(directory)
    except OSError:  # closed to us, or a container's own path: not known
        return None
    return stats.f_bavail * stats.f_frsize
