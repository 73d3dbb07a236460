"""Nothing of ours makes the source's writers fail: the change is named, refused, and brought over by apply-ddl."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from nightly import short_of

from runbook_lib.errors import DatabaseError, Refused
from runbook_lib.journal import Journal
from runbook_lib.operations.apply_ddl import apply_ddl
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of
from runbook_lib.operations.replicate import Switch, find_clone, move, open_clone
from runbook_lib.transfer.held import Held
from runbook_lib.transfer.schema_watch import SchemaWatch
from runbook_lib.transfer.sync import drain_once
from runbook_lib.transfer.writers import Side

SCHEMA = """
CREATE TABLE t (id int PRIMARY KEY, v varchar(20)); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c');
CREATE TABLE u (id int PRIMARY KEY, v varchar(20)); INSERT INTO u VALUES (1, 'a');
"""
WRITES = ("INSERT INTO t VALUES (4, 'd')", "UPDATE t SET v = 'changed' WHERE v = 'a'", "DELETE FROM t WHERE v = 'b'")
REPLACED = "ALTER TABLE t DROP id; ALTER TABLE t RENAME n TO id; ALTER TABLE t ADD PRIMARY KEY (id)"
LOST = "so that changes were not logged"
BY_WAL = f"t: column id of its key has another name (rename it at the other side, too) or type, {LOST}"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(f"sqlite:///{tmp_path}/journal.sqlite")) as opened:
        yield opened


@pytest.fixture
def both(new_on: Callable[..., Any], journal: Journal, engine: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """A followed copy of two tables, and its watch with what it told."""
    monkeypatch.setattr("runbook_lib.transfer.schema_watch.EVERY_S", 0.0)
    monkeypatch.setattr("runbook_lib.transfer.schema_watch.SHARE", 0)
    dialect, _, capture = engine.partition(" ")
    source, target = new_on(dialect, "source", **({"capture": capture} if capture else {})), new_on(dialect, "target")
    source.run_script(SCHEMA)
    pair = pair_of(source, target)
    clone(pair, How(follow=True))
    open_clone(journal, pair, (), "test")
    pair, run_id = find_clone(journal, pair)
    told: list[str] = []
    watch = SchemaWatch([pair.forward], told.append)
    watch.look()
    return pair, run_id, watch, told


def rows(database: Any) -> list[Any]:
    shown = "to_jsonb({0})" if database.dialect == "postgresql" else "*"
    return [database.rows(f"SELECT {shown.format(table)} FROM {table} ORDER BY 1") for table in ("t", "u")]


# Statements at the source, its writes, what is done at the target, how it is named (by triggers, by wal).
RENAME, RETYPE = "ALTER TABLE t RENAME id TO number", "ALTER TABLE t ALTER id TYPE text USING 'number ' || id"
CHANGES: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], str, str]] = {
    "renamed": (
        (RENAME,), WRITES, (RENAME,),
        f"t: column id of its key is called number (rename it at the other side, too), {LOST}",
        BY_WAL,
    ),
    "renamed and back": (
        (RENAME, *WRITES, "ALTER TABLE t RENAME number TO id"), (), (),
        't: a change could not be logged: record "new" has no field "id"',
        BY_WAL,
    ),
    "of another type": (
        (RETYPE,), ("INSERT INTO t VALUES ('four', 'd')", *WRITES[1:]), (RETYPE,),
        f"t: column id of its key has another type, {LOST}",
        BY_WAL,
    ),
    "another column of its name": (
        (f"ALTER TABLE t ADD n int; UPDATE t SET n = id + 10; {REPLACED}",),
        ("INSERT INTO t (id, v) VALUES (4, 'd')", *WRITES[1:]), (),
        f"t: column id of its key was dropped, {LOST}",
        f"t: column id of its key was dropped, {LOST}",
    ),
    "widened": (
        ("ALTER TABLE t ALTER id TYPE bigint, ALTER v TYPE text",),
        ("INSERT INTO t VALUES (5000000000, 'a long value that takes more room than twenty')", *WRITES), (),
        "", "",
    ),
    "without its log": (
        ("DO $$ BEGIN EXECUTE (SELECT format('DROP TABLE %s CASCADE', log) FROM runbook.captures"
         " WHERE table_name = 't'); END $$",),
        WRITES, (),
        "t: its log is gone",
        "t: its log is gone",
    ),
}  # fmt: skip


OF_MYSQL: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], str]] = {
    "renamed": (
        ("ALTER TABLE t CHANGE id number int",), WRITES, ("ALTER TABLE t CHANGE id number int",),
        f"t: column id of its key was renamed (rename it at the other side, too) or dropped, {LOST}",
    ),
    "renamed and back": (
        ("ALTER TABLE t CHANGE id number int", *WRITES, "ALTER TABLE t CHANGE number id int"), (), (),
        "t: a change could not be logged: Unknown column 'id' in '",
    ),
    "of another type": (
        ("ALTER TABLE t MODIFY id varchar(30)",), ("INSERT INTO t VALUES ('four', 'd')", *WRITES[1:]),
        ("ALTER TABLE t MODIFY id varchar(30)",),
        f"t: column id of its key has another type, {LOST}",
    ),
    "widened": (
        ("ALTER TABLE t MODIFY id bigint, MODIFY v varchar(200)",),
        ("INSERT INTO t VALUES (5000000000, 'a long value that takes more room than twenty')", *WRITES), (), "",
    ),
    "without its log": (
        ("SET @drop = (SELECT concat('DROP TABLE ', log) FROM runbook_captures WHERE table_name = 't')",
         "PREPARE s FROM @drop", "EXECUTE s"),
        WRITES, (), "t: ",
    ),
}  # fmt: skip
CASES = [
    *((engine, how, (*CHANGES[how][:3], CHANGES[how][4 if "wal" in engine else 3])) for how in CHANGES
      for engine in ("postgresql", "postgresql wal")),
    *(("mysql", how, case) for how, case in OF_MYSQL.items()),
]  # fmt: skip


BY_DAY = {
    "postgresql": ("another column of its name", "without its log"),
    "postgresql wal": ("without its log",),
    "mysql": ("renamed", "of another type"),
}
TRIED = short_of(CASES, [case for case in CASES if case[1] in BY_DAY[case[0]]])


@pytest.mark.parametrize(("engine", "what", "case"), TRIED, ids=[f"{engine}, {how}" for engine, how, _ in TRIED])
def test_no_change_of_a_key_or_a_log_stops_a_writer_and_apply_ddl_heals_it(
    both: tuple[Any, ...], journal: Journal, what: str, engine: str, case: tuple[Any, ...]
) -> None:
    pair, run_id, watch, told = both
    changed, writes, at_target, named = case
    pair.source.execute(*changed)
    pair.source.keep_up()
    pair.source.execute("INSERT INTO u VALUES (2, 'goes on')", *writes)
    drain_once(pair.forward, held=Held(tell=told.append))
    watch.look()
    assert pair.target.rows("SELECT v FROM u WHERE id = 2") == [("goes on",)]
    assert any(line.startswith(named) for line in told), told
    pair, run_id = find_clone(journal, pair_of(pair.source, pair.target))
    if named:
        with pytest.raises(Refused, match="follow apply-ddl"):
            move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20)
    if at_target:
        pair.target.execute(*at_target)
        pair.target.memo.clear()  # apply-ddl is a process of its own
    apply_ddl(pair, journal, run_id, tell=lambda text: None)
    assert rows(pair.source) == rows(pair.target)
    pair, run_id = find_clone(journal, pair_of(pair.source, pair.target))
    pair.source.execute("UPDATE t SET v = 'logged'")
    assert move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20)
    assert rows(pair.source) == rows(pair.target)


@pytest.mark.parametrize("engine", ["postgresql wal"])
def test_a_published_table_that_loses_its_key_is_withdrawn_and_its_writers_go_on(
    both: tuple[Any, ...], journal: Journal, engine: str
) -> None:
    pair, run_id, watch, told = both
    pair.source.execute("ALTER TABLE t DROP CONSTRAINT t_pkey")
    with pytest.raises(DatabaseError, match="does not have a replica identity"):  # what there is to mend
        pair.source.execute(WRITES[1])
    pair.source.memo.clear()  # it has looked a moment ago
    pair.source.keep_up()
    pair.source.execute("INSERT INTO u VALUES (2, 'goes on')", *WRITES)
    drain_once(pair.forward, held=Held(tell=told.append))
    watch.look()
    named = "t: it has no replica identity, so it is published no longer: restore its key (id)"
    assert any(line.startswith(named) for line in told), told
    assert pair.target.rows("SELECT v FROM u WHERE id = 2") == [("goes on",)]
    with pytest.raises(Refused, match="follow apply-ddl"):
        move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20)
    pair.source.execute("ALTER TABLE t ADD PRIMARY KEY (id)")
    pair, run_id = find_clone(journal, pair_of(pair.source, pair.target))
    apply_ddl(pair, journal, run_id, tell=lambda text: None)
    assert rows(pair.source) == rows(pair.target)
    assert move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20)
