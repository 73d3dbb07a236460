"""Hazards of revisions, found by the engine or its linter, and what the policy makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from estate_schema import fill, new_sqlite

from runbook_lib.plan.hazards import RULES
from runbook_lib.plan.model import LintRule
from runbook_lib.schema import lint
from runbook_lib.schema.lint import hazards

POSTGRESQL = {
    "ALTER TABLE users ADD COLUMN token uuid DEFAULT gen_random_uuid()": "refuse adding-field-with-default",
    "ALTER TABLE users ADD COLUMN age int NOT NULL": "refuse adding-required-field",
    "ALTER TABLE users ALTER COLUMN theme SET NOT NULL": "refuse adding-not-nullable-field",
    "ALTER TABLE users ALTER COLUMN id TYPE text": "refuse changing-column-type",
    "ALTER TABLE users ADD CONSTRAINT c CHECK (id > 0)": "refuse constraint-missing-not-valid",
    "ALTER TABLE users ADD CONSTRAINT u UNIQUE (email)": "refuse disallowed-unique-constraint",
    "ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users": "refuse adding-foreign-key-constraint",
    "CREATE INDEX i ON users (email)": "refuse require-concurrent-index-creation",
    "CREATE INDEX CONCURRENTLY i ON users (email)": "refuse ban-concurrent-index-creation-in-transaction",
    "DROP INDEX i": "refuse require-concurrent-index-deletion",
    "REINDEX TABLE users": "refuse require-concurrent-reindex",
    "TRUNCATE users CASCADE": "refuse ban-truncate-cascade",
    "VACUUM (FULL) users": "refuse table-rewrite",
    "ALTER TABEL users": "refuse syntax-error",
    "BEGIN": "refuse transaction-nesting",
    "ALTER TABLE users DROP COLUMN theme": "approve ban-drop-column",
    "DROP TABLE orders": "approve ban-drop-table",
    "ALTER TABLE users RENAME COLUMN theme TO style": "approve renaming-column",
    "ALTER TABLE users RENAME TO people": "approve renaming-table",
    "ALTER TABLE users ALTER COLUMN email DROP NOT NULL": "warn ban-drop-not-null",
    "LOCK TABLE users IN ACCESS EXCLUSIVE MODE": "warn lock-table",
}  # fmt: skip
SAFE = (
    "ALTER TABLE users ADD COLUMN nick text",
    "ALTER TABLE users ADD CONSTRAINT c CHECK (id > 0) NOT VALID",
    "CREATE TABLE notes (id bigint PRIMARY KEY, body text)",
    "CREATE INDEX notes_body ON notes (body)",
    "UPDATE users SET theme = 'light' WHERE theme IS NULL",
)
MYSQL = {
    "ALTER TABLE users MODIFY id varchar(40) NOT NULL": "refuse table-copy",
    "ALTER TABLE users ADD COLUMN n int AUTO_INCREMENT, ADD UNIQUE (n)": "refuse table-copy",
    "ALTER TABLE users CONVERT TO CHARACTER SET latin1": "refuse table-copy",
    "ALTER TABLE users ADD COLUMN n int, ALGORITHM=COPY": "refuse table-copy",
    "CREATE INDEX i ON users (email) LOCK=SHARED": "refuse table-copy",
    "ALTER TABLE users MODIFY id varchar(40) NOT NULL, ALGORITHM=INPLACE": "refuse table-copy",
    "ALTER TABLE users ADD COLUMN COLUMN n int": "refuse syntax-error",
    "ALTER TABLE users PARTITION BY HASH (id) PARTITIONS 4": "refuse table-copy",
    "ALTER TABLE users DROP COLUMN theme": "approve ban-drop-column",
    "ALTER TABLE users DROP theme": "approve ban-drop-column",
    "DROP TABLE orders": "approve ban-drop-table",
    "ALTER TABLE users RENAME COLUMN theme TO style": "approve renaming-column",
    "ALTER TABLE users CHANGE theme style text": "approve renaming-column",
    "ALTER TABLE users RENAME TO people": "approve renaming-table",
    "LOCK TABLES users WRITE": "warn lock-table",
}
SAFE_MYSQL = (
    "ALTER TABLE users ADD COLUMN nick varchar(20)",
    "ALTER TABLE users CHANGE email email varchar(250) NOT NULL",
    "CREATE INDEX users_nick ON users (nick)",  # of the column that the first one adds
    "ALTER TABLE users DROP INDEX users_nick",
    "ALTER TABLE users ALTER COLUMN email DROP DEFAULT",
    "ALTER TABLE users ADD COLUMN said varchar(9) COMMENT 'not rename to, nor lock = none'",
    "ALTER TABLE orders ADD CONSTRAINT f FOREIGN KEY (user_id) REFERENCES users (id)",
    "CREATE TABLE notes (id bigint PRIMARY KEY, body varchar(20))",
    "CREATE INDEX notes_body ON notes (body)",
)
SQLITE = {
    "ALTER TABLE users ADD CONSTRAINT c CHECK (id > 0)": "refuse syntax-error",
    "ALTER TABLE users ALTER COLUMN email TYPE varchar(9)": "refuse syntax-error",
    "ALTER TABLE users DROP COLUMN theme": "refuse table-rewrite",
    "DROP TABLE orders": "approve ban-drop-table",
    "ALTER TABLE users RENAME COLUMN theme TO style": "approve renaming-column",
    "ALTER TABLE users RENAME TO people": "approve renaming-table",
}


def found(database: Any, *statements: str, **options: Any) -> list[str]:
    return [f"{one.policy} {one.hazard.rule}" for one in hazards(database, "r", statements, **options).findings]


@pytest.mark.parametrize("dialect", ["postgresql", "mysql"])
def test_each_hazard_is_found_and_nothing_is_touched(new_on: Any, dialect: str) -> None:
    database = fill(new_on(dialect, "lint"))
    before = database.catalog()
    for statement, expected in (POSTGRESQL if dialect == "postgresql" else MYSQL).items():
        assert expected in found(database, statement), statement
    assert found(database, *(SAFE if dialect == "postgresql" else SAFE_MYSQL)) == []
    assert database.catalog() == before
    if dialect == "postgresql":
        assert found(database, "CREATE INDEX CONCURRENTLY i ON users (email)", alone=True) == []
        with_lines = ["SELECT 1,\n2", "-- two\n-- lines\nDROP TABLE orders", "SELECT 3"]
        assert [one.hazard.statement for one in hazards(database, "r", with_lines).findings] == [2]


def test_sqlite_is_asked_what_it_can_do_without_a_new_table(tmp_path: Path) -> None:
    with new_sqlite(tmp_path) as database:
        for statement, expected in SQLITE.items():
            assert expected in found(database, statement), statement
        assert found(database, "ALTER TABLE users ADD COLUMN nick text", "CREATE INDEX i ON users (nick)") == []
        database.execute("CREATE VIRTUAL TABLE words USING fts5(word)")  # its own tables are in the schema too
        assert found(database, "CREATE INDEX i ON made_by_a_revision_before (nick)") == []


def test_many_rows_in_one_transaction_are_refused_unless_they_are_cut(
    new_on: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = fill(new_on("postgresql", "many"))
    database.execute("INSERT INTO users SELECT g, 'x' FROM generate_series(10, 3000) AS g")
    database.analyze(["users"])
    monkeypatch.setattr(lint, "BATCH_ROWS", 1000)  # a real table of 100,000 rows takes seconds
    whole = "UPDATE users SET theme = 'light'"
    assert found(database, whole) == ["refuse unbatched-rows"]
    assert found(database, 'DELETE FROM public."users" WHERE id > 5') == ["refuse unbatched-rows"]
    assert found(database, "INSERT INTO orders SELECT id, id FROM users") == ["refuse unbatched-rows"]
    assert found(database, f"-- batches of users by 100\n{whole} WHERE :range") == []


def test_the_plan_decides_otherwise_with_its_reason(new_on: Any) -> None:
    database = fill(new_on("postgresql", "policy"))
    index, drop = "CREATE INDEX i ON users (email)", "ALTER TABLE users DROP COLUMN theme"
    policy = {
        "require-concurrent-index-creation": LintRule("warn", "200 rows"),
        "ban-drop-column": LintRule("off", "nobody reads it"),
        "ban-drop-not-null": LintRule("refuse", "clients break"),
    }
    default = hazards(database, "0007_x", [index, drop])
    assert [f.hazard.rule for f in default.refused] == ["require-concurrent-index-creation"]
    assert [f.hazard.rule for f in default.to_approve] == ["ban-drop-column"]
    assert [(p.subject, p.blocking) for p in default.problems()] == [
        ("revision 0007_x, statement 1", True),
        ("revision 0007_x, statement 2", False),
    ]
    decided = hazards(database, "0007_x", [index, drop, "ALTER TABLE users ALTER email DROP NOT NULL"], policy)
    assert [(f.policy, f.because) for f in decided.findings] == [("refuse", "clients break"), ("warn", "200 rows")]
    assert "warn: statement 1, require-concurrent-index-creation: " in str(decided)
    assert "CREATE INDEX i ON users" in decided._repr_html_()


def test_every_rule_has_an_answer_and_a_reason() -> None:
    assert {answer for answer, _ in RULES.values()} == {"refuse", "approve", "warn", "off"}
    assert all(because for _, because in RULES.values())
