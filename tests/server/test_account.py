"""The account of a copy: everything that a source has is moved, or named with the reason; on real servers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from estate_account import RICH

from runbook_lib.assessment import assess
from runbook_lib.assessment.account import LEFT, MOVED, TRANSLATED, UNACCOUNTED, Account
from runbook_lib.assessment.fates import measure, predict
from runbook_lib.assessment.routes import measured, route_of
from runbook_lib.databases.port import CatalogObject
from runbook_lib.errors import TransferError
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of
from runbook_lib.schema.create_target import build_indexes, create_tables
from runbook_lib.verdict import Outcome

Make = Callable[..., Any]


def copied(source: Any, target: Any, *tables: str) -> Account:
    return clone(pair_of(source, target, tables), How(tables)).account


def not_moved(account: Account) -> set[tuple[str, str, str]]:
    return {(line.outcome, line.kind, line.name) for line in account.lines if line.outcome != MOVED}


def test_all_that_a_rich_database_has_is_moved_or_named_and_the_prediction_was_right(
    new_on: Make, postgresql_server: Any
):
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script(RICH)
    database = source.rows("SELECT current_database()")[0][0]
    postgresql_server.admin(
        "CREATE FUNCTION et() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER evt ON"
        f" ddl_command_end EXECUTE FUNCTION et(); ALTER DATABASE \"{database}\" SET work_mem = '5MB';",
        database,
    )
    expected = assess(pair_of(source, target).plan, source, {"target": target}).account
    account = copied(source, target)
    assert account.measured
    assert account.unaccounted == ()
    assert account.lines == expected.lines
    others = {("owner", "function public.et()")} if not postgresql_server.superusers else set()
    assert not_moved(account) == {
        (LEFT, "event trigger", "evt"),
        (LEFT, "database setting", "work_mem"),
        *((LEFT, *each) for each in others),
    }
    kinds = {line.kind for line in account.lines}
    assert kinds >= {
        "rule", "policy", "row security", "statistics", "replica identity", "storage options", "partition", "domain",
        "domain constraint", "comment", "grant", "default privilege", "publication", "cast", "operator", "collation",
    }  # fmt: skip
    assert target.rows("SELECT relpersistence::text FROM pg_class WHERE relname = 'ul'") == [("u",)]
    assert copied(source, target).lines == account.lines  # copying again changes nothing


def test_some_tables_account_for_what_they_were_told_to_leave_and_a_child_is_not_made_without_its_parent(new_on: Make):
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script(RICH)
    account = copied(source, target, "t", "u")
    assert account.unaccounted == ()
    moved = {line.kind for line in account.lines if line.outcome == MOVED and line.table in ("t", "u")}
    assert moved >= {"row security", "policy", "rule", "statistics", "trigger", "storage options", "comment", "grant"}
    reasons = {line.why for line in account.lines if line.outcome != MOVED}
    assert reasons == {"its table was not asked for", "what no table needs was not asked for"}
    with pytest.raises(TransferError, match="inherits from parent, which is not among the tables; nothing was done"):
        copied(source, target, "child")


def test_a_plan_accounts_for_what_it_maps_and_for_keys_across_its_borders(new_on: Make):
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script("CREATE TABLE a (id int PRIMARY KEY, b int); CREATE TABLE c (id int PRIMARY KEY REFERENCES a)")
    plan = replace(pair_of(source, target, ["c"]).plan, path="plan.yaml")
    [service] = plan.services
    create_tables(service, source, target)
    build_indexes(service, target)
    account = measured(plan, source, {"target": target})
    outcomes = {(line.kind, line.name): (line.outcome, line.why) for line in account.lines}
    assert outcomes["primary key", "c_pkey on public.c"] == (MOVED, "")
    assert outcomes["table", "public.a"] == (LEFT, "its table was not asked for")
    key = outcomes["foreign key", "c_id_fkey on public.c"]
    assert key == (LEFT, "refers to a, which is not moved with it")
    assert account.verdict().outcome == Outcome.PASS


def test_a_cluster_mark_is_carried_with_its_index_and_one_that_is_gone_is_seen(new_on: Make):
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script(
        "CREATE TABLE t (id int PRIMARY KEY, v int); CREATE INDEX by_v ON t (v); ALTER TABLE t CLUSTER ON by_v;"
        " CREATE TABLE u (id int PRIMARY KEY); ALTER TABLE u CLUSTER ON u_pkey"
    )
    assert not_moved(copied(source, target)) == set()
    marks = "SELECT indexrelid::regclass::text FROM pg_index WHERE indisclustered ORDER BY 1"
    assert target.rows(marks) == source.rows(marks) == [("by_v",), ("u_pkey",)]
    target.execute("ALTER TABLE t SET WITHOUT CLUSTER", "ALTER TABLE u SET WITHOUT CLUSTER")
    route = route_of(pair_of(source, target).service, source, target, {}, whole=True)
    account = measure(source.inventory(), target.inventory(), route)
    assert {line.name for line in account.unaccounted} == {"public.by_v", "u_pkey on public.u"}


def test_a_serial_is_translated_with_its_column_and_each_translated_column_says_how(new_on: Make):
    source, target = new_on("postgresql", "source"), new_on("mysql", "target")
    source.run_script(
        "CREATE TABLE t (id serial PRIMARY KEY, note bytea); CREATE SEQUENCE fed; CREATE SEQUENCE alone;"
        " CREATE TABLE u (id bigint PRIMARY KEY DEFAULT nextval('fed'))"
    )
    account = copied(source, target)
    lines = {(line.kind, line.name): (line.outcome, line.why) for line in account.lines}
    assert account.unaccounted == ()
    assert lines["sequence", "public.t_id_seq"] == (TRANSLATED, "t.id counts as the target does")
    assert lines["sequence", "public.fed"] == (TRANSLATED, "u.id counts as the target does")
    assert lines["sequence", "public.alone"] == (LEFT, "mysql needs its own")
    assert lines["column", "t.note"] == (TRANSLATED, "bytea → longblob")
    assert ("column", "u.id") not in lines  # as it was: bigint


def test_what_is_missing_at_the_target_or_another_there_is_unaccounted(new_on: Make):
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script("CREATE TABLE t (id int PRIMARY KEY); CREATE VIEW v AS SELECT id FROM t")
    target.run_script("CREATE TABLE t (id int PRIMARY KEY); CREATE VIEW v AS SELECT id FROM t WHERE id > 0")
    there, here = source.inventory(), target.inventory()
    strange = CatalogObject("crystal ball", "public.glass")
    counts = {**there.counts, "table": there.counts["table"] + 1}
    there = replace(there, objects=(*there.objects, strange), counts=counts)
    route = route_of(pair_of(source, target).service, source, target, {}, whole=True)
    account = measure(there, here, route)
    assert not_moved(account) == {
        (UNACCOUNTED, "view", "public.v"),
        (UNACCOUNTED, "crystal ball", "public.glass"),
        (UNACCOUNTED, "table", "1 more"),
    }
    assert all(len(line) <= 80 for line in account.text_lines())


def test_a_role_that_the_target_lacks_is_said_before_the_first_table(new_on: Make):
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE POLICY own ON t TO app USING (true); GRANT SELECT ON t TO app"
    )
    there = source.inventory()
    assert {item.kind for item in there.objects if item.needs == ("role app",)} == {"policy", "grant"}
    here = replace(target.inventory(), outside=target.inventory().outside - {"role app"})
    route = route_of(pair_of(source, target).service, source, target, {}, whole=True)
    account = predict(there, here, route)
    [refused] = account.refused
    assert (refused.name, refused.why, refused.action) == (
        "own on public.t", "the target has no role app", "create the role app, at the target",
    )  # fmt: skip
    [left] = [line for line in account.lines if line.outcome == LEFT]
    assert (left.kind, left.action) == ("grant", "GRANT SELECT ON TABLE public.t TO app")
