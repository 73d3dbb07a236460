"""Before the fence both sides are compared: what changed since the copy is named, and nobody is moved away from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from nightly import at_night, short_of

from runbook_lib.errors import CutoverAborted, Refused
from runbook_lib.journal import Journal
from runbook_lib.operations.agreement import disagreements
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, Pair, pair_of
from runbook_lib.operations.replicate import Switch, copy_of, find_clone, move, open_clone
from runbook_lib.transfer.capture import enable_capture
from runbook_lib.transfer.sync import drain
from runbook_lib.transfer.writers import Side
from runbook_lib.validation import validate
from runbook_lib.validation.repair import repair

SCHEMA = """
CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'v' FROM generate_series(1, 20) g;
CREATE TABLE m (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE m_24 PARTITION OF m FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE VIEW shown AS SELECT id FROM t;
"""
CHANGES = {
    "ALTER TABLE t ADD COLUMN mail text": "t: no column mail",
    "CREATE INDEX ON t (v)": "t: there is no t_v_idx, nor its like",
    "CREATE TABLE later (id int PRIMARY KEY REFERENCES t)": "table public.later: new at source since the copy",
    "CREATE TABLE m_25 PARTITION OF m FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')": "partition public.m_25: new",
    "CREATE SEQUENCE newer START 700": "sequence public.newer: new at source since the copy, not at target",
    "CREATE VIEW late AS SELECT 1 AS one": "view public.late: new",
    "CREATE OR REPLACE VIEW shown AS SELECT id FROM t WHERE id > 3": "view public.shown: changed at source",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'": "function public.f(): new",
}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(f"sqlite:///{tmp_path}/journal.sqlite")) as opened:
        yield opened


def followed(source: Any, target: Any, journal: Journal, **how: Any) -> tuple[Pair, str]:
    pair = pair_of(source, target, **how)
    clone(pair, How(follow=True))
    open_clone(journal, pair, (), "test")
    return find_clone(journal, pair_of(source, target))


def test_every_change_since_the_copy_is_named_there_and_back_and_the_same_on_both_sides_is_none(
    new_on: Callable[..., Any], journal: Journal
) -> None:
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script(SCHEMA)
    pair, run_id = followed(source, target, journal)
    source.execute(*CHANGES)
    with pytest.raises(Refused) as refused:
        move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20)
    # the eight, and that the capture does not know the rows of the new partition
    assert "3 more" in str(refused.value) and "nothing was fenced" in str(refused.value)
    known = copy_of(journal, run_id).baseline
    named = [one.text for one in disagreements(pair, pair.forward, pair.back, known, whole=True)]
    for says in CHANGES.values():
        assert any(text.startswith(says) for text in named), (says, named)
    assert len(named) == len(CHANGES) + 1 and "m: partition public.m_25 was attached or made" in named[-1]
    assert pair.writers().side is Side.SOURCE
    target.execute(*CHANGES)
    pair.target.prepare_fence(["m"])
    pair.target.raise_fence(["m"], timeout_s=5.0)  # a partition made beside the fence is open until then
    with pytest.raises(Refused, match="m_25 was attached or made"):  # its rows may have come with it
        move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20)
    enable_capture(pair.forward)  # as `follow apply-ddl` does
    assert move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20) is not None
    target.execute("ALTER TABLE t ADD COLUMN more int", "CREATE SEQUENCE after_it")
    with pytest.raises(Refused, match=r"t: .*column more.*; sequence public.after_it: new at target since the copy"):
        move(pair, journal, run_id, Side.SOURCE, Switch(), budget_s=20)
    assert pair.writers().side is Side.TARGET


ENGINES = ["postgresql", "mysql", "sqlite"]


@pytest.mark.parametrize("engine", short_of(ENGINES, ENGINES[1:2]))
def test_a_schema_that_changes_between_the_comparison_and_the_fence_lifts_the_fence_again_and_is_named(
    new_on: Callable[..., Any], journal: Journal, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = new_on(engine, "source"), new_on(engine, "target")
    source.execute("CREATE TABLE t (id int NOT NULL PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 1)")
    pair, run_id = followed(source, target, journal)
    for to, origin, other in ((Side.TARGET, source, target), (Side.SOURCE, target, source)):
        name = f"later_{origin.name}"
        with monkeypatch.context() as patched:
            patched.setattr(origin, "raise_fence", behind(origin, f"ALTER TABLE t ADD COLUMN {name} int"))
            with pytest.raises(CutoverAborted) as aborted:
                move(pair, journal, run_id, to, Switch(), budget_s=20)
        assert f"since both sides were compared: table t: changed at {origin.name}: + column {name} int" in str(
            aborted.value
        )
        origin.execute("INSERT INTO t (id) VALUES (2)", "DELETE FROM t WHERE id = 2")  # its writers are let in
        other.execute(f"ALTER TABLE t ADD COLUMN {name} int")
        assert move(pair, journal, run_id, to, Switch(), budget_s=20) is not None


def behind(database: Any, change: str) -> Callable[..., float]:
    """The fence of this database, with a change of the schema that comes just before it."""
    original = database.raise_fence

    def call(*args: Any, **more: Any) -> float:
        database.execute(change)
        return float(original(*args, **more))

    return call


def test_rows_in_quarantine_keep_the_writers_where_they_are_until_somebody_says_otherwise(
    new_on: Callable[..., Any], journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source, target = new_on("mysql", "source"), new_on("postgresql", "target")
    source.execute("CREATE TABLE t (id int PRIMARY KEY, level tinyint(1) NOT NULL)", "INSERT INTO t VALUES (1, 0)")
    pair, run_id = followed(source, target, journal, on_bad_row="quarantine")
    source.execute("INSERT INTO t VALUES (2, 2), (3, 1)")
    drain([pair.forward])
    assert target.rows("SELECT id, level FROM t ORDER BY id") == [(1, False), (3, True)]
    with pytest.raises(Refused, match=r"t: 1 rows are in quarantine \(the first: key \(2\)"):
        move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20)
    assert move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20, leave_quarantined=True) is not None


@at_night
def test_a_truncate_beside_the_fence_is_found_before_a_return_and_both_sides_keep_their_rows(
    new_on: Callable[..., Any], journal: Journal
) -> None:
    source, target = new_on("mysql", "source"), new_on("postgresql", "target")
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v varchar(9))", "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    pair, run_id = followed(source, target, journal)
    move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20)
    target.execute("INSERT INTO t VALUES (3, 'c')")
    source.execute("TRUNCATE t")  # no trigger of MariaDB's fires
    with pytest.raises(Refused) as refused:
        move(pair, journal, run_id, Side.SOURCE, Switch(), budget_s=20)
    assert "t: written at source beside its fence" in str(refused.value)
    assert pair.writers().side is Side.TARGET and target.rows("SELECT count(*) FROM t") == [(3,)]
    repair(pair.back, validate([pair.back], checks=("checksums",), under_writes=False), dry_run=False)
    assert move(pair, journal, run_id, Side.SOURCE, Switch(), budget_s=20) is not None
    drain([pair.forward])
    for side in (source, target):
        assert side.rows("SELECT id FROM t ORDER BY id") == [(1,), (2,), (3,)]
