"""Followed tables that the side with the writers has no more: dropped, or renamed away.

Approved, they leave the followed copy: capture, log and progress go, the other side keeps its rows, open to writes and
kept current by nobody. First the journal says so, then the captures go: what a kill leaves of them is a capture of a
table that is not followed, found as such by the next call.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.identifiers import own_name, split
from runbook_lib.errors import TransferError
from runbook_lib.operations.pair import Pair
from runbook_lib.transfer.capture import disable_capture
from runbook_lib.transfer.chunk_store import forget_channel
from runbook_lib.transfer.links import Link
from runbook_lib.transfer.writers import Side


def gone_of(pair: Pair, to: str) -> tuple[str, ...]:
    """Followed tables (by their names at the source) that this side, which has the writers, has no more."""
    database, role = (pair.source, "source") if to == Side.SOURCE else (pair.target, "target")
    there = set(database.tables())
    return tuple(m.source for m in pair.service.tables if getattr(m, role) not in there)


def left_behind(link: Link) -> tuple[str, ...]:
    """Tables that this link's channel still captures, in part, and does not follow: what a killed call left."""
    return tuple(sorted(link.reader.capture_gaps(link.channel).keys() - set(link.captured)))


def without(pair: Pair, gone: Collection[str]) -> Pair:
    """The pair that follows the other tables, under the same name.

    Raises:
        TransferError: there is no other.
    """
    tables = tuple(m for m in pair.service.tables if m.source not in gone)
    if not tables:
        raise TransferError(
            f"{pair.source.name} to {pair.target.name}",
            "none of the followed tables is there any more",
            state="nothing was changed",
            action="see that both addresses name the databases that were copied",
        )
    services = (replace(pair.service, tables=tables),)
    return replace(pair, plan=replace(pair.plan, services=services), read=None)


def let_go(whole: Pair, rest: Pair, gone: Collection[str]) -> None:
    """Remove the captures of these tables, and open them at the side without the writers. Idempotent.

    Args:
        whole: With them.
        rest: Without them.
    """
    names = {m.source: m.target for m in whole.service.tables}
    targets = [names.get(table, table) for table in gone]
    disable_capture(rest.forward, gone)
    disable_capture(rest.back, targets)
    for table in targets:  # one that comes again is copied again
        forget_channel(rest.target, rest.forward.channel, table)
    for database, tables in ((rest.source, gone), (rest.target, targets)):
        there = set(database.tables())
        database.lower_fence([table for table in tables if table in there])


def freed_names(pair: Pair, fresh: Sequence[str]) -> Iterator[str]:
    """Statements that give indexes and counters of tables which are followed no more another name at the target.

    A table that was renamed comes with the names that its indexes have had: the target's old table has them still.
    """
    source, target, dialect = pair.source, pair.target, dialect_of(pair.target.dialect)
    followed = {mapping.target for mapping in pair.service.tables} | {*fresh}
    rest = [name for name in target.tables() if name not in followed]
    if not rest or not dialect.shared_names:
        return
    wanted = {index.name for table in source.catalog(fresh).values() for index in table.indexes}
    for name, table in target.catalog(rest).items():
        for index in table.indexes:
            if index.name in wanted and not index.name.startswith("sqlite_autoindex_"):
                yield from dialect.rename_index(target.quote(name), index, target.ident(_renamed(name, index.name)))
    counters = {split(each.name)[-1] for each in source.sequences(fresh)}
    for each in target.sequences(rest):
        if split(each.name)[-1] in counters:
            yield dialect.rename_counter(target.quote(each.name), target.ident(_renamed(each.table, each.name)))


def _renamed(table: str, name: str) -> str:
    return own_name(split(name)[-1], "of", table)
