# ruff: noqa: E501  tables of types are read along their lines
"""Translation of DDL: every ordered pair of engines, every decision listed, nothing dropped silently."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from runbook_lib.databases.port import Column, Constraint, Index, Table
from runbook_lib.errors import PlanError
from runbook_lib.schema.convert.ddl import scripts
from runbook_lib.schema.convert.decisions import Policies, UserTypes, without_columns
from runbook_lib.schema.convert.equivalence import same_expression
from runbook_lib.schema.convert.expression_clauses import index_condition, inner, says
from runbook_lib.schema.convert.expression_meaning import Translator, typed
from runbook_lib.schema.convert.expressions import default
from runbook_lib.schema.convert.translate import translate
from runbook_lib.schema.convert.translation_job import quote
from runbook_lib.schema.convert.types import DomainRules, read_type, write_type

ENGINES = ("postgresql", "mysql", "sqlite")
PAIRS = list(permutations(ENGINES, 2))
DOCUMENT = Path(__file__).parents[2] / "docs" / "type-mapping.md"
TYPES = {
    "postgresql": (
        "smallint", "integer", "bigint", "numeric", "numeric(12,2)", "numeric(30,10)", "real", "double precision",
        "boolean", "text", "character varying(40)", "character(5)", "bytea", "date", "time without time zone",
        "timestamp(3) without time zone", "timestamp with time zone", "uuid", "json", "jsonb", "bit(8)", "interval",
        "inet", "mood", "integer[]", "int4range", "money", "point",
    ),
    "mysql": (
        "tinyint(1)", "tinyint", "smallint unsigned", "int", "int unsigned", "bigint", "bigint unsigned", "decimal(12,2)",
        "decimal(65,30)", "float", "double", "varchar(40)", "char(5)", "text", "longtext", "varbinary(16)", "longblob",
        "date", "time(3)", "datetime(6)", "timestamp", "year", "json", "bit(8)", "enum('a','it''s')", "set('x','y')",
        "geometry",
    ),
    "sqlite": (
        "smallint", "integer", "bigint", "numeric", "numeric(12,2)", "real", "double precision", "boolean", "text",
        "character varying(40)", "character(5)", "bytea", "date", "time without time zone",
        "timestamp without time zone", "timestamp with time zone", "uuid", "json", "any",
    ),
}  # fmt: skip
USER = UserTypes({"mood": ("sad", "it's ok")}, {})


def table(name="t", columns=(), constraints=(), indexes=(), **more):
    key = next((c.columns for c in constraints if c.kind == "primary"), ())
    return Table(name, "", tuple(columns), key, tuple(indexes), tuple(constraints), **more)


def about(made, word):
    return [d for d in made.decisions if word in f"{d.subject} {d.what}"]


def mapping_document() -> str:
    """The page as it must be."""
    lines = ["# Types across engines", "", "Made by `tests/unit/test_schema_translate.py` from `runbook_lib/schema`."]
    lines += ["A note says what differs; **lossy**: some values do not survive, or are refused; **the plan decides**:"]
    lines += ["nothing is created until `types:` or `unmapped: text` in the plan says how to handle it.", ""]
    for source in ENGINES:
        others = [engine for engine in ENGINES if engine != source]
        lines += [f"## From {source}", "", f"| {source} | {' | '.join(others)} |", "|---|---|---|"]
        for text in TYPES[source]:
            cells = []
            for target in others:
                made = write_type(read_type(text, source, USER), target)
                kind = "**the plan decides**" if made.unknown else "**lossy**: " if made.lossy else ""
                note = kind if made.unknown else f"{kind}{made.note}" if made.note else ""
                cells.append(f"`{made.type or '(none)'}`" + (f" {note}" if note else ""))
            lines.append(f"| `{text}` | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def test_the_published_table_is_what_the_module_does():
    assert DOCUMENT.read_text() == mapping_document(), "write mapping_document() to docs/type-mapping.md"


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_every_type_is_mapped_or_left_to_the_plan(source, target):
    columns = [Column(f"c{i}", text) for i, text in enumerate(TYPES[source])]
    made = translate({"t": table(columns=columns)}, source, target, user=USER)
    unknown = made.blocking
    assert {d.subject for d in unknown} <= {f"t.c{i}" for i, text in enumerate(TYPES[source]) if len(text) > 3}
    if unknown:
        with pytest.raises(PlanError, match=r"has no equivalent.*nothing was created.*decide in the plan"):
            made.require_decided()
    kept = translate({"t": table(columns=columns)}, source, target, Policies(unmapped="text"), USER)
    assert not kept.blocking and scripts(kept).before.partition("CREATE TABLE")[2].count("\n") == len(columns) + 2


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_over_and_back_gives_a_type_that_holds_the_same(source, target):
    same = {"smallint", "integer", "bigint", "boolean", "date", "uuid", "json"} & set(TYPES[source])
    for text in same:
        over = write_type(read_type(text, source), target).type
        back = write_type(read_type(over, target), source).type
        wider = {"smallint": "integer bigint", "integer": "bigint int", "json": "jsonb json"}
        assert back.split("(")[0] in (
            text,
            *wider.get(text, "").split(),
            "tinyint",
            "character",
            "char",
            "json text",
        ), (text, over)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_defaults_identity_keys_and_indexes_go_over(source, target):
    integer, stamp = {"postgresql": ("bigint", "timestamp(6) with time zone"), "mysql": ("bigint", "timestamp(6)")}.get(
        source, ("bigint", "timestamp with time zone")
    )
    now = {"postgresql": "now()", "mysql": "current_timestamp(6)", "sqlite": "CURRENT_TIMESTAMP"}[source]
    columns = [
        Column("id", integer, False, identity="auto_increment"),
        Column("select", "varchar(40)" if source == "mysql" else "character varying(40)", False, "'it''s'"),
        Column("at", stamp, True, now),
        Column("Ünï", integer, True, "-5"),
        Column("strange", integer, True, "my_function()"),
    ]
    constraints = [
        Constraint("pk", "primary", ("id",)),
        Constraint("u", "unique", ("select",)),
        Constraint("c", "check", (), "CHECK (id > 0)"),
        Constraint("bad", "check", (), "CHECK (my_function(id) > 0)"),
        Constraint("f", "foreign", ("Ünï",), "FOREIGN KEY (Ünï) REFERENCES t (id) ON DELETE CASCADE", True, "t"),
        Constraint("out", "foreign", ("Ünï",), "FOREIGN KEY (Ünï) REFERENCES other (id)", True, "other"),
    ]
    indexes = [
        Index("pk", ("id",), True, constraint=True),
        Index("u", ("select",), True, constraint=True),
        Index("i", ("Ünï", "id")),
        Index("e", ("lower(x)",)),
    ]
    made = translate(
        {"t": table(columns=columns, constraints=constraints, indexes=indexes, triggers=("x",))}, source, target
    )
    q = {name: quote(name, target) for name in ("id", "select", "at", "Ünï", "t", "i", "u", "f")}
    counter = {"postgresql": "GENERATED BY DEFAULT AS IDENTITY", "mysql": "AUTO_INCREMENT", "sqlite": "AUTOINCREMENT"}
    assert (
        counter[target] in scripts(made).before
        and "DEFAULT 'it''s'" in scripts(made).before
        and "DEFAULT -5" in scripts(made).before
    )
    assert {"postgresql": "CURRENT_TIMESTAMP", "mysql": "CURRENT_TIMESTAMP(6)", "sqlite": "strftime"}[
        target
    ] in scripts(made).before
    assert f"CHECK ({q['id']} > 0)" in scripts(made).before
    assert f"CREATE UNIQUE INDEX {q['u']} ON {q['t']} ({q['select']});" in scripts(made).after
    assert f"CREATE INDEX {q['i']} ON {q['t']} ({q['Ünï']}, {q['id']});" in scripts(made).after
    keys = scripts(made).before if target == "sqlite" else scripts(made).references
    assert f"FOREIGN KEY ({q['Ünï']}) REFERENCES {q['t']} ({q['id']}) ON DELETE CASCADE" in keys
    for word in ("my_function() has no equivalent", "CHECK (my_function(id) > 0)", "t e", "refers to other", "trigger"):
        assert about(made, word) and about(made, word)[0].chosen, word
    assert made.decisions == tuple(dict.fromkeys(made.decisions))


def test_the_plan_overrides_by_column_and_by_type():
    columns = [Column("a", "point"), Column("b", "point"), Column("f", "double precision")]
    told = {"t.a": "varchar(80)", "point": "json", "nan": "text"}
    made = translate({"t": table(columns=columns)}, "postgresql", "mysql", Policies.from_plan(told))
    assert not made.blocking
    assert [line.strip(" ,") for line in scripts(made).before.splitlines()[1:4]] == [
        "`a` varchar(80)",
        "`b` json",
        "`f` varchar(30)",
    ]
    assert {d.chosen for d in about(made, "by the plan")} == {"varchar(80)", "json", "text"}


def test_names_that_are_too_long_are_shortened_apart_and_listed():
    names = ["x" * 70 + "1", "x" * 70 + "2", "é" * 40]
    made = translate({"t": table(columns=[Column(n, "bigint") for n in names])}, "sqlite", "postgresql")
    shortened = [made.renamed[f"t.{n}"] for n in names]
    assert len(set(shortened)) == 3 and all(len(n.encode()) <= 63 for n in shortened)
    assert len(about(made, "longer than 63 bytes")) == 3
    assert translate({"t": table(columns=[Column("é" * 40, "text")])}, "sqlite", "mysql").renamed == {}


def test_names_that_differ_in_case_only_block():
    columns = [Column("Name", "text"), Column("name", "text")]
    assert translate({"t": table(columns=columns)}, "postgresql", "mysql").blocking[0].subject == "t.name"
    assert not translate({"t": table(columns=columns)}, "sqlite", "postgresql").blocking


def test_text_in_keys_and_indexes_gets_the_lengths_that_mysql_needs():
    columns = [Column("k", "text", False), Column("v", "text"), Column("w", "character varying(20)")]
    primary = Constraint("pk", "primary", ("k",))
    indexes = [Index("i", ("v", "w")), Index("j", ("w",))]
    made = translate({"t": table(columns=columns, constraints=[primary], indexes=indexes)}, "postgresql", "mysql")
    assert "`k` varchar(255) NOT NULL" in scripts(made).before and "`v` longtext" in scripts(made).before
    assert "(`v`(255), `w`);" in scripts(made).after and "(`w`);" in scripts(made).after
    assert about(made, "part of a key")[0].lossy and about(made, "needs a length")


PG = {"n": "integer", "b": "bigint", "price": "numeric(10,2)", "free": "numeric", "d": "double precision", "r": "real",
      "status": "character varying(9)", "t": "text", "c": "character(3)", "flag": "boolean", "day": "date", "until": "date",
      "at": "timestamp(6) without time zone", "mood": "mood", "a b": "integer", "u": "uuid"}  # fmt: skip
MY = {"n": "int", "u": "int unsigned", "price": "decimal(10,2)", "role": "varchar(9)", "flag": "tinyint(1)", "day": "date",
      "kind": "enum('a','b''c')", "big": "bigint"}  # fmt: skip
LITE = {"n": "integer", "price": "decimal(10,2)", "long": "decimal text(30,2)", "t": "text", "day": "date"}
OF = {"postgresql": PG, "mysql": MY, "sqlite": LITE}


def meaning(source, target, collation=""):
    columns = {
        name: typed(Column(name, text, collation=collation), read_type(text, source, USER), source, target)
        for name, text in OF[source].items()
    }
    return Translator(columns, source, target, lambda name: quote(name, target))


@pytest.mark.parametrize(
    ("source", "expression", "target", "expected"),
    [
        ("postgresql", "(n IS NULL OR (n < 5))", "mysql", "(`n` IS NULL) OR (`n` < 5)"),
        ("postgresql", "((status)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[]))", "sqlite",
         "\"status\" IN ('a', 'b')"),
        ("postgresql", "(t <> ALL (ARRAY['a'::text, 'b'::text]))", "mysql", "NOT (CAST(`t` AS BINARY) IN ('a', 'b'))"),
        ("postgresql", "(t <> ''::text)", "mysql", "CAST(`t` AS BINARY) <> ''"),
        ("postgresql", "(flag = true)", "sqlite", '"flag" = 1'),
        ("postgresql", "(NOT flag)", "mysql", "NOT `flag`"),
        ("postgresql", "((\"a b\" >= 1) AND (\"a b\" <= '-2'::integer))", "mysql", "(`a b` >= 1) AND (`a b` <= -2)"),
        ("postgresql", "(day > '2020-01-31'::date)", "mysql", "`day` > '2020-01-31'"),
        ("postgresql", "(day < until)", "sqlite", '"day" < "until"'),
        ("postgresql", "(at < '2020-01-01 00:00:00'::timestamp without time zone)", "mysql", None),
        ("postgresql", "(mood = 'sad'::mood)", "mysql", "`mood` = 'sad'"),
        ("postgresql", "(mood > 'sad'::mood)", "mysql", None),
        ("postgresql", "(t < 'm'::text)", "mysql", None),
        ("postgresql", "(t ~~ 'a%'::text)", "mysql", "`t` LIKE 'a%'"),
        ("postgresql", "(t ~~ 'a%'::text)", "sqlite", None),
        ("postgresql", r"(t <> 'a\b'::text)", "mysql", r"CAST(`t` AS BINARY) <> 'a\\b'"),
        ("postgresql", "((price)::integer > 3)", "mysql", None),
        ("postgresql", "(price > (3)::numeric)", "sqlite", '"price" > 3'),
        ("postgresql", "((price + price) = price)", "sqlite", None),
        ("postgresql", "(free > (3)::numeric)", "sqlite", None),
        ("postgresql", "(r = (0.1)::double precision)", "mysql", None),
        ("postgresql", "(c = 'a'::bpchar)", "sqlite", None),
        ("postgresql", "(lower(t) = t)", "sqlite", None),
        ("postgresql", "((n / 2) > 1)", "mysql", None),
        ("postgresql", "(unknown > 1)", "sqlite", None),
        ("mysql", "`n` between 1 and 2", "postgresql", '("n" >= 1) AND ("n" <= 2)'),
        ("mysql", "`flag` = 1", "postgresql", '"flag" = TRUE'),
        ("mysql", "`n` = '5'", "postgresql", None),
        ("mysql", "`u` - `n` > 0", "postgresql", None),
        ("mysql", "`n` * `n` < `big`", "postgresql", '(CAST("n" AS bigint) * CAST("n" AS bigint)) < "big"'),
        ("mysql", "`kind` = 'b\\'c'", "postgresql", "\"kind\" = 'b''c'"),
        ("mysql", "`kind` = 'A'", "postgresql", None),
        ("mysql", "`n`", "postgresql", None),
        ("sqlite", "n > 1 -- it's\n AND day >= '2020-01-01'", "postgresql", '("n" > 1) AND ("day" >= DATE \'2020-01-01\')'),
        ("sqlite", "long > 1", "postgresql", None),
        ("sqlite", "t = 5", "postgresql", None),
    ],
)  # fmt: skip
def test_a_condition_goes_over_only_where_it_means_the_same(source, expression, target, expected):
    assert meaning(source, target).condition(expression) == expected


@pytest.mark.parametrize(
    ("dialect", "promised", "printed"),
    [
        ("postgresql", "day > DATE '2020-01-31'", "(day > '2020-01-31'::date)"),
        ("postgresql", "NOT (t IN ('a'))", "(t <> ALL (ARRAY['a'::text]))"),
        ("postgresql", "n BETWEEN 1 AND 2", "((n >= 1) AND (n <= 2))"),
        ("mysql", "`t` = 'b'", "`t` = _utf8mb4'b'"),
        ("sqlite", '"n" > 5', "n > 5 -- why"),
    ],
)
def test_a_condition_is_known_again_as_the_engine_prints_it(dialect, promised, printed):
    assert same_expression(promised, printed, ["n", "t", "day"], dialect)


@pytest.mark.parametrize(
    ("collation", "expected"),
    [("utf8mb4_general_ci", None), ("utf8mb4_bin", None), ("utf8mb4_nopad_bin", "\"role\" = 'ADMIN'")],
)
def test_texts_compare_alike_only_where_neither_case_nor_trailing_spaces_are_folded(collation, expected):
    assert meaning("mysql", "postgresql", collation).condition("`role` = 'ADMIN'") == expected


@pytest.mark.parametrize(
    ("source", "result", "expression", "target", "expected"),
    [
        ("postgresql", "n", "(until - day)", "mysql", None),
        ("postgresql", "n", "(n * 2)", "sqlite", '"n" * 2'),
        ("postgresql", "price", "(price * 1.19)", "sqlite", None),
        ("postgresql", "price", "(price * 1.19)", "mysql", "`price` * 1.19"),
        ("postgresql", "price", "(price * (n)::numeric)", "sqlite", '"price" * "n"'),
        ("postgresql", "n", "(n + b)", "mysql", "`n` + `b`"),
        ("postgresql", "n", "price", "mysql", None),
        ("postgresql", "t", "((t || ' '::text) || (status)::text)", "sqlite", "(\"t\" || ' ') || \"status\""),
        ("postgresql", "t", "(t || 'x'::text)", "mysql", "CONCAT(`t`, 'x')"),
        ("postgresql", "t", "(c || 'x'::text)", "mysql", None),
        ("postgresql", "t", "COALESCE(t, 'none'::text)", "mysql", "COALESCE(`t`, 'none')"),
        ("mysql", "flag", "case when `n` is null then 1 else NULL end", "postgresql", None),
        ("mysql", "flag", "`n` > 1", "postgresql", '"n" > 1'),
        ("mysql", "n", "`n` > 1", "postgresql", None),
        ("mysql", "big", "case when `n` > 1 then `n` else 0 end", "postgresql", 'CASE WHEN "n" > 1 THEN "n" ELSE 0 END'),
        ("mysql", "n", "`n` + `big`", "postgresql", 'CAST("n" AS bigint) + CAST("big" AS bigint)'),
        ("sqlite", "n", "n + t", "postgresql", None),
        ("sqlite", "day", "coalesce(day, '2020-01-01')", "mysql", "COALESCE(`day`, '2020-01-01')"),
    ],
)  # fmt: skip
def test_a_generated_column_goes_over_only_where_its_values_are_the_same(source, result, expression, target, expected):
    reader = meaning(source, target)
    assert reader.generated(expression, reader.columns[result]) == expected


def test_a_default_and_its_on_update_are_judged_apart():
    told = "current_timestamp() on update current_timestamp()"
    columns = [Column("at", "timestamp", False, told), Column("x", "varchar(40)", True, "'a on update b'")]
    made = translate({"t": table(columns=columns)}, "mysql", "postgresql")
    assert (
        "NOT NULL DEFAULT CURRENT_TIMESTAMP" in scripts(made).before
        and "DEFAULT 'a on update b'" in scripts(made).before
    )
    [decided] = [each for each in made.decisions if "ON UPDATE" in each.what]
    assert (decided.subject, decided.lossy) == ("t.at", True)


def test_the_rules_of_a_domain_become_those_of_the_columns():
    rules = DomainRules((("positive_check", "CHECK ((VALUE > 0))"),), True, "1")
    user = UserTypes({}, {"positive": "integer"}, {"positive": rules})
    made = translate({"t": table(columns=[Column("n", "positive")])}, "postgresql", "mysql", user=user)
    assert "`n` int NOT NULL DEFAULT 1" in scripts(made).before
    assert "CONSTRAINT `n_positive_check` CHECK (`n` > 0)" in scripts(made).before


def test_labels_of_an_enum_may_hold_any_sign():
    assert read_type(r"enum('a)b','c,d','it''s','b\\')", "mysql").labels == ("a)b", "c,d", "it's", "b\\")


@pytest.mark.parametrize(
    ("text", "kind", "target", "expected"),
    [
        ("'a;b'::character varying", "varchar", "mysql", "'a;b'"),
        ("'x'::text", "text", "mysql", "('x')"),
        ("true", "boolean", "sqlite", "1"),
        ("'0'", "boolean", "postgresql", "false"),
        ("b'1'", "boolean", "postgresql", "true"),
        ("'7'", "integer", "postgresql", "7"),
        ("gen_random_uuid()", "uuid", "mysql", "(UUID())"),
        ("uuid()", "uuid", "postgresql", "gen_random_uuid()"),
        ("CURRENT_DATE", "date", "mysql", "(CURRENT_DATE)"),
        ("'{}'::jsonb", "json", "sqlite", "'{}'"),
        ("'\\x00'::bytea", "bytes", "mysql", None),
        ("nextval('s'::regclass) + 1", "bigint", "mysql", None),
        (r"'a\b::text'::text", "varchar", "mysql", r"'a\\b::text'"),
        ("'-5'::integer", "integer", "mysql", "-5"),
        ("'1 day'::interval", "interval", "mysql", "'1 day'"),
    ],
)
def test_defaults_are_rewritten_or_refused(text, kind, target, expected):
    source = "mysql" if text in ("uuid()", "b'1'") else "postgresql"
    assert default(text, kind, source, target) == expected


def test_omitted_columns_take_what_hangs_on_them_along():
    columns = [Column("id", "bigint"), Column("gone", "text")]
    constraints = [Constraint("c", "check", (), "CHECK (gone <> '')"), Constraint("p", "primary", ("id",))]
    kept = without_columns(
        table(columns=columns, constraints=constraints, indexes=[Index("i", ("gone",))]), ["gone"], "new"
    )
    assert (kept.name, [c.name for c in kept.columns], kept.indexes) == ("new", ["id"], ())
    assert [c.name for c in kept.constraints] == ["p"]


def test_a_condition_begins_at_its_own_where_and_a_keyword_is_no_name():
    definition = "btree (\"a WHERE b\", lower('x WHERE y DESC'::text)) WHERE (t <> 'DESC INCLUDE'::text)"
    assert index_condition(definition, "postgresql") == "(t <> 'DESC INCLUDE'::text)"
    assert not says(definition, "postgresql", "DESC", "INCLUDE")
    assert says("btree (a DESC) WHERE (a > 1)", "postgresql", "DESC")
    assert inner("CHECK ((a <> '`)'::text)) NO INHERIT", "postgresql") == "(a <> '`)'::text)"
