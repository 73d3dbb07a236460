"""The order of the rooms, held by reading every import: those inside functions and those of type checking too."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "runbook_lib"

# From the ground up; a module imports its own room's and those below. Rooms in one line do not know each other.
ROOMS = (
    ("errors", "verdict"),
    ("util",),
    ("databases",),
    ("journal",),
    ("traffic", "services"),
    ("plan",),
    ("config",),
    ("display",),
    ("schema",),
    ("run",),
    ("monitoring", "performance"),
    ("transfer",),
    ("backup", "assessment"),
    ("validation",),
    ("operations",),
    ("evidence",),
    ("steps",),
    ("runner",),
    ("charts",),
    ("sandbox",),
    ("cli",),
)
TOP = {"runner", "charts", "sandbox", "cli"}
ENGINES = {"postgresql", "mysql", "sqlite"}
DRIVERS = {"psycopg", "pymysql", "sqlite3"}
POOLER = "traffic.pgbouncer_console"  # it speaks PostgreSQL's protocol
KERNELS = {"papermill", "nbclient", "jupyter_client", "ipywidgets", "jupyterlab", "jupyter_server"}
HEAVY = {"pandas", "matplotlib", "pyarrow", "networkx", "numpy", "IPython", "nbconvert", "rich", "jinja2", *KERNELS}


class Import(NamedTuple):
    """One import statement's target, at `place` (file:line); `deep`: in a function, or for the type checker only."""

    importer: str
    imported: str
    place: str
    deep: bool


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return name.removesuffix("__init__").rstrip(".")


def is_module(name: str) -> bool:
    path = PACKAGE.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def statements(node: ast.AST, deep: bool = False) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Every import at or below `node`, and whether it stands in a function or is for the type checker only."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node, deep
        return
    deep = deep or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    deep = deep or (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING")
    for child in ast.iter_child_nodes(node):
        yield from statements(child, deep)


def targets(statement: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
        return
    assert statement.level == 0, "imports are absolute"
    base = statement.module or ""
    for alias in statement.names:
        inner = f"{base}.{alias.name}".removeprefix("runbook_lib.")
        yield f"runbook_lib.{inner}" if base.startswith("runbook_lib") and is_module(inner) else base


def all_imports() -> list[Import]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for statement, deep in statements(ast.parse(path.read_text())):
            place = f"{path.relative_to(ROOT)}:{statement.lineno}"
            found += [Import(module_name(path), name, place, deep) for name in targets(statement)]
    return found


IMPORTS = all_imports()
OURS = [one._replace(imported=one.imported[12:]) for one in IMPORTS if one.imported.split(".")[0] == "runbook_lib"]
THEIRS = [one._replace(imported=one.imported.split(".")[0]) for one in IMPORTS if one not in OURS]


def room_of(module: str) -> str:
    return module.split(".")[0]


FLOOR = {room: number for number, rooms in enumerate(ROOMS) for room in rooms}


def engine_of(module: str) -> str:
    """The engine whose adapter this module belongs to; empty when it is none."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "databases" and parts[1] in ENGINES else ""


def test_every_room_has_its_place_and_nothing_is_loose_beside_the_rooms():
    found = {room_of(module_name(path)) for path in PACKAGE.rglob("*.py")} - {""}
    loose = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "errors", "verdict"}
    assert (found, loose) == (set(FLOOR), set())


def test_imports_point_downward_only():
    upward = [
        f"{one.place}: {one.importer} imports {one.imported}"
        for one in OURS
        if one.importer and one.imported and room_of(one.importer) != room_of(one.imported)
        if FLOOR[room_of(one.imported)] >= FLOOR[room_of(one.importer)]
    ]
    assert upward == []


def test_no_module_imports_one_that_needs_it():
    """A circle, however long: `CycleError` names its modules."""
    needs = {name: {one.imported for one in OURS if one.importer == name} for name in {one.importer for one in OURS}}
    TopologicalSorter({name: found - {name} for name, found in needs.items() if name}).prepare()


def test_adapters_are_known_by_name_only():
    """The ports' users never import an engine, and engines do not import each other."""
    bad = [
        one.place
        for one in OURS
        if engine_of(one.imported) and engine_of(one.importer) != engine_of(one.imported)
    ]  # fmt: skip
    assert bad == []


def test_drivers_are_imported_in_adapters_only():
    bad = [
        f"{one.place}: {one.imported}"
        for one in THEIRS
        if one.imported in DRIVERS and not engine_of(one.importer) and not one.importer.startswith(("sandbox", POOLER))
    ]
    assert bad == []


def test_kernels_and_widgets_are_a_matter_of_the_top_layer():
    bad = [
        f"{one.place}: {one.imported}" for one in THEIRS if one.imported in KERNELS and room_of(one.importer) not in TOP
    ]
    assert bad == []


def test_nbconvert_is_used_by_the_notebooks_and_by_the_page_of_an_executed_one():
    """`evidence.html` turns outputs into HTML: it needs nbconvert's filters, and starts no kernel."""
    users = {one.importer for one in THEIRS if one.imported == "nbconvert"}
    assert users <= {"evidence.html", "notebooks"}


def test_what_is_slow_to_import_is_imported_where_it_is_used():
    bad = [f"{one.place}: {one.imported}" for one in THEIRS if one.imported in HEAVY and not one.deep]
    assert bad == []


@pytest.mark.parametrize(
    "source", ["import psycopg", "def f():\n    import psycopg", "try:\n    import psycopg\nfinally: 0"]
)
def test_the_walk_sees_an_import_wherever_it_stands(source: str):
    assert [name for found, _ in statements(ast.parse(source)) for name in targets(found)] == ["psycopg"]


def test_the_walk_knows_what_only_a_type_checker_sees():
    source = "if TYPE_CHECKING:\n    import psycopg\nelse:\n    import json"
    found = [(name, deep) for found, deep in statements(ast.parse(source)) for name in targets(found)]
    assert found[0] == ("psycopg", True)


_MEASURE = """
import sys, time
before = set(sys.modules)
begun = time.process_time()
import runbook_lib
print((time.process_time() - begun) * 1000, *sorted({name.split(".")[0] for name in set(sys.modules) - before}))
"""


def test_importing_the_package_takes_less_than_50_ms_and_loads_nothing_heavy():
    took, loaded = [], set()
    for _ in range(3):  # the fastest of three, its own processor time: others share the cores
        done = subprocess.run([sys.executable, "-c", _MEASURE], capture_output=True, text=True, check=True, cwd=ROOT)
        words = done.stdout.split()
        took.append(float(words[0]))
        loaded |= set(words[1:])
    assert min(took) < 50
    assert not loaded & (HEAVY | DRIVERS | {"sqlalchemy", "yaml", "click", "cryptography"})


@pytest.mark.parametrize(
    "module", ["runbook_lib.run.run", "runbook_lib.steps", "runbook_lib.validation", "runbook_lib.cli"]
)
def test_what_a_notebook_imports_loads_nothing_heavy(module: str):
    source = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not set(done.stdout.split()) & (HEAVY | DRIVERS) - {"sqlite3"}
