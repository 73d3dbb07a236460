"""The schema changes while a copy is followed: the other tables continue, and the change is carried to both sides."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from estate_killed import killed_at
from nightly import at_night

from runbook_lib.errors import Refused
from runbook_lib.journal import Journal
from runbook_lib.operations.apply_ddl import apply_ddl, foreseen
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, Pair, pair_of
from runbook_lib.operations.replicate import Switch, find_clone, move, open_clone
from runbook_lib.transfer.held import Held
from runbook_lib.transfer.sync import drain, drain_once
from runbook_lib.transfer.writers import Side
from runbook_lib.validation import validate

SCHEMA = """
CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'v' FROM generate_series(1, 20) g;
CREATE TABLE m (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE m_24 PARTITION OF m FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
"""
CHANGED = (
    "ALTER TABLE t ADD COLUMN mail text NOT NULL DEFAULT 'none'",  # no trigger fires for the rows that are there
    "UPDATE t SET mail = id || '@example.org' WHERE id < 5",
    "CREATE TABLE later (id int PRIMARY KEY, ref int REFERENCES t)",
    "INSERT INTO later VALUES (1, 1), (2, 1)",
    "CREATE TABLE m_25 PARTITION OF m FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
    "INSERT INTO m VALUES (1, '2024-02-02'), (2, '2025-02-02')",
    "CREATE SEQUENCE newer START 700",
    "CREATE VIEW late AS SELECT id, ref FROM later",
    "CREATE INDEX ON t (mail)",
)
FIRST = "ALTER TABLE t ADD COLUMN first int"
POINTS = ("at the origin", "drained", "applied", "compared", "taken in")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(f"sqlite:///{tmp_path}/journal.sqlite")) as opened:
        yield opened


def followed(source: Any, target: Any, journal: Journal) -> tuple[Pair, str]:
    clone(pair_of(source, target), How(follow=True))
    open_clone(journal, pair_of(source, target), (), "test")
    return find_clone(journal, pair_of(source, target))


def test_what_one_table_cannot_apply_waits_and_is_named_while_the_others_and_its_other_rows_go_on(
    new_on: Callable[..., Any], journal: Journal
) -> None:
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script(SCHEMA)
    pair, _ = followed(source, target, journal)
    source.execute(*CHANGED)
    told: list[str] = []
    held = Held(tell=told.append)
    for _ in range(3):
        drain_once(pair.forward, held=held)
    [line] = told
    assert line.startswith("m: held back: target.m, key (2, 2025-02-02): 1 row refused: ") and "no partition" in line
    assert target.rows("SELECT id FROM m") == [(1,)]
    source.execute("INSERT INTO t VALUES (99, 'continues', 'x')")
    drain_once(pair.forward, held=held)
    assert target.rows("SELECT v FROM t WHERE id = 99") == [("continues",)]
    target.execute(CHANGED[4])
    held.waiting[pair.forward.channel, "m"].until = 0.0  # its time has come
    drain_once(pair.forward, held=held)
    assert told[1:] == ["m: resumes, its changes are applied"]
    assert target.rows("SELECT id FROM m ORDER BY id") == [(1,), (2,)]


@at_night
def test_an_approved_change_is_carried_over_killed_at_each_point_and_the_cutover_follows(
    new_on: Callable[..., Any], journal: Journal, tmp_path: Path, postgresql_server: Any
) -> None:
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script(SCHEMA)
    pair, run_id = followed(source, target, journal)
    source.execute(*CHANGED)
    with pytest.raises(
        Refused, match=r"partition public\.m_25: new at source since the copy.*Next: runbook follow apply-ddl"
    ):
        move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20)
    place = f"sqlite:///{tmp_path}/journal.sqlite"
    killed = [sys.executable, "-c", _KILLED, source.masked_url, target.masked_url, place, FIRST]
    for point in POINTS:
        environment = {**killed_at(f"apply-ddl:{point}"), "SECRET": postgresql_server.password}
        done = subprocess.run(killed, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == -signal.SIGKILL, (point, done.stderr[-2000:])
    told: list[str] = []
    apply_ddl(pair, journal, run_id, at_origin=[FIRST], tell=told.append)
    assert told[0] == f"source: carried out before: {FIRST}"
    pair, run_id = find_clone(journal, pair_of(source, target))
    assert foreseen(pair, journal, run_id).nothing
    source.execute("INSERT INTO later VALUES (3, 2)", "UPDATE t SET mail = 'last' WHERE id = 20", "TRUNCATE m_25")
    drain([pair.forward])
    report = validate([pair.forward], under_writes=False)
    assert report.passed, report.text
    assert move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20) is not None
    assert target.rows("SELECT nextval('newer')") == [(700,)] and target.rows("SELECT id FROM late ORDER BY 1")[-1] == (
        3,
    )
    target.execute("ALTER TABLE t ADD COLUMN later_still int DEFAULT 7")  # and the other way
    apply_ddl(pair, journal, run_id, tell=told.append)
    assert source.rows("SELECT DISTINCT later_still FROM t") == [(7,)]
    assert move(pair, journal, run_id, Side.SOURCE, Switch(), budget_s=20) is not None


def test_rows_of_the_default_partition_move_into_one_that_is_made_for_them(
    new_on: Callable[..., Any], journal: Journal
) -> None:
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script(
        'CREATE TABLE m (id int GENERATED ALWAYS AS IDENTITY, at date, "50%" text, twice int GENERATED ALWAYS AS (7)'
        " STORED, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);"
        ' CREATE TABLE "m_re\'st%" PARTITION OF m DEFAULT; CREATE TABLE c (id int PRIMARY KEY, m int, at date,'
        " FOREIGN KEY (m, at) REFERENCES m ON DELETE CASCADE);"
        " INSERT INTO m (at) VALUES ('2025-02-02'), ('2026-02-02'); INSERT INTO c VALUES (1, 1, '2025-02-02')"
    )
    pair, run_id = followed(source, target, journal)
    source.run_script(
        "BEGIN; DELETE FROM c; DELETE FROM m WHERE id = 1; CREATE TABLE m_25 PARTITION OF m FOR"
        " VALUES FROM ('2025-01-01') TO ('2026-01-01'); INSERT INTO m (id, at) OVERRIDING SYSTEM VALUE"
        " VALUES (1, '2025-02-02'); INSERT INTO c VALUES (1, 1, '2025-02-02'); COMMIT"
    )
    apply_ddl(pair, journal, run_id, tell=lambda text: None)
    sql = "SELECT tableoid::regclass::text, m.* FROM m ORDER BY id"
    assert target.rows(sql) == source.rows(sql) and len(target.rows("SELECT * FROM c")) == 1
    assert foreseen(pair, journal, run_id).nothing
    assert move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20) is not None


def test_a_sequence_and_a_view_made_since_are_carried_over_once_each(
    new_on: Callable[..., Any], journal: Journal
) -> None:
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script("CREATE TABLE t (id int PRIMARY KEY)")
    pair, run_id = followed(source, target, journal)
    source.run_script("CREATE SEQUENCE newer START 700; CREATE VIEW late AS SELECT id FROM t")
    work = foreseen(pair, journal, run_id)
    assert [len(work.statements), len(work.after), work.tables] == [1, 1, ()]
    apply_ddl(pair, journal, run_id, tell=lambda text: None)
    assert target.rows("SELECT nextval('newer'), count(*) FROM late") == [(700, 0)]
    assert foreseen(pair, journal, run_id).nothing


def test_a_serial_column_and_a_renamed_table_are_carried_over_with_their_counters_and_index_names(
    new_on: Callable[..., Any], journal: Journal
) -> None:
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script(
        "CREATE TABLE t (id int PRIMARY KEY, v text UNIQUE); INSERT INTO t VALUES (7, 'a'), (8, 'b');"
        "CREATE TABLE old (id serial PRIMARY KEY, v int); CREATE INDEX by_v ON old (v); INSERT INTO old (v) VALUES (1)"
    )
    pair, run_id = followed(source, target, journal)
    source.execute("ALTER TABLE t ADD COLUMN n serial", "ALTER TABLE old RENAME TO new")
    told: list[str] = []
    apply_ddl(pair, journal, run_id, tell=told.append)
    assert sum("CREATE SEQUENCE" in line for line in told) <= 2  # the second one: IF NOT EXISTS
    pair, run_id = find_clone(journal, pair_of(source, target))
    assert foreseen(pair, journal, run_id).nothing
    assert target.rows("SELECT id, n FROM t ORDER BY 1") == source.rows("SELECT id, n FROM t ORDER BY 1")
    assert target.rows("SELECT id, v FROM new") == [(1, 1)] == target.rows("SELECT id, v FROM old")
    assert move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20) is not None
    target.execute("INSERT INTO t (id) VALUES (9)", "INSERT INTO new (v) VALUES (2)")
    assert target.rows("SELECT n FROM t WHERE id = 9") == [(3,)]


_KILLED = """
import os, sys
from contextlib import closing
from runbook_lib.databases.postgresql import open_database
from runbook_lib.journal import Journal
from runbook_lib.operations.apply_ddl import apply_ddl
from runbook_lib.operations.pair import pair_of
from runbook_lib.operations.replicate import find_clone
both = [open_database(n, url, os.environ["SECRET"]) for n, url in zip(("source", "target"), sys.argv[1:3])]
with closing(Journal(sys.argv[3])) as journal:
    pair, run_id = find_clone(journal, pair_of(*both))
    apply_ddl(pair, journal, run_id, at_origin=sys.argv[4:], tell=print)
"""


def test_a_changed_table_of_another_engine_is_carried_over_translated(
    new_on: Callable[..., Any], journal: Journal
) -> None:
    source, target = new_on("mysql", "source"), new_on("postgresql", "target")
    source.execute("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    pair, run_id = followed(source, target, journal)
    told: list[str] = []
    change = "ALTER TABLE t ADD COLUMN at datetime NOT NULL DEFAULT '2024-01-01'"
    apply_ddl(pair, journal, run_id, at_origin=[change], tell=told.append)
    source.execute("CREATE TABLE later (id int PRIMARY KEY)", "INSERT INTO later VALUES (7)")
    apply_ddl(pair, journal, run_id, tell=told.append)
    pair, run_id = find_clone(journal, pair_of(source, target))
    assert target.rows("SELECT count(DISTINCT at) FROM t") == [(1,)] and target.rows("SELECT id FROM later") == [(7,)]
    assert move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20) is not None
