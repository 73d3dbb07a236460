"""`compare` holds both accounts together: what makes a target behave otherwise is named, and the script repairs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from estate_account import RICH

from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How
from runbook_lib.operations.pair import pair_of as copied_pair
from runbook_lib.validation import Report, validate
from runbook_lib.validation.comparison import compared_pair
from runbook_lib.validation.report.mismatches import Kind
from runbook_lib.validation.report.repair_script import repair_scripts

Make = Callable[..., Any]
# What somebody does at the target → what is said of it.
FAULTS = {
    "ALTER TABLE u ENABLE TRIGGER tr": (Kind.DIFFERENT_TRIGGER, "trigger tr is another"),
    "ALTER TABLE t DISABLE ROW LEVEL SECURITY": (Kind.MISSING_OBJECT, "no row security public.t"),
    "ALTER TABLE ul NO FORCE ROW LEVEL SECURITY": (Kind.MISSING_OBJECT, "no row security public.ul"),
    "DROP POLICY pol ON t": (Kind.MISSING_OBJECT, "no policy pol on public.t"),
    "DROP RULE nodel ON u": (Kind.MISSING_OBJECT, "no rule nodel on public.u"),
    "DROP TABLE p1": (Kind.MISSING_OBJECT, "no partition public.p1"),
    "ALTER TABLE ul SET LOGGED": (Kind.DIFFERENT_OBJECT, "table public.ul is another"),
    "ALTER TABLE parent SET UNLOGGED": (Kind.DIFFERENT_OBJECT, "table public.parent is another"),
    "CREATE OR REPLACE VIEW v WITH (security_barrier) AS SELECT id, n FROM t WHERE n > 3": (
        Kind.DIFFERENT_OBJECT, "view public.v is another",
    ),
    "CREATE OR REPLACE FUNCTION f2(a int DEFAULT 3) RETURNS int LANGUAGE sql AS 'SELECT 2'": (
        Kind.DIFFERENT_OBJECT, "function public.f2(integer) is another",
    ),
    "ALTER VIEW w ALTER id SET DEFAULT 8": (Kind.DIFFERENT_OBJECT, "view public.w is another"),
    "SELECT setval('far', 1)": (Kind.SEQUENCE_BEHIND, "sequence far is behind: 1, the source's is at 70"),
    "SELECT setval('code', 2)": (Kind.SEQUENCE_BEHIND, "sequence code is behind: 2, the source's is at 9"),
    "SELECT setval('fed_id_seq', 1)": (
        Kind.SEQUENCE_BEHIND, "sequence fed_id_seq is behind: 1, the column id has 3",
    ),
    "DROP PROCEDURE pr": (Kind.MISSING_OBJECT, "no procedure public.pr()"),
    "ALTER DOMAIN pct DROP CONSTRAINT pct_check": (
        Kind.MISSING_OBJECT, "no domain constraint pct_check on public.pct",
    ),
    "ALTER SEQUENCE seq NO CYCLE MAXVALUE 1000": (Kind.DIFFERENT_OBJECT, "sequence public.seq is another"),
    "ALTER TABLE t ALTER id SET INCREMENT 3 SET CYCLE": (Kind.DIFFERENT_OBJECT, "identity public.t.id is another"),
    "ALTER TABLE u REPLICA IDENTITY DEFAULT": (Kind.MISSING_OBJECT, "no replica identity public.u"),
    "ALTER TABLE t REPLICA IDENTITY FULL": (
        Kind.EXTRA_OBJECT, "replica identity public.t is not at the source",
    ),
    "ALTER TABLE u SET (fillfactor = 80)": (Kind.DIFFERENT_OBJECT, "storage options public.u is another"),
    "COMMENT ON COLUMN t.n IS 'another'": (Kind.DIFFERENT_OBJECT, "comment table column public.t.n is another"),
    "COMMENT ON COLUMN t.txt IS 'new'": (
        Kind.EXTRA_OBJECT, "comment table column public.t.txt is not at the source",
    ),
    "DROP STATISTICS st": (Kind.MISSING_OBJECT, "no statistics public.st"),
}  # fmt: skip


MORE = """
CREATE VIEW w AS SELECT 1 AS id, 2 AS "a b"; ALTER VIEW w ALTER id SET DEFAULT 7, ALTER "a b" SET DEFAULT 5;
CREATE SEQUENCE far; SELECT setval('far', 70); CREATE SEQUENCE code; SELECT setval('code', 9);
CREATE TABLE coded (id int PRIMARY KEY, code text DEFAULT 'U' || nextval('code'));
CREATE TABLE fed (id serial PRIMARY KEY); INSERT INTO fed DEFAULT VALUES; INSERT INTO fed VALUES (DEFAULT), (DEFAULT);
"""


def compared(source: Any, target: Any, *tables: str) -> Report:
    pair = compared_pair(source, target, tables)
    return validate(pair.links, under_writes=False, catalogs=pair.catalogs)


def test_what_makes_a_target_behave_otherwise_is_named_and_the_script_repairs_it(new_on: Make):
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script(
        RICH + MORE + "ALTER TYPE s.mood ADD VALUE 'aa' BEFORE 'b'; DELETE FROM p WHERE at < '2025-01-01'"
    )
    clone(copied_pair(source, target), How())
    report = compared(source, target)
    assert report.passed, report.mismatches
    for statement in FAULTS:
        target.execute(statement)
    report = compared(source, target)
    found = {(mismatch.kind, mismatch.text) for mismatch in report.mismatches}
    assert found >= set(FAULTS.values())
    others = {text for kind, text in found - set(FAULTS.values())}
    assert others == {"no comment policy pol on public.t", "no comment rule nodel on public.u"}
    [script] = repair_scripts(report).values()
    target.run_script(script)
    again = compared(source, target)
    assert again.passed, again.mismatches


def test_a_label_that_the_target_has_too_many_is_named_and_no_script_takes_it_away(new_on: Make):
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script("CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TABLE t (id int PRIMARY KEY, m mood)")
    clone(copied_pair(source, target), How())
    target.execute("ALTER TYPE mood ADD VALUE 'c'")
    for tables in ((), ("t",)):
        [mismatch] = compared(source, target, *tables).mismatches
        assert (mismatch.kind, mismatch.text) == (Kind.DIFFERENT_OBJECT, "enum public.mood is another")
        assert mismatch.mend == ""
    source.execute("ALTER TYPE mood ADD VALUE 'c'", "ALTER TYPE mood ADD VALUE 'b2' BEFORE 'c'")
    [script] = repair_scripts(compared(source, target)).values()
    target.run_script(script)
    assert compared(source, target).passed


def test_what_a_copy_leaves_behind_is_counted_and_no_failure(new_on: Make, postgresql_server: Any):
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script("CREATE TABLE t (id int PRIMARY KEY)")
    database = source.rows("SELECT current_database()")[0][0]
    postgresql_server.admin(f"ALTER DATABASE \"{database}\" SET work_mem = '5MB'")
    clone(copied_pair(source, target), How())
    report = compared(source, target)
    assert report.passed
    told = [m.text for result in report.results for m in result.information]
    assert "no database setting work_mem" in told


def test_what_a_publication_and_a_text_search_hold_is_compared(new_on: Make):
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script(
        "CREATE TABLE t (id int PRIMARY KEY, n int); CREATE PUBLICATION pu FOR TABLE t (id) WHERE (id > 0);"
        "CREATE TEXT SEARCH CONFIGURATION c (copy = simple); CREATE TEXT SEARCH DICTIONARY d (template = simple)"
    )
    clone(copied_pair(source, target), How())
    assert compared(source, target).passed
    target.run_script(
        "ALTER PUBLICATION pu SET TABLE t (id) WHERE (id > 5); ALTER TEXT SEARCH DICTIONARY d (accept = false);"
        "ALTER TEXT SEARCH CONFIGURATION c ALTER MAPPING FOR word WITH english_stem"
    )
    assert [mismatch.text for mismatch in compared(source, target).mismatches] == [
        "publication relation public.t in publication pu is another",
        "text search configuration public.c is another",
        "text search dictionary public.d is another",
    ]
