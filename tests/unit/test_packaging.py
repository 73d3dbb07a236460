"""Packaging: what is imported is declared, as ranges; the lock satisfies them, is hashed and names no index."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from runbook_lib.util import extras

PROJECT = Path(__file__).parents[2]
METADATA = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
INDEX = re.compile(r"https?://|--(extra-)?index-url|--find-links|--trusted-host")
OURS = "runbook-lib"
# No upper bound, and pyproject.toml says why beside each; or pinned, because another version judges otherwise.
OPEN_ENDED = {"cryptography", "packaging", "pyarrow"}
PINNED = {"mypy", "ruff"}
# Where a package of an extra may be imported as the module is loaded: nothing of it is loaded without the extra.
ROOMS = {
    "runbook_lib/traffic/pgbouncer_console": "postgresql",  # its console speaks that protocol
    "runbook_lib/databases/postgresql/": "postgresql",
    "runbook_lib/databases/mysql/": "mysql",
    "runbook_lib/sandbox/": "demo",
}


class Import(NamedTuple):
    """A package that a file imports; `late` within a function, or for a type checker only."""

    file: str
    package: str
    late: bool


def requirements(texts: list[str]) -> list[Requirement]:
    return [found for text in texts if canonicalize_name((found := Requirement(text)).name) != OURS]


CORE = requirements(METADATA["project"]["dependencies"])
EXTRAS = {name: requirements(pins) for name, pins in METADATA["project"]["optional-dependencies"].items()}
DEVELOPMENT = requirements(METADATA["dependency-groups"]["dev"])
DECLARED = [*CORE, *(pin for pins in EXTRAS.values() for pin in pins), *DEVELOPMENT]
LOCKED_EXTRAS = {
    "archive",
    "demo",
    "lab",
    "mysql",
    "notebook",
    "notify",
    "postgresql",
}  # keyring: each system's own backends


def names(pins: list[Requirement]) -> set[str]:
    return {canonicalize_name(pin.name) for pin in pins}


@cache
def distributions(module: str) -> set[str]:
    return {canonicalize_name(name) for name in _installed().get(module, [module])}


_installed = cache(packages_distributions)


@cache
def imports(folder: str) -> list[Import]:
    """What the files of a folder import that is neither Python's nor in the repository."""
    local = {"runbook_lib", "benchmarks", "tests", *(path.stem for path in (PROJECT / "tests").glob("*.py"))}
    listed = []
    for path in sorted((PROJECT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        early = {id(node) for node in tree.body}
        for node in ast.walk(tree):
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            theirs = {name.partition(".")[0] for name in found} - local - sys.stdlib_module_names
            listed += [Import(str(path.relative_to(PROJECT)), module, id(node) not in early) for module in theirs]
    return listed


def locked() -> list[tuple[Requirement, list[str]]]:
    """Each requirement of the lock with its hashes."""
    text = "\n".join(line for line in LOCK.splitlines() if not line.lstrip().startswith("#"))
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(Requirement(line.split(" --hash=")[0]), re.findall(r"--hash=(\S+)", line)) for line in lines]


def conda() -> tuple[list[str], list[str]]:
    """What conda installs, and what pip installs in the conda environment."""
    found = yaml.safe_load((PROJECT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    pip = next(entry["pip"] for entry in found if isinstance(entry, dict))
    return [entry for entry in found if isinstance(entry, str)], pip


# -- what is imported, and what is declared ---


@pytest.mark.parametrize("late", [False, True], ids=["as_it_is_loaded", "when_it_is_needed"])
def test_whatever_the_library_imports_is_declared(late: bool) -> None:
    missing = []
    for found in [one for one in imports("runbook_lib") if one.late is late]:
        rooms = [extra for room, extra in ROOMS.items() if found.file.startswith(room)]
        allowed = [*CORE, *(pin for extra in (EXTRAS if late else rooms) for pin in with_included(extra))]
        if not distributions(found.package) & names(allowed):
            missing.append(f"{found.file}: {found.package}")
    assert missing == []


def with_included(extra: str) -> list[Requirement]:
    return [*EXTRAS[extra], *(pin for one in extras.INCLUDED.get(extra, ()) for pin in with_included(one))]


def test_whatever_tests_and_benchmarks_import_is_declared() -> None:
    found = {one.package for folder in ("tests", "benchmarks") for one in imports(folder)}
    assert {package for package in found if not distributions(package) & names(DECLARED)} == set()


def test_the_walk_sees_imports_at_the_top_and_inside_functions() -> None:
    found = {(one.file, one.package, one.late) for one in imports("runbook_lib")}
    assert ("runbook_lib/cli/base.py", "click", False) in found
    assert ("runbook_lib/schema/online.py", "alembic", True) in found


def test_each_extra_s_packages_are_those_whose_absence_is_explained() -> None:
    told = {
        extra: {*(name for module in modules for name in distributions(module)), *extras.PROGRAMS.get(extra, ())}
        for extra, modules in extras.MODULES.items()
    }
    assert told | {"all": set()} == {extra: names(pins) for extra, pins in EXTRAS.items()}


def test_an_extra_includes_what_the_library_says_it_does() -> None:
    written = METADATA["project"]["optional-dependencies"]
    included = {
        extra: tuple(sorted(one for pin in map(Requirement, pins) if pin.name == OURS for one in pin.extras))
        for extra, pins in written.items()
    }
    assert {extra: others for extra, others in included.items() if others} == extras.INCLUDED


def test_nothing_is_declared_that_nothing_uses() -> None:
    used = {name for one in imports("runbook_lib") for name in distributions(one.package)}
    by_name = {"ipykernel", "jupyterlab", "keyring", "psutil"}  # `python -m`, or import_module
    programs = {name for some in extras.PROGRAMS.values() for name in some}
    pins = [*CORE, *(pin for some in EXTRAS.values() for pin in some)]
    assert names(pins) - used - by_name - programs == set()


# -- ranges, and the lock ---


def test_every_dependency_is_a_range_that_others_can_install_beside_their_own() -> None:
    wrong = []
    for pin in DECLARED:
        name, operators = canonicalize_name(pin.name), sorted(one.operator for one in pin.specifier)
        wanted = ["=="] if name in PINNED else [">="] if name in OPEN_ENDED else ["<", ">="]
        wrong += [] if operators == wanted else [str(pin)]
    assert wrong == []
    assert [pin for pin in METADATA["build-system"]["requires"] if "==" not in pin] == []


def test_conda_gets_the_lock_and_repeats_no_version() -> None:
    found, pip = conda()
    assert pip == ["-r requirements.lock"]
    assert {"pip", "make"} <= set(found)
    assert [name for name in found if "=" in name and not name.startswith("python=")] == []


def test_conda_s_python_is_one_that_pyproject_allows() -> None:
    versions = [name.partition("=")[2] for name in conda()[0] if name.startswith("python=")]
    allowed = Requirement(f"python{METADATA['project']['requires-python']}").specifier
    assert [allowed.contains(version) for version in versions] == [True]


def test_every_line_of_the_lock_has_a_version_and_a_hash() -> None:
    found = locked()
    assert len(found) > 100
    assert [str(pin) for pin, _ in found if not str(pin.specifier).startswith("==")] == []
    assert [str(pin) for pin, hashes in found if not hashes] == []
    assert {len(value) for _, hashes in found for value in hashes} == {len("sha256:") + 64}


def test_the_lock_satisfies_every_range_of_pyproject() -> None:
    versions: dict[str, set[str]] = {}
    for pin, _ in locked():
        versions.setdefault(canonicalize_name(pin.name), set()).add(next(iter(pin.specifier)).version)
    pins = [*CORE, *DEVELOPMENT, *(pin for extra in LOCKED_EXTRAS for pin in EXTRAS[extra])]
    wrong = {
        str(pin): versions.get(canonicalize_name(pin.name), set())
        for pin in pins
        if not versions.get(canonicalize_name(pin.name))
        or not all(pin.specifier.contains(version) for version in versions[canonicalize_name(pin.name)])
    }
    assert wrong == {}


def test_the_lock_is_made_of_all_extras_that_the_demo_and_the_tests_use() -> None:
    recipe = (PROJECT / "Makefile").read_text(encoding="utf-8").partition("\nlock:")[2]
    named = set(re.findall(r"--extra (\w+)", recipe))

    def closure(extra: str) -> set[str]:
        return {extra}.union(*map(closure, extras.INCLUDED.get(extra, ())))

    assert set().union(*map(closure, named)) == LOCKED_EXTRAS == set(EXTRAS) - {"all", "keyring"}
    assert "--group dev" in recipe


def test_no_file_of_the_packaging_names_an_index() -> None:
    files = ("requirements.lock", "environment.yml", "pyproject.toml", "Makefile")
    found = {name: INDEX.findall((PROJECT / name).read_text(encoding="utf-8")) for name in files}
    text = (PROJECT / "Makefile").read_text(encoding="utf-8")
    assert "--no-emit-index-url" in text
    assert {name: hits for name, hits in found.items() if hits} == {}


def test_the_wheel_carries_notebooks_and_parameters_and_the_command() -> None:
    shared = METADATA["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert shared == {"notebooks": "runbook_lib/_share/notebooks", "parameters": "runbook_lib/_share/parameters"}
    assert [name for name in shared if not (PROJECT / name).is_dir()] == []
    assert METADATA["project"]["scripts"] == {"runbook": "runbook_lib.cli:main"}
