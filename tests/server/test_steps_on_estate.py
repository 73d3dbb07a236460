"""Every step on a live estate: carried out, undone in reverse, and carried out again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from estate_steps import carry_out, environment_of
from fix_sandbox import SCALE, execute, free_port_base, wait_for
from nightly import at_night

from runbook_lib import steps
from runbook_lib.errors import RollbackFailed
from runbook_lib.run.run import begin
from runbook_lib.sandbox.estate import Estate
from runbook_lib.sandbox.ledger import Ledger, missing_writes
from runbook_lib.steps.routes_and_links import BACK, links
from runbook_lib.transfer.sync_process import running

FORWARD = ("preflight", "preparation", "gradual_extraction", "data_migration", "cutover")
pytestmark = [pytest.mark.xdist_group("steps_on_estate"), at_night]

TRACES = {
    "triggers": "SELECT tgrelid::regclass || '.' || tgname FROM pg_trigger WHERE tgname LIKE 'runbook%'",
    "views": "SELECT schemaname || '.' || viewname FROM pg_views WHERE viewname IN ('users', 'preferences')",
    "tables": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
    "types": "SELECT typname FROM pg_type WHERE typtype = 'e'",
}


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    directory = tmp_path_factory.mktemp("steps")
    with Estate(directory, port_base=free_port_base(), scale=SCALE, client=True, rate=60) as running:
        running.write_inventory(directory / "inventory.yaml")
        os.environ["RUNBOOK_PARENT_PID"] = str(os.getpid())
        yield running
        del os.environ["RUNBOOK_PARENT_PID"]


def inventory(estate: Estate) -> Path:
    return estate.directory / "inventory.yaml"


def traces(estate: Estate, database: str) -> dict[str, set[str]]:
    conninfo = estate.conninfo(database, "postgres")
    return {name: {str(row[0]) for row in execute(conninfo, sql)} for name, sql in TRACES.items()}


def test_apply_rollback_apply_leaves_no_trace_in_between_and_loses_no_write(estate: Estate) -> None:
    before = {name: traces(estate, name) for name in ("monolith", "users_db", "orders_db")}
    carry_out(environment_of(inventory(estate)), *FORWARD)
    assert traces(estate, "monolith")["triggers"]

    # One fence of the source is gone (somebody's ENABLE/DISABLE TRIGGER): the services still have the writes.
    execute(estate.conninfo("monolith", "postgres"), "ALTER TABLE users DISABLE TRIGGER runbook_fence")
    # The session that holds the sync's lock is ended: the sync takes it again, and nobody else drains beside it.
    ended = execute(
        estate.conninfo("users_db", "postgres"),
        "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory'",
    )
    assert ended[0][0]

    with begin(environment_of(inventory(estate)), "rollback") as run:
        with pytest.raises(RollbackFailed, match="the targets are in use"):
            steps.CopyHistory().rollback(run)
        back = links(run, BACK)
        wait_for(lambda: running(back), "the sync has its locks again", 30)
        record = run.rollback()
        steps.inspect_traffic(run)
        run.gate()
    assert record.passed
    assert {name: traces(estate, name) for name in before} == before

    carry_out(environment_of(inventory(estate)), *FORWARD)
    carry_out(environment_of(inventory(estate)), "cleanup")
    assert not traces(estate, "users_db")["triggers"], "nothing of the migration is left at the targets"

    estate.services.stop("client")
    ledger = Ledger(estate.ledger)
    users, orders, payments = (estate.conninfo(name) for name in ("users_db", "orders_db", "payments_db"))
    assert ledger.summary().acknowledged_writes > 300
    assert missing_writes(ledger, users=users, orders=orders, payments=payments) == []
    assert ledger.failures() == []
