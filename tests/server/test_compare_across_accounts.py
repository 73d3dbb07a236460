"""Between engines: what the source has beside its tables is named, and the copy's account is kept at the target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from runbook_lib.cli import main
from runbook_lib.operations.pair import pair_of
from runbook_lib.schema.convert.left_behind import account_at


def test_objects_without_an_equivalent_are_information_when_the_copy_left_them_and_a_difference_when_they_are_new(
    new_on: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = new_on("postgresql", "source"), new_on("sqlite", "target")
    source.run_script(
        "CREATE TABLE t (id int NOT NULL PRIMARY KEY); INSERT INTO t VALUES (1); CREATE VIEW v AS SELECT id FROM t;"
        "CREATE SEQUENCE alone; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNBOOK_SOURCE_PASSWORD", source.login.password)
    urls = source.masked_url.replace(":***@", "@"), target.masked_url
    done = runbook("copy", *urls)
    assert done.exit_code == 0, done.output
    kept = account_at(pair_of(source, target).service.name, target)
    assert kept is not None
    assert ("view", "public.v") in {(line["kind"], line["name"]) for line in kept["not_moved"]}
    same = runbook("compare", *urls, "--json", "report.json")
    assert same.exit_code == 0, same.output
    assert "left behind by the copy: 3 (in the JSON)" in same.output, same.output
    report = Path("report.json").read_text()
    assert report.count("left behind by the copy") == 3, same.output
    source.execute("CREATE VIEW later AS SELECT 1 AS one")
    found = runbook("compare", *urls)
    assert found.exit_code == 1, found.output
    assert "view public.later: target has no equivalent" in found.output


def runbook(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), prog_name="runbook")
