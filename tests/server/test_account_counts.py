"""What a reader of the inventory misses is counted without it, and is unaccounted: status 1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from estate_account import RICH

from runbook_lib.assessment.account import Account, with_counts
from runbook_lib.cli import main
from runbook_lib.databases.mysql import inventory_counts as mysql_counts
from runbook_lib.databases.mysql import inventory_sql as mysql_sql
from runbook_lib.databases.postgresql import inventory_sql as sql
from runbook_lib.databases.sqlite import inventory as sqlite

Fault = Callable[[pytest.MonkeyPatch], None]


def no_reader(catalog: str) -> Fault:
    return lambda patch: patch.delitem(sql.DETAILS, catalog)


def not_walked(catalog: str) -> Fault:
    return lambda patch: patch.setattr(
        sql, "CATALOGS", sql.CATALOGS.replace("ORDER", f"AND relname <> '{catalog}' ORDER")
    )


def told_elsewhere(catalog: str) -> Fault:
    return lambda patch: patch.setattr(sql, "PARTS", sql.PARTS | {catalog})


def left_off(catalog: str) -> Fault:
    return lambda patch: patch.setitem(sql._LESS, catalog, "AND false")


FAULTS = {
    "pg_rewrite": no_reader("pg_rewrite"),
    "pg_policy": no_reader("pg_policy"),
    "pg_statistic_ext": not_walked("pg_statistic_ext"),
    "pg_cast": told_elsewhere("pg_cast"),
    "pg_operator": not_walked("pg_operator"),
    "pg_trigger": left_off("pg_trigger"),
    "pg_constraint": left_off("pg_constraint"),
}


@pytest.fixture
def rich(new_on: Callable[..., Any]) -> Any:
    source = new_on("postgresql", "source")
    source.run_script(RICH)
    source.run_script(
        "CREATE TABLE fired (id int PRIMARY KEY); CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN RETURN NEW; END'; CREATE TRIGGER fires BEFORE INSERT ON fired FOR EACH ROW EXECUTE FUNCTION fire()"
    )
    return source


def missed(database: Any) -> dict[str, int]:
    return {kind: count for kind, count in database.inventory().counts.items() if kind.startswith("object of ")}


def test_the_walk_describes_all_that_is_counted(rich: Any) -> None:
    assert missed(rich) == {}


@pytest.mark.parametrize("catalog", FAULTS)
def test_a_reader_that_is_gone_shows_as_unaccounted(rich: Any, catalog: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FAULTS[catalog](monkeypatch)
    assert set(missed(rich)) == {f"object of {catalog}"}


ELSEWHERE = {
    "mysql": {
        "check constraint": lambda patch: patch.setitem(mysql_sql.CHECKS, "MariaDB", mysql_sql.EVENTS),
        "foreign key": lambda patch: patch.setattr(mysql_sql, "FOREIGN_KEYS", mysql_sql.EVENTS),
        "object of parameters": lambda patch: patch.setattr(mysql_counts, "KNOWN", mysql_counts.KNOWN - {"PARAMETERS"}),
    },
    "sqlite": {
        "check constraint": lambda patch: patch.setattr(sqlite.ddl_parser, "_checks", lambda sql, item: ()),
        "foreign key": lambda patch: patch.setattr(sqlite, "_REFERENCES", f"{sqlite._REFERENCES} LIMIT 0"),
        "primary key": lambda patch: patch.setattr(sqlite, "_KEYS", f"{sqlite._KEYS} LIMIT 0"),
    },
}
MADE = """CREATE TABLE t (id integer PRIMARY KEY, n int CHECK (n > 0), UNIQUE (n));
CREATE TABLE c (id integer PRIMARY KEY, t int, FOREIGN KEY (t) REFERENCES t (id));"""
MORE = {
    "mysql": "CREATE PROCEDURE p(IN a int) SELECT a;",
    "sqlite": "CREATE TABLE a (id integer, PRIMARY KEY (id AUTOINCREMENT)); CREATE VIRTUAL TABLE f USING fts5(x);",
}


@pytest.mark.parametrize("engine", ELSEWHERE)
def test_elsewhere_too_all_is_counted_without_the_readers_and_what_one_misses_is_unaccounted(
    new_on: Callable[..., Any], engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = new_on(engine, "source")
    source.run_script(MADE + MORE[engine])

    def unaccounted() -> set[str]:
        found = source.inventory()
        lines = with_counts(Account(()), found.counts, Counter(each.kind for each in found.objects)).unaccounted
        return {line.kind for line in lines}

    assert unaccounted() == set()
    for kind, fault in ELSEWHERE[engine].items():
        with monkeypatch.context() as patch:
            fault(patch)
            assert unaccounted() == {kind}


def test_a_copy_whose_reader_is_gone_is_status_1(
    new_on: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script(
        "CREATE TABLE t (id int PRIMARY KEY);CREATE RULE r AS ON DELETE TO t WHERE OLD.id = 1 DO INSTEAD NOTHING"
    )
    not_walked("pg_rewrite")(monkeypatch)
    monkeypatch.chdir(tmp_path)
    for side in (source, target):
        monkeypatch.setenv(f"RUNBOOK_{side.name.upper()}_PASSWORD", side.login.password)
    done = CliRunner().invoke(main, ["copy", *(one.masked_url.replace(":***@", "@") for one in (source, target))])
    assert done.exit_code == 1, done.output
    assert "unaccounted: object of pg_rewrite 1 more" in " ".join(done.output.split()), done.output
