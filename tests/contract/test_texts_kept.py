# ruff: noqa: E501  a statement is read along its line
"""Texts that look like SQL, wherever one may stand: copied byte for byte, and what is made of them does the same.

RUNBOOK_TEST_EXAMPLES=200 tries so many drawn lists of texts on each pair.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from runbook_lib.databases.port import Database
from runbook_lib.errors import DatabaseError, TransferError
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of
from runbook_lib.validation import validate

PIECES = (
    "public.x", "public.", "\nSET lock_timeout = 1;\n", "\nSET search_path = a;", "\nCREATE SCHEMA a;\n", "$$", "$f$",
    "\n--\n-- Name: x; Type: FK CONSTRAINT; Schema: public; Owner: -\n--\n", "-- ", "# ", "\nDELIMITER ;;\n", "DELIMITER ;\n",
    "/*", "*/", "/*!50003 ", "\\", "'", '"', "`", "[", "\n", "\r\n", ";", ";;\n", "\nEND;\n", "BEGIN ", " WHERE ", ") NOT VALID",
    "ALTER TABLE x ADD ", " AUTO_INCREMENT=7", " DEFINER=`a`@`b`", "::text", "\\restrict a\n", "é\u2028", " ON UPDATE CASCADE",
)  # fmt: skip
EVERY = (*PIECES, "".join(PIECES))
ENGINES = ("postgresql", "mysql", "sqlite")
EXAMPLES = int(os.environ.get("RUNBOOK_TEST_EXAMPLES", "0"))
texts = st.lists(st.lists(st.sampled_from(PIECES), max_size=5).map("".join), min_size=1, max_size=5).map(tuple)
drawn = settings(
    max_examples=max(EXAMPLES, 1), deadline=None, database=None, suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink] if EXAMPLES else [Phase.explicit],
)  # fmt: skip


def literal(text: str, dialect: str) -> str:
    doubled = text.replace("'", "''")
    return "'" + (doubled.replace("\\", "\\\\") if dialect == "mysql" else doubled) + "'"


def postgresql(said: Sequence[str]) -> list[str]:
    """A schema that says these texts wherever a text may be said."""
    quoted = [literal(text, "postgresql") for text in said]
    columns = [
        f"c{i} text DEFAULT {each} CONSTRAINT k{i} CHECK (c{i} <> 'x' || {each})" for i, each in enumerate(quoted)
    ]
    columns += [f"g{i} text GENERATED ALWAYS AS (c{i} || {each}) STORED" for i, each in enumerate(quoted)]
    made = [f"CREATE TABLE kept (id int PRIMARY KEY, {', '.join(columns)})", "INSERT INTO kept (id) VALUES (1)"]
    made.append("CREATE TABLE child (id int PRIMARY KEY, kept int REFERENCES kept (id))")
    for i, each in enumerate(quoted):
        body = f"BEGIN RETURN {each}; END"
        made += [
            f"COMMENT ON TABLE kept IS {each}",
            f"COMMENT ON COLUMN kept.c{i} IS {each}",
            f"CREATE VIEW v{i} AS SELECT {each}::text AS said, 'public.v' AS name",
            f"CREATE FUNCTION f{i}() RETURNS text LANGUAGE plpgsql AS {literal(body, 'postgresql')}",
            f"CREATE FUNCTION a{i}() RETURNS text LANGUAGE sql BEGIN ATOMIC; SELECT 1 AS n; SELECT {each} AS said; END",
            f"CREATE INDEX i{i} ON kept (c{i}) WHERE c{i} <> {each}",
            f"CREATE FUNCTION w{i}() RETURNS trigger LANGUAGE plpgsql AS $trigger$BEGIN\n--\n-- Name: x; Type: INDEX;\nSET x.y = 1;\n"
            "RETURN NEW; END $trigger$",
            f"CREATE TRIGGER t{i} BEFORE INSERT ON kept FOR EACH ROW WHEN (NEW.c{i} <> {each}) EXECUTE FUNCTION w{i}({each})",
            f"CREATE RULE r{i} AS ON DELETE TO v{i} DO INSTEAD (SELECT {each}; SELECT 2)",
        ]
    return made


def mysql(said: Sequence[str]) -> list[str]:
    """The same for MariaDB."""
    quoted = [literal(text, "mysql") for text in said]
    columns = [
        f"c{i} text DEFAULT {each} COMMENT {each} CHECK (c{i} <> concat('x', {each}))" for i, each in enumerate(quoted)
    ]
    columns += [f"g{i} text GENERATED ALWAYS AS (concat(c{i}, {each})) STORED" for i, each in enumerate(quoted)]
    columns += [f"KEY i{i} (c{i}(9)) COMMENT {each}" for i, each in enumerate(quoted)]
    keys = "KEY parent (kept), CONSTRAINT parent FOREIGN KEY (kept) REFERENCES kept (id)"
    made = [
        f"CREATE TABLE kept (id int AUTO_INCREMENT PRIMARY KEY, {', '.join(columns)}) COMMENT {quoted[0]}",
        "INSERT INTO kept (id) VALUES (1)",
        f"CREATE TABLE child (id int PRIMARY KEY, kept int, {keys}) COMMENT ' AUTO_INCREMENT=7'",
    ]
    for i, each in enumerate(quoted):
        made += [
            f"CREATE VIEW v{i} AS SELECT {each} AS said, 'v0`.`' AS name",
            f"CREATE FUNCTION f{i}() RETURNS text DETERMINISTIC BEGIN DECLARE x text; SET x = {each}; RETURN x; END",
            f"CREATE TRIGGER t{i} BEFORE INSERT ON kept FOR EACH ROW BEGIN -- {{}} ;;\nSET @said = {each}; END",
        ]
    return made


def sqlite(said: Sequence[str]) -> list[str]:
    """The same for SQLite."""
    quoted = [literal(text, "sqlite") for text in said]
    columns = [f"c{i} text DEFAULT {each} CHECK (c{i} <> 'x' || {each})" for i, each in enumerate(quoted)]
    columns += [f"g{i} text GENERATED ALWAYS AS (c{i} || {each}) STORED" for i, each in enumerate(quoted)]
    made = [f"CREATE TABLE kept (id INTEGER PRIMARY KEY, {', '.join(columns)})", "INSERT INTO kept (id) VALUES (1)"]
    made.append("CREATE TABLE child (id int PRIMARY KEY, kept int REFERENCES kept (id))")
    for i, each in enumerate(quoted):
        made += [
            f"CREATE VIEW v{i} AS SELECT {each} AS said, 'v' AS name",
            f"CREATE INDEX i{i} ON kept (c{i}) WHERE c{i} <> {each}",
            f"CREATE TRIGGER t{i} AFTER INSERT ON kept WHEN NEW.c{i} = {each} || 'x' BEGIN SELECT {each}; SELECT 2; END",
        ]
    return made


TOLD = {
    "mysql": """
SELECT 'column', concat(table_name, column_name), concat_ws('|', column_default, column_comment, generation_expression)
  FROM information_schema.columns WHERE table_schema = database() AND table_name IN ('kept', 'child') UNION ALL
SELECT 'table', table_name, table_comment FROM information_schema.tables WHERE table_schema = database() UNION ALL
SELECT 'check', constraint_name, check_clause FROM information_schema.check_constraints
  WHERE constraint_schema = database() UNION ALL
SELECT 'view', table_name, replace(view_definition, concat('`', database(), '`.'), '') FROM information_schema.views
  WHERE table_schema = database() UNION ALL
SELECT 'routine', routine_name, routine_definition FROM information_schema.routines
  WHERE routine_schema = database() UNION ALL
SELECT 'index', index_name, index_comment FROM information_schema.statistics
  WHERE table_schema = database() AND table_name = 'kept' UNION ALL
SELECT 'trigger', trigger_name, action_statement FROM information_schema.triggers WHERE trigger_schema = database()
ORDER BY 1, 2, 3
""",
    "sqlite": "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite%' ORDER BY 1, 2, 3",
    "postgresql": """
SELECT 'default', adnum::text, pg_get_expr(adbin, adrelid) FROM pg_attrdef UNION ALL
SELECT 'check', conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace UNION ALL
SELECT 'comment', objsubid::text, description FROM pg_description WHERE objoid = 'kept'::regclass UNION ALL
SELECT 'view', viewname, definition FROM pg_views WHERE schemaname = 'public' UNION ALL
SELECT 'rule', rulename, definition FROM pg_rules WHERE schemaname = 'public' UNION ALL
SELECT 'routine', proname, concat(prosrc, pg_get_function_sqlbody(oid)) FROM pg_proc
  WHERE pronamespace = 'public'::regnamespace UNION ALL
SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' UNION ALL
SELECT 'trigger', tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2, 3
""",
}


def told(database: Database) -> list[tuple[Any, ...]]:
    """What the engine's own catalog says of every place."""
    return [row for row in database.rows(TOLD[database.dialect]) if "runbook" not in str(row[1])]


SCHEMAS: dict[str, Callable[[Sequence[str]], list[str]]] = {"postgresql": postgresql, "mysql": mysql, "sqlite": sqlite}


@pytest.mark.parametrize("engine", sorted(SCHEMAS))
def test_a_text_that_looks_like_sql_is_copied_byte_for_byte_within_an_engine(engine, new_on):
    source, target = new_on(engine, "source"), new_on(engine, "target")

    @drawn
    @given(texts)
    @example(EVERY)
    def copied(said: tuple[str, ...]) -> None:
        for database in (source, target):
            emptied(database)
        source.execute(*SCHEMAS[engine](said))
        clone(pair := pair_of(source, target), How(jobs=1))
        assert validate([pair.forward], under_writes=False).passed
        assert told(target) == told(source)
        target.execute("INSERT INTO child (id, kept) VALUES (1, 1)", "INSERT INTO kept (id) VALUES (2)")
        row = list(target.rows("SELECT * FROM kept WHERE id = 2")[0])[1:]
        assert row == [*said, *(text * 2 for text in said)]
        assert [target.rows(f"SELECT said FROM v{i}")[0][0] for i in range(len(said))] == list(said)
        if engine != "sqlite":
            assert [target.rows(f"SELECT f{i}()")[0][0] for i in range(len(said))] == list(said)

    copied()


def packed() -> tuple[str, ...]:
    """The pieces joined to few texts, for InnoDB has no room for many columns."""
    found = [""]
    for piece in PIECES:
        if len(found[-1] + piece) > 55:
            found.append("")
        found[-1] += piece[:55]
    return tuple(found)


PACKED = packed()
ACROSS = [(a, b) for a in ENGINES for b in ENGINES if a != b]


def plain(said: Sequence[str], dialect: str) -> str:
    """Texts where another engine has them too: defaults, a check, a generated column, a condition, a comment."""
    quoted = [literal(text, dialect) for text in said]
    q, text = {"mysql": ("`", "varchar(60)")}.get(dialect, ('"', "varchar(60)"))
    nopad = " COLLATE utf8mb4_nopad_bin" if dialect == "mysql" else ""
    columns = [
        f"{q}c{i}{q} {text}{nopad} DEFAULT {each} CHECK ({q}c{i}{q} <> {literal(f'x{said[i]}', dialect)})"
        for i, each in enumerate(quoted)
    ]
    columns += [
        f"g{i} {text}{nopad} GENERATED ALWAYS AS (COALESCE({q}c{i}{q}, {each})) STORED" for i, each in enumerate(quoted)
    ]
    return f"CREATE TABLE kept (id int PRIMARY KEY, {', '.join(columns)})"


@pytest.mark.parametrize(("one", "other"), ACROSS)
def test_texts_in_defaults_checks_and_generated_columns_arrive_byte_for_byte_at_another_engine(one, other, new_on):
    source, target = new_on(one, "source"), new_on(other, "target")

    @drawn
    @given(texts)
    @example(PACKED)
    def copied(said: tuple[str, ...]) -> None:
        said = tuple(text[:55] for text in said)
        for database in (source, target):
            emptied(database)
        source.execute(plain(said, one), "INSERT INTO kept (id) VALUES (1)")
        heard: list[str] = []
        clone(pair := pair_of(source, target), How(jobs=1), heard.append)
        assert validate([pair.forward], under_writes=False).passed
        assert not [line for line in heard if "something else" in line or "no equivalent" in line]
        columns = ", ".join(f"c{i}" for i in range(len(said)))
        computed = ", ".join(f"g{i}" for i in range(len(said)))
        target.execute(
            "INSERT INTO kept (id) VALUES (2)", f"INSERT INTO kept (id, {columns}) VALUES (3{', NULL' * len(said)})"
        )
        rows = {tuple(row) for row in target.rows(f"SELECT {columns} FROM kept WHERE id < 3")}
        assert rows == {said}
        assert {tuple(row) for row in target.rows(f"SELECT {computed} FROM kept")} == {said}
        table = target.catalog(["kept"])["kept"]
        assert all(column.generated for column in table.columns if column.name[0] == "g")
        assert sum(each.kind == "check" for each in table.constraints) == len(said)
        for i, text in enumerate(said):
            with pytest.raises(DatabaseError):
                target.execute(f"INSERT INTO kept (id, c{i}) VALUES (4, {literal(f'x{text}', other)})")
            target.execute(f"INSERT INTO kept (id, c{i}) VALUES ({i + 5}, {literal(f'x{text}', other)[:-1]} ')")

    copied()


def test_a_generated_column_that_comes_to_other_values_at_the_target_fails_the_copy_with_its_rows(new_on):
    source, target = new_on("postgresql", "source"), new_on("mysql", "target")
    source.execute(
        "CREATE TABLE stay (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED)",
        "INSERT INTO stay (id, n) VALUES (7, 3), (8, 0)",
    )
    target.execute("CREATE TABLE stay (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 3) STORED)")
    with pytest.raises(TransferError, match=r"stay, key 7: .*twice"):
        clone(pair_of(source, target), How(jobs=1, existing="keep"))


def emptied(database: Database) -> None:
    """The database as it was made."""
    if database.dialect == "postgresql":
        database.execute("DROP SCHEMA public CASCADE", "CREATE SCHEMA public", "DROP SCHEMA IF EXISTS runbook CASCADE")
    elif database.dialect == "mysql":
        own = database.ident(database.rows("SELECT database()")[0][0])
        database.execute(
            f"DROP DATABASE {own}", f"CREATE DATABASE {own} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", f"USE {own}"
        )
    else:
        for kind, name in database.rows("SELECT type, name FROM sqlite_master WHERE type IN ('view', 'table')"):
            if not name.startswith("sqlite"):
                database.execute(f"DROP {kind} {database.ident(name)}")
