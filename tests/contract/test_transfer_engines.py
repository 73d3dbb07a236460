"""Transfer between every two engines, in both directions: copy, sync, cutover and back, compared canonically."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from itertools import product

import pytest
from estate_engines import TABLES, differences, fill, link, make

from runbook_lib.errors import RowRejected, TransferError
from runbook_lib.transfer.capture import disable_capture, enable_capture
from runbook_lib.transfer.clone import How, clone, pair_of
from runbook_lib.transfer.copy import copy_link
from runbook_lib.transfer.cutover import Acts, catch_up, cutover, predict
from runbook_lib.transfer.sync import drain

PAIRS = [pair for pair in product(("postgresql", "mysql", "sqlite"), repeat=2) if pair != ("postgresql", "postgresql")]


@pytest.fixture(params=PAIRS, ids="-".join)
def pair(request, new_on):
    """A filled source and an empty target."""
    source, target = (new_on(engine, name) for engine, name in zip(request.param, ("source", "target"), strict=True))
    make(source)
    fill(source)
    make(target)
    return source, target


def neutral(database, made, index):
    flow = made.flows[index]
    reading = flow.writing(database)
    keys = list(database.row_sums(reading, flow.types, database.ranges(reading, 10_000)[0], canonical=True))
    return sorted(database.read_rows(reading, keys), key=repr)


def test_a_copy_is_exact_and_its_checksums_agree(pair):
    made = link(*pair)
    result = copy_link(made, chunk_rows=70)
    assert result.rows == 305 + 300 + 600
    assert differences(made) == {}
    for index, flow in enumerate(made.flows):
        rows = pair[0].count(flow.reading), pair[1].count(flow.writing(pair[1]))
        assert rows[0] == rows[1] and len(neutral(pair[1], made, index)) == rows[0]


def test_each_planted_difference_is_found(pair):
    made, target = link(*pair), pair[1]
    copy_link(made)
    quote = target.quote
    target.execute(
        f"UPDATE {quote('Order x')} SET d = 0.30000000000000004 WHERE id = 9", "DELETE FROM coded WHERE code = 'A0'"
    )
    found = differences(made)
    assert {key for key, _ in found["Order x"]} == {(9,)}
    assert {key for key, _ in found["coded"]} == {("A0",)}


def test_changes_are_captured_and_applied(pair):
    source, target = pair
    made = link(source, target)
    enable_capture(made)
    copy_link(made)
    order, select = source.quote("Order x"), source.quote("select")
    source.execute(
        f"UPDATE {order} SET {select} = 'swap' WHERE id = 8",
        f"UPDATE {order} SET {select} = 'A' WHERE id = 9",
        f"UPDATE {order} SET {select} = 'a' WHERE id = 8",
        f"DELETE FROM {source.quote('lines')} WHERE unit = 100",
        "UPDATE coded SET code = 'changed', n = 1 WHERE code = 'B1'",
        "UPDATE coded SET code = 'a0x' WHERE code = 'A0'",
        f"UPDATE {order} SET id = 5000 WHERE id = 7",
        f"INSERT INTO {order} (id, n) VALUES (6000, 1.5)",
        "DELETE FROM coded WHERE code = 'C2'",
    )
    assert sum(each.keys for each in source.pending(made.channel).values()) >= 12
    drain([made])
    assert differences(made) == {}
    assert sum(each.keys for each in source.pending(made.channel).values()) == 0
    disable_capture(made)
    assert source.capture_installed(made.channel) == frozenset()


def test_a_cutover_with_writers_loses_nothing_and_neither_does_the_return(pair):
    source, target = pair
    made = link(source, target)
    back = link(target, source, forward=False)
    enable_capture(made)
    copy_link(made)
    enable_capture(back)
    source.prepare_fence(TABLES)
    target.prepare_fence(TABLES)
    target.raise_fence(TABLES, timeout_s=5)
    acknowledged, refused = write_until_refused(source, 0.3)
    rate = catch_up([made], small_enough=200, within_s=20)
    predicted = predict([made], drain_rate=rate.rate, fence_s=0.5, verify_s=0.1, switch_s=0.1)
    acts = Acts(lambda touched: None, lambda: None, lambda: None)
    result = cutover([made], [back], acts, predicted, budget_s=10)
    assert refused.wait(10)
    assert differences(made) == {}
    there = {row[0] for row in target.rows(f"SELECT id FROM {target.quote('Order x')}")}
    assert len(acknowledged) > 5 and set(acknowledged) <= there
    assert result.pause_s < 5
    target.execute(
        f"INSERT INTO {target.quote('Order x')} (n) VALUES (4.5)", "UPDATE coded SET n = 99 WHERE code = 'D3'"
    )
    assert drain([back]) and differences(back) == {} and differences(made) == {}
    newest = target.rows(f"SELECT max(id) FROM {target.quote('Order x')} WHERE n = 4.5")[0][0]
    assert newest > max(acknowledged)


def write_until_refused(database, seconds_before):
    """A writer that never stops until it is turned away; the keys it was acknowledged."""
    acknowledged: list[int] = []
    refused = threading.Event()
    table = database.quote("Order x")

    def write() -> None:
        number = 100_000
        while True:
            number += 1
            try:
                with database.raw() as driver, closing(driver.cursor()) as cursor:
                    cursor.execute(f"INSERT INTO {table} (id, n) VALUES ({number}, 1)")
            except Exception as error:
                assert "fenced" in str(error)
                refused.set()
                return
            acknowledged.append(number)

    threading.Thread(target=write, daemon=True).start()
    deadline = time.monotonic() + seconds_before
    while time.monotonic() < deadline or len(acknowledged) < 6:
        time.sleep(0.01)
    return acknowledged, refused


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("UPDATE \"Order x\" SET d = 'NaN' WHERE id = 9", "NaN"),
        ("UPDATE \"Order x\" SET at = 'infinity' WHERE id = 9", "infinity"),
        ("UPDATE \"Order x\" SET seen = '2040-01-01' WHERE id = 9", "2040"),
        ("UPDATE \"Order x\" SET day = '0044-03-15 BC' WHERE id = 9", "BC"),
        ('UPDATE "Order x" SET big = -1 WHERE id = 9', "big"),
    ],
)
def test_what_mysql_cannot_hold_is_refused_and_named(new_on, value, says):
    source, target = new_on("postgresql", "source"), new_on("mysql", "target")
    make(source)
    fill(source, 3)
    source.execute(value)
    if says not in ("big", "2040"):  # the copy makes a numeric and a datetime there
        with pytest.raises(TransferError, match=r"1 .*: the target will refuse the rows \(9\); nothing was done"):
            clone(pair_of(source, target), How())
        assert target.catalog() == {}
    make(target)
    made = link(source, target, ("Order x",))
    with pytest.raises(RowRejected, match=says) as caught:
        copy_link(made)
    assert "key (id = 9)" in str(caught.value)
    assert target.rows("SELECT id FROM `Order x` WHERE id = 9") == []
    flow = made.flows[0]
    with pytest.raises(RowRejected, match=says):
        target.apply_rows(flow.table, flow.key, flow.columns, [(9,)], source.read_rows(flow.reading, [(9,)]))
