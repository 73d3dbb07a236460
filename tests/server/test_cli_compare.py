"""`runbook compare` and `runbook repair` on two databases without a plan."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from matplotlib import rc_context

from runbook_lib import charts
from runbook_lib.cli import main
from runbook_lib.databases.port import KeyRange
from runbook_lib.validation import validate
from runbook_lib.validation.comparison import compared_pair

DDL = """
CREATE TABLE items (id integer PRIMARY KEY, name text, price numeric(10,2));
CREATE TABLE words (word text PRIMARY KEY, n integer);
CREATE TABLE log (what text);
INSERT INTO items SELECT i, 'item ' || i, i / 3.0 FROM generate_series(1, 3000) AS i;
INSERT INTO words SELECT 'w' || i, i FROM generate_series(1, 50) AS i;
INSERT INTO log VALUES ('twice'), ('twice'), ('once');
"""


@pytest.fixture
def pair(database: Any, target: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """Two equal databases; their passwords in the environment, as a user would give them."""
    for one, role in ((database, "SOURCE"), (target, "TARGET")):
        one.run_script(DDL)
        one.analyze(["items", "words", "log"])
        monkeypatch.setenv(f"RUNBOOK_{role}_PASSWORD", one.login.password)
    return database, target


def runbook(command: str, pair: tuple[Any, Any], *more: str) -> Result:
    urls = [one.masked_url for one in pair]
    quick = ["--settle", "0.3"] if command in ("compare", "repair") else []  # nobody writes here
    return CliRunner().invoke(main, [command, *urls, *quick, *more], prog_name="runbook")


def test_equal_databases_are_the_same_and_their_tables_are_listed(pair: tuple[Any, Any], tmp_path: Path) -> None:
    done = runbook("compare", pair, "--json", str(tmp_path / "report.json"))
    assert done.exit_code == 0, done.output
    assert "same: 6 checks over 3 tables passed" in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines()[1:4]] == ["items", "log", "words"]
    assert json.loads((tmp_path / "report.json").read_text())["outcome"] == "pass"


def test_differences_are_named_with_their_first_rows_and_counts_and_the_status_is_1(pair: tuple[Any, Any]) -> None:
    pair[1].execute("UPDATE items SET price = 0 WHERE id % 100 = 0", "DELETE FROM words WHERE word = 'w7'")
    done = runbook("compare", pair, "--checks", "row_counts,checksums")
    assert done.exit_code == 1, done.output
    assert "✗ checksums of items: 30 different" in done.stdout
    assert "key 100: price differs: source '33.33', target '0.00'" in done.stdout
    assert "and 25 more" in done.stdout
    assert "✗ checksums of words: 1 missing on target" in done.stdout
    assert "key w7: missing on target" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("different: row counts, checksums of 2 checks over 3 tables")
    assert runbook("compare", pair, "--tables", "log").exit_code == 0


def test_a_table_that_the_target_lacks_is_a_difference_and_the_others_are_compared(pair: tuple[Any, Any]) -> None:
    pair[1].execute("DROP TABLE words")
    done = runbook("compare", pair, "--checks", "checksums")
    assert done.exit_code == 1
    assert "✗ checksums of words: 1 missing table" in done.stdout
    assert "✗ checksums of items" not in done.stdout


def test_lines_charts_and_reports_call_a_table_by_its_own_name_only(pair: tuple[Any, Any], tmp_path: Path) -> None:
    pair[0].execute("CREATE SCHEMA sales", "CREATE TABLE sales.odd (id integer PRIMARY KEY)")
    pair[1].execute(
        "DELETE FROM words WHERE word = 'w7'",
        "ALTER TABLE items DROP COLUMN name, ADD name integer",  # the source's texts are none
        "INSERT INTO log VALUES ('new')",
    )
    said = [runbook("compare", pair, "--json", str(tmp_path / "report.json")).output]
    said += [runbook("repair", pair).output]
    assert "? checksums of items could not run: " in said[0] and "? items could not be compared: " in said[1]
    assert "✗ row counts of sales.odd: 1 missing table" in said[0]
    report = validate(compared_pair(*pair).links, under_writes=False)
    for chart in (charts.integrity, charts.differences, charts.confidence):
        with rc_context({"svg.fonttype": "none"}):
            chart(report).savefig(tmp_path / "chart.svg")
        said.append((tmp_path / "chart.svg").read_text())
    said += [report.text, report._repr_html_(), str(report.to_frame()), (tmp_path / "report.json").read_text()]
    assert not [text for text in said if "copy_" in text]


def test_an_unknown_check_or_table_is_one_line_with_the_nearest_name_and_status_2(pair: tuple[Any, Any]) -> None:
    for more, near in ((("--checks", "checksum"), "checksums"), (("--tables", "item"), "items")):
        done = runbook("compare", pair, *more)
        assert done.exit_code == 2
        assert f"did you mean `{near}`?" in done.stderr
    alone = CliRunner().invoke(main, ["compare", pair[0].masked_url], prog_name="runbook")
    assert alone.exit_code == 2
    assert "needs two databases" in alone.stderr
    alone = CliRunner().invoke(main, ["repair", pair[0].masked_url], prog_name="runbook")
    assert "repair: needs two databases" in alone.stderr
    assert "Next: runbook repair SOURCE TARGET" in alone.stderr


def test_a_database_is_not_compared_with_itself_under_its_own_or_another_address(
    pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in ("compare", "repair"):
        monkeypatch.setenv("RUNBOOK_TARGET_PASSWORD", pair[0].login.password)
        done = runbook(command, (pair[0], pair[0]))
        assert (done.exit_code, done.stdout) == (2, "")
        assert "source and target: both are postgresql://" in done.stderr
        [source, alias] = pair[0].masked_url, pair[0].masked_url.replace("127.0.0.1", "localhost")
        again = CliRunner().invoke(main, [command, source, alias], prog_name="runbook")
        assert (again.exit_code, again.stdout) == (2, "")
        assert f"source and target: {source} and {alias} are one database. Next: name two databases" in again.stderr


def test_an_empty_list_of_tables_does_not_mean_all_of_them(pair: tuple[Any, Any]) -> None:
    pair[1].execute("DELETE FROM words")
    for command, *more in (("repair", "--apply"), ("compare",), ("assess",), ("copy",)):
        done = runbook(command, pair, "--tables", " ,", *more)
        assert (done.exit_code, done.stdout) == (2, "")
        assert "--tables: names nothing. Next: leave --tables out to mean all" in done.stderr
    assert pair[1].rows("SELECT count(*) FROM words") == [(0,)]


@pytest.mark.parametrize("command", ["compare", "assess"])
def test_a_file_that_cannot_be_written_is_said_before_anything_is_compared(
    pair: tuple[Any, Any], tmp_path: Path, command: str
) -> None:
    done = runbook(command, pair, "--json", str(tmp_path))
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Invalid value for '--json'" in done.stderr and ": Is a directory" in done.stderr
    wrong = CliRunner().invoke(main, [command, "nothing://", "nothing://", "--json", str(tmp_path / "new.json")])
    assert wrong.exit_code == 2 and not (tmp_path / "new.json").exists()


def test_repair_says_first_what_it_would_do_then_does_it_and_compares_again(pair: tuple[Any, Any]) -> None:
    pair[1].execute(
        "UPDATE items SET name = 'x' WHERE id IN (5, 6)",
        "DELETE FROM items WHERE id = 9",
        "INSERT INTO items VALUES (4000, 'too many', 1)",
        "INSERT INTO log VALUES ('once')",
    )
    dry = runbook("repair", pair)
    assert dry.exit_code == 1
    assert "items: 2 different: update (5; 6)" in dry.stdout
    assert "items: 1 missing on target: insert (9)" in dry.stdout
    assert "items: 1 missing on source: delete (4000)" in dry.stdout
    assert "log: 1 duplicate rows: delete (what='once')" in dry.stdout
    assert pair[1].rows("SELECT count(*) FROM items WHERE name = 'x'") == [(2,)]
    done = runbook("repair", pair, "--apply")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == "3 rows written, 2 removed, 0 still differ"
    assert runbook("compare", pair).exit_code == 0
    assert runbook("repair", pair, "--apply").stdout == "0 rows written, 0 removed, 0 still differ\n"


def test_repair_refuses_while_the_target_has_the_writes(pair: tuple[Any, Any]) -> None:
    source, target = pair
    target.execute("DELETE FROM items WHERE id = 9")
    source.prepare_fence(["items"])
    source.raise_fence(["items"], timeout_s=5)
    done = runbook("repair", pair, "--tables", "items", "--apply")
    assert done.exit_code == 1
    assert "the target has the writes" in done.stderr
    assert target.rows("SELECT count(*) FROM items") == [(2999,)]


def test_a_large_table_is_counted_in_pieces_and_not_at_all_where_checksums_have_agreed(
    pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runbook_lib.validation.context.COUNT_ROWS", 1000)
    links = compared_pair(*pair, ["items"]).links
    asked: list[str] = []
    for side in pair:
        original = side.count
        monkeypatch.setattr(side, "count", lambda s, of=original: asked.append(s.where) or of(s))
    report = validate(links, checks=("row_counts",))
    assert report.passed
    assert report.results[0].figures[report.tables[0]] == {"rows": 3000, "target_rows": 3000}
    assert len(asked) == 6  # three pieces a side
    asked.clear()
    report = validate(links, checks=("row_counts", "data_sample", "checksums"))
    assert [result.check for result in report.results] == ["row_counts", "data_sample", "checksums"]
    assert report.results[0].figures[report.tables[0]] == {"rows": 3000, "target_rows": 3000}
    assert asked == []
    pair[1].execute("DELETE FROM items WHERE id = 7")
    report = validate(links, checks=("row_counts", "checksums"), under_writes=False)
    assert [str(m.kind) for m in report.mismatches] == ["row_count", "missing_on_target"]
    assert len(asked) == 6


def test_a_large_range_that_differs_is_searched_in_pieces(
    pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runbook_lib.validation.rows.drill_down.PIECE_ROWS", 500)
    monkeypatch.setattr("runbook_lib.validation.rows.drill_down.LEAF_ROWS", 100)
    pair[1].execute("DELETE FROM items WHERE id IN (1, 500, 501, 3000)", "INSERT INTO items VALUES (0), (3001)")
    asked: list[KeyRange] = []
    original = pair[0].bucket_sums

    def note(selection: Any, types: Any, key_range: KeyRange, *more: Any, **options: Any) -> Any:
        asked.append(key_range)
        return original(selection, types, key_range, *more, **options)

    monkeypatch.setattr(pair[0], "bucket_sums", note)
    report = validate(compared_pair(*pair, ["items"]).links, checks=("checksums",), under_writes=False)
    assert sorted(m.key for m in report.mismatches) == [(0,), (1,), (500,), (501,), (3000,), (3001,)]
    assert len(asked) == 6
    assert (asked[0].after, asked[-1].upto) == (None, None)
    assert all(one.upto == two.after for one, two in pairwise(asked))


def test_a_large_table_whose_key_is_no_number_is_sampled_in_pieces(
    pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runbook_lib.validation.rows.sampling.PIECE_ROWS", 300)
    for side in pair:
        side.execute("INSERT INTO words SELECT 'x' || i, i FROM generate_series(1, 1000) AS i")
        side.analyze(["words"])
    links = compared_pair(*pair, ["words"]).links
    report = validate(links, checks=("data_sample",), sample_rows=100, under_writes=False)
    assert report.passed
    assert 100 <= report.results[0].figures[report.tables[0]]["sampled"] <= 129  # and the target's, and both ends
    pair[1].execute("UPDATE words SET n = -1")
    again = validate(links, checks=("data_sample",), sample_rows=100, under_writes=False)
    assert len(again.mismatches) == report.results[0].figures[report.tables[0]]["sampled"]
    assert len({m.key[0][:2] for m in again.mismatches}) > 5  # from all over the table


def test_comparing_two_postgresql_databases_loads_no_sqlalchemy(pair: tuple[Any, Any]) -> None:
    """It would be a third of the time before the first statement."""
    urls = [one.masked_url for one in pair]
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "runbook_lib.cli", "compare", *urls], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in ran.stderr.splitlines()}
    assert "psycopg" in loaded
    assert loaded.isdisjoint({"sqlalchemy", "pymysql", "sqlite3", "pandas"})
