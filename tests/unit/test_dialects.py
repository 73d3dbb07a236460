"""What is said of engines outside `databases/` is asked of a dialect: no line compares or looks up an engine's name."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from itertools import product
from pathlib import Path

import pytest

from runbook_lib.databases.capabilities import Capabilities
from runbook_lib.databases.dialect import ENGINES, dialect_of

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "runbook_lib"
# Names that are an engine's and something else's too: nothing is decided by an engine there.
NO_ENGINES = {"util/extras.py": "its keys are extras of pip"}


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


def outside() -> Iterator[tuple[str, ast.Module]]:
    """The library's modules without those of `databases/`."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] != "databases":
            yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text())


def test_outside_the_databases_no_line_compares_an_engines_name():
    found = {f"{name}:{line}" for name, tree in outside() if name not in NO_ENGINES for line in branches(tree)}
    assert found == set(), "ask a `Dialect`"


def test_each_capability_is_read_outside_the_databases_and_has_the_words_of_a_refusal():
    read = {
        node.attr
        for _, tree in outside()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and getattr(node.value, "attr", "") == "capabilities"
    }
    assert read == {each.name for each in fields(Capabilities)}
    for engine, name in product(ENGINES, sorted(read)):
        one = getattr(dialect_of(engine).capabilities, name)
        assert one.needed_for
        assert one.needed
        assert one.found.startswith(f"{engine} ")
        assert str(one.refusal("shop")) == f"database shop: {one.found}; expected {one.needed}"


def test_an_engine_cannot_have_what_is_not_declared():
    with pytest.raises(AttributeError, match="floating"):
        Capabilities.of("sqlite", "floating")


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
