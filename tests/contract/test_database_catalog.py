"""Catalog, expression types, sequences and the fingerprint."""

from __future__ import annotations

import pytest
from contract_estate import TABLES

from runbook_lib.errors import DatabaseError

UNITS = TABLES[0]


def test_every_user_table_is_described_and_partitions_are_not(hostile):
    found = hostile.catalog()
    assert set(found) == {*TABLES, "outside"}
    assert hostile.tables() == list(found)
    assert found["parted"].partitioned
    assert found["parted"].rows_estimate == 500
    assert found["keyless"].size_bytes > 50_000


def test_a_missing_table_is_left_out_and_asking_for_it_says_so(hostile):
    found = hostile.catalog(["lines", "missing"])
    assert list(found) == ["lines"]
    with pytest.raises(DatabaseError, match="no table missing"):
        found["missing"]


def test_columns_tell_type_default_identity_and_generation(hostile):
    table = hostile.catalog([UNITS])[UNITS]
    assert table.name == 'Order "Ünits"'
    assert table.comment == "it's; a comment"
    assert table.column("id").identity == "always"
    assert not table.column("id").nullable
    assert table.column("Mixed Case").type == "character varying(40)"
    assert table.column("Mixed Case").default == "'a;b'::character varying"
    assert table.column("n2").type == "numeric(12,4)"
    assert table.column("ts").type == "timestamp(3) without time zone"
    assert table.column("note").collation == "C"
    assert table.column("select").collation == ""
    assert table.column("moods").type == "mood[]"
    assert table.column("doubled").generated
    assert hostile.catalog(["plain_default"])["plain_default"].column("s").identity == "serial"
    assert table.triggers == (
        'touch BEFORE INSERT OR UPDATE ON "Order ""Ünits""" FOR EACH ROW EXECUTE FUNCTION touch()',
    )


def test_definitions_hold_no_names_of_index_table_or_schema(hostile):
    table = hostile.catalog([UNITS])[UNITS]
    assert {index.definition for index in table.indexes} == {
        "UNIQUE btree (id)",
        "btree (helper(note)) WHERE flag",
        'UNIQUE btree ("select", id) INCLUDE (n)',
    }
    odd = next(index for index in table.indexes if index.name == "odd index")
    assert (odd.columns, odd.partial, odd.unique, odd.valid, odd.constraint) == (
        ("helper(note)",),
        True,
        False,
        True,
        False,
    )
    kinds = {constraint.kind for constraint in table.constraints}
    assert kinds == {"primary", "check", "not_null"}
    foreign = next(c for c in hostile.catalog(["lines"])["lines"].constraints if c.kind == "foreign")
    assert foreign.referenced_table == 'Order "Ünits"'
    assert foreign.definition == 'FOREIGN KEY (unit) REFERENCES "Order ""Ünits"""(id)'
    assert foreign.validated


def test_the_key_is_the_primary_key_or_a_usable_unique_index(database):
    database.run_script("""
        CREATE TABLE composite (b int, a int, PRIMARY KEY (b, a));
        CREATE TABLE uniq (a int NOT NULL, b int NOT NULL, c int, UNIQUE (a, b), UNIQUE (c));
        CREATE TABLE narrow (a int NOT NULL, b int NOT NULL, UNIQUE (a, b)); CREATE UNIQUE INDEX ON narrow (b);
        CREATE TABLE part (a int NOT NULL); CREATE UNIQUE INDEX ON part (a) WHERE a > 0;
        CREATE TABLE expr (a text NOT NULL); CREATE UNIQUE INDEX ON expr (lower(a));
        CREATE TABLE defer (a int NOT NULL UNIQUE DEFERRABLE);
        CREATE TABLE nothing (a int NOT NULL);
    """)
    keys = {name: table.key for name, table in database.catalog().items()}
    assert keys == {
        "composite": ("b", "a"),
        "uniq": ("a", "b"),
        "narrow": ("b",),
        "part": (),
        "expr": (),
        "defer": (),
        "nothing": (),
    }


def test_constraints_that_are_not_validated_are_told(database):
    database.execute(
        "CREATE TABLE t (a int)", "INSERT INTO t VALUES (-1)", "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID"
    )
    (constraint,) = database.catalog(["t"])["t"].constraints
    assert (constraint.definition, constraint.validated) == ("CHECK ((a > 0))", False)


def test_tables_of_other_schemas_carry_their_schema(database):
    database.execute('CREATE SCHEMA "My.Schema"', 'CREATE TABLE "My.Schema".t (id int)', "CREATE TABLE t (id int)")
    assert set(database.catalog()) == {'"My.Schema".t', "t"}
    assert database.catalog(['"My.Schema".t'])['"My.Schema".t'].schema == "My.Schema"


def test_expression_types_are_the_servers_own(hostile):
    expressions = ["id", "lower(note)", "n2 * 2", "CAST(n2 AS numeric(9,1))", "moods", "spot", "coalesce(flag, true)"]
    found = hostile.expression_types(hostile.quote(UNITS), expressions)
    assert found == ("bigint", "text", "numeric", "numeric(9,1)", "mood[]", "place", "boolean")
    assert hostile.expression_types("lines AS s", []) == ()


def test_the_expression_that_is_wrong_is_named(hostile):
    with pytest.raises(DatabaseError, match="nowhere"):
        hostile.expression_types("lines", ["unit", "lower(what)", "nowhere + 1"])


def test_sequences_are_found_however_they_feed_a_column(hostile):
    found = {(s.table, s.column): s for s in hostile.sequences(TABLES)}
    assert set(found) == {(UNITS, "id"), ("plain_default", "id"), ("plain_default", "s")}
    assert found[UNITS, "id"].last is None
    assert (found[UNITS, "id"].increment, found[UNITS, "id"].start) == (3, 5)
    assert found["plain_default", "id"].last == 100 - 5 * 93
    assert found["plain_default", "s"].last == 94


def _next(database, sequence):
    return database.rows(f"SELECT nextval('{database.quote(sequence.name)}')")[0][0]


@pytest.mark.parametrize(("increment", "last", "following"), [(1, 50, 51), (7, 50, 57), (-1, -50, -51), (-5, -7, -12)])
def test_a_sequence_goes_on_after_the_given_value(database, increment, last, following):
    database.execute(f"CREATE SEQUENCE q INCREMENT {increment}", "CREATE TABLE t (id int DEFAULT nextval('q'))")
    (sequence,) = database.sequences(["t"])
    database.set_sequence(sequence, last)
    assert database.sequences(["t"])[0].last == last
    assert _next(database, sequence) == following


@pytest.mark.parametrize(("increment", "behind"), [(1, 3), (-1, -3)])
def test_a_sequence_is_never_moved_backwards(database, increment, behind):
    database.execute(f"CREATE SEQUENCE q INCREMENT {increment}", "CREATE TABLE t (id int DEFAULT nextval('q'))")
    (sequence,) = database.sequences(["t"])
    database.set_sequence(sequence, 10 * increment)
    database.set_sequence(sequence, behind)
    assert _next(database, sequence) == 11 * increment


def test_a_sequence_set_but_not_called_tells_the_value_before(database):
    database.execute("CREATE TABLE t (id int GENERATED BY DEFAULT AS IDENTITY)")
    database.rows("SELECT 1")
    database.execute("SELECT setval('t_id_seq', 40, false)")
    assert database.sequences(["t"])[0].last == 39


def test_cached_values_count_as_given(database):
    database.execute("CREATE SEQUENCE q CACHE 20", "CREATE TABLE t (id int DEFAULT nextval('q'))")
    database.execute("INSERT INTO t DEFAULT VALUES")
    assert database.sequences(["t"])[0].last == 20


def test_a_value_beyond_the_sequence_is_refused(database):
    database.execute("CREATE TABLE t (id smallint GENERATED ALWAYS AS IDENTITY)")
    with pytest.raises(DatabaseError, match=r"out of bounds.*moving sequence t_id_seq to 99999"):
        database.set_sequence(database.sequences(["t"])[0], 99999)


def test_the_fingerprint_is_the_same_for_the_same_schema_and_moves_with_every_change(database, target):
    ddl = "CREATE TYPE mood AS ENUM ('a'); CREATE TABLE t (id int PRIMARY KEY, m mood, s varchar(5) DEFAULT 'x');"
    database.run_script(ddl)
    target.run_script("CREATE TYPE before AS ENUM ('z');" + ddl + "INSERT INTO t VALUES (1); ")
    seen = [database.fingerprint(["t"])]
    assert target.fingerprint(["t"]) == seen[0]
    for change in (
        "ALTER TYPE mood ADD VALUE 'b'",
        "ALTER TABLE t ALTER s TYPE varchar(6)",
        "ALTER TABLE t ALTER s DROP DEFAULT",
        "CREATE INDEX ON t (s)",
        "ALTER TABLE t ADD CHECK (id > 0)",
        "ALTER TABLE t ALTER m SET NOT NULL",
    ):
        database.execute(change)
        seen.append(database.fingerprint(["t"]))
    assert len(set(seen)) == len(seen)
