"""A followed table is dropped or renamed away where the writers are: approved, it is followed no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from nightly import short_of

from runbook_lib.errors import TransferError
from runbook_lib.journal import Journal
from runbook_lib.operations.apply_ddl import apply_ddl, foreseen
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of
from runbook_lib.operations.replicate import Switch, copy_of, find_clone, move, open_clone
from runbook_lib.transfer.writers import Side


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(f"sqlite:///{tmp_path}/journal.sqlite")) as opened:
        yield opened


ENGINES = ["postgresql", "postgresql wal", "mysql", "sqlite"]


@pytest.mark.parametrize("engine", short_of(ENGINES, ENGINES[1:3]))
def test_tables_that_are_gone_are_let_go_with_approval_and_the_others_move(
    new_on: Callable[..., Any], journal: Journal, engine: str
) -> None:
    engine, _, capture = engine.partition(" ")
    options = {"capture": capture} if capture else {}
    source, target = new_on(engine, "source", **options), new_on("postgresql", "target")
    tables = ("dropped", "away", "kept")
    source.execute(*(f"CREATE TABLE {name} (id integer PRIMARY KEY, v varchar(9))" for name in tables))
    source.execute(*(f"INSERT INTO {name} VALUES (1, 'a')" for name in tables))
    clone(pair_of(source, target), How(follow=True))
    open_clone(journal, pair_of(source, target), (), "test")
    source.execute("DROP TABLE dropped", "ALTER TABLE away RENAME TO renamed", "INSERT INTO renamed VALUES (2, 'b')")
    pair, run_id = find_clone(journal, pair_of(source, target))
    with pytest.raises(TransferError, match="runbook follow apply-ddl takes it in, or lets it go"):
        pair.writers().require("source to target", Side.SOURCE)
    work = foreseen(pair, journal, run_id)
    assert (work.gone, work.fresh) == (("away", "dropped"), ("renamed",))
    apply_ddl(pair, journal, run_id, tell=lambda text: None)
    pair, run_id = find_clone(journal, pair_of(source, target))
    assert copy_of(journal, run_id).gone == ("away", "dropped") and foreseen(pair, journal, run_id).nothing
    source.execute("UPDATE kept SET v = 'c'", "UPDATE renamed SET v = 'c' WHERE id = 1")
    target.execute("INSERT INTO away VALUES (9, 'open')")
    assert move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20)
    found = [target.rows(f"SELECT id, v FROM {name} ORDER BY id") for name in (*tables, "renamed")]
    assert found == [[(1, "a")], [(1, "a"), (9, "open")], [(1, "c")], [(1, "c"), (2, "b")]]
