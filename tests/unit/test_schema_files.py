"""Revisions as files: what each form is rendered to, and the one line that each mistake is."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook_lib.errors import ConfigurationError, PlanError
from runbook_lib.schema.revisions.graph import UP, Revisions
from runbook_lib.schema.revisions.sql_file import statements


def rendered(folder: Path, dialect: str = "postgresql") -> list[str]:
    revisions = Revisions(folder)
    (revision,) = revisions.by_id.values()
    return list(revisions.render(revision, UP, dialect).statements)


BODY = """CREATE TRIGGER t AFTER UPDATE ON a FOR EACH ROW
BEGIN
  IF NEW.begin > 1 THEN SET @x = CASE WHEN 1 THEN ';' END; UPDATE b SET c = 1; END IF;
  CASE NEW.d WHEN 1 THEN SET @y = 2; END CASE;
  BEGIN DELETE FROM b; END;
END"""


@pytest.mark.parametrize(
    ("text", "dialect", "expected"),
    [
        ("SELECT ';', \"a;b\"; -- one; two\nSELECT 2;", "", ["SELECT ';', \"a;b\"", "-- one; two\nSELECT 2"]),
        ("CREATE FUNCTION f() AS $x$ a; b; $x$; SELECT 1", "", ["CREATE FUNCTION f() AS $x$ a; b; $x$", "SELECT 1"]),
        ("/* a; b */ ; -- nothing;\n", "", []),
        (r"SELECT 'a\'; SELECT 2", "", [r"SELECT 'a\'", "SELECT 2"]),
        (r"SELECT E'a\';'; SELECT 2", "", [r"SELECT E'a\';'", "SELECT 2"]),
        (r"SELECT 'a\';'; # x;", "mysql", [r"SELECT 'a\';'"]),
        (f"{BODY}; SELECT 2", "mysql", [BODY, "SELECT 2"]),
        ("BEGIN; SELECT CASE WHEN 1 THEN 2; END", "mysql", ["BEGIN", "SELECT CASE WHEN 1 THEN 2", "END"]),
        ("SELECT `a;b`; SELECT 'it''s;'", "mysql", ["SELECT `a;b`", "SELECT 'it''s;'"]),
    ],
)
def test_statements_end_where_the_engine_says(text: str, dialect: str, expected: list[str]) -> None:
    assert list(statements(text, dialect)) == expected


def test_colons_and_percent_signs_arrive_as_they_are_written(tmp_path: Path) -> None:
    sql = "SELECT '50%', ':x', a::text, '%(b)s' FROM t"
    (tmp_path / "a.sql").write_text(f"-- revision: a\n-- up\n{sql};\n")
    assert rendered(tmp_path) == [sql]


def test_a_section_may_be_an_engine_s_own(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("-- revision: a\n-- up\nSELECT 1;\n-- up (mariadb)\nSELECT 2;\n")
    assert (rendered(tmp_path), rendered(tmp_path, "mysql")) == (["SELECT 1"], ["SELECT 2"])


PYTHON = "from alembic import op\nrevision = 'a'\ndown_revision = None\n"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no revision in it"),
        ({"a.py": "def x(:\n"}, r"SyntaxError: .*a\.py, line 1"),
        ({"a.sql": "-- revision: a\n-- down\nSELECT 1;"}, "a.sql: no `-- up`"),
        ({"a.sql": "-- up\nSELECT 1;"}, "a.sql: no `-- revision:`"),
        ({"a.sql": "-- revision: a\nSELECT 1;\n-- up"}, "a.sql:2: a statement before the first section"),
        ({"a.sql": "-- revision: a\n-- up\n-- up\n"}, "a.sql:3: a second `-- up`"),
        ({"a.sql": "-- revision: a\n-- up (msql)\nSELECT 1;"}, "a.sql:2: unknown engine `msql`"),
        ({"a.sql": "-- revision: a'b\n-- up\nSELECT 1;"}, "version `a'b` is no name"),
        (dict.fromkeys(("a.sql", "b.sql"), "-- revision: a\n-- up\nSELECT 1;"), "a is present more than once"),
        ({"a.sql": "-- revision: a\n-- revises: a\n-- up\nSELECT 1;"}, "[Ll]oop is detected"),
        (
            {"a.py": PYTHON + "def upgrade():\n    op.get_bind().execute(1).fetchall()\n"},
            "cannot be written down as SQL",
        ),
        ({"a.py": PYTHON}, "no attribute 'upgrade'"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises((PlanError, ConfigurationError), match=message) as said:
        rendered(tmp_path)
    assert "\n" not in str(said.value)
