"""Which pending changes the other side would refuse: tried there, and rolled back."""

from __future__ import annotations

from collections.abc import Sequence

from runbook_lib.errors import RowRejected
from runbook_lib.transfer.capture import logged_tables
from runbook_lib.transfer.isolate_bad_rows import refused_row
from runbook_lib.transfer.links import Flow, Link
from runbook_lib.transfer.quarantine import Key, Refused
from runbook_lib.transfer.sync import keys_of

LIMIT = 10_000  # changes of a table that are tried: more is for the sync, which names the first it cannot apply


def would_not_fit(link: Link) -> list[Refused]:
    """The rows of the link's pending changes that the writer refuses as it is now; nothing is written or consumed.

    Alone in its batch a row may be refused for a unique value that another row of the same batch gives up: rows are
    tried together first, and apart only where they are refused together.
    """
    found: list[Refused] = []
    gaps = link.reader.capture_gaps(link.channel)  # these are refused for themselves
    for table in (each for each in logged_tables(link) if each not in gaps):
        changes = link.reader.read_changes(link.channel, table, LIMIT)
        for flow, feed in link.fed[table]:
            found += _refused(link, flow, keys_of(changes, link.captured[table], feed))
    return found


def _refused(link: Link, flow: Flow, keys: Sequence[Key]) -> list[Refused]:
    if not keys:
        return []
    try:
        rows = link.reader.read_rows(flow.reading, keys)
        with link.writer.rehearsing():
            link.writer.apply_rows(flow.table, flow.key, flow.columns, keys, rows)
    except RowRejected as error:
        if len(keys) == 1:
            return [refused_row(link, flow, keys[0], error)]
        middle = len(keys) // 2
        return _refused(link, flow, keys[:middle]) + _refused(link, flow, keys[middle:])
    return []
