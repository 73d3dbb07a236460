"""Rows that come or go with a whole table: named, in the way of a cutover, and brought over by apply-ddl."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from nightly import short_of

from runbook_lib.errors import Refused
from runbook_lib.journal import Journal
from runbook_lib.operations.apply_ddl import apply_ddl, foreseen
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, Pair, pair_of
from runbook_lib.operations.replicate import Switch, find_clone, move, open_clone
from runbook_lib.transfer.held import Held
from runbook_lib.transfer.schema_watch import SchemaWatch
from runbook_lib.transfer.sync import drain_once
from runbook_lib.transfer.writers import Side

SCHEMA = """
CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'v' FROM generate_series(1, 5) g;
CREATE TABLE u (id int PRIMARY KEY, v text); INSERT INTO u SELECT g, 'v' FROM generate_series(1, 5) g;
CREATE TABLE m (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE m_24 PARTITION OF m FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE m_d PARTITION OF m DEFAULT;
INSERT INTO m VALUES (1, '2024-05-05'), (2, '2030-01-01');
CREATE TABLE loose (id int, at date, PRIMARY KEY (id, at)); INSERT INTO loose VALUES (77, '2025-03-03');
"""
IN_24 = "FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')"
# What was done → the statements, and how the sync names it.
REPLACED = {
    "a partition replaced by another of its name": (
        "ALTER TABLE m DETACH PARTITION m_24; DROP TABLE m_24; CREATE TABLE m_24 (LIKE m INCLUDING ALL)",
        "INSERT INTO m_24 VALUES (55, '2024-09-09')",
        f"ALTER TABLE m ATTACH PARTITION m_24 {IN_24}",
        "m: partition public.m_24 was attached or made; 1 of its partitions were detached or dropped",
    ),
    "a partition changed while it was away": (
        "ALTER TABLE m DETACH PARTITION m_24",
        "UPDATE m_24 SET id = 56",
        f"ALTER TABLE m ATTACH PARTITION m_24 {IN_24}",
        "m: partition public.m_24 was attached or made; 1 of its partitions were detached or dropped",
    ),
    "a table dropped and made again": (
        "DROP TABLE t",
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "INSERT INTO t SELECT g + 3, 'new' FROM generate_series(1, 5) g",
        "t: it is another table than the one that was copied",
    ),
    "a table renamed away and another into its place": (
        "CREATE TABLE n (id int PRIMARY KEY, v text); INSERT INTO n SELECT g + 3, 'new' FROM generate_series(1, 5) g",
        "BEGIN; ALTER TABLE t RENAME TO t_old; ALTER TABLE n RENAME TO t; COMMIT",
        "INSERT INTO t_old VALUES (100, 'not ours any more')",
        "t: it is another table than the one that was copied",
    ),
}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(f"sqlite:///{tmp_path}/journal.sqlite")) as opened:
        yield opened


@pytest.fixture
def both(new_on: Callable[..., Any], journal: Journal, capture: str) -> tuple[Pair, str]:
    """A followed copy of three tables."""
    source, target = new_on("postgresql", "source", capture=capture), new_on("postgresql", "target")
    source.run_script(SCHEMA)
    pair, tables = pair_of(source, target, ["t", "u", "m"]), ("t", "u", "m")
    clone(pair, How(follow=True, tables=tables))
    open_clone(journal, pair, tables, "test")
    return find_clone(journal, pair)


def rows(database: Any) -> list[Any]:
    return [database.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in ("t", "u", "m")]


def test_a_table_whose_capture_somebody_switched_off_is_refused_and_brought_over_whole_by_apply_ddl(
    new_on: Callable[..., Any], journal: Journal
) -> None:
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script(SCHEMA)
    pair, tables = pair_of(source, target, ["t", "u", "m"]), ("t", "u", "m")
    clone(pair, How(follow=True, tables=tables))
    open_clone(journal, pair, tables, "test")
    pair, run_id = find_clone(journal, pair)
    source.execute(
        "DROP FUNCTION " + source.rows("SELECT function FROM runbook.captures ORDER BY 1")[1][0] + " CASCADE"
    )
    source.execute("ALTER TABLE m DISABLE TRIGGER USER")
    source.execute("UPDATE t SET v = 'unseen'", "DELETE FROM m WHERE id = 2", "INSERT INTO m VALUES (3, '2024-01-01')")
    with pytest.raises(Refused, match=r"a trigger of its capture is missing or disabled.*follow apply-ddl"):
        move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20)
    apply_ddl(pair, journal, run_id, tell=lambda text: None)
    assert rows(pair.source) == rows(pair.target)
    source.execute("UPDATE t SET v = 'logged'", "INSERT INTO m VALUES (4, '2024-01-01')")
    assert move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20)
    assert rows(pair.source) == rows(pair.target)


EACH = [(what, capture) for what in REPLACED for capture in ("triggers", "wal")]


@pytest.mark.parametrize(("what", "capture"), short_of(EACH, EACH[::5]))
def test_rows_replaced_with_their_table_are_named_refused_and_brought_over(
    both: tuple[Pair, str], journal: Journal, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr("runbook_lib.transfer.schema_watch.EVERY_S", 0.0)
    monkeypatch.setattr("runbook_lib.transfer.schema_watch.SHARE", 0)
    pair, run_id = both
    told: list[str] = []
    watch = SchemaWatch([pair.forward], told.append)
    watch.look()
    *statements, named = REPLACED[what]
    for statement in statements:
        pair.source.run_script(statement)
    pair.source.execute("INSERT INTO u VALUES (99, 'goes on')")
    drain_once(pair.forward, held=Held(tell=told.append))
    watch.look()
    watch.look()
    assert [line for line in told if line.startswith(named)] == [
        f"{named}: runbook follow apply-ddl brings its rows. The other tables are still synced"
    ]
    assert rows(pair.source)[1] == rows(pair.target)[1]
    with pytest.raises(Refused, match=r"its rows are not those that were copied and logged.*follow apply-ddl"):
        move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20)
    assert any(line.startswith(named) for line in foreseen(pair, journal, run_id).replaced)
    apply_ddl(pair, journal, run_id, tell=lambda text: None)
    assert rows(pair.source) == rows(pair.target)
    pair.source.execute("UPDATE t SET v = 'logged'", "UPDATE m SET at = at + 1")
    assert move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20)
    assert rows(pair.source) == rows(pair.target)


# The engine → what is made, and what replaces rows without a trigger's notice.
ELSEWHERE = {
    "mysql": (
        "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE n LIKE t; INSERT INTO t VALUES (1, 'x'), (2, 'y');"
        " INSERT INTO n VALUES (1, 'other'), (7, 'z');"
        " CREATE TABLE p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id)"
        " (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20));"
        " CREATE TABLE s (id int PRIMARY KEY, v int); INSERT INTO p VALUES (1, 1), (11, 1);"
        " INSERT INTO s VALUES (3, 1);",
        "ALTER TABLE p EXCHANGE PARTITION p0 WITH TABLE s; RENAME TABLE t TO o, n TO t, o TO n",
        ("n", "p", "s", "t"),
    ),
    "sqlite": (
        "CREATE TABLE t (id integer PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'x'), (2, 'y');"
        " CREATE TABLE n (id integer PRIMARY KEY, v text); INSERT INTO n VALUES (1, 'other'), (7, 'z');",
        "ALTER TABLE t RENAME TO o; ALTER TABLE n RENAME TO t; ALTER TABLE o RENAME TO n",
        ("n", "t"),
    ),
}


@pytest.mark.parametrize("engine", ELSEWHERE)
def test_tables_and_partitions_swapped_elsewhere_are_brought_over_whatever_no_trigger_saw(
    new_on: Callable[..., Any], journal: Journal, engine: str
) -> None:
    schema, swap, tables = ELSEWHERE[engine]
    source, target = new_on(engine, "source"), new_on("postgresql", "target")
    source.run_script(schema)
    pair = pair_of(source, target, tables)
    clone(pair, How(follow=True, tables=tables))
    open_clone(journal, pair, tables, "test")
    pair, run_id = find_clone(journal, pair)

    def both_sides() -> list[list[Any]]:
        return [[side.rows(f"SELECT * FROM {name} ORDER BY 1") for name in tables] for side in (source, target)]

    with source.raw() as driver, closing(driver.cursor()) as cursor:
        if engine == "mysql":
            driver.autocommit(True)  # MariaDB's EXCHANGE waits for its own transaction without
        for statement in swap.split(";"):
            cursor.execute(statement)
    source.execute("INSERT INTO t VALUES (9, 'by the triggers of another table')")
    drain_once(pair.forward, held=Held(tell=lambda text: None))
    assert set(source.capture_gaps(pair.forward.channel)) == {"n", "t"}
    apply_ddl(pair, journal, run_id, tell=lambda text: None)
    there, here = both_sides()
    assert there == here and not source.capture_gaps(pair.forward.channel)
    source.execute("INSERT INTO t VALUES (10, 'logged')", "DELETE FROM n WHERE id = 2")
    assert move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=20)
    there, here = both_sides()
    assert there == here and len(here[-1]) == 4
