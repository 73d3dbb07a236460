"""Values read through an expression and as a plain column are made comparable in one form."""

from __future__ import annotations

from decimal import Decimal

import pytest

from runbook_lib.validation.rows.row_pairs import _form


@pytest.mark.parametrize("value", [Decimal("12.50"), Decimal("0"), Decimal("-1E+3"), Decimal("NaN"), "7.1"])
@pytest.mark.parametrize("across", [False, True])
def test_a_decimal_is_the_same_read_through_an_expression_and_as_a_column(value: object, across: bool):
    column = _form("numeric(12,2)", "numeric(12,2)", across=across)
    assert column(value) == _form("numeric(12,2)", "", across=across)(value)


def test_digits_beyond_the_columns_own_scale_are_seen_within_one_engine_too():
    assert _form("decimal(10,2)", "decimal(10,2)", across=False)("11.8881") == "11.8881"
