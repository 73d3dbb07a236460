"""Pitfalls to plant: for each source engine, statements, and what an assessment has to say of them by target."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

ENGINES = ("postgresql", "mysql", "sqlite")
BASE = "CREATE TABLE notes (id int NOT NULL PRIMARY KEY, what varchar(20));"


@dataclass(frozen=True)
class Pitfall:
    """One planted pitfall.

    Attributes:
        source: Engine.
        sql: What plants it, in a database that holds BASE.
        found: Target engine → (kind, subject's end, count, example) of the only finding.
        target_sql: The table as such a target has it already.
    """

    name: str
    source: str
    sql: str
    found: dict[str, tuple[str, str, int, str]] = field(default_factory=dict)
    target_sql: str = ""

    @property
    def table(self) -> str:
        """Its table's name: `t` stands for it in the texts above."""
        return re.sub(r"\W+", "_", self.name.lower())

    def written(self, text: str) -> str:
        """A text with the table's name for `t`."""
        return re.sub(r"\bt\b", self.table, text)


def _to(kind: str, place: str, count: int, example: str, *targets: str) -> dict[str, tuple[str, str, int, str]]:
    return dict.fromkeys(targets, (kind, place, count, example))


def lax(statement: str) -> str:
    """A statement of MySQL or MariaDB in a session that takes anything, and is strict again afterwards."""
    return f" SET @was = @@sql_mode; SET sql_mode = ''; {statement}; SET sql_mode = @was;"


PG, MY, LITE = ENGINES
LONG = "x" * 64
PITFALLS = (
    Pitfall(
        "zero dates", MY,
        "CREATE TABLE t (id int PRIMARY KEY, born date);"
        + lax("INSERT INTO t VALUES (1, '2020-01-01'), (5, '0000-00-00'), (6, '0000-00-00')"),
        _to("zero_dates", "t.born", 2, "id 5", PG, LITE),
    ),
    Pitfall(
        "impossible dates", MY,
        "CREATE TABLE t (id int PRIMARY KEY, born date);"
        + lax("INSERT INTO t VALUES (1, '2020-00-10')"),
        _to("dates", "t.born", 1, "id 1", PG, LITE),
    ),
    Pitfall(
        "times beyond a day", MY,
        "CREATE TABLE t (id int PRIMARY KEY, took time); INSERT INTO t VALUES (3, '30:00:00');",
        _to("times", "t.took", 1, "id 3", PG, LITE),
    ),
    Pitfall(
        "NUL characters", MY,
        "CREATE TABLE t (id int PRIMARY KEY, x text); INSERT INTO t VALUES (3, concat('a', char(0)));",
        _to("nul", "t.x", 1, "id 3", PG),
    ),
    Pitfall(
        "NUL in JSON", MY,
        "CREATE TABLE t (id int PRIMARY KEY, x json);"
        " INSERT INTO t VALUES (3, concat('[\"', char(92 USING utf8mb4), 'u0000\"]'));",
        _to("nul", "t.x", 1, "id 3", PG),
    ),
    Pitfall(
        "text in the wrong character set", MY,
        "CREATE TABLE t (id int PRIMARY KEY, x varchar(20) CHARACTER SET latin1);"
        " INSERT INTO t VALUES (1, 'plain'), (2, x'c3bc'), (3, x'fc');",
        _to("encoding", "t.x", 1, "id 2", *ENGINES),
    ),
    Pitfall(
        "a name too long", MY, f"CREATE TABLE t (id int PRIMARY KEY, {LONG} int);",
        _to("names", f"t.{LONG}", 1, f"{LONG[:54]}_{hashlib.sha256(LONG.encode()).hexdigest()[:8]}", PG),
    ),
    Pitfall(
        "an empty value of an enum", MY,
        "CREATE TABLE t (id int PRIMARY KEY, e enum('a', 'b'));"
        + lax("INSERT INTO t VALUES (1, 'a'), (2, 'c')"),
        _to("numbers", "t.e", 1, "id 2", PG, LITE),
    ),
    Pitfall(
        "children without a parent", MY,
        "CREATE TABLE p (id int PRIMARY KEY);"
        " CREATE TABLE t (id int PRIMARY KEY, p_id int, CONSTRAINT t_p FOREIGN KEY (p_id) REFERENCES p (id));"
        " SET SESSION foreign_key_checks = 0; INSERT INTO t VALUES (7, 5), (8, NULL);"
        " SET SESSION foreign_key_checks = 1",
        _to("orphans", "t", 1, "id = 7", *ENGINES),
    ),
    Pitfall(
        "a key of mysql that another collation takes for equal", MY,
        "CREATE TABLE t (code varchar(20) COLLATE utf8mb4_bin PRIMARY KEY); INSERT INTO t VALUES ('a'), ('A'), ('b');",
        _to("duplicates", "t (code)", 1, "'A' and 'a'", MY),
        "CREATE TABLE t (code varchar(20) COLLATE utf8mb4_general_ci PRIMARY KEY);",
    ),
    Pitfall(
        "texts longer than a shorter column", MY,
        "CREATE TABLE t (id int PRIMARY KEY, x varchar(9)); INSERT INTO t VALUES (1, 'äöü'), (2, 'four');",
        _to("lengths", "t.x", 1, "id 2", PG, MY), "CREATE TABLE t (id int PRIMARY KEY, x varchar(3));",
    ),
    Pitfall(
        "a fraction of a second", MY,
        "CREATE TABLE t (id int PRIMARY KEY, x datetime(6)); INSERT INTO t VALUES (1, '2026-01-01 00:00:00.25');",
        _to("fractions", "t.x", 1, "id 1", PG), "CREATE TABLE t (id int PRIMARY KEY, x timestamp(0));",
    ),
    Pitfall(
        "a key changed by cascade", MY,
        "CREATE TABLE t (id int PRIMARY KEY, note int, CONSTRAINT of_note FOREIGN KEY (note) REFERENCES notes (id)"
        " ON DELETE CASCADE);",
        _to("cascades", "t", 1, "of_note", *ENGINES),
    ),
    Pitfall(
        "a trigger that cannot be silenced", MY,
        "CREATE TABLE t (id int PRIMARY KEY, n int); CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET NEW.n = 1;",
        _to("triggers", "t", 1, "`x` BEFORE INSERT", *ENGINES),
    ),
    Pitfall(
        "a table without transactions", MY, "CREATE TABLE t (id int PRIMARY KEY) ENGINE = MyISAM;",
        _to("engines", "source", 1, "", *ENGINES),
    ),
    *(
        Pitfall("a table without a key", engine, "CREATE TABLE t (x int);", _to("no_key", "t", 1, "", *ENGINES))
        for engine in ENGINES
    ),
    Pitfall(
        "NaN", PG, "CREATE TABLE t (id int PRIMARY KEY, f float8); INSERT INTO t VALUES (1, 'NaN'), (2, 'Infinity');",
        {**_to("nan", "t.f", 2, "id 1", MY), **_to("nan", "t.f", 1, "id 1", LITE)},
    ),
    Pitfall(
        "dates beyond the target's", PG,
        "CREATE TABLE t (id int PRIMARY KEY, d date); INSERT INTO t VALUES (1, 'infinity'), (2, '0044-03-15 BC');",
        _to("dates", "t.d", 2, "id 1", MY),
    ),
    Pitfall(
        "a number of forty digits", PG,
        "CREATE TABLE t (id int PRIMARY KEY, n numeric); INSERT INTO t VALUES (1, 10::numeric ^ 39), (2, 7);",
        _to("numbers", "t.n", 1, "id 1", MY),
    ),
    Pitfall(
        "keys longer than an index holds", PG,
        "CREATE TABLE t (code text PRIMARY KEY); INSERT INTO t VALUES ('a'), (repeat('x', 300));",
        _to("lengths", "t.code", 1, "code " + "x" * 300, MY),
    ),
    Pitfall(
        "keys that differ in trailing spaces", PG,
        "CREATE TABLE t (code varchar(20) PRIMARY KEY); INSERT INTO t VALUES ('a'), ('a '), ('A'), ('ä');",
        _to("duplicates", "t (code)", 1, "'a' and 'a '", MY),
    ),
    Pitfall(
        "keys that a collation takes for equal", PG,
        "CREATE TABLE t (code varchar(20) PRIMARY KEY); INSERT INTO t VALUES ('Zoe'), ('zoë'), ('b');",
        _to("duplicates", "t (code)", 1, "'Zoe' and 'zoë'", MY),
        "CREATE TABLE t (code varchar(20) COLLATE utf8mb4_general_ci PRIMARY KEY);",
    ),
    Pitfall(
        "keys that sqlite takes for equal", PG,
        "CREATE TABLE t (code varchar(20) PRIMARY KEY); INSERT INTO t VALUES ('Zoe'), ('ZOE'), ('zoë');",
        _to("duplicates", "t (code)", 1, "'ZOE' and 'Zoe'", LITE),
        "CREATE TABLE t (code varchar(20) COLLATE NOCASE NOT NULL PRIMARY KEY);",
    ),
    Pitfall(
        "rows that a new unique key refuses", PG,
        "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 5), (2, 5), (3, NULL), (4, NULL);",
        _to("duplicates", "t (n)", 1, "5 and 5", *ENGINES),
        "CREATE TABLE t (id int NOT NULL PRIMARY KEY, n int UNIQUE);",
    ),
    Pitfall(
        "negative zeros", PG,
        "CREATE TABLE t (id int PRIMARY KEY, f float8); INSERT INTO t VALUES (1, '-0'), (2, 0);",
        _to("negative_zeros", "t.f", 1, "id 1", MY, LITE),
    ),
    Pitfall(
        "NULL where the target takes none", PG,
        "CREATE TABLE t (id int PRIMARY KEY, x text); INSERT INTO t VALUES (4, NULL), (5, 'y');",
        _to("nulls", "t.x", 1, "id 4", PG, LITE), "CREATE TABLE t (id int NOT NULL PRIMARY KEY, x text NOT NULL);",
    ),
    Pitfall(
        "a number beyond a smaller column", PG,
        "CREATE TABLE t (id int PRIMARY KEY, n bigint); INSERT INTO t VALUES (1, 5), (2, 3000000000);",
        _to("numbers", "t.n", 1, "id 2", PG, MY), "CREATE TABLE t (id int PRIMARY KEY, n int);",
    ),
    Pitfall(
        "digits that a coarser column drops", PG,
        "CREATE TABLE t (id int PRIMARY KEY, n numeric(12,4)); INSERT INTO t VALUES (1, 1.25), (2, 1.3333);",
        _to("digits", "t.n", 1, "id 2", PG, MY), "CREATE TABLE t (id int PRIMARY KEY, n numeric(10,2));",
    ),
    Pitfall(
        "an ALWAYS trigger", PG,
        "CREATE TABLE t (id int PRIMARY KEY); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RETURN NEW; END $$; CREATE TRIGGER loud BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();"
        " ALTER TABLE t ENABLE ALWAYS TRIGGER loud;",
        _to("always_triggers", "t", 1, "loud BEFORE INSERT", *ENGINES),
    ),
    Pitfall("a large object", PG, "SELECT lo_create(4711);", _to("large_objects", "source", 1, "4711", *ENGINES)),
    Pitfall(
        "an unlogged table", PG, "CREATE UNLOGGED TABLE t (id int PRIMARY KEY);", _to("unlogged", "t", 1, "", *ENGINES)
    ),
    Pitfall(
        "a type without a like", PG, "CREATE TABLE t (id int PRIMARY KEY, p point);",
        _to("types", "t.p", 1, "t.p", MY, LITE),
    ),
    Pitfall(
        "names that differ only in case", PG, 'CREATE TABLE t (id int PRIMARY KEY, x int, "X" int);',
        _to("names", "t.X", 1, "t.X", MY, LITE),
    ),
    Pitfall(
        "tables that differ only in case", PG, 'CREATE TABLE "Notes" (id int PRIMARY KEY);',
        _to("names", "notes", 1, "Notes", LITE),
    ),
    Pitfall(
        "text in a column of numbers", LITE, "CREATE TABLE t (id INTEGER PRIMARY KEY, n int);"
        " INSERT INTO t VALUES (1, 5), (2, 'many');",
        _to("other_types", "t.n", 1, "id 2", PG, MY),
    ),
    Pitfall(
        "a day that is none", LITE, "CREATE TABLE t (id INTEGER PRIMARY KEY, d date);"
        " INSERT INTO t VALUES (1, '2026-02-28'), (2, '2026-02-30'), (3, 20260228);",
        _to("other_types", "t.d", 2, "id 2", PG, MY),
    ),
    Pitfall(
        "bytes that are no text", LITE, "CREATE TABLE t (id INTEGER PRIMARY KEY, x text);"
        " INSERT INTO t VALUES (1, 'ü'), (2, CAST(x'ff41' AS TEXT));",
        _to("encoding", "t.x", 1, "id 2", PG, MY),
    ),
    Pitfall(
        "NUL characters", LITE, "CREATE TABLE t (id INTEGER PRIMARY KEY, x text);"
        " INSERT INTO t VALUES (1, 'a' || char(0) || 'b');",
        _to("nul", "t.x", 1, "id 1", PG),
    ),
    Pitfall(
        "longer than declared", LITE, "CREATE TABLE t (id INTEGER PRIMARY KEY, x varchar(3));"
        " INSERT INTO t VALUES (1, 'abc'), (2, 'abcd');",
        _to("lengths", "t.x", 1, "id 2", PG, MY),
    ),
    Pitfall(
        "NULL in a primary key", LITE, "CREATE TABLE t (code varchar(10) PRIMARY KEY, n int UNIQUE NOT NULL);"
        " INSERT INTO t VALUES ('a', 1), (NULL, 2);",
        _to("nulls", "t.code", 1, "n 2", PG, MY),
    ),
    Pitfall(
        "keys without case", LITE, "CREATE TABLE t (code varchar(10) NOT NULL PRIMARY KEY);"
        " INSERT INTO t VALUES ('Zoe'), ('zoë'), ('b');",
        _to("duplicates", "t (code)", 1, "'Zoe' and 'zoë'", MY),
        "CREATE TABLE t (code varchar(10) COLLATE utf8mb4_general_ci PRIMARY KEY);",
    ),
    Pitfall(
        "more digits than declared", LITE, "CREATE TABLE t (id INTEGER PRIMARY KEY, n decimal(5,2));"
        " INSERT INTO t VALUES (1, 1.25), (2, 1.255);",
        _to("digits", "t.n", 1, "id 2", PG, MY),
    ),
)  # fmt: skip
