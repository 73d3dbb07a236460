"""Hazards of revisions, found by the engine or its linter, and what the policy makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from estate_schema import fill, new_sqlite

from runbook_lib.plan.hazard_policy import RULES
from runbook_lib.plan.model import LintRule
from runbook_lib.schema.revisions import lint
from runbook_lib.schema.revisions.lint import hazards

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


# Types as they come from the field: the server says what is rewritten, not a list's.
REWRITTEN = {
    "ALTER TABLE t ADD COLUMN s bigserial": "table-rewrite",
    "ALTER TABLE t ADD COLUMN s bigint GENERATED ALWAYS AS IDENTITY": "adding-field-with-default",
    "ALTER TABLE t ADD COLUMN s int GENERATED ALWAYS AS (b * 2) STORED": "adding-field-with-default",
    "ALTER TABLE t ADD COLUMN s timestamptz DEFAULT clock_timestamp()": "adding-field-with-default",
    "ALTER TABLE t ADD COLUMN s short": "table-rewrite",
    "ALTER TABLE t ADD COLUMN s stamped": "table-rewrite",
    "ALTER TABLE public.t ALTER b TYPE bigint": "changing-column-type",
    "ALTER TABLE ONLY t ALTER a TYPE varchar(10)": "changing-column-type",
    'ALTER TABLE t ALTER a TYPE text COLLATE "C"': "changing-column-type",
    "ALTER TABLE t ADD COLUMN s int CHECK (s > 0)": "table-scan",
}
IN_PLACE = (
    "ALTER TABLE t ADD COLUMN s timestamptz DEFAULT now()",
    "ALTER TABLE t ADD COLUMN s int DEFAULT 7",
    "ALTER TABLE t ADD COLUMN s text",
    "ALTER TABLE t ALTER a TYPE varchar(40)",
    "ALTER TABLE t ALTER a TYPE text",
    "ALTER TABLE t ALTER n TYPE numeric(12,2)",
    "ALTER TABLE t ALTER n TYPE numeric",
)


def test_postgresql_itself_says_what_is_written_anew(new_on: Any) -> None:
    database = new_on("postgresql", "rewrites")
    database.execute(
        "CREATE DOMAIN short AS text CHECK (length(VALUE) < 99)",
        "CREATE DOMAIN stamped AS timestamptz DEFAULT clock_timestamp()",
        "CREATE TABLE t (id int PRIMARY KEY, a varchar(20), b int, n numeric(8,2), ts timestamp)",
        "CREATE INDEX t_a ON t (a)",
    )
    for statement, rule in REWRITTEN.items():
        assert f"refuse {rule}" in found(database, statement), statement
    for statement in IN_PLACE:
        assert found(database, statement) == [], statement
    assert found(database, "ALTER TABLE t ALTER ts TYPE timestamptz") == ["warn zone-assumed"]
    assert found(database, "CREATE DOMAIN d AS int CHECK (VALUE > 0)", "ALTER TABLE t ADD COLUMN s d")[0] == (
        "refuse table-rewrite"
    )
    assert [table for table in database.catalog() if "runbook" in table] == []


def test_a_table_that_becomes_logged_or_unlogged_is_rewritten_and_one_that_is_so_already_is_not(new_on: Any) -> None:
    database = new_on("postgresql", "logged")
    database.execute("CREATE UNLOGGED TABLE u (id int PRIMARY KEY, a text)", "CREATE TABLE t (LIKE u INCLUDING ALL)")
    for statement in ("ALTER TABLE u SET LOGGED", "ALTER TABLE ONLY public.t SET UNLOGGED, ALTER a SET DEFAULT ''"):
        assert found(database, statement) == ["refuse table-rewrite"], statement
    for statement in ("ALTER TABLE t SET LOGGED", "ALTER TABLE t ALTER a SET DEFAULT 'now set tablespace b'"):
        assert found(database, statement) == [], statement
    allowed = {"table-rewrite": LintRule("warn", "12 rows")}
    assert [f.policy for f in hazards(database, "r", ["ALTER TABLE u SET LOGGED"], allowed).findings] == ["warn"]


@pytest.mark.parametrize("dialect", ["postgresql", "mysql"])
def test_what_a_narrower_type_loses_is_said_for_both_directions(new_on: Any, dialect: str) -> None:
    database = new_on(dialect, "narrow")
    database.execute("CREATE TABLE t (id int PRIMARY KEY, a varchar(20), n numeric(8,2), d timestamp(6) NULL)")
    change = "ALTER TABLE t ALTER COLUMN {} TYPE {}" if dialect == "postgresql" else "ALTER TABLE t MODIFY {} {}"
    for column, kind in (("a", "varchar(10)"), ("n", "numeric(8,1)"), ("n", "int"), ("d", "timestamp(0)")):
        assert "approve narrowing-type" in found(database, change.format(column, kind)), kind
    wider, back = change.format("a", "varchar(40)"), change.format("a", "varchar(20)")
    [undo] = hazards(database, "r", [wider], back=[back]).findings
    assert (undo.policy, undo.hazard.rule, undo.statement) == ("warn", "narrowing-undo", back)
    assert "t.a: on rollback" in undo.hazard.text.replace("on rollback t.a:", "t.a: on rollback")


def test_what_modify_and_change_leave_out_is_named(new_on: Any) -> None:
    database = new_on("mysql", "forgets")
    database.execute(
        "CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, size varchar(20) CHARACTER SET latin1 NOT NULL DEFAULT 'M'"
        " COMMENT 'EU size', changed timestamp NOT NULL DEFAULT current_timestamp ON UPDATE current_timestamp)"
    )

    def lost(statement: str) -> list[str]:
        told = [f.hazard for f in hazards(database, "r", [statement]).findings]
        return [hazard.text.partition(":")[0] for hazard in told if hazard.rule == "attributes-forgotten"]

    everything = "t.size loses NOT NULL, DEFAULT 'M', COMMENT 'EU size', COLLATE latin1_swedish_ci"
    assert lost("ALTER TABLE t MODIFY size varchar(30)") == [everything]
    assert lost("ALTER TABLE `t` CHANGE COLUMN `size` `fit` varchar(20) NOT NULL CHARACTER SET latin1") == []
    renamed = "ALTER TABLE t ADD COLUMN n int DEFAULT 5, CHANGE size fit varchar(20) CHARACTER SET latin1 NOT NULL"
    assert lost(renamed) == ["t.fit loses DEFAULT 'M', COMMENT 'EU size'"]
    [update] = lost("ALTER TABLE t MODIFY changed timestamp NOT NULL DEFAULT current_timestamp")
    assert update == "t.changed loses ON UPDATE"
    assert lost("ALTER TABLE t MODIFY id bigint NOT NULL") == ["t.id loses AUTO_INCREMENT"]
    whole = "varchar(20) CHARACTER SET latin1 NULL DEFAULT NULL COMMENT ''"
    assert lost(f"ALTER TABLE t MODIFY size {whole}") == []  # said, not forgotten
    assert lost("ALTER TABLE t ALTER COLUMN size SET DEFAULT 'L'") == []


UNIQUE = {
    "postgresql": [
        ("CREATE UNIQUE INDEX CONCURRENTLY u ON t (lower(channel))", "(google) in 2 rows"),
        ("ALTER TABLE t ADD CONSTRAINT u UNIQUE (n)", "(7) in 3 rows"),
        ("CREATE UNIQUE INDEX ON t (n) WHERE n > 7", ""),
        ("CREATE UNIQUE INDEX ON t (n, channel)", ""),
    ],
    "mysql": [
        ("CREATE UNIQUE INDEX u ON t (n)", "(7)"),
        ("ALTER TABLE t ADD UNIQUE KEY v (n, channel)", ""),
        (
            "ALTER TABLE t MODIFY channel varchar(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NOT NULL",
            "(Google) and (google)",
        ),
        ("ALTER TABLE t ADD UNIQUE (channel(3))", "(Goo"),
    ],
    "sqlite": [
        ("CREATE UNIQUE INDEX u ON t (channel COLLATE NOCASE DESC)", "oogle) in 2 rows"),
        ("CREATE UNIQUE INDEX u ON t (n) WHERE n > 7", ""),
        ("CREATE UNIQUE INDEX u ON t (coalesce(n, 0), channel)", ""),
    ],
}


@pytest.mark.parametrize("dialect", ["postgresql", "mysql", "sqlite"])
def test_rows_that_a_unique_key_would_refuse_are_counted_and_named_before(
    new_on: Any, tmp_path: Path, dialect: str
) -> None:
    database = new_sqlite(tmp_path).__enter__() if dialect == "sqlite" else new_on(dialect, "twice")
    case = " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" if dialect == "mysql" else ""
    database.execute(
        f"CREATE TABLE t (id int PRIMARY KEY, channel varchar(40){case} NOT NULL, n int)",
        "CREATE UNIQUE INDEX k ON t (channel)",
        "INSERT INTO t VALUES (1, 'google', 7), (2, 'Google', 7), (3, 'bing', 7), (4, 'Goo', NULL), (5, 'x', NULL)",
    )
    for statement, example in UNIQUE[dialect]:
        told = hazards(database, "r", [statement], alone=True).findings
        twice = [one.hazard.text for one in told if one.hazard.rule == "duplicate-values"]
        assert len(twice) == bool(example), (statement, twice)
        assert all(text.startswith("1 key of t under UNIQUE (") and example in text for text in twice), twice
        emptied = hazards(database, "r", ["DELETE FROM t WHERE id > 1", statement], alone=True).findings
        assert not [one for one in emptied if one.hazard.rule == "duplicate-values"]  # nobody can say
    database.close()


def test_a_new_label_used_in_its_own_transaction_is_refused_before_anything_runs(new_on: Any) -> None:
    database = new_on("postgresql", "labels")
    database.execute("CREATE TYPE kind AS ENUM ('a', 'b')", "CREATE TABLE t (id int PRIMARY KEY, k kind)")
    add, use = "ALTER TYPE kind ADD VALUE 'c' AFTER 'b'", "UPDATE t SET k = 'c' WHERE id = 1"
    assert found(database, add, use) == ["refuse enum-value-in-transaction", "warn enum-value-stays"]
    assert "`-- transaction: no`" in str(hazards(database, "r", [add, use]))
    assert found(database, add, use, alone=True) == ["warn enum-value-stays"]
    assert found(database, add, "UPDATE t SET k = 'a' -- 'c'") == ["warn enum-value-stays"]


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
