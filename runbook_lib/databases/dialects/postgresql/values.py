"""Values of PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.databases.neutral_type import FLOATS, MOMENTS, Neutral
from runbook_lib.databases.values import UTF8, UnsupportedValues, Values

_INFINITE = "('NaN', 'Infinity', '-Infinity')"


class PostgreSQLValues(Values):
    """NaN and infinity, in dates too; no NUL characters. What others have not is refused, or kept as text."""

    keeps_nan = True
    keeps_nul = False
    char_ignores_blanks = True

    def characters(self, sql: str) -> str:
        return f"char_length({sql}::text)"

    def octets(self, sql: str) -> str:
        return f"octet_length({sql})"

    def number(self, sql: str) -> str:
        return f"CAST({sql} AS numeric)"

    def finite(self, sql: str) -> str:
        return f"{sql} NOT IN {_INFINITE}"

    def rounded(self, sql: str, scale: int) -> str:
        return f"round({sql}::numeric, {scale})"

    def shortened(self, sql: str, kind: str, digits: int) -> str:
        name, zone = "time" if kind == "time" else "timestamp", " with time zone" if kind == "timestamptz" else ""
        return f"CAST({sql} AS {name}({digits}){zone})"

    def not_utf8(self, sql: str, encoding: str) -> str:
        if encoding != "SQL_ASCII":
            return ""
        return f"NOT (encode(convert_to({sql}::text, 'SQL_ASCII'), 'hex') ~ '{UTF8}')"

    def foreign(
        self, sql: str, here: Neutral, there: Neutral, target: Values, zero_dates: str
    ) -> Iterator[UnsupportedValues]:
        if here.kind in (*FLOATS, "numeric") and there.kind in (*FLOATS, "numeric"):
            kept = target.loose_types and (here.kind != "numeric" or there.text.lower().startswith("decimal text"))
            if not (kept and here.kind == "numeric"):
                odd = "('NaN')" if kept else _INFINITE
                yield UnsupportedValues("NaN or infinity", f"{sql} IN {odd}")
            if here.kind in FLOATS:
                negative = f"{sql} = 0 AND CAST({sql} AS text) = '-0'"
                yield UnsupportedValues("negative zeros", negative, f"CASE WHEN {sql} = 0 THEN '0' ELSE {sql} END")
        if here.kind in MOMENTS and there.kind in MOMENTS and (span := target.span(there.kind)):
            outside = f"NOT isfinite({sql}) OR {sql} < '{span[0]}' OR {sql} >= '{span[1]}'"
            yield UnsupportedValues("dates that the target has not", outside)
