"""A unique value that moves from row to row while ranges are copied: twice at the target until its log is applied."""

from __future__ import annotations

from contextlib import closing

import pytest

from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of
from runbook_lib.transfer.sync import drain

PAIRS = [
    ("postgresql", "postgresql"), ("postgresql", "mysql"), ("mysql", "postgresql"), ("sqlite", "postgresql"),
    ("postgresql", "sqlite"),
]  # fmt: skip


@pytest.mark.parametrize("engines", PAIRS, ids="-".join)
def test_a_unique_value_that_moves_between_ranges_does_not_stop_the_making_of_its_index(engines, new_on):
    source, target = (new_on(engine, name) for engine, name in zip(engines, ("source", "target"), strict=True))
    source.execute(
        "CREATE TABLE seats (id INTEGER PRIMARY KEY, number INTEGER NOT NULL UNIQUE, taken INTEGER)",
        "CREATE TABLE other (id INTEGER PRIMARY KEY, code INTEGER UNIQUE)",
        f"INSERT INTO seats VALUES {', '.join(f'({i}, {i}, 0)' for i in range(1, 101))}",
        f"INSERT INTO other VALUES {', '.join(f'({i}, {i})' for i in range(1, 31))}",
    )
    moved = []

    def move() -> str:
        """Once the first of two rows is there and the other is not: the first one's number goes to the other."""
        there = [i for (i,) in target.rows("SELECT id FROM seats WHERE id IN (1, 100)")]
        if len(there) == 1 and not moved:
            moved.append({1: 100, 100: 1}[there[0]])
            number = there[0]
            source.execute(
                f"UPDATE seats SET number = 1000 WHERE id = {number}",
                f"UPDATE seats SET number = {number} WHERE id = {moved[0]}",
            )
        return ""

    with closing(source), closing(target):
        pair = pair_of(source, target)
        clone(pair, How(follow=True, jobs=1, chunk_rows=20), pause=move)
        drain([pair.forward])
        [there] = moved
        rows = target.rows("SELECT id, number FROM seats WHERE id IN (1, 100) ORDER BY number")
        assert rows == [(there, 101 - there), (101 - there, 1000)]
        assert any(
            index.unique and index.columns == ("number",) for index in target.catalog(["seats"])["seats"].indexes
        )
