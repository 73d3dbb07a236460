"""Each kind of difference is planted at a target, and exactly that kind is reported, by the checks that can see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from estate_validation import fill, links

from runbook_lib.validation import ALL, Kind, validate

Estate = tuple[Any, Any, Any]
ROWS = ("data_sample", "checksums")
LOST = {("row_counts", Kind.ROW_COUNT), *((check, Kind.MISSING_ON_TARGET) for check in ROWS)}
EXTRA = {("row_counts", Kind.ROW_COUNT), *((check, Kind.MISSING_ON_SOURCE) for check in ROWS)}
CHANGED = {(check, Kind.DIFFERENT) for check in ROWS}

# name: (database, table, SQL, {(check, kind)}, columns of the row that differ)
FAULTS: dict[str, tuple[str, str, str, set[tuple[str, Kind]], tuple[str, ...]]] = {
    "a lost row": ("users", "users", "DELETE FROM users WHERE id = 7", LOST, ()),
    "an extra row": ("users", "users", "INSERT INTO users (id, email) VALUES (900, 'x')", EXTRA, ()),
    "an extra row in the middle of the keys": ("orders", "tags", "INSERT INTO tags VALUES ('m', 1)", EXTRA, ()),
    "one bit in a bytea": (
        "users", "users", "UPDATE users SET avatar = set_bit(avatar, 0, 1) WHERE id = 9", CHANGED, ("avatar",),
    ),
    "a trailing space": ("users", "users", "UPDATE users SET email = email || ' ' WHERE id = 9", CHANGED, ("email",)),
    "an hour of time zone": (
        "users", "users", "UPDATE users SET seen = seen + interval '1 h' WHERE id = 3", CHANGED, ("seen",),
    ),
    "a rounded decimal": (
        "orders", "orders", "UPDATE orders SET total = round(total) WHERE id = 4", CHANGED, ("total",),
    ),
    "NULL against ''": ("users", "users", "UPDATE users SET note = '' WHERE id = 9", CHANGED, ("note", "loud")),
    "JSON null against NULL": (
        "users", "users", "UPDATE users SET settings = NULL WHERE id = 4", CHANGED, ("settings",),
    ),
    "'null' against NULL": ("users", "users", "UPDATE users SET note = NULL WHERE id = 4", CHANGED, ("note", "loud")),
    "another label of an enum": ("users", "users", "UPDATE users SET mood = 'sad' WHERE id = 3", CHANGED, ("mood",)),
    "values swapped between two rows": (
        "orders", "order_items", "UPDATE order_items SET sku = CASE order_id WHEN 1 THEN 'sku 1' ELSE 'sku 0' END"
        " WHERE (order_id, line) IN ((1, 0), (2, 0))", CHANGED, ("sku",),
    ),
    "a derived value": (
        "users", "preferences", "UPDATE preferences SET theme = 'x' WHERE user_id = 2", CHANGED, ("theme",),
    ),
    "a derived row lost": ("users", "preferences", "DELETE FROM preferences WHERE user_id = 2", LOST, ()),
    "a row that is there three times instead of twice": (
        "orders", "log", "INSERT INTO log VALUES (NULL, 'twice')",
        {("row_counts", Kind.ROW_COUNT), ("checksums", Kind.DUPLICATE_ROWS)}, (),
    ),
    "a changed row without a key": (
        "orders", "log", "UPDATE log SET what = 'x' WHERE what = 'event 3'",
        {("checksums", Kind.MISSING_ON_TARGET), ("checksums", Kind.MISSING_ON_SOURCE)}, (),
    ),
    "a missing column": (
        "users", "users", "ALTER TABLE users DROP COLUMN score", {("schemas", Kind.MISSING_COLUMN)}, ("score",),
    ),
    "an extra column": (
        "users", "users", "ALTER TABLE users ADD more text", {("schemas", Kind.EXTRA_COLUMN)}, ("more",),
    ),
    "a wider type": (
        "users", "users", "ALTER TABLE users ALTER email TYPE varchar(90)", {("schemas", Kind.TYPE)}, ("email",),
    ),
    "a narrower derived type": (
        "users", "preferences", "ALTER TABLE preferences ALTER theme TYPE varchar(6)",
        {("schemas", Kind.TYPE)}, ("theme",),
    ),
    "a dropped NOT NULL": (
        "users", "users", "ALTER TABLE users ALTER email DROP NOT NULL", {("schemas", Kind.NULLABILITY)}, ("email",),
    ),
    "a dropped default": (
        "users", "users", "ALTER TABLE users ALTER balance DROP DEFAULT", {("schemas", Kind.DEFAULT)}, ("balance",),
    ),
    "another collation": (
        "users", "users", 'ALTER TABLE users ALTER email TYPE varchar(80) COLLATE "C"',
        {("schemas", Kind.COLLATION)}, ("email",),
    ),
    "an identity that is gone": (
        "users", "users", "ALTER TABLE users ALTER id DROP IDENTITY", {("schemas", Kind.IDENTITY)}, ("id",),
    ),
    "a generated column made plain": (
        "users", "users", "ALTER TABLE users ALTER loud DROP EXPRESSION", {("schemas", Kind.GENERATED)}, ("loud",),
    ),
    "a sequence behind its column": (
        "orders", "orders", "SELECT setval(pg_get_serial_sequence('orders', 'id'), 30)",
        {("schemas", Kind.SEQUENCE_BEHIND)}, ("id",),
    ),
    "a missing index": ("orders", "orders", "DROP INDEX a", {("indexes", Kind.MISSING_INDEX)}, ("user_id",)),
    "an extra index": (
        "orders", "tags", "CREATE INDEX ON tags (uses)", {("indexes", Kind.EXTRA_INDEX)}, ("uses",),
    ),
    "an index with another rule": (
        "orders", "orders", "DROP INDEX a; CREATE INDEX a ON orders (user_id DESC)",
        {("indexes", Kind.DIFFERENT_INDEX)}, ("user_id",),
    ),
    "a missing foreign key": (
        "orders", "order_items", "ALTER TABLE order_items DROP CONSTRAINT order_items_order_id_fkey",
        {("constraints", Kind.MISSING_CONSTRAINT)}, ("order_id",),
    ),
    "a missing unique constraint": (
        "users", "users", "ALTER TABLE users DROP CONSTRAINT other_name",
        {("constraints", Kind.MISSING_CONSTRAINT)}, ("email",),
    ),
    "an extra constraint": (
        "orders", "tags", "ALTER TABLE tags ADD CHECK (uses > 0)", {("constraints", Kind.EXTRA_CONSTRAINT)}, ("uses",),
    ),
    "a foreign key with another rule": (
        "orders", "order_items", "ALTER TABLE order_items DROP CONSTRAINT order_items_order_id_fkey,"
        " ADD FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE",
        {("constraints", Kind.DIFFERENT_CONSTRAINT)}, ("order_id",),
    ),
    "a constraint that is not validated": (
        "orders", "orders", "ALTER TABLE orders DROP CONSTRAINT orders_total_check,"
        " ADD CHECK (total >= 0) NOT VALID", {("constraints", Kind.NOT_VALIDATED)}, ("total",),
    ),
    "a derived table without its key": (
        "users", "preferences", "ALTER TABLE preferences DROP CONSTRAINT preferences_pkey",
        {("constraints", Kind.MISSING_CONSTRAINT)}, ("user_id",),
    ),
}  # fmt: skip


@pytest.fixture
def estate(new_database: Callable[..., Any]) -> Iterator[Estate]:
    databases = (new_database("source"), new_database("users"), new_database("orders"))
    fill(*databases)
    yield databases


def test_equal_hostile_databases_give_no_false_alarm(estate: Estate) -> None:
    report = validate(links(*estate), sequences=True)
    assert report.passed, report.text
    assert [result.check for result in report.results] == list(ALL)
    assert not report.mismatches and not report.in_flight
    assert len(report.tables) == 6
    assert len(report.fingerprints) == 4 and all(len(mark.sha256) == 64 for mark in report.fingerprints)


def test_what_the_mapping_leaves_behind_is_information(estate: Estate) -> None:
    report = validate(links(*estate), checks=("schemas", "indexes", "constraints"))
    told = {(m.check, m.table, m.kind, m.columns) for result in report.results for m in result.information}
    assert told == {
        ("schemas", "users", Kind.OMITTED_COLUMN, ("legacy_flag",)),
        ("schemas", "users", Kind.OMITTED_COLUMN, ("theme",)),
        ("schemas", "users", Kind.MISSING_OBJECT, ()),  # the comment on the omitted column
        ("schemas", "outbox", Kind.EXTRA_TABLE, ()),
        ("indexes", "users", Kind.OMITTED_COLUMN, ("legacy_flag",)),
        ("constraints", "orders", Kind.CROSSES_BORDER, ("user_id",)),
    }


@pytest.mark.parametrize("fault", FAULTS)
def test_exactly_the_planted_kind_is_reported(estate: Estate, fault: str) -> None:
    place, table, sql, expected, columns = FAULTS[fault]
    estate[1 if place == "users" else 2].run_script(f"{sql};")
    report = validate(links(*estate), under_writes=False, sequences=True)
    assert {(m.check, m.kind) for m in report.mismatches} == expected
    assert {m.table for m in report.mismatches} == {table}
    assert not any(result.errors for result in report.results)
    if columns:
        assert {m.columns for m in report.mismatches} == {columns}
    assert report.failed == tuple(check for check in ALL if check in {name for name, _ in expected})


def test_an_index_that_is_not_valid_is_reported_as_that_alone(estate: Estate, server: Any) -> None:
    dbname = estate[2].masked_url.rpartition("/")[2]
    server.admin("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'a'::regclass", dbname)
    report = validate(links(*estate), under_writes=False)
    assert [(m.check, m.kind, m.name) for m in report.mismatches] == [("indexes", Kind.INVALID_INDEX, "a")]
