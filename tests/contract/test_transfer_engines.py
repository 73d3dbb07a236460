"""Transfer between every two engines, in both directions: copy, sync, cutover and back, compared canonically."""

from __future__ import annotations

import threading
from contextlib import closing
from itertools import count, product

import pytest
from estate_engines import differences, fill, link, make
from fix_sandbox import wait_for
from nightly import short_of

from runbook_lib.errors import RowRejected, TransferError
from runbook_lib.journal import Journal
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of
from runbook_lib.operations.predict_cutover import predict_switchover
from runbook_lib.operations.replicate import Side, Switch, move, open_clone
from runbook_lib.transfer.bulk_copy import copy_link
from runbook_lib.transfer.capture import disable_capture, enable_capture
from runbook_lib.transfer.sync import drain
from runbook_lib.validation import validate

PAIRS = [pair for pair in product(("postgresql", "mysql", "sqlite"), repeat=2) if pair != ("postgresql", "postgresql")]
BY_DAY = [("mysql", "postgresql")]


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


class Writer(threading.Thread):
    """Inserts, updates, moves keys and deletes where writes are let in, and notes what was acknowledged: key → n."""

    def __init__(self, *sides):
        super().__init__(daemon=True)
        self.sides, self.stop = sides, threading.Event()
        self.acknowledged: dict[int, int | None] = {}
        self.taken, self.refused, self.unexpected = [0, 0], 0, list[str]()

    def run(self):
        side = 0
        for number in count(100_000):
            if self.stop.is_set():
                return
            try:
                for statement, after in self.statements(self.sides[side].quote, number):
                    with self.sides[side].raw() as driver, closing(driver.cursor()) as cursor:
                        cursor.execute(statement)
                    self.acknowledged |= after
                    self.taken[side] += 1
            except Exception as error:
                if "fenced" in str(error):
                    self.refused, side = self.refused + 1, 1 - side
                elif "locked" not in str(error):  # SQLite has one writer at a time; this one did not get its turn
                    self.unexpected.append(str(error))
                    return
            self.stop.wait(0.004)  # what two cores shared with other tests keep up with

    def statements(self, quote, number):
        table = quote("Order x")
        yield f"INSERT INTO {table} (id, n) VALUES ({number}, 1)", {number: 1}
        if number % 3 == 0:
            yield f"UPDATE {table} SET n = 2 WHERE id = {number}", {number: 2}
        if number % 4 == 0:
            yield (
                f"UPDATE {table} SET id = -id WHERE id = {number}",
                {number: None, -number: 2 if number % 3 == 0 else 1},
            )
        elif number % 5 == 0:
            yield f"DELETE FROM {table} WHERE id = {number}", {number: None}
        else:  # a child of its own
            yield f"INSERT INTO {quote('lines')} (unit, {quote('no')}) VALUES ({number}, 0)", {}

    def more(self, side, writes=25):
        """Wait until that side has taken so many more."""
        before = self.taken[side]
        wait_for(lambda: self.unexpected or self.taken[side] > before + writes, f"writes at side {side}")

    def lost(self, database):
        found = dict(database.rows(f"SELECT id, n FROM {database.quote('Order x')}"))
        return [(key, n, found.get(key)) for key, n in self.acknowledged.items() if found.get(key) != n]


@pytest.mark.parametrize("engines", short_of(PAIRS, BY_DAY), ids="-".join)
def test_a_writer_that_never_stops_loses_nothing_in_copy_sync_cutover_and_return(new_on, engines, tmp_path):
    source, target = (new_on(engine, name) for engine, name in zip(engines, ("source", "target"), strict=True))
    make(source)
    fill(source, 60)
    pair, writer = pair_of(source, target), Writer(source, target)
    with closing(Journal(f"sqlite:///{tmp_path}/journal.sqlite")) as journal:
        writer.start()
        writer.more(0)
        clone(pair, How(chunk_rows=50, follow=True))
        run_id = open_clone(journal, pair, (), "test")
        writer.more(0)
        drain([pair.forward], until=lambda: writer.taken[0] > 200)
        there = move(pair, journal, run_id, Side.TARGET, Switch(), budget_s=10)
        writer.more(1)
        assert predict_switchover(pair, Side.SOURCE).refused == ()
        highest = max(writer.acknowledged)
        back = move(pair, journal, run_id, Side.SOURCE, Switch(), budget_s=10)
        writer.more(0)
        writer.stop.set()
        writer.join(30)
    assert writer.unexpected == [] and writer.refused
    assert max(there.pause_s, back.pause_s) < 5
    assert writer.lost(source) == []
    drain([pair.forward])
    assert writer.lost(target) == [] and differences(pair.forward) == {}
    source.execute(f"INSERT INTO {source.quote('Order x')} (n) VALUES (4.5)")
    [(newest,)] = source.rows(f"SELECT id FROM {source.quote('Order x')} WHERE n = 4.5")
    assert newest > highest


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


OUR_WORDS = (
    *("at", "truncated", "id", "seq", "h", "r", "v", "d", "x", "q", "s", "m", "a", "b", "c", "e", "g", "i", "j", "p"),
    *("t", "u", "w", "now", "lag", "old", "new", "walk", "hashed", "chunk", "runbook", "excluded", "target", "source"),
    *("first", "last", "txid", "tuple", "found", "count", "total", "place", "ord", "part"),
)
BOTH_WAYS = [("postgresql", "mysql"), ("mysql", "sqlite"), ("sqlite", "postgresql"), ("mysql", "mysql")]


@pytest.mark.parametrize("engines", BOTH_WAYS, ids="-".join)
def test_columns_may_have_the_names_that_our_own_statements_use(new_on, engines):
    source, target = (new_on(engine, name) for engine, name in zip(engines, ("source", "target"), strict=True))
    ident, keys = source.quote, ("k1", "k0", "n")
    columns = [f"{ident(name)} integer NOT NULL" for name in keys] + [f"{ident(name)} varchar(9)" for name in OUR_WORDS]
    source.execute(f"CREATE TABLE words ({', '.join(columns)}, PRIMARY KEY (k1, k0, n))")
    texts = [", ".join(f"'{n % 5}{i}'" for i in range(len(OUR_WORDS))) for n in range(300)]
    source.execute(f"INSERT INTO words VALUES {', '.join(f'({n % 7}, {n % 11}, {n}, {texts[n]})' for n in range(300))}")
    source.analyze(["words"])
    pair = pair_of(source, target)
    clone(pair, How(follow=True, chunk_rows=40))
    source.execute("UPDATE words SET h = 'new', k0 = 50 WHERE n = 3", "DELETE FROM words WHERE n = 4")
    drain([pair.forward])
    report = validate([pair.forward], sample_rows=40, chunk_rows=40)
    assert report.passed, report.text
    enable_capture(pair.back)
    target.lower_fence(list(pair.back.captured))
    target.execute("UPDATE words SET r = 'bad' WHERE n = 5", "DELETE FROM words WHERE n = 6")
    assert not validate([pair.forward], sample_rows=40, chunk_rows=40, under_writes=False).passed
    drain([pair.back])
    assert source.rows("SELECT r FROM words WHERE n IN (5, 6)") == [("bad",)]
