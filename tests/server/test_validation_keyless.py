"""A table without a key: what differs is found without listing the rest, and said with kind, count and values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import estate_matrix as matrix
import pytest
from estate_sqlite import new_database

from runbook_lib.plan.model import Plan, Service, TableMapping
from runbook_lib.schema.create_target import create_tables
from runbook_lib.transfer.build_links import forward_links
from runbook_lib.transfer.bulk_copy import copy_link
from runbook_lib.validation import Kind, validate
from runbook_lib.validation.rows import keyless

ROWS = 3_000
SERVICE = Service("shop", "target", tables=(TableMapping("event", "event"),))
PLAN = Plan("keyless", "move", "source", (SERVICE,), ())
DDL = {
    "postgresql": "CREATE TABLE event (at integer, what text, doc jsonb)",
    "mysql": "CREATE TABLE event (at int, what longtext, doc json) COLLATE utf8mb4_bin",
    "sqlite": "CREATE TABLE event (at integer, what text, doc json)",
}


def events(*numbers: int) -> str:
    """SQL that adds these rows."""
    return "INSERT INTO event (at, what, doc) VALUES " + ", ".join(f"({n}, 'event {n}', '[1.50]')" for n in numbers)


OLDER = "system postgresql"  # 15: other SQL for both hashes


@pytest.fixture(params=[*matrix.PAIRS, (OLDER, OLDER), (OLDER, "postgresql")], ids="-".join)
def pair(request: Any, new_on: Callable[..., Any], tmp_path: Path) -> tuple[Any, Any]:
    """A source with ROWS rows, two of them alike, and a target to which they were moved."""
    source, target = (
        new_database(tmp_path, name) if engine == "sqlite" else new_on(engine, name)
        for engine, name in zip(request.param, ("source", "target"), strict=True)
    )
    source.execute(DDL[source.dialect], events(*range(ROWS - 1), 5))
    create_tables(SERVICE, source, target)
    [link] = forward_links(PLAN, source, {"target": target})
    copy_link(link)
    return source, target


def look(source: Any, target: Any, **how: Any) -> Any:
    [link] = forward_links(PLAN, source, {"target": target})
    report = validate([link], checks=("checksums",), **{"under_writes": False} | how)
    return report.result("checksums")


def plant(target: Any) -> None:
    """One copy of two is lost, a row is lost, one comes twice more, another is new."""
    target.execute(
        "DELETE FROM event WHERE at IN (5, 7)",
        events(5, 9, 9, 90_000),
    )


def test_lost_extra_and_duplicated_rows_are_named_with_counts_and_values(
    pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, few in {"MOST_SUMS": 16, "SLICE_ROWS": 100, "BUCKET_ROWS": 8}.items():
        monkeypatch.setattr(keyless, name, few)
    source, target = pair
    assert not look(source, target).mismatches
    plant(target)
    listed: list[int] = []
    for one in {type(database) for database in pair}:
        whole = one.row_sums

        def row_sums(self: Any, *args: Any, _whole: Any = whole, **how: Any) -> Any:
            found = _whole(self, *args, **how)
            listed.append(len(found))
            return found

        monkeypatch.setattr(one, "row_sums", row_sums)
    result = look(source, target)
    said = {(m.kind, m.text.partition(", doc")[0], m.source_value, m.target_value) for m in result.mismatches}
    assert said == {
        (Kind.MISSING_ON_TARGET, "at='5', what='event 5'", "2 rows", "1 row"),
        (Kind.MISSING_ON_TARGET, "at='7', what='event 7'", "1 row", "no row"),
        (Kind.DUPLICATE_ROWS, "at='9', what='event 9'", "1 row", "3 rows"),
        (Kind.MISSING_ON_SOURCE, "at='90000', what='event 90000'", "no row", "1 row"),
    }
    figures = result.figures["shop.event"]
    assert (figures["lost_rows"], figures["extra_rows"], figures["duplicated_rows"]) == (2, 1, 2)
    assert max(listed) < 200 < ROWS, listed  # hashes of one side in memory at a time
    assert not result.errors


def test_more_wrong_rows_than_can_be_named_are_said_to_be_more(
    pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyless, "SLICE_ROWS", 100)
    source, target = pair
    target.execute("DELETE FROM event WHERE at < 2000")
    result = look(source, target)
    assert 0 < len(result.mismatches) < 2000
    assert {m.kind for m in result.mismatches} == {Kind.MISSING_ON_TARGET}
    assert "copy the table again" in result.errors["shop.event"]


@pytest.mark.parametrize("pair", [("postgresql", "postgresql")], indirect=True)
@pytest.mark.parametrize("arrives", [True, False], ids=["late", "never"])
def test_under_writes_only_what_stays_unequal_in_the_same_way_is_different(
    pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, arrives: bool
) -> None:
    source, target = pair
    target.execute("DELETE FROM event WHERE at = 7")
    whole, extra = type(target).row_sums, iter(range(90_000, 99_000))

    def row_sums(self: Any, *args: Any, **how: Any) -> Any:
        found = whole(self, *args, **how)
        if self is target:  # somebody writes behind each look
            self.execute(events(7) if arrives else events(next(extra)))
        return found

    monkeypatch.setattr(type(target), "row_sums", row_sums)
    result = look(source, target, under_writes=True, settle_s=0.2)
    lost = [(m.kind, m.text.partition(", doc")[0]) for m in result.mismatches]
    assert lost == ([] if arrives else [(Kind.MISSING_ON_TARGET, "at='7', what='event 7'")])
    assert {m.kind for m in result.in_flight} == (set() if arrives else {Kind.IN_FLIGHT})
