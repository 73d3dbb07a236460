"""Children without a parent and values that the target takes for one are known before anything is made."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.errors import TransferError
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of
from runbook_lib.validation import validate


def test_orphans_and_parents_in_another_case_are_counted_and_their_key_is_left_behind(new_on: Any):
    source, target = new_on("mysql", "source"), new_on("postgresql", "target")
    source.execute(
        "CREATE TABLE p (code varchar(10) PRIMARY KEY) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci",
        "CREATE TABLE c (id int PRIMARY KEY, code varchar(10), CONSTRAINT c_p FOREIGN KEY (code) REFERENCES p (code))"
        " DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci",
        "INSERT INTO p VALUES ('A'), ('B')",
        "INSERT INTO c VALUES (1, 'A'), (2, 'b'), (3, NULL)",
        "SET SESSION foreign_key_checks = 0",
        "INSERT INTO c VALUES (4, 'x')",
        "SET SESSION foreign_key_checks = 1",
    )
    said: list[str] = []
    done = clone(pair_of(source, target), How(), said.append)
    told = "c: 2 rows have no parent in p (1 of them but for case or trailing spaces), e.g. id = 2"
    assert any(f"{told}: foreign key c_p (code): it will be left behind" in text for text in said), said
    assert [(one.kind, one.name, one.table) for one in done.left_behind] == [("foreign key", "c_p", "c")]
    assert target.rows("SELECT count(*) FROM c") == [(4,)]
    source.execute("UPDATE c SET code = 'B' WHERE id IN (2, 4)")
    target.execute("UPDATE c SET code = 'B' WHERE id IN (2, 4)")
    assert clone(pair_of(source, target), How()).left_behind == ()


def test_a_followed_copy_leaves_a_broken_foreign_key_behind_and_makes_the_others(new_on: Any):
    source, target = new_on("sqlite", "source"), new_on("postgresql", "target")
    source.execute(
        "CREATE TABLE p (id INTEGER PRIMARY KEY)",
        "CREATE TABLE c (id INTEGER PRIMARY KEY, p_id INTEGER REFERENCES p)",
        "CREATE TABLE d (id INTEGER PRIMARY KEY, c_id INTEGER REFERENCES c)",
        "INSERT INTO c VALUES (7, 5), (8, NULL)",
        "INSERT INTO d VALUES (1, 7)",
    )
    said: list[str] = []
    pair = pair_of(source, target)
    done = clone(pair, How(follow=True), said.append)
    assert any("c: 1 rows have no parent in p, e.g. id = 7" in text and "left behind" in text for text in said), said
    assert [(one.kind, one.table) for one in done.left_behind] == [("foreign key", "c")]
    assert [c.referenced_table for c in target.catalog()["d"].constraints if c.kind == "foreign"] == ["c"]
    source.execute("INSERT INTO p VALUES (5)", "INSERT INTO d VALUES (2, 8)")
    assert clone(pair, How(follow=True)).left_behind == ()
    assert target.rows("SELECT count(*), (SELECT count(*) FROM p) FROM d") == [(2, 1)]


def test_values_that_the_target_takes_for_one_stop_the_copy(new_on: Any):
    source, target = new_on("postgresql", "source"), new_on("mysql", "target")
    source.run_script("CREATE TABLE t (code varchar(20) PRIMARY KEY); INSERT INTO t VALUES ('a'), ('a '), ('b')")
    with pytest.raises(TransferError, match=r"t: 1 values are one and the same to it, e\.g\. 'a' and 'a '.*unique key"):
        clone(pair_of(source, target), How())
    assert target.tables() == []


@pytest.mark.parametrize("engine", ["postgresql", "mysql", "sqlite"])
def test_orphans_within_one_engine_are_known_and_their_key_is_as_at_the_source_or_left_behind(engine: str, new_on: Any):
    source, target = new_on(engine, "source"), new_on(engine, "target")
    source.execute("CREATE TABLE p (id int NOT NULL PRIMARY KEY)")
    key = "CONSTRAINT c_p FOREIGN KEY (p_id) REFERENCES p (id)"
    if engine == "postgresql":
        source.execute("CREATE TABLE c (id int PRIMARY KEY, p_id int)", "INSERT INTO c VALUES (7, 5), (8, NULL)")
        source.execute(f"ALTER TABLE c ADD {key} NOT VALID")
    else:
        source.execute(f"CREATE TABLE c (id int NOT NULL PRIMARY KEY, p_id int, {key})")
        quiet = ["SET SESSION foreign_key_checks = 0"] if engine == "mysql" else []
        loud = ["SET SESSION foreign_key_checks = 1"] if engine == "mysql" else []
        source.execute(*quiet, "INSERT INTO c VALUES (7, 5), (8, NULL)", *loud)
    said: list[str] = []
    pair = pair_of(source, target)
    done = clone(pair, How(), said.append)
    fate = "it will be left behind" if engine == "mysql" else "it is kept as unproven as it is there"
    [told] = [text for text in said if "no parent" in text]
    assert told.startswith("  c: 1 rows have no parent in p, e.g. id = 7: foreign key") and told.endswith(fate)
    assert said.index(told) < next(at for at, text in enumerate(said) if text.startswith("schema: "))
    keys = [c.validated for c in target.catalog()["c"].constraints if c.kind == "foreign"]
    assert keys == {"postgresql": [False], "mysql": [], "sqlite": [True]}[engine]
    assert [(one.kind, one.table) for one in done.left_behind] == [("foreign key", "c")] * (engine == "mysql")
    assert target.rows("SELECT count(*) FROM c") == [(2,)]
    report = validate([pair.forward], checks=("constraints",))
    assert report.passed == (engine != "mysql"), report.text
