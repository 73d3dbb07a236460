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
from runbook_lib.transfer.clone import How, clone, pair_of

PIECES = (
    "public.x", "public.", "\nSET lock_timeout = 1;\n", "\nSET search_path = a;", "\nCREATE SCHEMA a;\n", "$$", "$f$",
    "\n--\n-- Name: x; Type: FK CONSTRAINT; Schema: public; Owner: -\n--\n", "-- ", "# ", "\nDELIMITER ;;\n", "DELIMITER ;\n",
    "/*", "*/", "/*!50003 ", "\\", "'", '"', "`", "[", "\n", "\r\n", ";", ";;\n", "\nEND;\n", "BEGIN ", " WHERE ", ") NOT VALID",
    "ALTER TABLE x ADD ", " AUTO_INCREMENT=7", " DEFINER=`a`@`b`", "::text", "\\restrict a\n", "é\u2028", " ON UPDATE CASCADE",
)  # fmt: skip
EVERY = (*PIECES, "".join(PIECES))
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


TOLD = {
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
"""
}


def told(database: Database) -> list[tuple[Any, ...]]:
    """What the engine's own catalog says of every place."""
    return [row for row in database.rows(TOLD[database.dialect]) if "runbook" not in str(row[1])]


SCHEMAS: dict[str, Callable[[Sequence[str]], list[str]]] = {"postgresql": postgresql}


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
        clone(pair_of(source, target), How(jobs=1))
        assert told(target) == told(source)
        target.execute("INSERT INTO child (id, kept) VALUES (1, 1)", "INSERT INTO kept (id) VALUES (2)")
        row = list(target.rows("SELECT * FROM kept WHERE id = 2")[0])[1:]
        assert row == [*said, *(text * 2 for text in said)]
        assert [target.rows(f"SELECT said FROM v{i}")[0][0] for i in range(len(said))] == list(said)
        assert [target.rows(f"SELECT f{i}()")[0][0] for i in range(len(said))] == list(said)

    copied()


def emptied(database: Database) -> None:
    """The database as it was made."""
    if database.dialect == "postgresql":
        database.execute("DROP SCHEMA public CASCADE", "CREATE SCHEMA public", "DROP SCHEMA IF EXISTS runbook CASCADE")
