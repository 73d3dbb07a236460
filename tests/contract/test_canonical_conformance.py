"""Bit types and collations on every engine: a row's hash in SQL is that of the reference, whatever calls it equal."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.databases import canonical
from runbook_lib.databases.port import KeyRange, Selection

# Type → bits. Leading zeros count, and 64 bits are more than a signed number holds.
BITS = {
    "bit(1)": ("0", "1"),
    "bit(5)": ("00000", "00011", "11111"),
    "bit(64)": ("0" * 64, "1" * 64, "1" + "0" * 63, "0" * 63 + "1"),
    "bit varying(9)": ("", "0", "00", "000000011", "1"),
}
STORED = {"postgresql": ("{}", "B'{}'"), "mysql": ("{}", "b'{}'"), "sqlite": ("varchar(64)", "'{}'")}

TEXTS = ("a", "A", "ä", "Ä", "a ", " a", "", "ss", "ß", "Straße", "i", "I", "e\u0301", "é", "\t", "a\n", "ÿ")
COLLATED = {
    "postgresql": ("text", 'text COLLATE "C"', 'text COLLATE "POSIX"', "varchar(20) COLLATE ucs_basic"),
    "mysql": (
        "varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
        "longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
        "varchar(20) CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci",
        "varchar(20) CHARACTER SET utf16 COLLATE utf16_unicode_ci",
        "text CHARACTER SET latin1 COLLATE latin1_swedish_ci",
        "varchar(20) CHARACTER SET latin1 COLLATE latin1_german2_ci",
    ),
    "sqlite": ("text", "text COLLATE NOCASE", "text COLLATE RTRIM", "varchar(20) COLLATE NOCASE"),
}
ENGINES = pytest.mark.parametrize("engine", sorted(COLLATED))


def hashes(database: Any, columns: tuple[str, ...], types: tuple[str, ...]) -> list[str]:
    """The hash of each row of `t`, by its number."""
    selection = Selection(database.quote("t"), (database.quote("id"),), tuple(map(database.quote, ("id", *columns))))
    found = database.row_sums(selection, ("bigint", *types), KeyRange(0), canonical=True)
    return [digest for _, digest in sorted(found.items())]


@ENGINES
@pytest.mark.parametrize("kind", BITS)
def test_bits_are_hashed_as_their_text_with_every_zero(new_on: Any, engine: str, kind: str) -> None:
    bits, database = BITS[kind], new_on(engine, "source")
    stored, literal = STORED[engine]
    if "varying" in kind and engine == "mysql":  # which has no such type
        stored, literal = STORED["sqlite"]
    rows = ", ".join(f"({number}, {literal.format(each)})" for number, each in enumerate(bits))
    columns = f"id bigint NOT NULL PRIMARY KEY, b {stored.format(kind)}"
    database.execute(f"CREATE TABLE t ({columns})", f"INSERT INTO t VALUES {rows}")
    expected = [canonical.row_hash([number, each], ["bigint", kind]) for number, each in enumerate(bits)]
    assert hashes(database, ("b",), (kind,)) == expected
    assert len(set(expected)) == len(bits)


@ENGINES
def test_texts_that_a_collation_calls_equal_are_hashed_as_their_own_bytes(new_on: Any, engine: str) -> None:
    database, kinds = new_on(engine, "source"), COLLATED[engine]
    columns, types = tuple(f"c{i}" for i in range(len(kinds))), ("character varying(20)",) * len(kinds)
    written = ", ".join(f"{name} {kind}" for name, kind in zip(columns, kinds, strict=True))
    # What a character set does not hold is NULL there.
    rows = [[number, *(text if fits(text, kind) else None for kind in kinds)] for number, text in enumerate(TEXTS)]
    cells = ["NULL" if cell is None else f"'{cell}'" for row in rows for cell in row]
    told = [f"({', '.join(cells[at : at + len(kinds) + 1])})" for at in range(0, len(cells), len(kinds) + 1)]
    table = f"CREATE TABLE t (id bigint NOT NULL PRIMARY KEY, {written})"
    database.execute(table, f"INSERT INTO t VALUES {', '.join(told)}")
    assert hashes(database, columns, types) == [canonical.row_hash(row, ["bigint", *types]) for row in rows]


def fits(text: str, kind: str) -> bool:
    """Whether the column's character set has these characters."""
    return "latin1" not in kind or text.encode("latin1", errors="ignore").decode("latin1") == text
