"""Tables by plain inheritance: every row stays in exactly its own table, copied, followed, compared and back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from runbook_lib.journal import Journal
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of
from runbook_lib.operations.replicate import Switch, move, open_clone
from runbook_lib.transfer.bulk_copy import copy_link
from runbook_lib.transfer.sync import drain
from runbook_lib.transfer.writers import Side
from runbook_lib.validation import validate

SCHEMA = """
CREATE TABLE readings (id int PRIMARY KEY, v numeric, u int UNIQUE);
CREATE TABLE readings_eu (PRIMARY KEY (id)) INHERITS (readings);
CREATE TABLE readings_us (CHECK (id > 200), PRIMARY KEY (id)) INHERITS (readings);
INSERT INTO readings VALUES (1, 1, 1), (2, 2, 2);
INSERT INTO readings_eu SELECT g, g FROM generate_series(101, 105) g;
INSERT INTO readings_us SELECT g, g FROM generate_series(201, 203) g;
"""
WHERE = "SELECT tableoid::regclass::text, id, v FROM readings ORDER BY 2, 1"


def test_each_row_is_in_its_own_table_on_both_sides_whatever_was_written_through_the_parent(
    new_on: Callable[..., Any], tmp_path: Path
) -> None:
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script(SCHEMA)
    pair = pair_of(source, target)
    clone(pair, How(follow=True))
    assert target.rows(WHERE) == source.rows(WHERE)
    assert copy_link(pair.forward).rows_now == 0  # the parent's own rows are what the copy has read
    source.execute(
        "UPDATE readings SET v = -1 WHERE id IN (1, 102)",  # through the parent: one of them is a child's
        "INSERT INTO readings_eu VALUES (106, 6), (2, 7)",  # a key that the parent has too
        "DELETE FROM readings WHERE id = 203",
        *(f"UPDATE ONLY readings SET u = {u} WHERE id = {i}" for i, u in ((1, 9), (2, 1), (1, 2))),  # a second pass
        "DELETE FROM ONLY readings WHERE id = 101",
    )
    drain([pair.forward])
    assert target.rows(WHERE) == source.rows(WHERE)
    with closing(Journal(f"sqlite:///{tmp_path}/journal.sqlite")) as journal:
        run_id = open_clone(journal, pair, (), "test")
        move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20)
        target.execute("DELETE FROM ONLY readings WHERE id = 2", "UPDATE readings SET v = 0 WHERE id IN (1, 103)")
        move(pair, journal, run_id, Side.SOURCE, Switch(), budget_s=20)
    assert source.rows(WHERE) == target.rows(WHERE) and (2,) in source.rows("SELECT id FROM readings_eu")
    source.execute("TRUNCATE ONLY readings")
    drain([pair.forward])
    report = validate([pair.forward], under_writes=False)
    assert report.passed, report.text
    assert target.rows("SELECT count(*) FROM ONLY readings") == [(0,)] != target.rows("SELECT count(*) FROM readings")
