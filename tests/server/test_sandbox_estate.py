"""The estate starts, serves, says clearly why it cannot, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from fix_sandbox import SCALE, execute, free_port_base, wait_for
from nightly import at_night

from runbook_lib.errors import ConfigurationError
from runbook_lib.sandbox import clusters, control, processes
from runbook_lib.sandbox.estate import Estate
from runbook_lib.sandbox.ledger import Ledger


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    with Estate(tmp_path_factory.mktemp("e"), port_base=free_port_base(), scale=SCALE) as running:
        yield running


def run_control(estate: Estate, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "runbook_lib.sandbox.control", "--directory", str(estate.directory), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_monolith_answers_through_envoy_and_says_who_served(estate: Estate) -> None:
    answer = httpx.get(f"{estate.url}/api/users/20")
    assert answer.status_code == 200
    assert answer.headers["x-served-by"] == "monolith"
    assert httpx.get(f"{estate.url}/api/orders/1").json()["items"]
    assert httpx.get(f"{estate.url}/api/payments/8").json()["transactions"] == 2
    assert httpx.get(f"{estate.url}/api/auth/user7@example.test").json()["id"] == 7
    assert httpx.get(f"{estate.url}/health").status_code == 200
    assert httpx.get(f"{estate.url}/api/users/999999999").status_code == 404
    assert httpx.get(f"{estate.url}/_control").status_code == 404


def test_every_row_has_its_awkward_values_on_every_machine(estate: Estate) -> None:
    legacy = estate.conninfo("monolith")
    assert execute(legacy, "select count(*) from profiles where score = 'NaN'")[0][0]
    assert execute(legacy, "select count(*) from profiles where birth_date = 'infinity'")[0][0]
    assert execute(legacy, "select count(*) from orders where placed_at < '0001-01-01'")[0][0]
    assert execute(legacy, r"select count(*) from orders where note = '\N'")[0][0]
    assert execute(legacy, "select count(*) from orders where note = 'NULL'")[0][0]
    assert execute(legacy, "select count(*) from orders where note = ''")[0][0]
    assert set(estate.rows) == {"users", "profiles", "orders", "order_items", "payments", "transactions"}


def test_a_repeated_request_makes_one_row(estate: Estate) -> None:
    body = {"email": "twice@example.test", "full_name": "x"}
    headers = {"idempotency-key": "6c7a4b9e-0000-4000-8000-000000000001"}
    first, second = (httpx.post(f"{estate.url}/api/users", json=body, headers=headers).json() for _ in range(2))
    assert first == second


def test_the_migrator_has_the_rights_a_migration_needs_and_is_no_superuser(estate: Estate) -> None:
    legacy = estate.conninfo("monolith")
    assert execute(legacy, "select rolsuper from pg_roles where rolname = 'migrator'") == [(False,)]
    execute(
        legacy,
        "create table changed (key text)",
        "create function log_key() returns trigger language plpgsql as "
        "$$ begin insert into changed values (new.id); return new; end $$",
        "create trigger log_key after update on users for each row execute function log_key()",
        "begin",
        "lock table users in share row exclusive mode",
        "commit",
        "set session_replication_role = replica",
        "select pg_create_logical_replication_slot('s', 'pgoutput')",
        "select pg_drop_replication_slot('s')",
        "create database scratch",
        "drop database scratch",
    )
    url = f"{estate.url}/api/users/3"
    assert httpx.put(url, json={"full_name": "n", "status": "active"}).status_code == 200  # app writes the key log
    assert execute(legacy, "select key from changed") == [("3",)]
    dump = clusters.find_binaries() / "pg_dump"
    subprocess.run([str(dump), "-f", os.devnull, legacy], check=True)
    execute(legacy, "drop trigger log_key on users", "drop function log_key", "drop table changed")


def test_secrets_are_private_and_a_wrong_password_is_refused(estate: Estate) -> None:
    for role in ("postgres", "app", "migrator"):
        assert stat.S_IMODE((estate.directory / "secrets" / role).stat().st_mode) == 0o600
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(estate.conninfo("users_db"), password="wrong")


def test_a_service_runs_on_views_of_the_monolith_and_then_on_its_own_database(estate: Estate) -> None:
    execute(
        estate.conninfo("monolith"),
        "create schema user_service",
        "create view user_service.preferences as select id as user_id, coalesce(theme, 'light') as theme, "
        "coalesce(notifications_enabled, true) as notifications from users",
    )
    started = run_control(estate, "start", "user_service", "--database", "source")
    assert started.returncode == 0, started.stderr
    source, target = (estate.ports.backends()[f"user_service@{side}"] for side in ("source", "target"))
    direct, legacy = (
        httpx.get(f"http://127.0.0.1:{port}/api/users/3/preferences").json()
        for port in (source, estate.ports.backends()["monolith"])
    )
    assert direct == legacy
    assert run_control(estate, "start", "user_service@target").returncode == 0
    assert httpx.get(f"http://127.0.0.1:{target}/health").status_code == 200
    assert run_control(estate, "drain", "user_service@source").returncode == 0
    assert run_control(estate, "status", "user_service@source").returncode == 1
    assert run_control(estate, "start", "user_service@source").returncode == 0  # takes requests again
    assert run_control(estate, "status", "user_service@source").returncode == 0
    assert run_control(estate, "stop", "user_service@source").returncode == 0
    assert run_control(estate, "stop", "user_service@target").returncode == 0
    assert not processes.listening(source)


def test_injected_errors_are_seen_by_clients_and_can_be_taken_back(estate: Estate) -> None:
    assert run_control(estate, "inject", "monolith", "--error-rate", "1").returncode == 0
    assert httpx.get(f"{estate.url}/api/users/1").status_code == 500
    assert run_control(estate, "inject", "monolith").returncode == 0
    assert httpx.get(f"{estate.url}/api/users/1").status_code == 200


def test_an_unknown_instance_is_one_clear_line(estate: Estate) -> None:
    said = run_control(estate, "start", "no_service@target")
    assert said.returncode == 1
    assert said.stderr.startswith("no_service@target: no such instance; expected one of monolith")
    assert said.stderr.count("\n") == 1


def test_control_without_an_estate_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not running"):
        control.ask(tmp_path, command="status")


def test_a_lost_database_is_503_and_heals(estate: Estate) -> None:
    execute(
        estate.conninfo("monolith"),
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'",
    )
    assert httpx.get(f"{estate.url}/api/users/1").status_code == 200  # Envoy asked again


def test_a_second_estate_in_the_directory_is_refused(estate: Estate) -> None:
    with pytest.raises(ConfigurationError, match="already running"), Estate(estate.directory):
        pass
    assert httpx.get(f"{estate.url}/health").status_code == 200


def test_a_port_in_use_is_named_and_nothing_starts(tmp_path: Path) -> None:
    base = free_port_base()
    with socket.socket() as other:
        other.bind(("127.0.0.1", base + 11))
        other.listen()
        with (
            pytest.raises(ConfigurationError, match=rf"port {base + 11} \(Envoy admin\)"),
            Estate(tmp_path, port_base=base),
        ):
            pass
    assert not (tmp_path / "lock").exists()


def test_a_full_disk_is_named_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(processes.shutil, "disk_usage", lambda _: usage(0, 0, 2**20))
    with pytest.raises(ConfigurationError, match=r"0\.00 GiB free"), Estate(tmp_path, port_base=free_port_base()):
        pass


def test_the_inventory_names_this_estates_ports_and_directory(estate: Estate, tmp_path: Path) -> None:
    text = estate.write_inventory(tmp_path / "inventory.yaml").read_text()
    assert f":{estate.ports.source}/monolith" in text
    assert f"file:{estate.directory}/secrets/migrator" in text
    assert ".runbook/" not in text.split("databases:")[1]
    assert f"evidence: {estate.directory}/evidence" in text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")
def test_binaries_that_the_servers_user_may_not_reach_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = clusters.find_binaries().parent.parent
    closed = tmp_path / "closed"
    for part in (package, package.with_name(package.name + ".libs")):
        shutil.copytree(part, closed / part.name, symlinks=True)
    closed.chmod(0o700)
    monkeypatch.setattr(clusters, "find_binaries", lambda: closed / package.name / "pginstall/bin")
    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        Path(home).chmod(0o711)
        cluster = clusters.Cluster("closed", Path(home) / "c", free_port_base(), "secret")
        cluster.start()
        cluster.stop(fast=True)


@at_night
def test_a_killed_estate_leaves_no_server_and_the_next_one_starts(tmp_path: Path) -> None:
    base = free_port_base()
    command = [
        sys.executable,
        "-m",
        "runbook_lib.sandbox.estate",
        "--directory",
        str(tmp_path),
        "--port-base",
        str(base),
    ]
    with subprocess.Popen([*command, "--scale", str(SCALE), "--client"], stdout=subprocess.PIPE) as killed:
        assert killed.stdout
        assert b"rows" in killed.stdout.readline()
        assert processes.listening(base)
        killed.send_signal(signal.SIGKILL)
    with Estate(tmp_path, port_base=base, scale=SCALE, client=True) as estate:
        wait_for(lambda: Ledger(estate.ledger).summary().acknowledged_writes > 20, "traffic")
        children = [*estate.services.children.values()]
        home = clusters.data_home(estate.directory)
    assert Ledger(estate.ledger).failures() == []
    assert not any(child.alive for child in children)
    assert not home.exists()
    assert not any((tmp_path / name).exists() for name in ("lock", "control.sock"))
    wait_for(lambda: not processes.listening(base), "the port is free")
