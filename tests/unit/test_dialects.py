"""What is said of engines outside `databases/` is asked of a dialect: no line compares or looks up an engine's name."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbook_lib.databases.dialect import ENGINES, dialect_of

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "runbook_lib"
# Lines that are left, by file: a list that only shrinks. The journal's room is below the databases': it has two stores.
LEFT = {
    "assessment/values.py": 1,
    "config/database_url.py": 4,
    "config/environment.py": 3,
    "config/inventory.py": 3,
    "journal/lease.py": 1,
    "journal/store.py": 1,
    "journal/tables.py": 5,
    "operations/apply_ddl.py": 1,
    "run/same_databases.py": 1,
    "schema/convert/value_limits.py": 9,
    "schema/convert/value_policies.py": 12,
    "schema/revisions/sql_file.py": 1,
    "util/extras.py": 2,
    "validation/accounts.py": 1,
}


def names_an_engine(node: ast.AST | None) -> bool:
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return any(map(names_an_engine, node.elts))
    return isinstance(node, ast.Constant) and node.value in ENGINES


def branches(tree: ast.AST) -> Iterator[int]:
    """Lines that compare with an engine's name, match it, or look something up by it."""
    for node in ast.walk(tree):
        asked: list[ast.AST | None] = []
        if isinstance(node, ast.Compare):
            asked = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            asked = [node.value]
        elif isinstance(node, ast.Dict):
            asked = list(node.keys)
        elif isinstance(node, ast.Subscript):
            asked = [node.slice]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("startswith", "endswith", "get"):
            asked = list(node.args[:1])
        if any(map(names_an_engine, asked)):
            yield getattr(node, "lineno", 0)


def counted() -> dict[str, int]:
    found = {
        str(path.relative_to(PACKAGE)): len(set(branches(ast.parse(path.read_text()))))
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] != "databases"
    }
    return {name: count for name, count in found.items() if count}


def test_outside_the_databases_no_more_lines_than_listed_compare_an_engines_name():
    assert counted() == LEFT, "fewer: shorten the list; more: ask a `Dialect`"


@pytest.mark.parametrize(
    "source",
    [
        'x == "mysql"',
        '"mysql" != x.dialect',
        'x in ("sqlite", "mysql")',
        'match x:\n    case "sqlite":\n        pass',
        '{"postgresql": 1}[x]',
        'facts["mysql"]',
        'url.startswith("sqlite")',
    ],
)
def test_the_walk_sees_a_comparison_however_it_is_written(source: str):
    assert list(branches(ast.parse(source)))


def test_two_databases_of_one_engine_may_be_compared_with_each_other():
    assert list(branches(ast.parse("a.dialect == b.dialect"))) == []


@pytest.mark.parametrize("name", ENGINES)
def test_a_dialect_is_there_without_its_driver(name: str):
    ask = f"from runbook_lib.databases.dialect import dialect_of; print(dialect_of({name!r}).name)"
    bare = "import sys; sys.modules.update(dict.fromkeys(('psycopg', 'pymysql', 'sqlite3', 'sqlalchemy')))"
    done = subprocess.run([sys.executable, "-c", f"{bare}; {ask}"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == name == dialect_of(name).name
