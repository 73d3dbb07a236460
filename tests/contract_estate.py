# ruff: noqa: E501  a row of values is read along its line
"""A schema with every kind of awkward name, type and value (docs/correctness.md#tables-without-a-key), and helpers to compare databases."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from runbook_lib.databases.port import Database, KeyRange, Selection

HOSTILE_SCHEMA = r'''
CREATE TYPE mood AS ENUM ('sad', 'it''s ok', 'ünbeschwert');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE TYPE place AS (street text, "No." integer, feel mood);
CREATE TYPE span AS RANGE (subtype = numeric);
CREATE FUNCTION helper(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)';
CREATE FUNCTION unrelated() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN NEW.note := helper(NEW.note); RETURN NEW; END $$;
CREATE TABLE "Order ""Ünits""" (
  id bigint GENERATED ALWAYS AS IDENTITY (START WITH 5 INCREMENT BY 3) PRIMARY KEY,
  "select" text, "Mixed Case" varchar(40) DEFAULT 'a;b', note text COLLATE "C",
  f4 real, f8 double precision, n numeric, n2 numeric(12,4), b bytea, flag boolean,
  d date, ts timestamp(3), tz timestamptz, t time, ttz timetz, iv interval, u uuid, j json, jb jsonb,
  c char(5), bits bit(3), vb varbit, addr inet, mac macaddr, p point, m money, o oid, rc regclass,
  feeling mood NOT NULL DEFAULT 'sad', moods mood[], ints integer[][], pos positive, spot place, spots place[],
  r int4range, mr int4multirange, sp span, tsv tsvector,
  doubled bigint GENERATED ALWAYS AS (id * 2) STORED,
  CONSTRAINT "odd check" CHECK (n2 IS NULL OR n2 < 1000000)
);
CREATE INDEX "odd index" ON "Order ""Ünits""" (helper(note)) WHERE flag;
CREATE UNIQUE INDEX ON "Order ""Ünits""" ("select", id) INCLUDE (n);
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON "Order ""Ünits""" FOR EACH ROW EXECUTE FUNCTION touch();
COMMENT ON TABLE "Order ""Ünits""" IS 'it''s; a comment';
CREATE TABLE lines (unit bigint REFERENCES "Order ""Ünits""" (id), "no" smallint, what text, PRIMARY KEY (unit, "no"));
CREATE TABLE parted (id integer NOT NULL, day date NOT NULL, v text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE parted_old PARTITION OF parted FOR VALUES FROM (MINVALUE) TO ('2000-01-01');
CREATE TABLE parted_new PARTITION OF parted DEFAULT;
CREATE TABLE keyless (a integer, b text);
CREATE SEQUENCE down INCREMENT BY -5 MAXVALUE 100 START WITH 100;
CREATE TABLE plain_default (id integer PRIMARY KEY DEFAULT nextval('down'), s serial, name text NOT NULL UNIQUE);
CREATE TABLE outside (id integer PRIMARY KEY);
CREATE TABLE bound (id uuid NOT NULL, out_id integer REFERENCES outside (id), UNIQUE (id));
'''
TABLES = ('Order "Ünits"', "lines", "parted", "keyless", "plain_default", "bound")

HOSTILE_ROWS = r'''
SET LOCAL session_replication_role = replica;
INSERT INTO "Order ""Ünits""" (id, "select", "Mixed Case", note, f4, f8, n, n2, b, flag, d, ts, tz, t, ttz, iv, u, j, jb, c,
  bits, vb, addr, mac, p, m, o, rc, feeling, moods, ints, pos, spot, spots, r, mr, sp, tsv) OVERRIDING SYSTEM VALUE VALUES
(1, E'tab\t nl\n cr\r bs\\ quote" apos'' \\N \\.', '', 'NULL', 'NaN', 'NaN', 'NaN', 0.0001, '\x00ff5c270a', true,
 'infinity', '-infinity', 'infinity', '24:00', '12:00+05:30', '1 mon -2 days 03:04:05.678901', gen_random_uuid(),
 '{"a": 1.0, "a": 2,   "b": null}', '{"deep": [[[1e400]]], "k": "\u00e9"}', 'ab', '101', '1', '10.0.0.0/8',
 '08:00:2b:01:02:03', '(1.5,-0)', 12.34, 4294967295, 'lines', 'it''s ok', '{sad,NULL,"it''s ok"}', '{{1,NULL},{3,4}}', 7,
 ROW('St. "A", (x)', -1, 'ünbeschwert'), ARRAY[ROW(NULL, 1, 'sad')::place, NULL], '[1,5)', '{[1,2),[5,9)}', '(0.5,1e10]', 'fat:2 cat'),
(2, '', ' lead and trail  ', E'\\', '-0', '-0', 1e-200, -99999999.9999, '', false, '4713-01-01 BC', '0044-03-15 12:00:00.123 BC',
 '-infinity', '00:00:00.000001', '23:59:59.999999-15:59', '-178000000 years', NULL, 'null', '"\\u0041"', '     ', '000', '',
 '::1', NULL, NULL, -0.01, 0, NULL, 'ünbeschwert', '{}', '{}', NULL, ROW(NULL, NULL, NULL), '{}', 'empty', '{}', '(,)', ''),
(9223372036854775000 / 2, '👩‍👩‍👧 עברית é é  ﷽', E'x\u00a0', repeat('long ü', 30000), 'Infinity', '-Infinity', 1e1000, 1.5000,
 decode(repeat('00', 70000), 'hex'), NULL, '5874897-12-31', '294276-12-31 23:59:59.999', '0001-01-01 00:00:00+00 BC', NULL, NULL,
 NULL, NULL, '[]', 'null', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
 'sad', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO "Order ""Ünits""" (id, f4, f8, n, n2) OVERRIDING SYSTEM VALUE VALUES (-5, 1.1754944e-38, 5e-324, 0.00, 0);
INSERT INTO "Order ""Ünits""" (id, "select", f8) OVERRIDING SYSTEM VALUE
  SELECT g + 100, 'row ' || g, 1.0 / g FROM generate_series(1, 400) AS g;
INSERT INTO lines SELECT 101 + g / 3, g % 3, md5(g::text) FROM generate_series(1, 500) AS g;
INSERT INTO parted SELECT g, date '1999-06-01' + g, 'v' || g FROM generate_series(1, 500) AS g;
INSERT INTO keyless SELECT g % 7, CASE WHEN g % 2 = 0 THEN 'twice' END FROM generate_series(1, 3000) AS g;
INSERT INTO plain_default (name) SELECT chr(g) || 'Ä' || g FROM generate_series(33, 126) AS g;
INSERT INTO outside SELECT generate_series(1, 3);
INSERT INTO bound SELECT gen_random_uuid(), 1 + g % 3 FROM generate_series(1, 100) AS g;
'''


def selection(database: Database, table: str, *, keyless: bool = False) -> Selection:
    """A whole table as the copy reads it: without generated columns."""
    described = database.catalog([table])[table]
    columns = tuple(database.quote(column.name) for column in described.columns if not column.generated)
    key = () if keyless else tuple(database.quote(name) for name in described.key)
    return Selection(database.quote(table), key, columns)


def copy_table(
    source: Database, target: Database, table: str, rows_per_range: int = 90, binary: bool | None = None
) -> int:
    """Copy one table by ranges; the rows written."""
    described = target.catalog([table])[table]
    columns = [column for column in described.columns if not column.generated]
    chosen = target.binary_safe([column.type for column in columns]) if binary is None else binary
    reading = selection(source, table)
    return sum(
        target.copy_in(
            table, [c.name for c in columns], source.copy_out(reading, key_range, binary=chosen), binary=chosen
        )
        for key_range in source.ranges(reading, rows_per_range)
    )


def contents(database: Database, table: str) -> list[Any]:
    """Every row in its text form, sorted bytewise: generated columns too."""
    return database.rows(f'SELECT t::text COLLATE "C" FROM {database.quote(table)} AS t ORDER BY 1')


def covered(database: Database, reading: Selection, ranges: Iterable[KeyRange]) -> int:
    """Rows that come out of all ranges together."""
    return sum(b"".join(database.copy_out(reading, key_range, binary=False)).count(b"\n") for key_range in ranges)
