"""Packaging: conda users get the versions of pip users, and the lock is complete, hashed and names no index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[2]
METADATA = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
INDEX = re.compile(r"https?://|--(extra-)?index-url|--find-links|--trusted-host")


def declared() -> list[Requirement]:
    project = METADATA["project"]
    extras = [pin for pins in project["optional-dependencies"].values() for pin in pins]
    return [Requirement(pin) for pin in [*project["dependencies"], *extras]]


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


def test_every_dependency_is_pinned_to_one_version() -> None:
    assert [str(pin) for pin in declared() if not re.fullmatch(r"==[^*,]+", str(pin.specifier))] == []
    assert [pin for pin in METADATA["build-system"]["requires"] if "==" not in pin] == []


def test_conda_gets_the_versions_of_pyproject() -> None:
    names, pip = conda()
    assert sorted(pin for pin in pip if pin != "-e .") == sorted(str(pin) for pin in declared())
    assert pip[-1] == "-e ."
    assert {"pip", "make"} <= set(names)


def test_conda_s_python_is_one_that_pyproject_allows() -> None:
    versions = [name.partition("=")[2] for name in conda()[0] if name.startswith("python=")]
    allowed = Requirement(f"python{METADATA['project']['requires-python']}").specifier
    assert [allowed.contains(version) for version in versions] == [True]


def test_every_line_of_the_lock_has_a_version_and_a_hash() -> None:
    requirements = locked()
    assert len(requirements) > 100
    assert [str(pin) for pin, _ in requirements if not str(pin.specifier).startswith("==")] == []
    assert [str(pin) for pin, found in requirements if not found] == []
    assert {len(value) for _, found in requirements for value in found} == {len("sha256:") + 64}


def test_the_lock_satisfies_every_pin_of_pyproject() -> None:
    versions: dict[str, set[str]] = {}
    for pin, _ in locked():
        versions.setdefault(canonicalize_name(pin.name), set()).add(next(iter(pin.specifier)).version)
    wrong = {
        str(pin): versions.get(canonicalize_name(pin.name), set())
        for pin in declared()
        if not versions.get(canonicalize_name(pin.name))
        or not all(pin.specifier.contains(version) for version in versions[canonicalize_name(pin.name)])
    }
    assert wrong == {}


def test_no_file_of_the_packaging_names_an_index() -> None:
    names = ("requirements.lock", "environment.yml", "pyproject.toml", "Makefile")
    found = {name: INDEX.findall((PROJECT / name).read_text(encoding="utf-8")) for name in names}
    text = (PROJECT / "Makefile").read_text(encoding="utf-8")
    assert "--no-emit-index-url" in text
    assert {name: hits for name, hits in found.items() if hits} == {}


def test_the_wheel_carries_notebooks_and_parameters_and_the_command() -> None:
    shared = METADATA["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert shared == {"notebooks": "runbook_lib/_share/notebooks", "parameters": "runbook_lib/_share/parameters"}
    assert [name for name in shared if not (PROJECT / name).is_dir()] == []
    assert METADATA["project"]["scripts"] == {"runbook": "runbook_lib.cli:main"}
