"""SIGKILL in the middle of a comparison; run again: what had agreed is not read again, and the report says so."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import estate_killed
import pytest
from click.testing import CliRunner
from fix_run import SmallEnvironment, small_plan, start

from runbook_lib import steps
from runbook_lib.cli import main
from runbook_lib.databases.port import KeyRange
from runbook_lib.plan.model import Service, TableMapping
from runbook_lib.validation import CheckProgress, Record, Report, validate
from runbook_lib.validation.checkpoint import TableRanges
from runbook_lib.validation.comparison import compared_pair
from runbook_lib.validation.rows import range_checksums, small_tables

PAIRS = [("postgresql", "postgresql"), ("mysql", "postgresql"), ("sqlite", "mysql")]
ROWS, CHUNK, DONE = 1000, 100, 4
DDL = "CREATE TABLE items (id bigint NOT NULL PRIMARY KEY, name varchar(40))"
FILL = "INSERT INTO items VALUES " + ", ".join(f"({i}, {i * 7919})" for i in range(1, ROWS + 1))
Kill = Callable[[Path], None]


def carry_out(order: dict[str, Any]) -> None:
    """In the forked process: compare, and die when so many ranges have agreed."""

    def die(at: CheckProgress) -> None:
        if at.rows >= DONE * CHUNK:
            os.kill(os.getpid(), signal.SIGKILL)

    if "root" in order:
        range_checksums.OWN_ROWS = CHUNK
        verify(Path(order["root"]), on_progress=lambda done, *_: die(CheckProgress("", "", 0, 0, int(done))))
    opened = [
        import_module(f"runbook_lib.databases.{dialect}").open_database(name, url, password, {})
        for name, dialect, url, password in order["databases"]
    ]
    compare(opened, Path(order["folder"]), on_progress=die)


def compare(sides: Any, folder: Path, *, on_progress: Any = lambda at: None, **options: Any) -> Report:
    """The checksums of both sides, in ranges of a hundred rows."""
    links = compared_pair(*sides).links
    more = {"checks": ("checksums",), "chunk_rows": CHUNK, "under_writes": False, "jobs": 1}
    return validate(links, **more, on_progress=on_progress, record=Record(folder, **options))


def verify(root: Path, on_progress: Any = None) -> dict[str, Any]:
    """The step of a run, over two SQLite files; what it found."""
    service = Service("shop", "shop", tables=(TableMapping("items", "items"),))
    run = start(SmallEnvironment(root, replace(small_plan(), services=(service,))), options={"lease_ttl_s": 1})
    try:
        if on_progress:
            run.progress = on_progress  # type: ignore[method-assign]  # dies there
        return dict(steps.VerifyData("before_reads").apply(run).data["report"])
    finally:
        run.close()


@pytest.fixture(scope="module")
def killer() -> Iterator[Any]:
    """Its children are the ones to be killed."""
    with estate_killed.killer("test_compare_killed") as process:
        yield process


@pytest.fixture
def sides(request: pytest.FixtureRequest, new_on: Any) -> tuple[Any, Any]:
    """Two databases with the same rows."""
    engines = getattr(request, "param", PAIRS[0])
    made = tuple(new_on(engine, name) for engine, name in zip(engines, ("source", "target"), strict=True))
    for database in made:
        database.execute(DDL, FILL)
        database.analyze(["items"])
    return made


@pytest.fixture
def killed(killer: Any, servers: Any, sides: Any) -> Kill:
    """A comparison that has died; what it noted is in the folder."""

    def kill(folder: Path) -> None:
        opened = [(d.name, d.dialect, d.masked_url, getattr(servers(d.dialect), "password", None)) for d in sides]
        estate_killed.carry_out_and_die(killer, {"databases": opened, "folder": str(folder)})

    return kill


def test_the_verification_of_a_run_goes_on_where_it_was_killed(
    killer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("legacy", "shop"):
        with closing(sqlite3.connect(tmp_path / f"{name}.db")) as file, file:
            file.execute(DDL)
            file.execute(FILL)
    monkeypatch.setattr(range_checksums, "OWN_ROWS", CHUNK)  # the child has set it, too
    estate_killed.carry_out_and_die(killer, {"root": str(tmp_path)})
    assert list(tmp_path.glob(".runbook/comparisons/*/before_reads/*/*.jsonl"))
    [checked] = [each for each in verify(tmp_path)["results"] if each["check"] == "checksums"]
    assert checked["outcome"] == "pass"
    assert checked["figures"]["shop.items"]["taken_over"] >= DONE
    assert not list(tmp_path.glob(".runbook/comparisons/*/before_reads/*/*.jsonl"))


def figures(report: Report) -> dict[str, Any]:
    [found] = report.result("checksums").figures.values()
    return dict(found)


@pytest.mark.parametrize("sides", PAIRS, ids="-".join, indirect=True)
def test_a_comparison_killed_in_the_middle_reads_only_the_ranges_that_are_left(
    sides: Any, killed: Kill, tmp_path: Path
) -> None:
    killed(tmp_path)
    read: list[int] = []
    for side in sides:
        original = side.range_sums
        side.range_sums = lambda s, t, ranges, of=original, **more: (
            read.extend(each.ordinal for each in ranges) or of(s, t, ranges, **more)
        )
    report = compare(sides, tmp_path)
    assert report.passed
    assert (figures(report)["ranges"], figures(report)["taken_over"], figures(report)["rows"]) == (10, DONE, ROWS)
    assert sorted(read) == sorted([*range(DONE, 10)] * 2)
    assert "4 of 10 ranges as they were from 20" in report.text
    assert "taken_over" not in figures(compare(sides, tmp_path))  # it was through: the next one reads everything
    assert not list(tmp_path.rglob("*.jsonl"))


def test_rows_changed_since_are_named_where_they_are_read_and_the_report_says_what_was_not(
    sides: Any, killed: Kill, tmp_path: Path
) -> None:
    killed(tmp_path)
    sides[1].execute("UPDATE items SET name = 'x' WHERE id IN (50, 950)")
    report = compare(sides, tmp_path)
    assert [m.key for m in report.mismatches] == [(950,)]
    assert "read before an interruption" in report.taken_over
    killed(tmp_path)
    assert [m.key for m in compare(sides, tmp_path, again=True).mismatches] == [(50,), (950,)]


def test_the_command_line_says_what_it_took_over_and_again_reads_all(
    sides: Any, killed: Kill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(small_tables, "SMALL_ROWS", 0)  # of a small table no ranges are noted
    for side, role in zip(sides, ("SOURCE", "TARGET"), strict=True):
        monkeypatch.setenv(f"RUNBOOK_{role}_PASSWORD", side.login.password)
    command = ["compare", *(side.masked_url for side in sides), "--checks", "checksums", "--settle", "0"]
    for more, told in (((), True), (("--again",), False), (("--resume-within", "0"), False)):
        killed(tmp_path / ".runbook/comparisons")
        done = CliRunner().invoke(main, [*command, *more], prog_name="runbook")
        assert done.exit_code == 0, done.output
        assert ("taken over: 4 of 10 ranges as they were from 20" in done.stdout) is told
        assert "same: 1 check over 1 table passed" in done.stdout


@pytest.mark.parametrize(
    "change",
    ["ALTER TABLE items ADD COLUMN more integer", "TRUNCATE items", "DROP TABLE items"],
)
def test_nothing_is_taken_over_once_a_table_is_another_one(
    sides: Any, killed: Kill, tmp_path: Path, change: str
) -> None:
    killed(tmp_path)
    for side in sides:
        side.execute(change, *([] if "ALTER" in change else [DDL] if "DROP" in change else []))
        side.execute(*([] if "ALTER" in change else [FILL]))
    report = compare(sides, tmp_path)
    assert report.passed
    assert figures(report).get("taken_over") is None
    assert figures(report)["rows"] == ROWS


def test_half_a_line_is_none_and_what_is_noted_after_it_counts(sides: Any, killed: Kill, tmp_path: Path) -> None:
    killed(tmp_path)
    [noted] = tmp_path.rglob("*.jsonl")
    whole = noted.read_bytes()
    noted.write_bytes(whole[:-5])
    assert figures(compare(sides, tmp_path))["taken_over"] == DONE - 1
    killed(tmp_path)
    [noted] = tmp_path.rglob("*.jsonl")
    noted.write_bytes(noted.read_bytes()[:-5])
    killed(tmp_path)  # takes three over, and dies after one more
    assert figures(compare(sides, tmp_path))["taken_over"] == DONE


def test_what_another_comparison_notes_meanwhile_is_not_taken_for_ranges_of_its_own(sides: Any, tmp_path: Path) -> None:
    [link] = compared_pair(*sides).links

    def cut(bound: int, **options: Any) -> TableRanges:
        halves = [KeyRange(0, None, (bound,)), KeyRange(1, (bound,), None)]
        return Record(tmp_path, **options).cut(link, "the same", lambda: halves)

    one, two = cut(10), cut(20, again=True)
    one.agreed(one.ranges[0], 5, time.time())
    two.agreed(two.ranges[1], 7, time.time())
    assert (cut(30).ranges, [*cut(30).taken]) == (two.ranges, [1])
    Record(tmp_path).forget(link)
    one.agreed(one.ranges[1], 5, time.time())
    assert (cut(40).ranges[0].upto, cut(40).taken) == ((40,), {})


def test_where_nothing_can_be_written_the_comparison_is_made_all_the_same(sides: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    report = compare(sides, tmp_path / "file" / "comparisons")
    assert report.passed
    assert figures(report)["rows"] == ROWS
