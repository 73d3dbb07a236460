"""Cutover: no acknowledged write is lost, the pause is bounded, and what fails leaves the state before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

import psycopg
import pytest
from estate_killed import EVENTS
from estate_transfer import Estate, an_estate
from fix_sandbox import wait_for

from runbook_lib.errors import CutoverAborted, DatabaseError, JournalError, LeaseHeld, RollbackFailed
from runbook_lib.transfer.capture import enable_capture, pending
from runbook_lib.transfer.cutover import CutoverActions, CutoverResult, Prediction, catch_up, cutover, predict
from runbook_lib.transfer.links import Link
from runbook_lib.validation import validate

SOURCE, TARGETS = "source", "targets"


@pytest.fixture
def estate(request: pytest.FixtureRequest, postgresql_server: Any) -> Iterator[Estate]:
    """Captured by triggers, unless the test is told another way."""
    with an_estate(postgresql_server, "ready", getattr(request, "param", "triggers")) as ready:
        yield ready


BOTH_WAYS = pytest.mark.parametrize("estate", ["triggers", "wal"], indirect=True)


@dataclass
class Application:
    """Writers that follow a route, wait while they are fenced, and keep a ledger of what was acknowledged."""

    estate: Estate
    server: Any
    route: str = SOURCE
    ledger: dict[tuple[str, int], str] = field(default_factory=dict)
    acknowledged: int = 0
    errors: list[BaseException] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def writing(self, writers: int = 4) -> Iterator[Application]:
        threads = [threading.Thread(target=self._write, args=(number,)) for number in range(writers)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self.stop.set()
            for thread in threads:
                thread.join()
            self.stop.clear()
        assert not self.errors

    def more(self, count: int = 60) -> None:
        """Wait until so many more writes are acknowledged."""
        wanted = self.acknowledged + count
        wait_for(lambda: self.acknowledged >= wanted or bool(self.errors), "writers continuing", 30.0)

    def _write(self, number: int) -> None:
        try:
            with ExitStack() as stack:
                self._work(number, {name: self._connect(stack, name) for name in (SOURCE, TARGETS)})
        except BaseException as error:
            self.errors.append(error)

    def _connect(self, stack: ExitStack, side: str) -> dict[str, Any]:
        users, orders = (self.estate.source,) * 2 if side == SOURCE else (self.estate.users, self.estate.orders)
        connect = lambda database: stack.enter_context(  # noqa: E731
            psycopg.connect(
                self.server.url(database.masked_url.rpartition("/")[2]), password=self.server.password, autocommit=True
            )
        )
        return {"users": connect(users), "orders": connect(orders)}

    def _work(self, number: int, sides: dict[str, dict[str, Any]]) -> None:
        mine, count, name = list[int](), 0, token_hex(3)
        while not self.stop.is_set():
            count += 1
            text = f"writer {number} {name} write {count}"
            here = sides[self.route]
            try:
                if count % 3 == 0 and mine:
                    chosen = mine[count % len(mine)]
                    here["users"].execute("UPDATE users SET note = %s WHERE id = %s", (text, chosen))
                    self.ledger["users", chosen] = text
                elif count % 3 == 1:
                    sql = "INSERT INTO users (email, note) VALUES (%s, %s) RETURNING id"
                    [(made,)] = here["users"].execute(sql, (text, text)).fetchall()
                    mine.append(made)
                    self.ledger["users", made] = text
                else:
                    sql = "INSERT INTO tickets (what) VALUES (%s) RETURNING id"
                    [(made,)] = here["orders"].execute(sql, (text,)).fetchall()
                    self.ledger["tickets", made] = text
                self.acknowledged += 1
                self.stop.wait(0.001)  # a client's own time: four threads and the sync share this interpreter
            except psycopg.Error as error:
                if error.sqlstate != "RB001":
                    raise

    def lost(self, side: str) -> list[tuple[str, int]]:
        """Acknowledged writes that are not there."""
        users, orders = (self.estate.source,) * 2 if side == SOURCE else (self.estate.users, self.estate.orders)
        there = {("users", key): text for key, text in users.rows("SELECT id, note FROM users")}
        there |= {("tickets", key): text for key, text in orders.rows("SELECT id, what FROM tickets")}
        return [key for key, text in self.ledger.items() if there.get(key) != text]


@pytest.fixture
def application(estate: Estate, postgresql_server: Any) -> Application:
    return Application(estate, postgresql_server)


def acts(
    application: Application, there: str, here: str, links: list[Link], **other: Callable[..., object]
) -> CutoverActions:
    def verify(touched: Any) -> None:
        only = {place: sorted(keys, key=repr) for place, keys in touched.items()}
        validate(links, checks=("data_sample",), only_keys=only, under_writes=False).raise_for_failure()

    usual: dict[str, Callable[..., object]] = {
        "verify": verify,
        "switch": lambda: setattr(application, "route", there),
        "switch_back": lambda: setattr(application, "route", here),
    }
    return CutoverActions(**{**usual, **other})


def move(application: Application, links: list[Link], back: list[Link], there: str, here: str) -> CutoverResult:
    caught = catch_up(links, small_enough=1_000, within_s=30.0)
    predicted = predict(links, drain_rate=caught.rate, fence_s=0.1, verify_s=0.05, switch_s=0.01)
    return cutover(links, back, acts(application, there, here, links), predicted, budget_s=10.0)


def refuses_writes(database: Any, statement: str = "INSERT INTO users (email) VALUES ('refused@x')") -> bool:
    with pytest.raises(DatabaseError) as refused:
        database.execute(statement)
    return "fenced by a migration" in str(refused.value)


@BOTH_WAYS
def test_no_acknowledged_write_is_lost_there_and_back(estate: Estate, application: Application) -> None:
    with application.writing():
        application.more()
        result = move(application, estate.forward, estate.back, TARGETS, SOURCE)
        application.more()
    names = [name for name, _ in result.events]
    assert tuple(names) == EVENTS
    assert 0 < result.pause_s < 10.0 and result.as_dict()["write_pause_ms"] == result.pause_s * 1000
    assert result.events[-1][1] - result.events[0][1] == result.pause_s
    assert application.lost(TARGETS) == [] and len(application.ledger) > 80
    assert refuses_writes(estate.source) and refuses_writes(estate.source, "TRUNCATE tickets")
    assert application.lost(SOURCE) != [] and pending(estate.back).keys > 0

    with application.writing():
        application.more()
        move(application, estate.back, [], SOURCE, TARGETS)
        application.more()
    assert application.lost(SOURCE) == []
    assert refuses_writes(estate.users) and pending(estate.back).keys == 0
    assert pending(estate.forward).keys > 0  # the way forward is open again


@BOTH_WAYS
def test_a_writer_in_flight_is_waited_for_and_its_write_moves(
    estate: Estate, application: Application, postgresql_server: Any
) -> None:
    url = postgresql_server.url(estate.source.masked_url.rpartition("/")[2])
    with psycopg.connect(url, password=postgresql_server.password) as writer:
        writer.execute("INSERT INTO users (email, note) VALUES ('flight@x', 'in flight')")
        results = list[CutoverResult]()
        thread = threading.Thread(
            target=lambda: results.append(move(application, estate.forward, estate.back, TARGETS, SOURCE))
        )
        thread.start()
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'ShareRowExclusiveLock'"
        wait_for(lambda: bool(estate.source.rows(waiting)), "the fence waiting for the writer")
        writer.commit()
    thread.join()
    assert results and results[0].drained_keys >= 1
    assert estate.users.rows("SELECT note FROM users WHERE email = 'flight@x'") == [("in flight",)]


def fail(*_: object) -> None:
    raise ValueError("planted")


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("other", "budget_s", "error", "text"),
    [
        ({"verify": fail}, 10.0, CutoverAborted, "planted; the state before the cutover is restored"),
        ({"switch": fail}, 10.0, CutoverAborted, "planted; the state before the cutover is restored"),
        ({"verify": interrupt}, 10.0, KeyboardInterrupt, "the state before the cutover is restored"),
        (
            {"verify": lambda _: threading.Event().wait(0.6)},
            0.5,
            CutoverAborted,
            r"verification and sequences took the write pause to \d+\.\d+ s; expected at most 0.50 s .*is restored",
        ),
        ({"switch": lambda: threading.Event().wait(0.6)}, 0.5, CutoverAborted, r"the switch took .*is restored"),
    ],
)
def test_a_failure_before_the_lift_restores_the_state_before(
    estate: Estate,
    application: Application,
    other: dict[str, Any],
    budget_s: float,
    error: type[BaseException],
    text: str,
) -> None:
    given = acts(application, TARGETS, SOURCE, estate.forward, **other)
    with pytest.raises(error, match=text):
        cutover(estate.forward, estate.back, given, Prediction(0, 1.0, 0, 0, 0, 0), budget_s=budget_s)
    before(estate, application)


def test_an_operator_who_lost_the_lease_touches_nothing_any_more(estate: Estate, application: Application) -> None:
    def lost() -> None:
        raise LeaseHeld("run r", "somebody else acts on it")

    given = acts(application, TARGETS, SOURCE, estate.forward, still_ours=lost)
    with pytest.raises(LeaseHeld):
        cutover(estate.forward, estate.back, given, Prediction(0, 1.0, 0, 0, 0, 0), budget_s=10.0)
    assert application.route == SOURCE, "nothing was switched"
    assert estate.source.fenced(estate.captured), "and nothing put back: that may be the other's fence by now"


def test_a_journal_that_does_not_answer_keeps_nobody_from_putting_back(
    estate: Estate, application: Application
) -> None:
    def silent() -> None:
        raise JournalError("journal", "does not answer")

    given = acts(application, TARGETS, SOURCE, estate.forward, still_ours=silent)
    with pytest.raises(CutoverAborted, match="does not answer; the state before the cutover is restored"):
        cutover(estate.forward, estate.back, given, Prediction(0, 1.0, 0, 0, 0, 0), budget_s=10.0)
    before(estate, application)


SOMEBODY = {
    "triggers": "SELECT format('ALTER TABLE users DISABLE TRIGGER %I', tgname) FROM pg_trigger WHERE NOT tgisinternal"
    " AND tgrelid = 'users'::regclass AND tgname LIKE 'runbook%' AND tgname <> 'runbook_fence' ORDER BY 1 LIMIT 1",
    "wal": "SELECT format('SELECT pg_drop_replication_slot(%L)', slot_name) FROM pg_replication_slots"
    " WHERE database = current_database() ORDER BY 1 LIMIT 1",
}


@BOTH_WAYS
def test_a_cutover_does_not_begin_with_a_capture_that_somebody_disabled(
    estate: Estate, application: Application, postgresql_server: Any
) -> None:
    [(disabling,)] = estate.source.rows(SOMEBODY[estate.source.capture])
    estate.source.execute(disabling)
    given = acts(application, TARGETS, SOURCE, estate.forward)
    with pytest.raises(CutoverAborted, match="a trigger is missing or disabled, or its slot is lost"):
        cutover(estate.forward, estate.back, given, Prediction(0, 1.0, 0, 0, 0, 0), budget_s=10.0)
    assert estate.source.fenced(estate.captured) == frozenset()


def test_nothing_is_fenced_while_a_table_is_still_being_copied(estate: Estate, application: Application) -> None:
    """Its changes wait for the copy: writers that moved now would miss the rows that are to come."""
    ranges, given = estate.users.own_table("ranges"), acts(application, TARGETS, SOURCE, estate.forward)
    [(done,)] = estate.users.rows(f"SELECT rows_done FROM {ranges} WHERE table_name = 'users' AND ordinal = 0")
    estate.users.execute(f"UPDATE {ranges} SET rows_done = NULL WHERE table_name = 'users' AND ordinal = 0")
    with pytest.raises(CutoverAborted, match=r"the bulk copy of users has not ended.*nothing was fenced"):
        cutover(estate.forward, estate.back, given, Prediction(0, 1.0, 0, 0, 0, 0), budget_s=10.0)
    estate.users.execute(f"UPDATE {ranges} SET rows_done = {done} WHERE table_name = 'users' AND ordinal = 0")
    before(estate, application)


def before(estate: Estate, application: Application) -> None:
    """Writers at the source, none at the targets; and a later cutover succeeds."""
    assert application.route == SOURCE
    assert estate.source.fenced(estate.captured) == frozenset()
    estate.source.execute("INSERT INTO users (email, note) VALUES ('after@x', 'after')")
    for link in estate.forward:
        tables = {flow.table for flow in link.flows}
        assert link.writer.fenced(sorted(tables)) == tables
    move(application, estate.forward, estate.back, TARGETS, SOURCE)
    assert estate.users.rows("SELECT note FROM users WHERE email = 'after@x'") == [("after",)]
    estate.users.execute("INSERT INTO users (email) VALUES ('new side@x')")


def test_a_fence_that_is_not_granted_is_named_and_writers_go_on(
    estate: Estate, application: Application, postgresql_server: Any
) -> None:
    url = postgresql_server.url(estate.source.masked_url.rpartition("/")[2])
    with psycopg.connect(url, password=postgresql_server.password) as holder:
        holder.execute("UPDATE users SET note = 'open' WHERE id = 1")
        given = acts(application, TARGETS, SOURCE, estate.forward)
        with pytest.raises(CutoverAborted, match=r"held by pid \d+ of migrator.*the fence is lowered, writes continue"):
            cutover(estate.forward, estate.back, given, Prediction(0, 1.0, 0, 0, 0, 0), budget_s=0.5)
        estate.source.execute("INSERT INTO users (email) VALUES ('continues@x')")
        holder.commit()
    before(estate, application)


@BOTH_WAYS
def test_what_cannot_be_put_back_is_named_beside_the_first_error_and_the_rest_is_put_back(
    estate: Estate, application: Application
) -> None:

    def no_way_back() -> None:
        raise OSError("the router is gone")

    given = acts(application, TARGETS, SOURCE, estate.forward, switch=fail, switch_back=no_way_back)
    with pytest.raises(
        RollbackFailed, match=r"planted; and the state before could not be restored: the router is gone"
    ):
        cutover(estate.forward, estate.back, given, Prediction(0, 1.0, 0, 0, 0, 0), budget_s=10.0)
    before(estate, application)


@BOTH_WAYS
def test_nothing_is_fenced_when_the_prediction_is_over_the_budget_or_the_way_back_is_not_open(
    estate: Estate, application: Application
) -> None:
    given = acts(application, TARGETS, SOURCE, estate.forward)
    with pytest.raises(
        CutoverAborted, match=r"a write pause of 2.00 s is predicted .*at most 1.00 s.*nothing was fenced"
    ):
        cutover(estate.forward, estate.back, given, Prediction(7, 1.0, 1, 1, 0, 0), budget_s=1.0)
    estate.users.remove_capture("user_service_back")
    with pytest.raises(CutoverAborted, match=r"the reverse capture of user_service_back is not complete.*nothing was"):
        cutover(estate.forward, estate.back, given, Prediction(0, 1.0, 0, 0, 0, 0), budget_s=1.0)
    assert estate.source.fenced(estate.captured) == frozenset()
    enable_capture(estate.back[0])
    before(estate, application)


def test_catching_up_with_faster_writers_is_given_up_before_anything_is_fenced(
    estate: Estate, application: Application
) -> None:
    with application.writing():
        application.more()
        with pytest.raises(CutoverAborted, match=r"keys are still pending .*nothing was fenced"):
            catch_up(estate.forward, small_enough=-1, within_s=0.1)
        assert estate.source.fenced(estate.captured) == frozenset()
        application.more(10)


def test_the_next_value_is_past_everything_handed_out_in_both_directions(
    estate: Estate, application: Application
) -> None:
    handed = estate.source.rows(
        "SELECT nextval(pg_get_serial_sequence('users', 'id')), nextval(pg_get_serial_sequence('orders', 'id')),"
        " nextval('down'), nextval(pg_get_serial_sequence('events', 'id')) FROM generate_series(1, 7)"
    )
    move(application, estate.forward, estate.back, TARGETS, SOURCE)
    users = new_id(estate.users, "users (email) VALUES ('s@x')")
    orders = new_id(estate.orders, "orders (user_id) VALUES (1)")
    tickets = new_id(estate.orders, "tickets (what) VALUES ('t')")
    events = new_id(estate.orders, "events (kind) VALUES ('order')")
    assert users > max(row[0] for row in handed) and orders > max(row[1] for row in handed)
    assert tickets < min(row[2] for row in handed) and events > max(row[3] for row in handed)
    move(application, estate.back, [], SOURCE, TARGETS)
    assert new_id(estate.source, "users (email) VALUES ('back@x')") > users
    assert new_id(estate.source, "orders (user_id) VALUES (1)") > orders
    assert new_id(estate.source, "tickets (what) VALUES ('t')") < tickets
    assert new_id(estate.source, "events (kind) VALUES ('order')") > events


def new_id(database: Any, insert: str) -> int:
    return int(database.rows(f"INSERT INTO {insert} RETURNING id")[0][0])
