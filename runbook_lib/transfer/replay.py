"""Rows of a quarantine file tried again: read again at the source, written at the target if it takes them now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from runbook_lib.errors import TransferError
from runbook_lib.transfer.chunk_store import stored
from runbook_lib.transfer.links import Link
from runbook_lib.transfer.quarantine import Quarantine, Refused, read
from runbook_lib.transfer.sync import apply_one_by_one
from runbook_lib.transfer.sync_process import exclusive
from runbook_lib.transfer.user_triggers import hold_back


@dataclass(frozen=True)
class ReplayResult:
    """What happened to a file's rows: `tried` (count), and those that are `left`, with their reasons of now."""

    file: Path
    tried: int
    left: tuple[Refused, ...] = ()

    @property
    def text(self) -> str:
        """One line."""
        fit = self.tried - len(self.left)
        return f"{self.file}: {self.tried} rows tried, {fit} fit now, {len(self.left)} are refused"


def replay(file: Path, link_of: Callable[[str, str], Link]) -> ReplayResult:
    """Try every row of a file again. Idempotent: a row that fits is lifted once it is at the target.

    Args:
        link_of: The link of a channel and a written table.
    Raises:
        TransferError: no such file; a sync of the channel is running, or its copy has not ended.
    """
    if not file.exists():
        raise TransferError(f"{file}", "no such file", action="name a file of .runbook/quarantine")
    rows = read(file)
    if not rows:
        return ReplayResult(file, 0)
    channel, table = next((row.channel, row.table) for row in rows.values())
    quarantine = Quarantine(file.parent.parent, limit=len(rows))
    if quarantine.file(channel, table) != file:
        expected = f"{channel}/{quarantine.file(channel, table).name}"
        raise TransferError(f"{file}", "was moved", expected=expected, action="put it back to its folder")
    link = replace(link_of(channel, table), channel=channel, quarantine=quarantine)
    [flow] = [flow for flow in link.flows if flow.table == table]
    if any(chunk.rows_done is None for chunk in stored(link, flow)):
        raise TransferError(table, "its copy has not ended", state="nothing was written", action="end it, then replay")
    with exclusive([link]):
        hold_back([link])
        apply_one_by_one(link, flow, [row.key for row in rows.values()])
    return ReplayResult(file, len(rows), tuple(read(file).values()))
