"""What the tests of expand and contract share: a stage done or undone, and a process cut off within one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runbook_lib.databases.port import Database
from runbook_lib.schema.expand import Move, Split, revision_files
from runbook_lib.schema.revisions import version_store
from runbook_lib.schema.revisions.apply import revise
from runbook_lib.schema.revisions.batched_update import Pace
from runbook_lib.schema.revisions.graph import Revisions
from runbook_lib.util import points

FAST = Pace(1.0)


class TableRanges(BaseException):
    """Where the process would have been killed: nothing in it survives, neither here."""


def written(change: Split | Move, name: str, dialect: str, folder: Path) -> Revisions:
    """The two revisions of a change, in a folder that is made for them."""
    folder.mkdir()
    for file, text in revision_files(change, name, "base", [dialect]).items():
        (folder / file).write_text(text)
    return Revisions(folder)


def go(database: Database, revisions: Revisions, version: str, direction: str) -> None:
    """Carry one revision out and record it."""
    revise(database, revisions, revisions.by_id[version], direction, FAST)
    version_store.record(database, revisions.by_id[version].after(direction))


@contextmanager
def cut_off_after(statement: int) -> Iterator[None]:
    """What is within ends after its n-th statement, as if the process had been killed there."""

    def die(here: str) -> None:
        if here == f"schema:between:{statement}":
            raise TableRanges

    with pytest.MonkeyPatch.context() as cutting, pytest.raises(TableRanges):
        cutting.setattr(points, "observers", [die])
        yield
