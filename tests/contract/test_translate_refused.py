"""What another engine would refuse or make another rule of: carried over as the same rule, or left out and said."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.databases.port import Constraint
from runbook_lib.errors import DatabaseError
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of
from runbook_lib.schema.convert.references import referenced
from runbook_lib.schema.convert.row_size import too_long
from runbook_lib.validation import validate

CUT = "x" * 60


def moved(source: Any, target: Any, **types: str) -> tuple[str, Any]:
    """What the copy said, and the comparison after it."""
    said: list[str] = []
    pair = pair_of(source, target, types={name.replace("__", "."): kind for name, kind in types.items()})
    done = clone(pair, How(), said.append)
    assert done.left_behind == ()
    return "\n".join(said), validate([pair.forward], under_writes=False, types=pair.plan.types)


def test_names_that_tables_keys_and_counters_have_at_postgresql_and_keys_over_first_characters(new_on: Any):
    source, target = new_on("mysql", "source"), new_on("postgresql", "target")
    source.execute(
        "CREATE TABLE page (pid int AUTO_INCREMENT PRIMARY KEY, kind varchar(20), n int,"
        " KEY page_kind (kind), KEY page_pid_seq (n), KEY page_kind_pkey (n, kind))",
        "CREATE TABLE page_kind (kind varchar(20) PRIMARY KEY)",
        "CREATE TABLE hooks (id int PRIMARY KEY, url varchar(4000) NOT NULL, space varchar(40), b blob,"
        " UNIQUE KEY one (url(60), space), KEY by_b (b(9)))",
        "CREATE TABLE articles (id int PRIMARY KEY, body mediumtext, KEY by_body (body(40)))",
        f"INSERT INTO hooks VALUES (8, '{CUT}1', 's', x'00ff')",
        "INSERT INTO articles VALUES (1, concat(" + ", ".join(f"md5({n})" for n in range(300)) + "))",
    )
    said, report = moved(source, target)
    assert report.passed, report.text
    assert "page page_kind: page_kind is the name of a table or of its key or counter there: page_page_kind" in said
    assert {index.name for index in target.catalog()["page"].indexes} >= {"page_page_kind", "page_page_pid_seq"}
    with pytest.raises(DatabaseError, match="duplicate key"):
        target.execute(f"INSERT INTO hooks VALUES (9, '{CUT}2', 's')")
    target.execute("DROP INDEX one", "CREATE UNIQUE INDEX one ON hooks (url, space)")
    whole = validate([pair_of(source, target).forward], checks=["indexes"], under_writes=False)
    assert not whole.passed and "one" in str(whole.results)


def test_rows_too_wide_for_mysql_and_constraints_that_it_does_not_have(new_on: Any):
    source, target = new_on("postgresql", "source"), new_on("mysql", "target")
    wide = ", ".join(f"c{n} varchar(700)" for n in range(40))
    source.run_script(
        f"CREATE TABLE wide (id int PRIMARY KEY, {wide}); INSERT INTO wide (id, c0) VALUES (1, 'x');"
        "CREATE TABLE p (a int, b int, PRIMARY KEY (a, b)); INSERT INTO p VALUES (1, 1), (1, 2);"
        "CREATE TABLE t (id int PRIMARY KEY, a int, b int, c int, made text DEFAULT now(),"
        " CONSTRAINT u_nulls UNIQUE NULLS NOT DISTINCT (a, b), CONSTRAINT u_later UNIQUE (c) DEFERRABLE,"
        " CONSTRAINT f FOREIGN KEY (a, b) REFERENCES p ON DELETE SET NULL (b) DEFERRABLE);"
        "INSERT INTO t VALUES (1, 1, 1, 1), (2, 1, NULL, 2)"
    )
    said, report = moved(source, target)
    assert report.passed, report.text
    kinds = [column.type for column in target.catalog()["wide"].columns]
    assert kinds.count("longtext") == said.count("more than the 65,535 bytes of a MySQL row: longtext") > 10
    for text in ("SET NULL of some of its columns only", "a weaker rule", "u_later: UNIQUE (c) DEFERRABLE: checked"):
        assert text in said
    [key] = [c for c in target.catalog()["t"].constraints if c.kind == "foreign"]
    assert referenced(key) == ["a", "b"] and "SET NULL" not in key.definition


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_a_foreign_key_between_types_that_do_not_fit_is_left_out_and_said(engine: str, new_on: Any):
    source, target = new_on("sqlite", "source"), new_on(engine, "target")
    source.execute(
        "CREATE TABLE person (id INTEGER PRIMARY KEY, at DATETIME DEFAULT CURRENT_TIMESTAMP)",
        "CREATE TABLE issuer (code TEXT PRIMARY KEY)",
        "CREATE TABLE badge (id INTEGER PRIMARY KEY, person_id TEXT REFERENCES person(id),"
        " code TEXT REFERENCES issuer)",
        "INSERT INTO person (id) VALUES (1)",
        "INSERT INTO issuer VALUES ('x')",
        "INSERT INTO badge VALUES (1, '1', 'x')",
    )
    said, report = moved(source, target, person__at="text")
    assert report.passed, report.text
    assert "badge foreign key (person_id): person_id is" in said and "person.id is bigint" in said
    assert "the default CURRENT_TIMESTAMP has no equivalent: no default" in said
    assert [c.referenced_table for c in target.catalog()["badge"].constraints if c.kind == "foreign"] == ["issuer"]


@pytest.mark.parametrize(
    ("text", "table", "columns"),
    [
        ("FOREIGN KEY (`unit`) REFERENCES Order (x) y (`id`) ON DELETE CASCADE", "Order (x) y", ["id"]),
        ('FOREIGN KEY (a, b) REFERENCES p(x, "y, (z") ON DELETE SET NULL (b) DEFERRABLE', "p", ["x", "y, (z"]),
        ('FOREIGN KEY (a) REFERENCES "s.x"."p (q)"("a""b") MATCH FULL NOT VALID', "s.x.p (q)", ['a"b']),
        ("FOREIGN KEY (`a`) REFERENCES `p` (`b``c`) ON UPDATE CASCADE", "p", ["b`c"]),
    ],
)
def test_the_columns_that_a_foreign_key_refers_to_are_the_list_behind_its_table(
    text: str, table: str, columns: list[str]
):
    assert referenced(Constraint("f", "foreign", ("a",), text, referenced_table=table)) == columns


def test_the_longest_columns_become_text_until_the_row_fits_and_keys_never():
    kinds = {"id": "int", "k": "varchar(255)", "a": "varchar(16000)", "b": "varchar(400)", "c": "varchar(200)"}
    assert too_long(kinds, {"k"}) == ["a"]
    assert too_long(dict.fromkeys("abc", "varchar(100)"), ()) == []
