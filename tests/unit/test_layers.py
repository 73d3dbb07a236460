"""The layer rule of the design, held by reading every import, those inside functions too.

Imports that only a type checker sees (`if TYPE_CHECKING:`) are free: they name a type of a higher layer, they do not
call it. Everything else points downward or stays in its layer.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "runbook_lib"

# The longest prefix counts. A new module has to be given its place here.
LAYERS = {
    0: ("errors", "plan.model", "plan.grammar", "masking", "imports", "launch", "fault_report", "util"),
    1: (
        "plan", "environment", "inventory", "references", "journal", "databases.port", "databases.values",
        "databases.as_stored", "databases.bulk", "databases.narrowing", "databases.shapes", "databases.sql_text",
        "databases.statement_names",
        "files.copytext",  # an encoding; imports nothing
        "endpoints", "traffic.port", "services.port", "step", "tables", "web", "quiet", "options", "records",
        "progress", "phases", "parameter_file",
        "schema.shape",  # words about a catalog; gates need it
    ),
    2: (
        "databases.postgresql", "databases.mysql", "databases.sqlite", "databases.shared", "databases.own_objects",
        "traffic.envoy",
        "traffic.envoy_files", "traffic.envoy_stats", "services.command", "executor", "run", "stepping", "gates",
        "undo", "drift", "same_databases",
    ),
    3: (
        "schema", "files", "transfer", "validation", "performance", "monitor", "triggers", "probes", "services.smoke",
        "evidence", "notify", "backups", "assessment",
    ),
    4: ("steps",),
    5: ("notebooks", "kernels", "sockets", "runner", "terminal", "charts", "widgets", "cli", "sandbox"),
}  # fmt: skip
NAMESPACES = {"", "databases", "traffic", "services"}  # `__init__` files that hold nothing, or only names
DRIVERS = {"psycopg", "pymysql", "sqlite3"}
KERNELS = {"papermill", "nbclient", "jupyter_client", "ipywidgets", "jupyterlab", "jupyter_server"}
HEAVY = {"pandas", "matplotlib", "pyarrow", "networkx", "numpy", "IPython", "nbconvert", "rich", *KERNELS}


class Import(NamedTuple):
    """One import statement's target. `place` is file:line, `deep` is true inside a function."""

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


def type_checking_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def statements(node: ast.AST, deep: bool = False) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Every import at or below `node` that is ever carried out, and whether it stands in a function."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node, deep
        return
    deep = deep or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    unseen = node.body if isinstance(node, ast.If) and type_checking_only(node) else []
    for child in ast.iter_child_nodes(node):
        if child not in unseen:
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


def layer_of(module: str) -> int | None:
    """The layer of a module by its longest prefix in LAYERS; None when it has no place."""
    places = {prefix: number for number, prefixes in LAYERS.items() for prefix in prefixes}
    parts = module.split(".")
    candidates = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((places[name] for name in candidates if name in places), None)


def engine_of(module: str) -> str:
    """The engine whose adapter this module belongs to; empty when it is none."""
    parts = module.split(".")
    of_all = (
        "as_stored", "bulk", "narrowing", "own_objects", "port", "shapes", "shared", "sql_text", "statement_names",
        "values",
    )  # fmt: skip
    return parts[1] if len(parts) > 1 and parts[0] == "databases" and parts[1] not in of_all else ""


def test_every_module_has_a_layer():
    modules = {module_name(path) for path in PACKAGE.rglob("*.py")} - NAMESPACES
    assert sorted(name for name in modules if layer_of(name) is None) == []


def test_every_place_in_the_list_of_layers_is_a_module_that_exists_or_is_planned():
    planned = {"databases.mysql", "databases.sqlite"}
    listed = {prefix for prefixes in LAYERS.values() for prefix in prefixes}
    assert sorted(name for name in listed - planned if not is_module(name)) == []


def test_imports_point_downward_only():
    upward = [
        f"{one.place}: layer {layer_of(one.importer)} imports {one.imported} of layer {layer_of(one.imported)}"
        for one in OURS
        if one.importer and one.imported
        if (layer_of(one.imported) or 0) > (layer_of(one.importer) or 0)
    ]
    assert upward == []


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
        if one.imported in DRIVERS and not engine_of(one.importer) and not one.importer.startswith("sandbox")
    ]
    assert bad == []


def test_kernels_and_widgets_are_a_matter_of_the_top_layer():
    bad = [f"{one.place}: {one.imported}" for one in THEIRS if one.imported in KERNELS and layer_of(one.importer) != 5]
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


def test_the_walk_leaves_out_what_only_a_type_checker_sees():
    source = "if TYPE_CHECKING:\n    import psycopg\nelse:\n    import json"
    assert [name for found, _ in statements(ast.parse(source)) for name in targets(found)] == ["json"]


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
    "module", ["runbook_lib.run", "runbook_lib.steps", "runbook_lib.validation", "runbook_lib.cli"]
)
def test_what_a_notebook_imports_loads_nothing_heavy(module: str):
    source = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not set(done.stdout.split()) & (HEAVY | DRIVERS) - {"sqlite3"}
