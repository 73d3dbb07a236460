"""What many small tables cost the servers: statements sent, catalogs read, rows that a catalog's query goes through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from estate_sqlite import new_database
from estate_transfer import plan

from runbook_lib.databases.postgresql import catalog, catalog_sql
from runbook_lib.journal import Journal
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, Pair, pair_of
from runbook_lib.operations.replicate import disagreements_of, open_clone
from runbook_lib.plan.model import Service, TableMapping
from runbook_lib.schema.convert import service_tables
from runbook_lib.transfer.build_links import forward_links
from runbook_lib.transfer.writers import Side
from runbook_lib.validation import validate
from runbook_lib.validation.report.mismatches import Kind

Sent = Counter[str]


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sent]:
    """Statements sent meanwhile, by their text."""
    sent, execute = Counter[str](), psycopg.Connection.execute

    def counting(self: Any, query: Any, *more: Any, **named: Any) -> Any:
        sent[query.decode() if isinstance(query, bytes) else str(query)] += 1
        return execute(self, query, *more, **named)

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Connection, "execute", counting)
        yield sent


def heads(sent: Sent) -> int:
    """How often tables were read from a catalog, on either side."""
    return sum(count for text, count in sent.items() if "pg_partition_tree(o.oid) p" in text and "sizes AS" in text)


def made(source: Any, target: Any, count: int) -> Pair:
    for i in range(count):
        source.execute(f"CREATE TABLE t{i} (id int PRIMARY KEY, v text)", f"CREATE INDEX ON t{i} (v)")
        source.execute(f"INSERT INTO t{i} SELECT g, 'v' FROM generate_series(1, 3) g")
    return pair_of(source, target)


@pytest.mark.parametrize("checks", [("row_counts",), ("checksums",), ("data_sample", "row_counts", "checksums")])
def test_a_comparison_sends_as_many_statements_for_sixty_small_tables_as_for_thirty(
    new_database: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, checks: tuple[str, ...]
) -> None:
    def of(count: int) -> int:
        pair = made(new_database("source"), new_database("target"), count)
        clone(pair, How())
        with counted(monkeypatch) as sent:
            validate([pair.forward], checks=checks, under_writes=False).raise_for_failure()
        return sent.total()

    few, many = of(32), of(64)
    assert many <= 1.2 * few, (few, many)


def test_what_is_wrong_with_some_of_many_small_tables_is_said_of_those_alone(database: Any, target: Any) -> None:
    names = [f"t{i:02}" for i in range(40)]
    for side in (database, target):
        for name in names:
            side.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, v text)")
            side.execute(f"INSERT INTO {name} SELECT g, 'v' || g FROM generate_series(1, 5) g")
    service = Service("shop", "shop_db", tables=tuple(TableMapping(name, name) for name in names))
    [link] = forward_links(plan(service), database, {"shop_db": target})
    target.execute("UPDATE t03 SET v = 'other' WHERE id = 2", "DELETE FROM t07 WHERE id = 4")
    target.execute("INSERT INTO t11 VALUES (9, 'new')", "ALTER TABLE t20 DROP COLUMN v")
    report = validate([link], under_writes=False, checks=("row_counts", "data_sample", "checksums"))
    rows = {(Kind.DIFFERENT, "t03", 2), (Kind.MISSING_ON_TARGET, "t07", 4), (Kind.MISSING_ON_SOURCE, "t11", 9)}
    for check in ("data_sample", "checksums"):
        result = report.result(check)
        assert {(m.kind, m.table, int(m.key[0])) for m in result.mismatches} == rows
        assert list(result.errors) == ["shop.t20"] and len(result.tables) == len(names)
        assert result.figures["shop.t00"]["rows" if check == "checksums" else "sampled"] == 5
    counts = report.result("row_counts")
    assert {m.table for m in counts.mismatches} == {"t07", "t11"} and not counts.errors


def test_a_copy_reads_the_sources_catalog_once_and_the_targets_when_it_has_changed_it(
    database: Any, target: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = made(database, target, 3)
    with counted(monkeypatch) as sent:
        clone(pair, How())
    assert heads(sent) == 3  # the source; the target with its tables made, and with its indexes built


def test_before_the_fence_both_catalogs_are_read_once_and_after_the_rows_were_counted_once_more(
    database: Any, target: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pair = made(database, target, 3)
    clone(pair, How(follow=True))
    with closing(Journal(f"sqlite:///{tmp_path / 'copies.sqlite'}")) as journal:
        run_id = open_clone(journal, pair, (), "test")
        with counted(monkeypatch) as sent:
            assert not disagreements_of(pair, journal, run_id, Side.TARGET)
    assert heads(sent) == 4


def rows_gone_through(plan: dict[str, Any]) -> float:
    """Rows of every node of a plan, as often as it ran."""
    own = plan["Actual Rows"] * plan["Actual Loops"]
    return float(own) + sum(map(rows_gone_through, plan.get("Plans", ())))


@pytest.mark.parametrize("query", ["TABLES", "COLUMNS", "INDEXES", "CONSTRAINTS", "SMALL"])
def test_a_catalogs_query_goes_through_rows_in_proportion_to_the_tables(
    new_database: Callable[..., Any], query: str
) -> None:
    def of(count: int) -> float:
        source = new_database("source")
        for i in range(count):
            source.execute(f"CREATE TABLE t{i} (id int PRIMARY KEY, v text)", f"CREATE INDEX ON t{i} (v)")
        asked = {"oids": list(catalog.find(source, None).values()), "most": 1 << 20}
        [(plan,)] = source.rows(f"EXPLAIN (ANALYZE, FORMAT JSON) {getattr(catalog_sql, query)}", asked)
        return rows_gone_through(plan[0]["Plan"])

    assert of(150) <= 3.5 * of(50)


def test_a_copy_to_another_engine_reads_and_translates_the_sources_catalog_once(
    target: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = new_database(tmp_path, "origin")
    source.run_script("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, n int CHECK (n > 0));")
    calls, catalog_of, translate = Counter[str](), type(source).catalog, service_tables.translate

    def counting(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given: calls.update([name]) or work(*given)

    monkeypatch.setattr(type(source), "catalog", counting("read", catalog_of))
    monkeypatch.setattr(service_tables, "translate", counting("translated", translate))
    clone(pair_of(source, target), How())
    source.close()
    assert calls == {"read": 1, "translated": 1}
