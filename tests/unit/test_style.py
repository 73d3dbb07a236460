"""The style of the library, held by reading its source: what ruff and mypy do not say."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from make_cli_docs import commands

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "runbook_lib"
FILES = sorted(PACKAGE.rglob("*.py"))
STEPS = sorted(path for path in (PACKAGE / "steps").glob("*.py"))
HELPERS = {
    "__init__",
    "accounting",
    "acting",
    "baseline",
    "blue_green",
    "predict_run",
    "check_table",
    "checklist",
    "fleet",
    "fleet_watch",
    "migrate_schema",
    "performance",
    "preflight",
    "roll_out",
    "routes_and_links",
    "system_steps",
    "traffic_watch",
    "watch_process",
}  # no steps: what steps are made of
LONGEST = 400  # lines
MEDIAN = 160

Public = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def place(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


def says_enough(node: ast.AST, owner: ast.ClassDef | None) -> bool:
    """What needs no words of its own: a private name, a property or override that its class speaks for."""
    if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    return node.name.startswith("_") or (owner is not None and owner.name.startswith("_"))


def public(node: Public, owner: ast.ClassDef | None = None) -> Iterator[Public]:
    """The module, its public functions and classes, and the public classes' own classes; not what is nested deeper."""
    if says_enough(node, owner):
        return
    yield node
    if isinstance(node, ast.Module | ast.ClassDef):
        for child in node.body:
            wanted = ast.ClassDef if isinstance(node, ast.ClassDef) else ast.ClassDef | ast.FunctionDef
            if isinstance(child, wanted):
                yield from public(child, node if isinstance(node, ast.ClassDef) else None)


def test_every_public_name_has_a_docstring():
    missing = [
        f"{place(path, node)} {getattr(node, 'name', 'module')}"
        for path in FILES
        if tree(path).body  # an empty `__init__` names a folder
        for node in public(tree(path))
        if not ast.get_docstring(node)
    ]
    assert missing == []


def test_no_file_is_long_and_most_are_short():
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in FILES}
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}
    assert sorted(lines.values())[len(lines) // 2] <= MEDIAN


def test_nothing_asserts_prints_or_swallows():
    bad = []
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Assert):
                bad.append(f"{place(path, node)} assert: raise an error that says what to do")
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                bad.append(f"{place(path, node)} print: hand it to the caller's `show`")
            elif isinstance(node, ast.ExceptHandler) and node.type is None:
                bad.append(f"{place(path, node)} except without a type")
            elif isinstance(node, ast.ExceptHandler) and [type(s) for s in node.body] == [ast.Pass]:
                bad.append(f"{place(path, node)} except: pass; contextlib.suppress with a reason, or handle it")
    assert bad == []


def test_every_file_postpones_its_annotations():
    bad = []
    for path in FILES:
        body = [node for node in tree(path).body if not (isinstance(node, ast.Expr))]
        if body and not (isinstance(body[0], ast.ImportFrom) and body[0].module == "__future__"):
            bad.append(str(path.relative_to(ROOT)))
    assert bad == []


IGNORE = re.compile(r"#\s*(?:noqa:?\s*[A-Z0-9, ]*|type:\s*ignore(?:\[[\w, -]*\])?|pragma:.*)(?P<why>.*)")


def reasons_missing(path: Path) -> Iterator[str]:
    """Comments that silence a tool and say no more; a comment on the line above counts as a reason too."""
    text = path.read_text()
    if not IGNORE.search(text):
        return
    lines = text.splitlines()
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            found = IGNORE.search(token.string) if token.type == tokenize.COMMENT else None
            above = lines[token.start[0] - 2].strip() if token.start[0] > 1 else ""
            if found and not found["why"].strip(" #-–:") and not above.startswith("#"):
                yield f"{path.relative_to(ROOT)}:{token.start[0]} {token.string}"


def test_whatever_silences_a_tool_says_why():
    assert [line for path in FILES for line in reasons_missing(path)] == []


def test_the_settings_say_why_a_rule_is_ignored():
    section = (ROOT / "pyproject.toml").read_text().partition("ignore = [")[2].partition("\n]")[0]
    bare = [line.strip() for line in section.splitlines() if line.strip().startswith('"') and "#" not in line]
    assert bare == ['"RUF002",', '"RUF003",']  # RUF001 above them says it for the three


# -- steps ---


def class_name(module: str) -> str:
    return "".join(word.capitalize() for word in module.split("_"))


STEP_MODULES = [path.stem for path in STEPS if path.stem not in HELPERS]


def where_it_is_shown(name: str) -> list[str]:
    pages = [*ROOT.glob("notebooks/**/*.ipynb"), *ROOT.glob("docs/*.md"), ROOT / "README.md"]
    return [page.name for page in pages if re.search(name, page.read_text())]


@pytest.mark.parametrize("module", STEP_MODULES)
def test_a_step_is_a_frozen_dataclass_named_like_its_module(module: str):
    loaded = importlib.import_module(f"runbook_lib.steps.{module}")
    step = getattr(loaded, class_name(module))
    assert dataclasses.is_dataclass(step)
    assert step.__dataclass_params__.frozen
    for part in ("check", "apply", "verify", "rollback"):
        assert list(inspect.signature(getattr(step, part)).parameters) == ["self", "run"]
    names = {field.name: field.default for field in dataclasses.fields(step)}
    default = names.get("name", getattr(step, "name", None))
    assert isinstance(default, property) or default == module


@pytest.mark.parametrize("module", STEP_MODULES)
def test_a_step_is_exported_and_appears_in_a_notebook_or_the_docs(module: str):
    steps = importlib.import_module("runbook_lib.steps")
    assert class_name(module) in steps.__all__
    # made by the one function that knows the plan's shares, or the path of revisions
    path, rolling = r"steps\.migrate_schema\(", r"steps\.roll_out\("
    system = r"steps\.system_steps\("
    makers = {
        "command_step": system,
        "http_step": system,
        "sql_step": system,
        "apply_ddl": r"steps\.schema_changes\(",
        "shift_reads": r"steps\.read_shifts\(",
        "apply_revision": path,
        "verify_version": path,
        "start_spares": rolling,
        "stop_spares": rolling,
        "upgrade_instances": rolling,
        "verify_fleet": rolling,
        "run_tests": r"steps\.phase_steps\(",
        "measure_performance": r"steps\.phase_steps\(",
    }
    assert where_it_is_shown(makers.get(module, rf"steps\.{class_name(module)}\("))


# -- the command line ---


every_command = pytest.mark.parametrize(("name", "command"), [pytest.param(*one, id=one[0]) for one in commands()])


@every_command
def test_every_command_says_what_it_does_and_every_option_what_it_means(name: str, command: click.Command):
    assert command.help
    silent = [option.name for option in command.params if isinstance(option, click.Option) and not option.help]
    assert silent == []


def test_every_notebook_is_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    assert [path.name for path in sorted(ROOT.glob("notebooks/*.ipynb")) if path.stem not in readme] == []


def test_the_readme_can_be_read_in_five_minutes():
    assert len((ROOT / "README.md").read_text().split()) < 1200
