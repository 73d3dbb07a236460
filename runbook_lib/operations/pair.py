"""Source and target of a copy without a plan, and how to copy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from runbook_lib.databases.port import Database, Table
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
        tables: Only these; empty: all, with views, routines and loose sequences.
        jobs: Ranges, tables or indexes at a time (count).
        chunk_rows: Rows in a range (count).
        follow: Capture changes at the source from before the first row, and fence the target.
        existing: What becomes of tables that are there already: `refuse` them; `keep` them as they are (empty ones
            only); `empty` them; `drop` them.
    """

    tables: tuple[str, ...] = ()
    jobs: int = 2
    chunk_rows: int = 250_000
    follow: bool = False
    existing: str = "refuse"


@dataclass(frozen=True)
class Pair:
    """Both databases and the implicit plan between them; links are made anew at each use: they read the catalogs."""

    source: Database
    target: Database
    plan: Plan

    @property
    def service(self) -> Service:
        """The one service of the implicit plan."""
        return self.plan.services[0]

    def named(self, service: str) -> Pair:
        """The same under another name of its capture and progress."""
        return replace(self, plan=replace(self.plan, services=(replace(self.service, name=service),)))

    def forward_as_read(self, there: Mapping[str, Table]) -> Link:
        """The same as `forward`, where the source's tables have been read in this command."""
        here = self.target.catalog([mapping.target for mapping in self.service.tables])
        links = forward_links(self.plan, self.source, {"target": self.target}, QUARANTINE, (there, here))
        return replace(links[0], service="")

    def writers(self) -> Writers:
        """Who has the writers, by the fences of both sides."""
        tables = self.service.tables
        return writers_of(self.source, [m.source for m in tables], [(self.target, [m.target for m in tables])])

    @property
    def forward(self) -> Link:
        """From the source to the target."""
        return replace(forward_links(self.plan, self.source, {"target": self.target}, QUARANTINE)[0], service="")

    @property
    def back(self) -> Link:
        """From the target to the source."""
        return replace(reverse_links(self.plan, self.source, {"target": self.target}, QUARANTINE)[0], service="")


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
