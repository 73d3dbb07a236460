"""Tolerances and the report's verdict, without a database."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest

from runbook_lib.errors import Refused, RunbookError
from runbook_lib.plan.model import Tolerance
from runbook_lib.validation.context import working
from runbook_lib.validation.report.contents import combined
from runbook_lib.validation.report.mismatches import CheckResult, Kind, Mismatch, shorten
from runbook_lib.validation.report.report import Report
from runbook_lib.validation.report.tolerance import tolerate

ROW = Mismatch(
    "checksums", "shop", "items", Kind.DIFFERENT, (7,), ("name", "price"), "a", "b", text="name, price differ"
)
INDEX = Mismatch("indexes", "shop", "items", Kind.MISSING_INDEX, name="items_name")


def report(*results: CheckResult) -> Report:
    return Report(results, "2026-11-22T23:59:00+00:00", 0.1)


@pytest.mark.parametrize(
    ("tolerances", "passes"),
    [
        ([], False),
        ([Tolerance("checksums", "", column="name")], False),
        ([Tolerance("checksums", "", column="name"), Tolerance("checksums", "", column="price")], True),
        ([Tolerance("checksums", "", table="items")], True),
        ([Tolerance("checksums", "", table="other")], False),
        ([Tolerance("checksums", "", kind="missing_on_target")], False),
        ([Tolerance("data_sample", "")], False),
        ([Tolerance("", "", service="shop", kind="different")], True),
    ],
)
def test_a_difference_is_tolerated_only_when_all_of_it_is_declared(tolerances: list[Tolerance], passes: bool) -> None:
    results, counted = tolerate([CheckResult("checksums", ("shop.items",), (ROW,))], tolerances)
    assert report(*results).passed is passes
    assert len(results[0].tolerated) == passes
    assert sum(each.matched for each in counted) == (len(tolerances) if passes else 0)


def test_missing_on_target_is_said_of_an_index_too() -> None:
    results, _ = tolerate([CheckResult("indexes", (), (INDEX,))], [Tolerance("indexes", "", kind="missing_on_target")])
    assert not results[0].mismatches


def test_every_failure_is_named_and_a_check_that_could_not_run_is_told_apart() -> None:
    failed = CheckResult("checksums", ("shop.items", "shop.codes"), (ROW, ROW))
    broken = CheckResult("indexes", ("shop.items",), errors={"shop.items": "no connection"})
    both = report(CheckResult("row_counts", ("shop.items",)), broken, failed)
    assert both.failed == ("indexes", "checksums")
    assert both.result("checksums").of("shop.codes") == "pass"
    with pytest.raises(Refused, match=r"indexes \(shop.items: could not run: no connection\); checksums .*2 different"):
        both.raise_for_failure()
    with pytest.raises(RunbookError) as raised:
        report(broken).raise_for_failure()
    assert not isinstance(raised.value, Refused)


def test_results_of_several_links_become_one_for_each_check() -> None:
    parts = [CheckResult("a", ("x.t",)), CheckResult("b", ("x.t",)), CheckResult("a", ("y.t",), (ROW,))]
    assert [(result.check, result.tables) for result in combined(parts, ("b", "a"))] == [
        ("b", ("x.t",)),
        ("a", ("x.t", "y.t")),
    ]


def test_long_values_are_cut_and_null_is_not_text() -> None:
    assert shorten(None) == "NULL"
    assert shorten("x" * 500).endswith("(500 characters)")
    assert shorten(b"\x00\xff") == "00ff"


def test_a_comparison_that_is_given_up_begins_no_statement_that_was_waiting() -> None:
    under_way, begun = threading.Event(), list[int]()
    with pytest.raises(KeyboardInterrupt), working(1) as pool:
        first = pool.submit(under_way.wait, 30.0)
        waiting = pool.submit(begun.append, 1)
        waiting.add_done_callback(lambda _: under_way.set())  # its cancelling ends the first
        raise KeyboardInterrupt
    assert first.result() and waiting.cancelled() and not begun


def test_a_journal_keeps_the_first_differences_of_each_table_and_counts_the_others() -> None:
    rows = [replace(ROW, table=table, key=(n,)) for table in ("items", "prices") for n in range(5_000)]
    whole = report(CheckResult("checksums", ("shop.items", "shop.prices"), tuple(rows)))
    [kept] = whole.as_record()["results"]
    assert [row["table"] for row in kept["mismatches"]] == ["items"] * 100 + ["prices"] * 100
    assert kept["left_off"] == {"mismatches": 9_800} and kept["outcome"] == "fail"
    assert len(json.dumps(whole.verdict().data)) < 100_000
    assert len(whole.as_dict()["results"][0]["mismatches"]) == 10_000
    assert "5000 different" in whole.text
