"""What is at a MySQL target by a routine's, view's, event's or trigger's name is the copy's only if it is the same."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.errors import DatabaseError, TransferError
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of
from runbook_lib.schema.create_target import made_here, scripts_of
from runbook_lib.schema.kept_scripts import REST, Part, kept, run_part, state, store

OBJECTS = {
    "function f": ("CREATE FUNCTION f() RETURNS int RETURN {}", "FUNCTION f"),
    "procedure p": ("CREATE PROCEDURE p() SELECT {}", "PROCEDURE p"),
    "view v": ("CREATE VIEW v AS SELECT {} AS one", "VIEW v"),
    "event e": ("CREATE EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2026-01-01' DISABLE DO SET @a = {}", "EVENT e"),
}


@pytest.fixture
def pair(new_on: Any) -> tuple[Any, Any]:
    source, target = new_on("mysql", "source"), new_on("mysql", "target")
    source.execute("CREATE TABLE t (id integer PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    return source, target


def test_another_object_of_the_name_is_refused_before_anything_is_made_and_the_same_one_is_taken(pair: Any) -> None:
    source, target = pair
    for create, _ in OBJECTS.values():
        source.execute(create.format(1))
        target.execute(create.format(2))
    with pytest.raises(TransferError) as refused:
        clone(pair_of(source, target), How())
    assert all(label in str(refused.value) for label in OBJECTS), refused.value
    assert target.tables() == []
    for label, (create, what) in OBJECTS.items():
        if label != "view v":
            target.execute(f"DROP {what}", create.format(1))
    with pytest.raises(TransferError, match=r"view v: 1 objects"):
        clone(pair_of(source, target), How())
    done = clone(pair_of(source, target), How(existing="drop"))
    assert done.left_behind == ()
    assert target.rows("SELECT one FROM v") == [(1,)]


def test_after_a_kill_only_an_object_that_is_the_same_is_taken_for_the_copys_own(pair: Any) -> None:
    source, target = pair
    for create, _ in OBJECTS.values():
        source.execute(create.format(1))
    trigger = "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.id = NEW.id + {}"
    source.execute(trigger.format(1))
    rest, scripts = source.dump_rest(["t"]), source.dump_schema(["t"])
    state(target, "copy_x")
    fired = scripts[1].partition("\n")[2]
    store(target, "copy_x", "made", [Part(REST, 0, 0, rest.script), Part(REST, 0, 1, fired)])
    target.execute("CREATE TABLE t (id integer PRIMARY KEY)")
    target.run_script(rest.script + fired)  # killed before the mark
    for part in kept(target, "copy_x", REST):
        run_part(target, "copy_x", part)  # the same: taken
    assert kept(target, "copy_x", REST) == []
    for label, (create, what) in {**OBJECTS, "trigger g": (trigger, "TRIGGER g")}.items():
        target.execute(f"DROP {what}", create.format(2))
        part = Part(REST, 0, 0, rest.script if label in OBJECTS else fired)
        store(target, "copy_x", "made", [part])
        with pytest.raises(DatabaseError, match=label):
            run_part(target, "copy_x", part)
        target.execute(f"DROP {what}", create.format(1))


def test_a_routine_of_more_than_64_kib_is_copied_also_where_the_kept_scripts_had_less_room(pair: Any) -> None:
    source, target = pair
    body = "x" * 90_000
    source.execute(f"CREATE PROCEDURE big() SELECT '{body}'")
    target.execute(
        "CREATE TABLE runbook_later (service VARCHAR(100) NOT NULL, kind VARCHAR(20) NOT NULL, stage INTEGER NOT NULL,"
        " ordinal INTEGER NOT NULL, script TEXT NOT NULL, PRIMARY KEY (service, kind, stage, ordinal))"
    )
    made = pair_of(source, target)
    assert clone(made, How()).left_behind == ()
    assert made_here(made.service, target)
    assert body in target.rows("SHOW CREATE PROCEDURE big")[0][2]


KEYS = (
    "CREATE TABLE c (id int PRIMARY KEY, t_id int, v varchar(90), w int, KEY i (t_id), UNIQUE KEY u (v(20) DESC, w),"
    " FULLTEXT KEY f (v), CONSTRAINT `f.k` FOREIGN KEY (t_id) REFERENCES t (id) ON DELETE CASCADE ON UPDATE NO ACTION)"
)


def test_after_a_kill_an_index_or_foreign_key_is_known_by_what_it_is_and_another_of_its_name_is_left_behind(
    pair: Any,
) -> None:
    source, target = pair
    source.execute(KEYS)
    wanted = source.rows("SHOW CREATE TABLE c")
    scripts = source.dump_schema(["t", "c"])
    for script in scripts:
        target.run_script(script)
    target.run_script(scripts[1], again=True)  # killed before it was forgotten: all of it is there
    assert target.rows("SHOW CREATE TABLE c") == wanted
    target.execute("ALTER TABLE c DROP KEY u, DROP KEY f, DROP KEY i, ADD KEY i (t_id, w)")
    with pytest.raises(DatabaseError, match=r"Duplicate key name 'i'"):
        target.run_script(scripts[1], again=True)
    target.execute("DROP TABLE c")
    target.run_script(scripts[0].replace("CREATE TABLE `t`", "CREATE TABLE IF NOT EXISTS `t`"))
    target.run_script(scripts[1].partition("-- runbook")[0])
    target.execute("ALTER TABLE c ADD CONSTRAINT `f.k` FOREIGN KEY (w) REFERENCES t (id)")
    with pytest.raises(DatabaseError, match=r"adding foreign key f\.k of table c"):
        target.run_script("-- runbook" + scripts[1].partition("-- runbook")[2], again=True)


def test_a_trigger_of_that_name_at_another_table_is_not_the_copys(pair: Any) -> None:
    source, target = pair
    source.execute("CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.id = NEW.id + 1")
    target.execute(
        "CREATE TABLE o (id int)", "CREATE TRIGGER g BEFORE INSERT ON o FOR EACH ROW SET NEW.id = NEW.id + 1"
    )
    done = clone(pair_of(source, target), How())
    assert [(one.kind, one.name, one.table) for one in done.left_behind] == [("trigger", "g", "t")]
    assert target.rows(
        "SELECT event_object_table FROM information_schema.triggers WHERE trigger_name = 'g'"
        " AND trigger_schema = database()"
    ) == [("o",)]


def test_keys_that_were_translated_for_mysql_are_recognized_after_a_kill_too(new_on: Any) -> None:
    source, target = new_on("postgresql", "source"), new_on("mysql", "target")
    source.execute(
        "CREATE TABLE p (id int PRIMARY KEY, a int, b varchar(20), t text, UNIQUE (a, b))",
        "CREATE INDEX ON p (b, a)",
        "CREATE UNIQUE INDEX odd ON p (b)",
        "CREATE INDEX long ON p (t)",
        "CREATE TABLE c (id int PRIMARY KEY, a int, b varchar(20), p int REFERENCES p (id) ON DELETE SET NULL,"
        " FOREIGN KEY (a, b) REFERENCES p (a, b) ON UPDATE CASCADE)",
    )
    made = pair_of(source, target)
    for script in scripts_of(made.service, source, target, {}, None):
        target.run_script(script)
        if "CREATE TABLE" not in script:
            target.run_script(script, again=True)
    assert len(target.catalog()["p"].indexes) >= 4 and len(target.catalog()["c"].constraints) == 3
