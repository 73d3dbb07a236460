"""Source and target of a copy without a plan, and how to copy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runbook_lib.databases.port import Catalogs, Database, Table
from runbook_lib.plan.model import Plan, Service
from runbook_lib.transfer.build_links import forward_links, reverse_links
from runbook_lib.transfer.implicit_plan import QUARANTINE, whole_plan
from runbook_lib.transfer.links import Link
from runbook_lib.transfer.writers import Writers, writers_of

Tell = Callable[[str], None]


@dataclass(frozen=True)
class How:
    """How to copy.

    Attributes:
        tables: Only these; empty: all, with views, routines and standalone sequences.
        jobs: Ranges, tables or indexes at a time (count).
        chunk_rows: Rows in a range (count).
        follow: Capture changes at the source from before the first row, and fence the target.
        existing: How tables that are there already are handled: `refuse` them; `keep` them as they are (empty ones
            only); `empty` them; `drop` them.
    """

    tables: tuple[str, ...] = ()
    jobs: int = 2
    chunk_rows: int = 250_000
    follow: bool = False
    existing: str = "refuse"


@dataclass(frozen=True)
class Pair:
    """Two databases and what is moved between them; links are built again at each use, from the catalogs of now.

    `plan` is implicit, or a user's (of a file) with the one service between these two.
    `read` is what both sides' tables were at a moment (`seen`): links are made of that, and nobody is asked again.
    """

    source: Database
    target: Database
    plan: Plan
    read: Catalogs | None = None
    quarantine: Path = QUARANTINE

    @property
    def service(self) -> Service:
        """The one service."""
        return self.plan.services[0]

    def named(self, service: str) -> Pair:
        """The same under another name of its capture and progress."""
        return replace(self, plan=replace(self.plan, services=(replace(self.service, name=service),)))

    def seen(self, there: Mapping[str, Table] | None = None) -> Pair:
        """The same, with both sides' tables as they are now; the source's as they were read a moment ago, if given."""
        tables = self.service.tables
        there = self.source.catalog([mapping.source for mapping in tables]) if there is None else there
        return replace(self, read=(there, self.target.catalog([mapping.target for mapping in tables])))

    def catalogs(self, *links: Link) -> dict[str, Catalogs]:
        """What was read of these links' tables, by channel: at the reader and at the writer."""
        there, here = self.read or ({}, {})
        return {link.channel: (there, here) if link.forward else (here, there) for link in links if self.read}

    def writers(self) -> Writers:
        """Who has the writers, by the fences of both sides."""
        tables = self.service.tables
        return writers_of(self.source, [m.source for m in tables], [(self.target, [m.target for m in tables])])

    @property
    def forward(self) -> Link:
        """From the source to the target."""
        return self._link(forward_links)

    @property
    def back(self) -> Link:
        """From the target to the source."""
        return self._link(reverse_links)

    def _link(self, make: Callable[..., list[Link]]) -> Link:
        targets = {self.service.database: self.target}
        [link] = make(self.plan, self.source, targets, self.quarantine, self.read)
        return link if self.plan.path else replace(link, service="")


def pair_of(
    source: Database,
    target: Database,
    tables: Sequence[str] = (),
    *,
    on_bad_row: str = "stop",
    types: Mapping[str, str] | None = None,
    known: Sequence[str] | None = None,
) -> Pair:
    """The pair, with every table of the source (or these, or of those `known`) as it is; `types` as in a plan."""
    plan = whole_plan(source, target, tables, on_bad_row=on_bad_row, known=known)
    return Pair(source, target, replace(plan, types=dict(types or {})))
