"""Each pitfall is planted at a source of each engine that can have it: exactly that is found, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pymysql
import pytest
from click.testing import CliRunner
from estate_assess import BASE, ENGINES, LONG, PITFALLS, lax
from estate_sqlite import new_database
from fix_run import small_environment, small_plan, start

from runbook_lib.assessment import Assessment, Bounds, assess
from runbook_lib.assessment.findings import Finding
from runbook_lib.cli import main
from runbook_lib.databases.postgresql import open_database
from runbook_lib.errors import GateFailed
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of
from runbook_lib.plan.model import Acceptance, Service, TableMapping
from runbook_lib.plan.vocabulary import ACCEPTABLE, FINDINGS
from runbook_lib.steps import assess_source
from runbook_lib.transfer.implicit_plan import whole_plan
from runbook_lib.transfer.sync import drain
from runbook_lib.validation import DATA, validate

Make = Callable[[str, str], Any]


@pytest.fixture
def make(new_on: Callable[..., Any], tmp_path: Path) -> Make:
    """Databases of any engine, by engine and name."""
    return lambda engine, name: new_database(tmp_path, name) if engine == "sqlite" else new_on(engine, name)


def look(source: Any, target: Any, **plan: Any) -> Assessment:
    made = replace(whole_plan(source, target), **plan)
    return assess(made, source, {"target": target}, rights=False)


def kinds(assessment: Assessment) -> list[str]:
    return [finding.kind for finding in assessment.findings]


@pytest.mark.parametrize("engine", ENGINES)
def test_every_planted_pitfall_is_found_with_its_count_and_an_example_and_nothing_else(make: Make, engine: str) -> None:
    source, planted = make(engine, "source"), [p for p in PITFALLS if p.source == engine]
    source.run_script(BASE)
    for pitfall in planted:
        source.run_script(pitfall.written(pitfall.sql))
    for kind in ENGINES:
        target = make(kind, f"to_{kind}")
        for pitfall in planted:
            if pitfall.target_sql and kind in pitfall.found:
                target.run_script(pitfall.written(pitfall.target_sql))
        found = look(source, target).findings
        told = {(f.kind, f.subject.removeprefix("database "), f.count, f.example) for f in found}
        expected = {
            tuple(p.written(x) if isinstance(x, str) else x for x in p.found[kind]) for p in planted if kind in p.found
        }
        assert told - expected == set() and expected - told == set(), kind
        assert len(found) == len(told)


def test_a_finding_names_the_sources_table_whatever_dots_its_name_holds(make: Make) -> None:
    source, target = make("mysql", "source"), make("postgresql", "target")
    source.run_script(f"CREATE TABLE `a.b` (id int PRIMARY KEY, {LONG} int); CREATE TABLE a (id int PRIMARY KEY);")
    assert [(f.kind, f.table) for f in look(source, target).findings] == [("names", "a.b")]


def test_what_the_plan_decides_is_declared_and_what_is_left_is_not(make: Make) -> None:
    source, target = make("mysql", "source"), make("postgresql", "target")
    source.run_script(
        "CREATE TABLE t (id int PRIMARY KEY, born date, took time);"
        + lax("INSERT INTO t VALUES (1, '0000-00-00', '30:00:00')")
        + " CREATE TABLE k (x int);"
    )
    bare = look(source, target)
    assert sorted(kinds(bare)) == ["no_key", "times", "zero_dates"] and len(bare.open) == 3
    lines = {finding.kind: finding.declare for finding in bare.findings}
    assert lines["zero_dates"] == ('types: {zero_dates: "null"}', "on_bad_row: quarantine")
    assert lines["no_key"] == (), "the capture would refuse it all the same: it is not offered"
    decided = look(source, target, types={"zero_dates": "null"})
    [zero] = [finding for finding in decided.findings if finding.kind == "zero_dates"]
    assert zero.declared == "types: {zero_dates: null}" and zero.count == 1 and len(decided.open) == 2
    aside = look(source, target, on_bad_row="quarantine", accepted=(Acceptance("no_key", "static"),))
    assert [finding.kind for finding in aside.open] == ["no_key"]
    source.run_script("DROP TABLE k; CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET NEW.took = '1:00:00';")
    aside = look(source, target, on_bad_row="quarantine", accepted=(Acceptance("triggers", "known"),))
    assert not aside.open and {f.declared for f in aside.findings} == {"on_bad_row: quarantine", "accept: known"}
    other = look(source, target, on_bad_row="quarantine", accepted=(Acceptance("triggers", "known", "elsewhere"),))
    assert [f.declared for f in other.findings if f.kind == "triggers"] == [""]


ACCEPTED = [
    (pitfall, engine)
    for pitfall in PITFALLS
    for engine, found in pitfall.found.items()
    if found[0] in ACCEPTABLE and pitfall.source != "sqlite"
]


@pytest.mark.parametrize(("pitfall", "engine"), ACCEPTED, ids=lambda value: getattr(value, "name", value))
def test_what_a_plan_accepts_is_captured_copied_synced_and_compared(make: Make, pitfall: Any, engine: str) -> None:
    source, target = make(pitfall.source, "source"), make(engine, "target")
    source.run_script(BASE)
    source.run_script(pitfall.written(pitfall.sql))
    if pitfall.target_sql:
        target.run_script(pitfall.written(pitfall.target_sql))
    kind = pitfall.found[engine][0]
    assert not look(source, target, accepted=(Acceptance(kind, "known"),)).open
    tables = [pitfall.table] if pitfall.table in source.tables() else ["notes"]
    pair = pair_of(source, target, tables)
    clone(pair, How(tables=tuple(tables), follow=True, existing="keep" if pitfall.target_sql else "refuse"))
    source.execute(f"INSERT INTO {source.quote(tables[0])} (id) VALUES (4711)")
    drain([pair.forward])
    report = validate([pair.forward], checks=DATA, under_writes=False)
    assert report.passed, report.text


def test_every_acceptable_finding_is_planted_by_one_of_the_pitfalls_or_found_only_in_passing() -> None:
    assert set(ACCEPTABLE) <= set(FINDINGS)
    assert set(ACCEPTABLE) - {p.found[e][0] for p, e in ACCEPTED} <= {"long_transactions"}  # ends by itself


def test_what_a_target_would_do_on_the_way_there_or_back_is_found(make: Make) -> None:
    source = make("postgresql", "source")
    source.run_script(f"{BASE} CREATE TABLE t (id int PRIMARY KEY, note int REFERENCES notes (id) ON DELETE SET NULL);")
    there, mysql = make("postgresql", "target"), make("mysql", "other")
    loud = next(pitfall for pitfall in PITFALLS if pitfall.name == "an ALWAYS trigger")
    there.run_script(loud.sql)
    assert kinds(look(source, there)) == ["always_triggers"]
    mysql.run_script(f"{BASE} CREATE TRIGGER x BEFORE INSERT ON notes FOR EACH ROW SET NEW.what = 'x';")
    assert [(f.kind, f.severity) for f in look(source, mysql).findings] == [("triggers", "loses"), ("cascades", "note")]
    assert [f.kind for f in look(source, mysql, strategy="dual_write").open] == ["cascades", "triggers"]


def test_text_that_is_no_utf8_is_found_in_a_database_that_keeps_any_bytes(make: Make, servers: Any) -> None:
    server, target = servers("postgresql"), make("postgresql", "target")
    server.admin(
        "CREATE DATABASE bytes OWNER migrator ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    )
    server.admin("GRANT ALL ON SCHEMA public TO migrator", "bytes")
    source = open_database("source", server.url("bytes"), server.password)
    try:
        source.run_script(
            "CREATE TABLE t (id int PRIMARY KEY, x text);"
            "INSERT INTO t VALUES (1, 'plain'), (2, convert_from(decode('c3bc', 'hex'), 'SQL_ASCII')),"
            " (3, convert_from(decode('fc41', 'hex'), 'SQL_ASCII'));"
        )
        assert [(f.kind, f.count, f.example) for f in look(source, target).findings] == [("encoding", 1, "id 3")]
    finally:
        server.drop(source)


def test_open_and_prepared_transactions_are_found_on_both_servers(make: Make, servers: Any) -> None:
    source = make("postgresql", "source")
    source.run_script(BASE)
    plan = whole_plan(source, source)
    with source.raw() as driver:
        driver.execute("INSERT INTO notes VALUES (1, 'x')")
        found = assess(plan, source, {}, rights=False, open_s=0.0)
        assert kinds(found) == ["long_transactions"] and not found.open
        assert found.findings[0].example.startswith(f"pid {driver.info.backend_pid} of migrator, idle in transaction")
        assert not assess(plan, source, {}, rights=False).findings
        driver.execute("PREPARE TRANSACTION 'forgotten'")
    found = assess(plan, source, {}, rights=False)
    assert [(f.kind, f.example) for f in found.open] == [("prepared_transactions", "forgotten")]
    source.run_script("SELECT 1;")
    with source.raw() as driver:
        driver.rollback()
        driver.autocommit = True
        driver.execute("ROLLBACK PREPARED 'forgotten'")
        driver.autocommit = False


def test_open_and_prepared_transactions_of_mysql(make: Make) -> None:
    source = make("mysql", "source")
    source.run_script(BASE)
    plan = whole_plan(source, source)
    login = source.login
    connection = pymysql.connect(
        host=login.host, port=login.port, user=login.user, password=login.password, database=login.database
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("XA START 'forgotten'")
        cursor.execute("INSERT INTO notes VALUES (1, 'x')")
        assert kinds(assess(plan, source, {}, rights=False, open_s=0.0)) == ["long_transactions"]
        cursor.execute("XA END 'forgotten'")
        cursor.execute("XA PREPARE 'forgotten'")
        found = assess(plan, source, {}, rights=False)
        cursor.execute("XA ROLLBACK 'forgotten'")
        assert [(f.kind, f.example) for f in found.open] == [("prepared_transactions", "forgotten")]
    assert not assess(plan, source, {}, rights=False).findings


@pytest.mark.parametrize("engine", ENGINES)
def test_a_large_table_is_read_in_parts_and_what_was_not_seen_is_said(make: Make, engine: str) -> None:
    source, target = make(engine, "source"), make("sqlite" if engine == "postgresql" else "postgresql", "target")
    kind = "float8" if engine == "postgresql" else "varchar(2)" if engine == "sqlite" else "time"
    bad = {"postgresql": "'NaN'", "sqlite": "'long'", "mysql": "'30:00:00'"}[engine]
    good = "1" if engine != "mysql" else "'10:00:00'"
    rows = ", ".join(f"({i}, {bad if i == 299 else good})" for i in range(300))
    source.run_script(f"CREATE TABLE t (id int NOT NULL PRIMARY KEY, x {kind}); INSERT INTO t VALUES {rows};")
    source.analyze(["t"])
    plan = whole_plan(source, target)
    whole = assess(plan, source, {"target": target}, rights=False, bounds=Bounds(whole_rows=10))
    assert (whole.rows, whole.partly, [f.example for f in whole.findings]) == (300, {}, ["id 299"])
    part = assess(plan, source, {"target": target}, rights=False, bounds=Bounds(whole_rows=10, table_s=0.0))
    assert part.rows < 300 and "rows in 0 s" in next(iter(part.partly.values()))


def test_the_command_shows_what_to_declare_and_its_status_says_whether_anything_is_left(
    make: Make, tmp_path: Path
) -> None:
    source, target = make("sqlite", "source"), make("sqlite", "target")
    source.run_script(BASE)
    file = tmp_path / "found.json"

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(main, ["assess", *arguments], prog_name="runbook")

    done = run(str(source.path), str(target.path), "--json", str(file))
    assert done.exit_code == 0 and "nothing to declare: 1 table, no values had to be read" in done.stdout, done.output
    source.run_script("CREATE TABLE k (x int);")
    done = run(str(source.path), "--json", str(file))
    assert done.exit_code == 1
    assert "✗ blocks no_key: " in done.stdout and "add a primary key, or leave the table out" in done.stdout
    assert json.loads(file.read_text())["findings"][0]["open"] is True
    assert run(str(source.path), "--tables", "notes").exit_code == 0
    assert run(str(source.path), "--tables", "note").exit_code == 2
    assert run().exit_code == 2
    page = look(source, target)._repr_html_()
    assert "no key" in page and "http" not in page


def test_a_finding_that_nothing_declares_fails_the_pre_flight_and_so_does_one_that_cannot_be_accepted(
    tmp_path: Path,
) -> None:
    service = Service("stock", "target", tables=(TableMapping("k", "k"),))
    environment = small_environment(tmp_path, replace(small_plan(), services=(service,)))
    new_database(tmp_path, "target").close()
    source = environment.database("legacy")
    source.run_script("CREATE TABLE k (x int);")
    accepted = replace(environment.plan, accepted=(Acceptance("no_key", "static"),), digest="plan-2")
    for plan in (environment.plan, accepted):
        with start(replace(environment, plan=plan)) as run:
            assert "add a primary key, or leave the table out" in assess_source(run)._repr_html_()
            with pytest.raises(
                GateFailed, match=r"source_assessed \(fail\): 1 to declare or correct: stock\.k: has no key"
            ):
                run.gate()
    source.run_script("DROP TABLE k; CREATE TABLE k (x integer PRIMARY KEY NOT NULL);")
    source.close()
    with start(replace(environment, plan=accepted)) as run:
        assess_source(run)
        assert run.gate().passed


def test_a_derived_table_is_no_further_table_of_the_source_and_a_count_has_one_column(tmp_path: Path) -> None:
    source, target = (new_database(tmp_path, name) for name in ("legacy", "target"))
    source.run_script(f"{BASE} CREATE TABLE k (n int PRIMARY KEY);")
    words = TableMapping("words", "notes", key={"id": "id"}, columns={"what": "what"})
    service = Service("stock", "target", tables=(TableMapping("notes", "notes"), words, TableMapping("k", "k")))
    found = assess(replace(small_plan(), services=(service,)), source, {"target": target}, rights=False)
    assert "(2 tables, " in found.text
    told = Finding("other_types", "blocks", "k.n", "2 values that are no integer", 2)
    page = replace(found, findings=(told,))._repr_html_()
    assert "values that are no integer" in page and "2 values" not in page


def test_every_finding_is_explained_in_the_document_and_only_those() -> None:
    text = (Path(__file__).parents[2] / "docs" / "assessment.md").read_text()
    told = {line.split("`")[1] for line in text.partition("## The findings")[2].splitlines() if line.startswith("| `")}
    assert told == set(FINDINGS)
    assert {kind for p in PITFALLS for kind, *_ in p.found.values()} <= told
