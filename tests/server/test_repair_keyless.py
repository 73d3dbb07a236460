"""`runbook repair` of tables without a key: rows are made as many as at the source, on every pair of engines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import estate_matrix as matrix
import pytest
from estate_sqlite import new_database

from runbook_lib.databases.port import Database
from runbook_lib.errors import Refused, RowRejected
from runbook_lib.plan.model import Plan, Service, TableMapping
from runbook_lib.schema.create_target import create_tables
from runbook_lib.transfer.build_links import forward_links
from runbook_lib.transfer.bulk_copy import copy_link
from runbook_lib.transfer.links import Link
from runbook_lib.validation import repair_keyless, validate
from runbook_lib.validation.repair import Repaired, repair
from runbook_lib.validation.rows import keyless

TABLES = ("event", "noted")
SERVICE = Service("shop", "target", tables=tuple(TableMapping(name, name) for name in TABLES))
PLAN = Plan("keyless", "move", "source", (SERVICE,), ())
# `noted` has JSON, which is not hashed by the server everywhere; `h` is what our own queries call a hash.
DDL = {
    "postgresql": "CREATE TABLE event (at integer, what text, ratio double precision, code char(5), raw bytea, h text);"
    "CREATE TABLE noted (doc jsonb, flag boolean)",
    "mysql": "CREATE TABLE event (at int, what longtext, ratio double, code char(5), raw longblob, h longtext)"
    " COLLATE utf8mb4_bin; CREATE TABLE noted (doc json, flag tinyint(1))",
    "sqlite": "CREATE TABLE event (at integer, what text, ratio double precision, code char(5), raw blob, h text);"
    "CREATE TABLE noted (doc json, flag boolean)",
}
HOSTILE = (
    "(1, '', 0.5, 'ab', NULL, 'x')",
    "(1, NULL, 0.5, 'ab', NULL, 'x')",
    "(1, 'NULL', 0.5, 'ab', NULL, 'x')",
    "(2, 'A', -0e0, '', {bytes}, NULL)",
    "(2, 'a', 0e0, '', {bytes}, NULL)",
    "(2, 'a ', 1e-300, NULL, {bytes}, NULL)",
    "(NULL, NULL, NULL, NULL, NULL, NULL)",
    "(3, 'ü😀', 0.1, 'é', {nothing}, 'x')",
)
NOTED = ("('[1.50, null]', {true})", '(\'{{"a": {{"b": "ü"}}}}\', NULL)', "(NULL, {false})")
FORMS = {
    "postgresql": {"bytes": "'\\x00ff5c'", "nothing": "''", "true": "true", "false": "false"},
    "mysql": {"bytes": "x'00ff5c'", "nothing": "''", "true": "1", "false": "0"},
    "sqlite": {"bytes": "x'00ff5c'", "nothing": "x''", "true": "1", "false": "0"},
}


def insert(database: Database, table: str, *rows: str) -> None:
    told = ", ".join(row.format(**FORMS[database.dialect]) for row in rows)
    database.execute(f"INSERT INTO {table} VALUES {told}")


def linked(source: Database, target: Database) -> Link:
    [link] = forward_links(PLAN, source, {"target": target})
    return link


def mended(link: Link, *, dry_run: bool = False) -> Repaired:
    return repair(link, validate([link], checks=("checksums",), under_writes=False), dry_run=dry_run)


@pytest.fixture(params=matrix.PAIRS, ids="-".join)
def link(request: Any, new_on: Callable[..., Any], tmp_path: Path) -> Link:
    """A source with rows that are there one to three times, and a target to which they were moved."""
    source, target = (
        new_database(tmp_path, name) if engine == "sqlite" else new_on(engine, name)
        for engine, name in zip(request.param, ("source", "target"), strict=True)
    )
    source.execute(*DDL[source.dialect].split(";"))
    insert(source, "event", *HOSTILE, *HOSTILE[::2], *HOSTILE[::4])
    insert(source, "noted", *NOTED, *NOTED, NOTED[2])
    create_tables(SERVICE, source, target)
    made = linked(source, target)
    copy_link(made)
    return linked(source, target)


ONE_PAIR = pytest.mark.parametrize("link", [("postgresql", "postgresql")], indirect=True)


def test_rows_without_a_key_are_made_as_many_as_at_the_source_and_a_second_run_does_nothing(link: Link) -> None:
    target = link.writer
    target.execute(
        "DELETE FROM event WHERE what = ''",  # all three: '' is not NULL
        "DELETE FROM event WHERE at = 3",
        "DELETE FROM noted WHERE doc IS NULL",  # all three
    )
    insert(target, "event", HOSTILE[1], HOSTILE[1], HOSTILE[4], HOSTILE[5], HOSTILE[6], "(9, 'new', 7, '', NULL, 'x')")
    insert(target, "noted", NOTED[1], "('[2]', {true})")
    tried = mended(link, dry_run=True)
    assert tried.planned == {
        "event": {"duplicate rows": 5, "missing on source": 1, "missing on target": 4},
        "noted": {"duplicate rows": 1, "missing on source": 1, "missing on target": 3},
    }
    assert "event: 4 missing on target: insert (" in "\n".join(tried.lines)
    assert "what='', " in "\n".join(tried.lines) and " ×3" in "\n".join(tried.lines)
    assert not validate([link], checks=("checksums",), under_writes=False).passed  # nothing was written
    done = mended(link)
    assert (done.upserted, done.deleted, done.left, done.not_repairable, done.refused) == (7, 8, (), (), {})
    assert validate([link], under_writes=False, checks=("row_counts", "checksums")).passed
    again = mended(link)
    assert (again.planned, again.upserted, again.deleted) == ({}, 0, 0)


@ONE_PAIR
def test_minus_zero_and_zero_are_one_value_and_nothing_is_repaired_for_it(link: Link) -> None:
    link.writer.execute("UPDATE event SET ratio = '-0' WHERE ratio = 0 AND at = 2")
    assert mended(link).text == "0 rows written, 0 removed, 0 still differ"


@pytest.mark.parametrize("link", [(engine, engine) for engine in matrix.ENGINES], indirect=True, ids=matrix.ENGINES)
def test_a_target_that_is_written_to_after_the_comparison_is_refused_with_the_batch_rolled_back(link: Link) -> None:
    insert(link.writer, "event", HOSTILE[3], HOSTILE[3])
    link.writer.execute("DELETE FROM event WHERE at = 3")
    report = validate([link], checks=("checksums",), under_writes=False)
    insert(link.writer, "event", HOSTILE[3])
    with pytest.raises(Refused, match=r"there in other numbers .* expected a target that nobody writes to; the batch"):
        repair(link, report, dry_run=False)
    assert link.writer.rows("SELECT count(*) FROM event WHERE at = 3") == [(0,)]


@ONE_PAIR
def test_a_source_that_is_written_to_after_the_comparison_is_refused(link: Link) -> None:
    link.writer.execute("DELETE FROM event WHERE at = 3")
    report = validate([link], checks=("checksums",), under_writes=False)
    link.reader.execute("DELETE FROM event WHERE at = 3")
    with pytest.raises(Refused, match="expected a source that nobody writes to meanwhile"):
        repair(link, report, dry_run=False)
    assert link.writer.rows("SELECT count(*) FROM event WHERE at = 3") == [(0,)]


@ONE_PAIR
def test_rows_in_flight_or_more_rows_than_are_named_leave_the_table_alone_and_say_why(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    link.writer.execute("DELETE FROM event WHERE at < 3")
    whole = type(link.writer).row_sums

    def row_sums(self: Any, *args: Any, **how: Any) -> Any:
        found = whole(self, *args, **how)
        if self is link.writer:  # somebody writes behind each look
            insert(link.writer, "event", HOSTILE[7])
        return found

    with monkeypatch.context() as patch:
        patch.setattr(type(link.writer), "row_sums", row_sums)
        moving = repair(link, validate([link], checks=("checksums",), settle_s=0.2))
    assert "event: 1 row changed while the table was compared" in moving.refused["shop.event"]
    assert "shop.event" in moving.refused and not moving.planned
    for name in ("SLICE_ROWS", "LISTINGS", "BUCKET_ROWS"):
        monkeypatch.setattr(keyless, name, 1)
    many = mended(link)
    assert "more rows differ than" in many.lines[0] and "copy the table again" in many.lines[0]
    assert (many.upserted, many.deleted) == (0, 0)


@pytest.mark.parametrize("link", [("sqlite", engine) for engine in matrix.ENGINES], indirect=True, ids=matrix.ENGINES)
def test_a_row_that_the_target_refuses_rolls_its_batch_back_and_no_other(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = link.writer
    target.execute("DELETE FROM event")
    monkeypatch.setattr(repair_keyless, "BATCH_ROWS", 3)
    if target.dialect == "sqlite":  # it cannot add a constraint
        target.execute("CREATE UNIQUE INDEX once ON event (at) WHERE at = 1")
    else:
        target.execute("ALTER TABLE event ADD CONSTRAINT small CHECK (at < 3)")
    report = validate([link], checks=("checksums",), under_writes=False)
    with pytest.raises(RowRejected, match="the batch was rolled back"):
        repair(link, report, dry_run=False)
    [(rows,)] = target.rows("SELECT count(*) FROM event")
    assert rows % 3 == 0


KILLED = """
import sys
from runbook_lib.cli import main
from runbook_lib.validation import repair_keyless
repair_keyless.BATCH_ROWS = 5
main(sys.argv[1:])
"""


@ONE_PAIR
def test_a_killed_repair_leaves_whole_batches_and_the_next_one_does_the_rest(link: Link) -> None:
    link.reader.execute("INSERT INTO event (at) SELECT i FROM generate_series(100, 1099) AS i")
    sides = {"SOURCE": link.reader, "TARGET": link.writer}
    secrets = {f"RUNBOOK_{role}_PASSWORD": side.login.password for role, side in sides.items()}  # type: ignore[attr-defined]
    command = [sys.executable, "-c", KILLED, "repair", *(side.masked_url for side in sides.values()), "--apply"]
    process = subprocess.Popen([*command, "--settle", "0"], env={**os.environ, **secrets}, stdout=subprocess.DEVNULL)
    try:
        while process.poll() is None and not _added(link.writer):
            time.sleep(0.001)  # a row of somebody else gives no signal
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 0 < _added(link.writer) < 1000
    assert _added(link.writer) % 5 == 0
    assert mended(link).left == ()
    assert _added(link.writer) == 1000


def _added(database: Database) -> int:
    [(rows,)] = database.rows("SELECT count(*) FROM event WHERE at >= 100")
    return int(rows)
