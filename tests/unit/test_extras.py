"""A package that is not installed: said in one line, with the extra that brings it, before anything was started."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import NamedTuple

import pytest
from fix_absent import absent
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import runbook_lib
from runbook_lib.util import extras

PROJECT = Path(__file__).parents[2]
LINE = re.compile(
    r"runbook: (?P<subject>.+): not installed: (?P<names>[^;]+); expected the packages of the extra `(?P<extra>\w+)`; "
    r"(?P<state>[^.]+)\. Next: pip install 'runbook-lib\[(?P=extra)\]'\n"
)
# The command line as it is where some packages are not there: each finder of modules has never heard of them.
WITHOUT = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)

ABSENT = set(sys.argv[1].split(","))
sys.meta_path[:] = map(Without, sys.meta_path)
sys.argv = ["runbook", *sys.argv[2:]]
from runbook_lib.cli import main
main()
"""


class Said(NamedTuple):
    """What a command answered."""

    status: int
    stdout: str
    stderr: str


def runbook_without(absent: set[str], folder: Path, *arguments: str) -> Said:
    command = [sys.executable, "-c", WITHOUT, ",".join(sorted(absent)), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder, check=False)
    return Said(ran.returncode, ran.stdout, ran.stderr)


def core() -> set[str]:
    """The distributions that come without any extra, those that they need themselves too."""
    found: set[str] = set()
    waiting = ["runbook-lib"]
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name not in found:
            found.add(name)
            pins = [Requirement(text) for text in requires(name) or []]
            waiting += [pin.name for pin in pins if pin.marker is None or pin.marker.evaluate({"extra": ""})]
    return found


def without_extras() -> set[str]:
    """Every module that an extra alone brings."""
    known, kept = packages_distributions(), core()
    modules = {module for some in extras.MODULES.values() for module in some}
    return {module for module in modules if not {canonicalize_name(name) for name in known.get(module, [])} & kept}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a database `shop.db` of two rows."""
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.executescript(
            "CREATE TABLE item(id integer PRIMARY KEY, name text); INSERT INTO item VALUES (1, 'a'), (2, 'b')"
        )
    connection.close()
    return tmp_path


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


PLAN = str(PROJECT / "parameters/demo.yaml")
NOWHERE = "://nobody@127.0.0.1:1/shop"
CASES = {
    "postgresql_source": ("psycopg", "postgresql", "copy", f"postgresql{NOWHERE}", "sqlite:///new.db"),
    "postgresql_target": ("psycopg", "postgresql", "compare", "sqlite:///shop.db", f"postgresql{NOWHERE}"),
    "mysql_source": ("pymysql", "mysql", "assess", f"mysql{NOWHERE}"),
    "demo": ("starlette", "demo", "demo", "--directory", "estate"),
    "demo_s_notebooks": ("papermill", "demo", "demo", "--directory", "estate"),
    "lab": ("jupyterlab", "lab", "lab", "--no-browser"),
    "run": ("papermill", "notebook", "run", "-f", PLAN),
    "run_that_archives": ("pyarrow", "archive", "run", "-f", PLAN),
    "rollback": ("nbclient", "notebook", "rollback", "-f", PLAN),
}


@pytest.mark.parametrize(("module", "extra", "arguments"), [(m, e, a) for m, e, *a in CASES.values()], ids=CASES)
def test_a_missing_package_is_one_line_with_its_extra_before_anything_is_started(
    folder: Path, module: str, extra: str, arguments: list[str]
) -> None:
    before = files(folder)
    said = runbook_without({module}, folder, *arguments)
    line = LINE.fullmatch(said.stderr)
    assert line, said.stderr
    assert (line["names"], line["extra"], said.stdout, said.status) == (module, extra, "", 2)
    assert line["state"] == "nothing was started"
    assert files(folder) == before


def test_sqlite_is_copied_compared_and_assessed_without_any_extra(folder: Path) -> None:
    absent = without_extras()
    assert {"psycopg", "pymysql", "papermill", "pandas", "pyarrow", "starlette", "jupyterlab"} <= absent
    for command in (
        ("copy", "sqlite:///shop.db", "sqlite:///new.db"),
        ("compare", "sqlite:///shop.db", "sqlite:///new.db"),
        ("assess", "sqlite:///shop.db"),
        ("lint", "-f", PLAN),
    ):
        said = runbook_without(absent, folder, *command)
        assert (said.stderr, said.status) == ("", 0), command


def test_many_missing_packages_are_named_in_part(folder: Path) -> None:
    said = runbook_without(without_extras(), folder, "demo")
    assert re.search(r"not installed: httpx, starlette, uvicorn, \w+ and \d+ more; expected", said.stderr)


def test_a_module_that_is_missing_later_is_one_line_too() -> None:
    with pytest.raises(ModuleNotFoundError) as caught:
        raise ModuleNotFoundError("No module named 'matplotlib.axes'", name="matplotlib.axes")
    assert "pip install 'runbook-lib[notebook]'" in str(extras.explain(caught.value))
    assert extras.explain(ModuleNotFoundError("No module named 'contourpy'", name="contourpy")) is None
    assert extras.explain(ValueError("another thing")) is None


# -- the wheel, in an empty environment ---


def uv() -> str:
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if not found:
        absent("no uv: `make` installs it")
    return found


def done(*command: str, cwd: Path, status: int = 0) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd, check=False)
    if "--offline" in command and ran.returncode:
        absent(f"uv's cache has not what is needed: {ran.stderr.strip().splitlines()[-1]}")
    assert ran.returncode == status, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    done(uv(), "build", "--wheel", "--quiet", "--offline", "--out-dir", str(folder), str(PROJECT), cwd=folder)
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_has_the_notebooks_the_parameters_and_no_test(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "runbook_lib/_share/notebooks/04_cutover.ipynb" in names
    assert "runbook_lib/_share/parameters/demo.yaml" in names
    assert {name.partition("/")[0] for name in names if not name.startswith("runbook_lib-")} == {"runbook_lib"}


def test_the_wheel_with_one_extra_works_in_an_empty_environment_and_names_the_others(wheel: Path, folder: Path) -> None:
    """Real: a new environment, filled from what `make` has downloaded; 3 s."""
    place = folder / "environment"
    done(uv(), "venv", "--quiet", "--offline", "--python", sys.executable, str(place), cwd=folder)
    wanted = f"runbook-lib[mysql] @ {wheel.as_uri()}"
    into = ("--python", str(place / "bin/python"), "--constraint", str(PROJECT / "requirements.lock"))
    done(uv(), "pip", "install", "--quiet", "--offline", *into, wanted, cwd=folder)
    runbook = str(place / "bin/runbook")

    assert done(runbook, "--version", cwd=folder) == f"runbook, version {runbook_lib.__version__}\n"
    done(runbook, "copy", "sqlite:///shop.db", "sqlite:///new.db", cwd=folder)
    refused = done(runbook, "copy", f"mysql{NOWHERE}", "sqlite:///other.db", cwd=folder, status=2)
    assert "127.0.0.1" in refused and "not installed" not in refused
    others = {
        "postgresql": ("copy", f"postgresql{NOWHERE}", "sqlite:///other.db"),
        "demo": ("demo", "--directory", "estate"),
    }
    for extra, command in others.items():
        line = LINE.fullmatch(done(runbook, *command, cwd=folder, status=2))
        assert line and line["extra"] == extra
    assert not (folder / "other.db").exists()
    assert not (folder / "estate").exists()
