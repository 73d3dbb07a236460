"""A schema that changes while a copy is followed is named within seconds, by a look that costs a query."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fix_sandbox import wait_for

from runbook_lib.journal import Journal
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of
from runbook_lib.operations.replicate import FORWARD, open_clone
from runbook_lib.transfer.schema_watch import SchemaWatch
from runbook_lib.transfer.sync_process import Stop, sync_forever

VIEW = "CREATE VIEW late AS SELECT id FROM t"


@pytest.mark.parametrize("engine", ["postgresql", "mysql", "sqlite"])
def test_what_changes_at_either_side_is_told_once_and_what_does_not_is_not(
    new_on: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setattr("runbook_lib.transfer.schema_watch.EVERY_S", 0.0)
    monkeypatch.setattr("runbook_lib.transfer.schema_watch.SHARE", 0)
    source, target = new_on(engine, "source"), new_on(engine, "target")
    source.execute("CREATE TABLE t (id integer PRIMARY KEY, v integer)", "CREATE TABLE u (id integer PRIMARY KEY)")
    pair = pair_of(source, target)
    clone(pair, How(follow=True))
    told: list[str] = []
    watch = SchemaWatch([pair.forward], told.append)
    watch.look()
    source.execute("INSERT INTO t VALUES (1, 1)", "UPDATE t SET v = 2")
    source.analyze(["t"])
    watch.look()
    assert told == []
    source.execute("ALTER TABLE t ADD COLUMN mail varchar(20)", "CREATE TABLE later (id integer PRIMARY KEY)", VIEW)
    watch.look()
    watch.look()
    assert [line.partition(":")[0] for line in told] == ["table later", "table t", "view late"]
    assert (
        "changed at source: + column mail " in told[1]
        and "new at source. What both sides have is still synced" in told[0]
    )
    target.execute("CREATE INDEX other ON u (id)")
    watch.look()
    assert len(told) == 4 and told[3].startswith("table u: changed at target: + index ")
    source.execute("DROP TABLE u")
    watch.look()
    assert told[4].startswith("table u: gone at source")


def test_a_sync_names_a_changed_schema_within_seconds_and_goes_on_for_the_other_tables(
    new_on: Callable[..., Any], tmp_path: Path, capfd: Any
) -> None:
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v int)", "CREATE TABLE u (id int PRIMARY KEY)")
    pair, stop, said = pair_of(source, target), Stop(), ""
    clone(pair, How(follow=True))
    with closing(Journal(f"sqlite:///{tmp_path}/journal.sqlite")) as journal:
        run_id = open_clone(journal, pair, (), "test")
        way = (([pair.forward], journal, run_id, FORWARD), {"batch_keys": 100, "stop": stop})
        sync = threading.Thread(target=lambda: sync_forever(*way[0], **way[1]))  # type: ignore[arg-type]
        sync.start()
        try:
            source.execute("INSERT INTO u VALUES (0)")
            wait_for(lambda: target.rows("SELECT 1 FROM u") != [], "the sync", 30)
            source.execute("ALTER TABLE t DROP COLUMN v", "INSERT INTO t VALUES (1)", "INSERT INTO u VALUES (1)")
            wait_for(lambda: target.rows("SELECT 1 FROM u WHERE id = 1") != [], "the other table's row", 30)

            def told() -> bool:
                nonlocal said
                said += capfd.readouterr().err
                return "t: held back: " in said and "table t: changed at source: − column v integer" in said

            wait_for(told, "both lines", 30)
        finally:
            stop.asked = True
            sync.join()
