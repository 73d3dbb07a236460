"""Who has the writers: proven by both sides' fences, or refused with the state of each named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.errors import TransferError
from runbook_lib.journal import Journal
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, Pair, pair_of
from runbook_lib.operations.replicate import Switch, find_clone, leave, move, open_clone
from runbook_lib.transfer.writers import Side

ENGINES = ("postgresql", "mysql", "sqlite")


@pytest.fixture(params=ENGINES)
def pair(request: pytest.FixtureRequest, new_on: Callable[..., Any]) -> Pair:
    source, target = new_on(request.param, "source"), new_on(request.param, "target")
    source.execute("CREATE TABLE a (id integer PRIMARY KEY, v integer)", "CREATE TABLE b (id integer PRIMARY KEY)")
    made = pair_of(source, target)
    clone(made, How(follow=True))
    return made


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(f"sqlite:///{tmp_path}/journal.sqlite")) as opened:
        yield opened


def moved(pair: Pair, journal: Journal, to: Side) -> Any:
    return move(pair, journal, open_clone(journal, pair, (), "test"), to, Switch(), budget_s=20)


def test_a_side_has_the_writers_only_where_it_is_open_and_the_other_is_fenced_on_every_table(
    pair: Pair, journal: Journal
) -> None:
    assert pair.writers().side is Side.SOURCE
    assert pair.writers().as_dict()["targets"][0]["fenced"] == ["a", "b"]
    pair.target.lower_fence(["b"])
    assert pair.writers().side is Side.MIXED
    for to in (Side.TARGET, Side.SOURCE):
        with pytest.raises(TransferError) as refused:
            moved(pair, journal, to)
        assert "source is fenced on 0 of 2 tables; target is fenced on 1 of 2 tables, open: b" in str(refused.value)
        assert "nothing was moved or fenced. Next: " in str(refused.value)
    pair.target.lower_fence(["a"])
    assert pair.writers().side is Side.BOTH
    with pytest.raises(TransferError, match="neither side refuses writes"):
        moved(pair, journal, Side.TARGET)
    clone(pair, How(follow=True))  # as the message says
    assert moved(pair, journal, Side.TARGET) is not None and pair.writers().side is Side.TARGET
    assert moved(pair, journal, Side.TARGET) is None
    pair.source.lower_fence(["a"])
    with pytest.raises(TransferError, match="source is fenced on 1 of 2 tables, open: a"):
        leave(pair, journal, open_clone(journal, pair, (), "test"))


def test_tables_that_the_source_gets_later_are_none_of_the_followed_ones(pair: Pair, journal: Journal) -> None:
    open_clone(journal, pair, (), "test")
    pair.source.execute("CREATE TABLE later (id integer PRIMARY KEY)")
    found, _ = find_clone(journal, pair_of(pair.source, pair.target))
    assert [mapping.source for mapping in found.service.tables] == ["a", "b"]
    assert found.forward.channel == pair.forward.channel and found.writers().side is Side.SOURCE


def test_a_followed_table_that_is_gone_is_named(pair: Pair, journal: Journal) -> None:
    pair.source.execute("DROP TABLE b")
    writers = pair.writers()
    assert writers.side is Side.MIXED and writers.source.missing == ("b",)
    with pytest.raises(TransferError, match="source is fenced on 0 of 2 tables, missing: b"):
        writers.require("source to target", Side.SOURCE)
