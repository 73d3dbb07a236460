"""MySQL and MariaDB cannot silence a user's triggers: at a followed side they wait until it gets the writers."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from estate_killed import killed_at
from nightly import at_night

from runbook_lib.errors import CutoverAborted, DatabaseError, Refused
from runbook_lib.journal import Journal
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, Pair, pair_of
from runbook_lib.operations.replicate import Switch, find_clone, leave, move, open_clone
from runbook_lib.transfer.sync import drain
from runbook_lib.transfer.user_triggers import WAITS, hold_back
from runbook_lib.transfer.writers import Side
from runbook_lib.validation import validate

TABLES = (
    "CREATE TABLE t (id int PRIMARY KEY, v varchar(90), n int NOT NULL DEFAULT 0)",
    "CREATE TABLE log (id int AUTO_INCREMENT PRIMARY KEY, what varchar(90))",
    "INSERT INTO t VALUES (1, 'one', 0), (2, 'two', 0)",
)
# In this order of firing: the second is made first. The third's text is a sum or a concatenation by its sql_mode.
TRIGGERS = """
CREATE TRIGGER later BEFORE INSERT ON t FOR EACH ROW SET NEW.n = NEW.n * 10;
DELIMITER ;;
CREATE TRIGGER first_of_all BEFORE INSERT ON t FOR EACH ROW PRECEDES later BEGIN SET NEW.n = NEW.n + 1; END;;
DELIMITER ;
CREATE TRIGGER counts AFTER INSERT ON t FOR EACH ROW INSERT INTO log (what) VALUES ('row ' || NEW.id);
CREATE TRIGGER `odd "name"` AFTER DELETE ON t FOR EACH ROW INSERT INTO log (what) VALUES ('gone;');
"""
PIPES = "SET @@session.sql_mode = concat(@@sql_mode, ',PIPES_AS_CONCAT')"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(f"sqlite:///{tmp_path}/journal.sqlite")) as opened:
        yield opened


@pytest.fixture
def source(new_on: Callable[..., Any]) -> Any:
    made = new_on("mysql", "source")
    made.execute(*TABLES)
    made.run_script(f"{PIPES};{TRIGGERS};SET @@session.sql_mode = replace(@@sql_mode, 'PIPES_AS_CONCAT', '');")
    return made


def followed(source: Any, target: Any, journal: Journal) -> tuple[Pair, str]:
    pair = pair_of(source, target)
    clone(pair, How(follow=True))
    open_clone(journal, pair, (), "test")
    return find_clone(journal, pair_of(source, target))


def triggers(database: Any) -> list[tuple[Any, ...]]:
    """The user's triggers with all that makes them what they are, in their order of firing."""
    found = database.rows(
        "SELECT trigger_name, event_object_table, action_timing, event_manipulation, action_statement, sql_mode,"
        " definer, action_order FROM information_schema.triggers WHERE trigger_schema = database()"
        " AND trigger_name NOT LIKE 'runbook%' ORDER BY 2, 3, 4, action_order"
    )
    return [row[:-1] for row in found]


def rows(database: Any) -> list[Any]:
    return [database.rows("SELECT * FROM t ORDER BY id"), database.rows("SELECT * FROM log ORDER BY id")]


def carried(pair: Pair) -> None:
    """What a sync does first, and then all that is logged."""
    link = pair.back if pair.writers().side is Side.TARGET else pair.forward
    hold_back([link])
    drain([link])


def test_triggers_wait_at_the_followed_side_are_made_inside_the_switch_and_never_fire_for_replicated_rows(
    new_on: Callable[..., Any], source: Any, journal: Journal
) -> None:
    target, before = new_on("mysql", "target"), triggers(source)
    assert [name for name, *_ in before] == ['odd "name"', "counts", "first_of_all", "later"]
    said = list[str]()
    done = clone(pair_of(source, target), How(follow=True), said.append)
    assert done.left_behind == () and not done.account.unaccounted
    waiting = {line.name for line in done.account.lines if line.why.startswith(WAITS)}
    names = [name for name, *_ in before]
    assert waiting >= {*names, *(f"trigger {name}" for name in names)}, "who defines a trigger waits with it"
    assert "triggers: 4 of the source's wait for the cutover: they would fire for the sync's rows" in said
    pair, run_id = followed(source, target, journal)  # the same call again
    source.execute("INSERT INTO t VALUES (3, 'three', 4)", "DELETE FROM t WHERE id = 1")
    carried(pair)
    assert rows(target) == rows(source) and rows(source)[0][-1] == (3, "three", 50)
    assert triggers(target) == [] and triggers(source) == before
    assert not validate([pair.forward]).mismatches
    for _ in range(2):
        assert move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20) is not None
        assert triggers(target) == before
        target.execute("INSERT INTO t SELECT max(id) + 1, 'at the target', 1 FROM t AS a", "DELETE FROM t WHERE id = 2")
        carried(pair)
        assert rows(target) == rows(source) and triggers(source) == []
        assert not validate([pair.forward]).mismatches
        assert move(pair, journal, run_id, Side.SOURCE, Switch(), budget_s=20) is not None
        assert triggers(source) == before
        source.execute("INSERT INTO t SELECT max(id) + 1, 'at the source', 1 FROM t AS a")
        carried(pair)
        assert rows(target) == rows(source) and triggers(target) == []
    assert leave(pair, journal, run_id) is Side.SOURCE
    assert triggers(target) == before


def test_a_trigger_that_the_target_refuses_leaves_the_writers_where_they_are(
    new_on: Callable[..., Any], source: Any, journal: Journal
) -> None:
    target = new_on("mysql", "target")
    pair, run_id = followed(source, target, journal)
    target.execute("CREATE TABLE other (id int)", "CREATE TRIGGER counts AFTER INSERT ON other FOR EACH ROW SET @a = 1")
    with pytest.raises((CutoverAborted, Refused), match=r"trigger counts"):
        move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20)
    assert pair.writers().side is Side.SOURCE
    assert [name for name, *_ in triggers(target)] == ["counts"]  # somebody's own
    target.execute("DROP TABLE other")
    assert move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20) is not None
    assert triggers(target) == triggers(source)


@at_night
def test_a_cutover_or_a_return_killed_around_its_triggers_is_done_by_the_same_call_again(
    new_on: Callable[..., Any], source: Any, journal: Journal, tmp_path: Path
) -> None:
    target, before = new_on("mysql", "target"), triggers(source)
    pair, run_id = followed(source, target, journal)
    for many, (to, to_side) in enumerate((("cutover", Side.TARGET), ("return", Side.SOURCE))):
        for event in ("sequences set", "triggers made", "traffic switched"):
            killed(source, target, tmp_path, to, event)
            assert pair.writers().side is Side.BETWEEN
            clone(pair, How(follow=True)) if to_side is Side.TARGET else None  # `follow` again, in between
            assert pair.writers().side is Side.BETWEEN
        assert move(pair, journal, run_id, to_side, Switch(), budget_s=20) is not None
        side = target if to_side is Side.TARGET else source
        assert triggers(side) == before
        side.execute(f"INSERT INTO t VALUES ({100 + many}, 'after', 1)")
        carried(pair)
        assert rows(source) == rows(target)


def killed(source: Any, target: Any, folder: Path, command: str, event: str) -> None:
    program = (
        "import sys; from runbook_lib.journal import Journal;"
        "from runbook_lib.databases.mysql import open_database as o;"
        "from runbook_lib.operations.pair import pair_of; from runbook_lib.operations.replicate import *;"
        "s, t = (o(n, u, sys.argv[3]) for n, u in zip(('source', 'target'), sys.argv[1:3]));"
        f"j = Journal('sqlite:///{folder}/journal.sqlite'); p, r = find_clone(j, pair_of(s, t));"
        f"move(p, j, r, Side.{'TARGET' if command == 'cutover' else 'SOURCE'}, Switch(), budget_s=20)"
    )
    environment = killed_at(f"cutover:{event}")
    urls = [source.masked_url, target.masked_url, source.login.password]
    done = subprocess.run(
        [sys.executable, "-c", program, *urls], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]


def test_a_trigger_of_somebody_elses_that_could_not_be_made_again_is_not_taken_off(
    new_on: Callable[..., Any], source: Any, journal: Journal
) -> None:
    target = new_on("mysql", "target")
    pair, run_id = followed(source, target, journal)
    assert move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20) is not None

    class Blocked:
        """The source, whose login may make no trigger as another's."""

        def __getattr__(self, name: str) -> Any:
            return getattr(source, name)

        def firing_triggers(self, tables: Any) -> Any:
            return [replace(one, blocked="its definer is app@%") for one in source.firing_triggers(tables)]

    with pytest.raises(DatabaseError, match=r"trigger odd .* of t: .*its definer is app@% \(and 3 more\)"):
        hold_back([replace(pair.back, writer=Blocked())])
    assert len(triggers(source)) == 4
