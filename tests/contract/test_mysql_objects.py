"""What a MariaDB database has beside plain tables: each thing planted, moved, and compared by SHOW CREATE."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from runbook_lib.assessment.account import MOVED
from runbook_lib.assessment.fates import measure, predict
from runbook_lib.assessment.routes import route_of
from runbook_lib.databases.mysql import MySQL, objects, schema
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of

PLANTED = """
CREATE SEQUENCE invoice_no START 5000; CREATE SEQUENCE ticket START 90 INCREMENT 5 MAXVALUE 900 CYCLE CACHE 10;
CREATE TABLE invoice (no bigint NOT NULL DEFAULT nextval(invoice_no) PRIMARY KEY,
  total decimal(9,2) COMMENT 'it''s net', code varchar(20) DEFAULT concat('U', nextval(ticket)),
  hidden int INVISIBLE DEFAULT 4, KEY k (total) IGNORED)
  COMMENT='x AUTO_INCREMENT=7; nextval(x)' ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8;
INSERT INTO invoice (total) VALUES (1), (2), (3);
CREATE TABLE contract (id int PRIMARY KEY, amount int, mail varchar(20), UNIQUE KEY (mail)) WITH SYSTEM VERSIONING;
INSERT INTO contract VALUES (1, 10, 'a'), (2, 20, 'b'); UPDATE contract SET amount = 11 WHERE id = 1;
CREATE TABLE dated (id int PRIMARY KEY, x int, a timestamp(6) GENERATED ALWAYS AS ROW START INVISIBLE,
  b timestamp(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (a, b)) WITH SYSTEM VERSIONING;
INSERT INTO dated (id, x) VALUES (1, 1); UPDATE dated SET x = 2; DELETE FROM dated;
INSERT INTO dated (id, x) VALUES (1, 3);
CREATE TABLE by_transaction (id int PRIMARY KEY, x int, a bigint unsigned GENERATED ALWAYS AS ROW START INVISIBLE,
  b bigint unsigned GENERATED ALWAYS AS ROW END INVISIBLE, PERIOD FOR SYSTEM_TIME (a, b)) WITH SYSTEM VERSIONING;
INSERT INTO by_transaction (id, x) VALUES (1, 1); UPDATE by_transaction SET x = 2;
CREATE TABLE parts (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE COLUMNS (at)
  (PARTITION p0 VALUES LESS THAN ('2026-01-01'), PARTITION p1 VALUES LESS THAN (MAXVALUE));
INSERT INTO parts VALUES (1, '2025-05-05'), (2, '2026-05-05');
CREATE TABLE runbook_entries (id int PRIMARY KEY, title varchar(50)); INSERT INTO runbook_entries VALUES (1, 'restart');
CREATE FUNCTION stock() RETURNS int READS SQL DATA RETURN (SELECT count(*) FROM invoice);
CREATE PROCEDURE stock() SELECT 'procedure';
CREATE PROCEDURE report() SELECT 'procedure report';
CREATE VIEW zero AS SELECT total, stock() AS s, '`{name}`.`x`' AS t FROM invoice;
CREATE VIEW report AS SELECT z.total AS zero, s FROM zero AS z;
CREATE SQL SECURITY INVOKER VIEW abroad AS SELECT z.s, u.schema_name FROM zero AS z, information_schema.schemata AS u;
CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2026-01-01' COMMENT 'ENABLE' DO SET @a = 'ENABLE';
CREATE EVENT asleep ON SCHEDULE EVERY 2 HOUR ON COMPLETION PRESERVE DISABLE DO SET @a = 1;
"""
ODD = [
    "SET sql_mode = 'PIPES_AS_CONCAT,ANSI_QUOTES'",
    "CREATE FUNCTION \"joined\"(a varchar(20), b varchar(20)) RETURNS varchar(50) DETERMINISTIC RETURN a || ';;' || b",
    'CREATE TRIGGER "{name}".whole BEFORE INSERT ON {name}.runbook_entries FOR EACH ROW'
    " SET NEW.title = NEW.title || '!'",
    "SET sql_mode = 'NO_BACKSLASH_ESCAPES'",
    "CREATE PROCEDURE slash() BEGIN SELECT '\\'; -- it's\n/* ' */ SELECT ';;\nDELIMITER ;'; END",
    "SET sql_mode = 'ORACLE'",
    "CREATE PACKAGE pack AS FUNCTION one RETURN int; END",
    "CREATE PACKAGE BODY pack AS FUNCTION one RETURN int AS BEGIN RETURN 1; END; END",
    "SET sql_mode = DEFAULT, NAMES latin1 COLLATE latin1_german1_ci",
    "CREATE FUNCTION umlaut() RETURNS varchar(9) RETURN 'ä'",
    "SET NAMES utf8mb4",
    "ALTER DATABASE COLLATE latin1_general_cs",
    "CREATE PROCEDURE taking(a varchar(9)) SELECT a",
    "ALTER DATABASE COLLATE utf8mb4_general_ci",
]


@pytest.fixture
def pair(new_on: Callable[..., Any], mariadb_server: Any) -> tuple[MySQL, MySQL]:
    source, target = new_on("mysql", "source"), new_on("mysql", "target")
    if source.flavour[0] != "MariaDB":
        pytest.skip("sequences, packages and versioned tables are MariaDB's")
    user = target.rows("SELECT current_user()")[0][0].replace("@", "'@'")
    mariadb_server.admin(f"GRANT ALL ON {target.login.database}.* TO '{user}'")
    source.run_script(PLANTED.replace("{name}", source.login.database))
    with source.raw() as driver:
        for statement in ODD:
            charset = "latin1" if "umlaut" in statement else "utf8"
            driver.query(statement.replace("{name}", source.login.database).encode(charset))
    return source, target


def shown(database: MySQL) -> dict[str, tuple[Any, ...]]:
    """SHOW CREATE of everything, without definers, times, the databases' names and what an event's rest makes."""
    found = {}
    own = re.escape(database.login.database)
    qualifier = re.compile(rf"[`\"]?\b{own}\b[`\"]?\.(?!`x`)")  # but in the literal of `zero`
    relations = "SELECT 'TABLE', table_name FROM information_schema.tables WHERE table_schema = database()"
    triggers = "SELECT 'TRIGGER', trigger_name FROM information_schema.triggers WHERE trigger_schema = database()"
    beside = [(item.kind, item.name) for item in objects.items(database)]
    for kind, name in [*database.rows(relations), *database.rows(triggers), *beside]:
        if name in ("runbook_later", "runbook_ranges"):
            continue
        row = database.rows(f"SHOW CREATE {kind} `{name}`")[0]
        texts = [objects.without_owner(str(value)) for value in row if not hasattr(value, "year")]
        found[f"{kind} {name}"] = tuple(qualifier.sub("", text) for text in texts)
    return found


def test_everything_beside_plain_tables_is_the_same_at_the_target(pair: tuple[MySQL, MySQL]):
    source, target = pair
    done = clone(pair_of(source, target), How())
    assert done.rows == 10
    there, here = shown(source), shown(target)
    assert "ENABLE COMMENT 'ENABLE'" in there["EVENT nightly"][3]
    there["EVENT nightly"] = tuple(t.replace("ENABLE COMMENT", "DISABLE COMMENT") for t in there["EVENT nightly"])
    assert {name for name in there if there[name] != here.get(name)} == set()
    assert set(there) == set(here) and len(there) == 28
    assert target.rows("SELECT t FROM zero LIMIT 1") == source.rows("SELECT t FROM zero LIMIT 1")
    assert target.rows("SELECT joined('x', 'y'), umlaut(), stock()") == [("x;;y", "ä", 3)]
    target.execute("INSERT INTO runbook_entries VALUES (2, 'Al')")
    assert target.rows("SELECT title FROM runbook_entries ORDER BY id") == [("restart",), ("Al!",)]


def test_the_next_numbers_of_sequences_are_past_all_that_were_given_out(pair: tuple[MySQL, MySQL]):
    source, target = pair
    clone(pair_of(source, target), How())
    given = source.rows(
        "SELECT next_not_cached_value FROM invoice_no UNION ALL SELECT next_not_cached_value FROM ticket"
    )
    assert target.rows("SELECT nextval(invoice_no) UNION ALL SELECT nextval(ticket)") == given
    target.execute("INSERT INTO invoice (total) VALUES (9)")
    assert target.rows("SELECT max(no) > 6000 FROM invoice") == [(1,)]
    [fed] = source.sequences(["invoice"])
    assert (fed.name, fed.table, fed.column, fed.increment) == ("invoice_no", "invoice", "no", 1)
    assert [each.name for each in source.standalone_sequences()] == ["ticket"]


def test_a_statement_made_under_another_session_leaves_the_session_and_the_database_as_they_were(pair: Any):
    source, target = pair
    state = "SELECT @@sql_mode, @@character_set_client, @@collation_connection, @@collation_database, @@time_zone"
    before = target.rows(state)
    rest = source.dump_rest([])
    target.run_script(rest.script.split("-- runbook: made under", 1)[0])
    with pytest.raises(Exception, match="running"):
        target.run_script(
            schema.made_under.framed(
                schema.made_under.Framed.of(
                    "CREATE FUNCTION",
                    {"sql_mode": "ORACLE", "database_collation": "latin1_bin", "character_set_client": "latin1"},
                )
            )
        )
    assert target.rows(state) == before


def test_old_versions_of_rows_are_the_same_at_the_target_and_copying_again_leaves_them(pair: tuple[MySQL, MySQL]):
    source, target = pair
    history = {
        "contract": "SELECT id, amount, mail, row_start, row_end FROM contract FOR SYSTEM_TIME ALL ORDER BY 1, 5",
        "dated": "SELECT id, x, a, b FROM dated FOR SYSTEM_TIME ALL ORDER BY id, b",
    }
    clone(pair_of(source, target), How())
    for asked in history.values():
        assert target.rows(asked) == source.rows(asked) and len(source.rows(asked)) == 3
    before = {table: source.rows(asked) for table, asked in history.items()}
    source.execute("UPDATE contract SET amount = 12 WHERE id = 1")
    target.execute("DROP TRIGGER whole")  # MySQL cannot silence it
    clone(pair_of(source, target), How())
    assert {table: target.rows(asked) for table, asked in history.items()} == before
    assert target.rows("SELECT @@system_versioning_insert_history, @@foreign_key_checks") == [(0, 1)]


def outcomes(account: Any) -> set[tuple[str, str, str]]:
    return {(line.outcome, line.kind, line.name) for line in account.lines if line.outcome != MOVED}


def test_everything_is_accounted_for_and_the_prediction_was_right(pair: tuple[MySQL, MySQL], mariadb_server: Any):
    source, target = pair
    user = source.rows("SELECT current_user()")[0][0].replace("@", "'@'")
    mariadb_server.admin(f"GRANT SELECT (total), UPDATE ON {source.login.database}.invoice TO '{user}'")
    both = pair_of(source, target)
    expected = predict(source.inventory(), target.inventory(), route_of(both.service, source, target, {}, whole=True))
    account = clone(both, How()).account
    assert account.unaccounted == ()
    not_given = {f"SELECT on column invoice.total to '{user}'", f"UPDATE on table invoice to '{user}'"}
    left = {("grant", name) for name in not_given}
    left |= {("row history", "by_transaction"), ("event schedule", "nightly")}
    assert {(kind, name) for outcome, kind, name in outcomes(account) if kind != "definer"} == left
    assert [(line.kind, line.name, line.outcome) for line in account.lines if line not in expected.lines] == []
    kinds = {line.kind for line in account.lines}
    assert kinds >= {"table", "view", "sequence", "function", "procedure", "package", "package body", "event"}
    assert kinds >= {"trigger", "partition", "primary key", "unique constraint", "index", "comment", "grant"}
    target.execute("DROP PROCEDURE report", "CREATE OR REPLACE VIEW zero AS SELECT id AS total, 1 AS s FROM parts")
    target.execute(
        "ALTER TABLE parts REORGANIZE PARTITION p0, p1 INTO (PARTITION p0 VALUES LESS THAN ('2026-02-01'),"
        " PARTITION p1 VALUES LESS THAN (MAXVALUE))"
    )
    account = measure(source.inventory(), target.inventory(), route_of(both.service, source, target, {}, whole=True))
    assert {(line.kind, line.name) for line in account.unaccounted} == {
        ("procedure", "report"), ("view", "zero"), ("partition", "parts.p0")}  # fmt: skip
