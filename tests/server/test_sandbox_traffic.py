"""Writes that meet the fence wait and then succeed elsewhere; the ledger finds what is lost."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from fix_sandbox import SCALE, execute, free_port_base, wait_for

from runbook_lib.sandbox import clusters, envoy, roles
from runbook_lib.sandbox.estate import Estate
from runbook_lib.sandbox.ledger import Ledger, LostWrite, missing_writes

TABLES = ("users", "profiles", "orders", "order_items", "payments", "transactions")
FENCE_S = 0.7


def raise_fence(estate: Estate) -> None:
    """Refuse writes as a migration does, and wait for those in flight (creating a trigger waits for writers)."""
    refuse = "$$ begin raise 'fenced' using errcode = 'RB001'; end $$"
    fence = f"create function fence() returns trigger language plpgsql as {refuse}"
    triggers = [
        f"create trigger fence before insert or update or delete on {table} execute function fence()"
        for table in TABLES
    ]
    execute(estate.conninfo("monolith"), fence, "begin", *triggers, "commit")


def copy_monolith(estate: Estate) -> None:
    """A whole copy for each service: tables of the others do no harm here, keys across borders would."""
    tools = clusters.find_binaries()
    dump = subprocess.run(
        [str(tools / "pg_dump"), "--no-owner", "--no-acl", estate.conninfo("monolith")], check=True, capture_output=True
    )
    for database in roles.TARGETS.values():
        target = estate.conninfo(database)
        restore = [str(tools / "psql"), "-qX", "-v", "ON_ERROR_STOP=1", "-d", target]
        subprocess.run(restore, input=dump.stdout, check=True, capture_output=True)
        execute(
            target,
            "drop function fence() cascade",
            "alter table orders drop constraint orders_user_id_fkey",
            "alter table payments drop constraint payments_order_id_fkey",
            "create table preferences (user_id bigint primary key, theme text, notifications boolean)",
            "insert into preferences select id, coalesce(theme, 'light'), coalesce(notifications_enabled, true) "
            "from users",
        )


def switch_writes(estate: Estate) -> None:
    """Point every `.writes` cluster at the service's own instance."""
    directory, backends = estate.directory / "envoy", estate.ports.backends()
    for service in envoy.APIS:
        cluster = f"{service}.writes"
        file = envoy.endpoints(cluster, backends[f"{service}@target"], version="2")
        envoy.put(envoy.endpoints_file(directory, cluster), file)


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    """An estate under load whose writes were fenced for 700 ms and moved to the services."""
    directory = tmp_path_factory.mktemp("e")
    with Estate(directory, port_base=free_port_base(), scale=SCALE, client=True, rate=200) as estate:
        for service in roles.TARGETS:
            estate.services.start(f"{service}@target")
        wait_for(lambda: Ledger(estate.ledger).summary().acknowledged_writes > 100, "traffic before the fence")
        raised = time.monotonic()
        raise_fence(estate)
        copy_monolith(estate)
        wait_for(lambda: time.monotonic() - raised > FENCE_S, "the fence stands 700 ms")
        switch_writes(estate)
        served = lambda: {record["served_by"] for record in Ledger(estate.ledger).records("write")}  # noqa: E731
        wait_for(lambda: len(served()) == 4, "writes reach every service")
        count = Ledger(estate.ledger).summary().acknowledged_writes
        wait_for(lambda: Ledger(estate.ledger).summary().acknowledged_writes > count + 100, "traffic after the switch")
        estate.services.stop("client")
        yield estate


def lost(estate: Estate) -> list[LostWrite]:
    names = {"users": "users_db", "orders": "orders_db", "payments": "payments_db"}
    homes = {role: estate.conninfo(database) for role, database in names.items()}
    return missing_writes(Ledger(estate.ledger), **homes, shape="services")


def test_no_request_fails_while_writes_are_fenced_and_moved(moved: Estate) -> None:
    ledger = Ledger(moved.ledger)
    assert ledger.failures() == []
    summary = ledger.summary()
    assert summary.write_max_ms > FENCE_S * 900
    assert summary.failed_requests == 0
    assert summary.acknowledged_writes > 200
    assert sum(sample["writes"] for sample in ledger.samples()) <= summary.acknowledged_writes


def test_every_acknowledged_write_is_found(moved: Estate) -> None:
    assert lost(moved) == []


def test_writes_after_the_switch_are_missing_on_the_monolith(moved: Estate) -> None:
    legacy = moved.conninfo("monolith")
    found = missing_writes(Ledger(moved.ledger), users=legacy, orders=legacy, payments=legacy, shape="monolith")
    assert {write.problem for write in found} >= {"missing"}
    assert {write.entity for write in found} == {"user", "preferences", "order", "payment"}


@pytest.mark.parametrize(
    ("database", "entity", "change", "problem"),
    [
        ("users_db", "user", "delete from profiles where user_id = {id}; delete from users where id = {id}", "missing"),
        ("users_db", "preferences", "update preferences set theme = 'old' where user_id = {id}", "different: theme"),
        ("orders_db", "order", "update orders set note = note || ' ' where id = {id}", "different: note"),
        ("orders_db", "order", "delete from order_items where order_id = {id} and line_no = 1", "different: items"),
        ("payments_db", "payment", "delete from transactions where payment_id = {id}", "different: transactions"),
    ],
)
def test_a_planted_loss_is_found(moved: Estate, database: str, entity: str, change: str, problem: str) -> None:
    key = next(
        record["id"]
        for record in Ledger(moved.ledger).records("write")
        if record["entity"] == entity and (record["created"] or entity == "preferences")
    )
    with psycopg.connect(moved.conninfo(database)) as connection:
        connection.execute(change.format(id=key).encode())
        homes = {name: moved.conninfo(f"{name}_db") for name in ("users", "orders", "payments")}
        homes[database.removesuffix("_db")] = connection  # sees its own uncommitted damage
        found = missing_writes(Ledger(moved.ledger), **homes)
        connection.rollback()
    assert [(write.entity, write.id, write.problem) for write in found] == [(entity, key, problem)]


def test_the_preferences_a_user_was_made_with_count_as_a_write(moved: Estate) -> None:
    writes = list(Ledger(moved.ledger).records("write"))
    changed = {r["id"] for r in writes if r["entity"] == "preferences"}
    key = next(r["id"] for r in writes if r["entity"] == "user" and r["created"] and r["id"] not in changed)
    with psycopg.connect(moved.conninfo("users_db")) as connection:
        connection.execute("delete from preferences where user_id = %s", (key,))
        homes = {name: moved.conninfo(f"{name}_db") for name in ("orders", "payments")}
        found = missing_writes(Ledger(moved.ledger), users=connection, **homes)
        connection.rollback()
    assert [(write.entity, write.id, write.problem) for write in found] == [("preferences", key, "missing")]


def test_a_row_made_twice_is_found(moved: Estate) -> None:
    key = next(r["id"] for r in Ledger(moved.ledger).records("write") if r["entity"] == "payment")
    with psycopg.connect(moved.conninfo("payments_db")) as connection:
        connection.execute("alter table payments drop constraint payments_request_id_key")
        columns = "order_id, amount, method, request_id"
        copied = f"insert into payments ({columns}) select {columns} from payments where id = %s"
        connection.execute(copied, (key,))
        homes = {name: moved.conninfo(f"{name}_db") for name in ("users", "orders")}
        found = missing_writes(Ledger(moved.ledger), **homes, payments=connection)
        connection.rollback()
    assert [(write.entity, write.id, write.problem) for write in found] == [("payment", key, "made twice")]


def test_a_line_cut_short_by_a_kill_is_not_an_acknowledged_write(moved: Estate, tmp_path: Path) -> None:
    whole = moved.ledger.read_bytes()
    cut = tmp_path / "ledger.jsonl"
    cut.write_bytes(whole + b'{"t": "write", "entity": "us')
    assert Ledger(cut).summary() == Ledger(moved.ledger).summary()
