"""Values of MySQL and MariaDB."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.databases.neutral_type import MOMENTS, TEXTS, Neutral
from runbook_lib.databases.values import UTF8, UnsupportedValues, Values

_LAST_BIGINT = 2**63 - 1
_GARBLED = 100  # characters that are searched for bytes of another character set


class MySQLValues(Values):
    """Zero dates, times beyond a day, unsigned numbers, booleans that are numbers."""

    zero_dates = True
    boolean_is_number = True
    empty_enums = True
    zone_in_columns_only = True
    char_without_blanks = True

    def characters(self, sql: str) -> str:
        return f"CHAR_LENGTH({sql})"

    def octets(self, sql: str) -> str:
        return f"LENGTH({sql})"

    def shortened(self, sql: str, kind: str, digits: int) -> str:
        return f"CAST({sql} AS {'time' if kind == 'time' else 'datetime'}({digits}))"

    def span(self, kind: str) -> tuple[str, str] | None:
        if kind == "timestamptz":  # TIMESTAMP: 32 bits of seconds
            return "1970-01-01 00:00:01", "2038-01-19 03:14:08"
        return "0001-01-01", "10000-01-01"

    def has_nul(self, sql: str) -> str:
        return f"INSTR(CAST({sql} AS BINARY), x'00') > 0"

    def without_nul(self, sql: str, kind: Neutral) -> str:
        return f"REPLACE({sql}, CHAR(0 USING utf8mb4), '')"

    def nul_in_json(self, sql: str) -> str:
        return f"INSTR({sql}, CONCAT(CHAR(92), 'u0000')) > 0"

    def utf8_misread(self, sql: str, collation: str) -> str:
        if not collation.startswith("latin1"):
            return ""
        # A client that spoke UTF-8 to a table of latin1; the beginning is enough, and cheap.
        start = f"CAST(LEFT({sql}, {_GARBLED}) AS BINARY)"
        # Told a collation: the other side has the character set's own, and two of columns do not mix.
        other = f"{sql} <> CONVERT(CONVERT({sql} USING ascii) USING latin1) COLLATE latin1_bin"
        return f"LOWER(HEX({start})) REGEXP '{UTF8}' AND {other}"

    def foreign(
        self, sql: str, here: Neutral, there: Neutral, target: Values, zero_dates: str
    ) -> Iterator[UnsupportedValues]:
        if there.kind in TEXTS and zero_dates == "error" and here.kind in (*MOMENTS, "time"):
            return  # declared as text: it takes whatever the source has
        if here.kind in MOMENTS:
            yield UnsupportedValues("zero dates", f"{sql} = 0", _instead_of_zero(sql, here, zero_dates))
            if there.kind not in TEXTS:
                part = f"{sql} <> 0 AND (MONTH({sql}) = 0 OR DAYOFMONTH({sql}) = 0)"
                yield UnsupportedValues("dates with a month or day of 0", part)
        elif here.kind == "time" and there.kind == "time":
            yield UnsupportedValues("times outside of a day", f"{sql} < '00:00:00' OR {sql} > '24:00:00'")
        elif here.kind == "boolean" and there.kind == "boolean":
            yield UnsupportedValues("numbers that are neither 0 nor 1", f"{sql} NOT IN (0, 1)")
        elif here.kind == "bigint" and here.unsigned and there.kind == "bigint":
            yield UnsupportedValues("numbers beyond bigint", f"{sql} > {_LAST_BIGINT}")


def _instead_of_zero(sql: str, here: Neutral, zero_dates: str) -> str:
    if zero_dates == "error":
        return ""
    if zero_dates == "null":
        return f"NULLIF({sql}, 0)"
    day = "DATE'{}'" if here.kind == "date" else "TIMESTAMP'{} 00:00:00'"
    return f"IF({sql} = 0, {day.format(zero_dates)}, {sql})"  # a NULL stays one
