"""SQL text is read as each engine reads it: whatever a literal, a name, a comment or a body says stays as it is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbook_lib.databases import sql_text
from runbook_lib.errors import PlanError
from runbook_lib.schema.revisions.graph import UP, Revisions
from runbook_lib.schema.revisions.sql_file import load_sql

DIALECTS = ("postgresql", "mysql", "sqlite")
HOSTILE = (
    "public.x", "SET lock_timeout = 1;", "CREATE SCHEMA a;", "$$", "$f$", "-- Name: x; Type: TABLE; Schema: -", "--",
    "DELIMITER ;;", "/*", "*/", "/*!50003 ", "\\", "'", '"', "`", "[", "]", "\n", "# x", ";", "BEGIN", "END", "E'", "é",
)  # fmt: skip
hostile = st.lists(st.sampled_from(HOSTILE), max_size=6).map("".join)
dialects = st.sampled_from(DIALECTS)


def literal(text: str, dialect: str) -> str:
    doubled = text.replace("'", "''")
    return "'" + (doubled.replace("\\", "\\\\") if dialect == "mysql" else doubled) + "'"


def name(text: str, dialect: str) -> str:
    mark = "`" if dialect == "mysql" else '"'
    return mark + text.replace(mark, mark * 2) + mark


@given(st.one_of(st.text(max_size=40), hostile), dialects, st.sets(st.sampled_from(sql_text.MODES)))
def test_the_tokens_of_a_text_joined_are_the_text(text: str, dialect: str, modes: set[str]) -> None:
    assert sql_text.joined(sql_text.tokens(text, dialect, modes)) == text


@given(hostile, hostile.filter(bool), dialects)
def test_literals_and_names_are_one_token_each_whatever_they_say(text: str, named: str, dialect: str) -> None:
    parts = [literal(text, dialect), name(named, dialect), literal(text, dialect)]
    found = sql_text.code(f"SELECT {parts[0]} AS {parts[1]}, {parts[2]} -- it's {text.splitlines()[:1]}\n", dialect)
    assert [token.text for token in found] == ["SELECT", parts[0], "AS", parts[1], ",", parts[2]]
    assert [found[1].kind, found[3].kind, found[5].kind] == [sql_text.STRING, sql_text.NAME, sql_text.STRING]
    assert sql_text.unquoted(found[3]) == named


@given(st.lists(st.tuples(hostile, dialects), min_size=1, max_size=4), dialects)
def test_statements_end_at_no_semicolon_of_a_literal(texts: list[tuple[str, str]], dialect: str) -> None:
    made = [f"INSERT INTO t VALUES ({literal(text, dialect)})" for text, _ in texts]
    assert [sql_text.joined(each).strip() for each in sql_text.statements(";\n".join(made), dialect)] == made


@given(hostile.filter(lambda text: "$f$" not in text and "$" not in text[-1:]))
def test_a_body_between_dollars_is_one_token(body: str) -> None:
    script = f"CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $f${body}$f$"
    assert [token.text for token in sql_text.code(script, "postgresql")][-1] == f"$f${body}$f$"


@pytest.mark.parametrize(
    ("text", "dialect", "modes", "expected"),
    [
        ("/* a /* b */ c */x", "postgresql", (), ["x"]),
        ("/* a /* b */ c", "mysql", (), ["c"]),
        (r"'a\' || 'b'", "postgresql", (), [r"'a\'", "||", "'b'"]),
        (r"E'a\'' U&'\0061'", "postgresql", (), [r"E'a\''", r"U&'\0061'"]),
        (r"'a\''", "postgresql", ("BACKSLASHES",), [r"'a\''"]),
        ("a<*>b a<=-1 a*-- c\n2", "postgresql", (), ["a", "<*>", "b", "a", "<=", "-", "1", "a", "*", "2"]),
        ("a$b$c $1", "postgresql", (), ["a$b$c", "$", "1"]),
        (r"'a\'b'", "mysql", (), [r"'a\'b'"]),
        (r"'a\' 'b'", "mysql", ("NO_BACKSLASH_ESCAPES",), [r"'a\'", "'b'"]),
        ("--1 # x", "mysql", (), ["-", "-", "1"]),
        ("/*!50003 CREATE */ /*M!100 x*/", "mysql", (), ["/*!50003", "CREATE", "*/", "/*M!100", "x", "*/"]),
        ("[a ]] x'00'", "sqlite", (), ["[a ]", "]", "x'00'"]),
    ],
)
def test_each_engine_s_quoting(text: str, dialect: str, modes: tuple[str, ...], expected: list[str]) -> None:
    assert [token.text for token in sql_text.code(text, dialect, modes)] == expected


def test_double_quotes_are_texts_or_names_by_the_sql_mode() -> None:
    assert [sql_text.code('"a"', "mysql", modes)[0].kind for modes in ((), ("ANSI_QUOTES",))] == ["string", "name"]


def test_a_quote_that_nobody_closes_is_told() -> None:
    assert [token.kind for token in sql_text.code("a 'b''c", "postgresql")] == ["word", "open"]


def test_a_script_of_a_thousand_tables_is_read_in_well_under_a_second() -> None:
    each = "--\n-- Name: t; Type: TABLE; Schema: public; Owner: -\n--\n\nCREATE TABLE public.t (\n" + ",\n".join(
        f"    column_{n} character varying(30) DEFAULT 'x'::character varying NOT NULL" for n in range(12)
    )
    script = f"{each}\n);\n\n\n" * 1000
    started = time.process_time()
    assert sum(1 for _ in sql_text.statements(script, "postgresql")) == 1001
    assert time.process_time() - started < 3  # 0.6 s; 1.0 MB


BODY = "CREATE FUNCTION f(x int) RETURNS int LANGUAGE plpgsql AS $$\nBEGIN\n-- down\n  RETURN x;\nEND $$;"
ATOMIC = "CREATE FUNCTION g() RETURNS int LANGUAGE sql BEGIN ATOMIC; SELECT 1; SELECT 2; END;"


def revision(folder: Path, text: str) -> Path:
    path = folder / "a.sql"
    path.write_text(f"-- revision: a\n-- up\n{text}")
    return path


def test_a_section_s_word_in_a_body_or_a_literal_cuts_nothing(tmp_path: Path) -> None:
    module = load_sql(revision(tmp_path, f"{BODY}\n{ATOMIC}\n-- down\nDROP FUNCTION g();\n"))
    assert callable(module.downgrade)
    assert not hasattr(load_sql(revision(tmp_path, "INSERT INTO t VALUES (length('a\n-- down\nb'));")), "downgrade")


@pytest.mark.parametrize(
    ("text", "dialect", "message"),
    [
        ("CREATE TRIGGER t AFTER INSERT ON a BEGIN\n-- down\nSELECT 1; END;", "mysql", "a.sql:4: `-- down` inside"),
        ("SELECT 1;\nSELECT 'a\n;", "sqlite", "a.sql:4: 'a opens a quote"),
        ("SELECT 'a\\';\n-- down\nSELECT 'b';", "mysql", "a.sql:5: '; opens a quote"),
    ],
)
def test_a_file_that_cannot_be_cut_is_refused_with_its_line(
    tmp_path: Path, text: str, dialect: str, message: str
) -> None:
    revision(tmp_path, text)
    with pytest.raises(PlanError, match=message):
        (revisions := Revisions(tmp_path)).render(revisions.by_id["a"], UP, dialect)
