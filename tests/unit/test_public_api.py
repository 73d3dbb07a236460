"""The names that a notebook may rely on."""

from __future__ import annotations

import contextlib
import inspect
import json
import re
from pathlib import Path

import pytest

import runbook_lib
from runbook_lib import charts, steps

ROOT = Path(__file__).parents[2]


def test_the_public_names_are_sorted_and_about_twenty():
    assert runbook_lib.__all__ == sorted(runbook_lib.__all__)
    assert 10 <= len(runbook_lib.__all__) <= 25
    assert set(runbook_lib.__all__) <= set(dir(runbook_lib))


@pytest.mark.parametrize("name", runbook_lib.__all__)
def test_every_public_name_can_be_imported_and_explains_itself(name: str):
    found = getattr(runbook_lib, name)
    assert inspect.getdoc(found)
    if not inspect.ismodule(found):
        assert found.__name__ == name


@pytest.mark.parametrize("module", [charts, steps], ids=["charts", "steps"])
def test_what_a_module_exports_is_there_and_explains_itself(module: object):
    names = module.__all__
    assert len(set(names)) == len(names)
    for name in names:
        assert inspect.getdoc(getattr(module, name)), name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'opne_run'"):
        _ = runbook_lib.opne_run


def test_the_notebooks_use_nothing_but_public_names():
    used: dict[str, set[str]] = {"charts": set(), "steps": set()}
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        code = "\n".join(
            "".join(c["source"]) for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"
        )
        for names in re.findall(r"from runbook_lib import (.+)", code):
            assert set(names.split(", ")) <= set(runbook_lib.__all__)
        assert "from runbook_lib." not in code
        for module, found in used.items():
            found |= set(re.findall(rf"\b{module}\.(\w+)", code))
    assert used["charts"] <= set(charts.__all__)
    assert used["steps"] <= set(steps.__all__)


def test_a_plan_has_the_digest_that_it_had_for_a_run_that_an_earlier_version_began():
    """New keys are left out of it where they are not used, and the library's own words are those of before."""
    plan = runbook_lib.load_plan(ROOT / "tests/fixtures/old_journal/parameters/plans/shop.yaml")
    with contextlib.closing(runbook_lib.Journal(f"sqlite:///{ROOT}/tests/fixtures/old_journal/journal.sqlite")) as old:
        assert [row.plan_digest for row in old.runs()] == [plan.digest]


def test_the_version_is_that_of_the_package():
    text = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{runbook_lib.__version__}"' in text
