"""Values of SQLite: any column keeps any value, and an application may have kept any."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.databases.neutral_type import BITS, FLOATS, MOMENTS, TEXTS, Neutral
from runbook_lib.databases.values import NO_VALUE, MistypedValues, UnsupportedValues, Values

# As PostgreSQL's come to SQLite; they have a rule of their own (`PostgreSQLValues.foreign`).
_NO_NUMBERS = "'NaN', 'Infinity', '-Infinity'"


class SQLiteValues(Values):
    """Five storage classes whatever is declared; dates and times are texts."""

    loose_types = True

    def characters(self, sql: str) -> str:
        return f"length({sql})"

    def octets(self, sql: str) -> str:
        return f"length(CAST({sql} AS BLOB))"

    def number(self, sql: str) -> str:
        return f"CAST({sql} AS REAL)"

    def finer(self, sql: str, scale: int) -> str:
        return f"typeof({sql}) = 'real' AND {super().finer(sql, scale)}"

    def shown(self, sql: str) -> str:  # its texts may hold bytes that no driver gives
        return f"CASE typeof({sql}) WHEN 'text' THEN runbook_shown(CAST({sql} AS BLOB)) ELSE {sql} END"

    def has_nul(self, sql: str) -> str:
        return f"instr({sql}, char(0)) > 0"

    def without_nul(self, sql: str, kind: Neutral) -> str:
        return f"CAST(runbook_without_nul({sql}) AS {kind.text or 'TEXT'})"

    def nul_in_json(self, sql: str) -> str:
        return f"INSTR({sql}, char(92) || 'u0000') > 0"

    def mistyped_values(self, sql: str, kind: Neutral) -> Iterator[MistypedValues]:
        odd = {
            **dict.fromkeys(BITS, f"typeof({sql}) NOT IN ('integer', 'null')"),
            **dict.fromkeys(
                FLOATS, f"typeof({sql}) NOT IN ('real', 'integer', 'null') AND {sql} NOT IN ({_NO_NUMBERS})"
            ),
            "numeric": f"typeof({sql}) = 'blob' OR (typeof({sql}) = 'text' AND {sql} NOT IN ({_NO_NUMBERS})"
            f" AND ({sql} = '' OR {sql} GLOB '*[^-+0-9.eE]*'))",
            "boolean": f"{sql} NOT IN (0, 1, 't', 'true', '1', 'f', 'false', '0')",  # as the load reads them
            **dict.fromkeys(TEXTS, f"typeof({sql}) = 'blob'"),
            "json": f"NOT json_valid({sql})",
        }
        if found := odd.get(kind.kind):
            yield MistypedValues(
                "other_types", f"{NO_VALUE}{kind.text or kind.kind}", f"{sql} IS NOT NULL AND ({found})"
            )
        if kind.kind in TEXTS:
            yield MistypedValues("encoding", "texts that are no UTF-8", f"runbook_unreadable(CAST({sql} AS BLOB))")

    def foreign(
        self, sql: str, here: Neutral, there: Neutral, target: Values, zero_dates: str
    ) -> Iterator[UnsupportedValues]:
        if here.kind in FLOATS and there.kind in FLOATS and not target.keeps_nan:
            yield UnsupportedValues("NaN or infinity", f"{sql} IN (9e999, -9e999)")
        if here.kind in MOMENTS:
            declared = here.text or here.kind
            if "'" not in here.text:
                yield UnsupportedValues(f"{NO_VALUE}{declared}", _no_moment(sql, declared))
            if target.span(here.kind):
                outside = f"{sql} LIKE '%BC' OR {sql} LIKE '%infinity' OR instr({sql}, '-') > 5"
                yield UnsupportedValues("dates that the target has not", outside)


def _no_moment(sql: str, kind: str) -> str:
    """Condition for values that are not what their type says; what SQLite gives back unchanged is."""
    same = f"{'date' if kind == 'date' else 'datetime'}({sql}, '+0 days') IS {sql}"
    return f"{sql} IS NOT NULL AND CASE WHEN {same} THEN 0 ELSE runbook_misfit({sql}, '{kind}') END"
