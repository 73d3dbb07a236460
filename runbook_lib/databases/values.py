"""What values an engine has, and how its SQL measures them and finds those that another engine has not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from runbook_lib.databases.neutral_type import Neutral

NO_VALUE = "values that are no "  # and the declared type
# Bytes of UTF-8 in hexadecimal, as a regular expression: no engine has a function that tells.
UTF8 = (
    "^([0-7].|(c[2-9a-f]|d.)[89ab].|e0[ab].[89ab].|(e[1-9a-c]|e[ef])([89ab].){2}|ed[89].[89ab].|f0[9ab].([89ab].){2}"
    "|f[1-3]([89ab].){3}|f48.([89ab].){2})*$"
)


class UnsupportedValues(NamedTuple):
    """Values that a type of another engine has not: the condition that finds them, and what may replace them.

    `instead` is an expression; "": the target refuses them.
    """

    name: str
    found: str
    instead: str = ""


class MistypedValues(NamedTuple):
    """Values that a column holds although its type says otherwise; `kind` as the plan accepts the finding."""

    kind: str
    name: str
    found: str


class Values:
    """The part of a dialect that is about values. `sql` below is an expression of this engine.

    Attributes:
        loose_types: Any column keeps any value; exact numbers of many digits, dates and times are texts.
        keeps_nan: Its numbers may be NaN.
        keeps_nul: Its texts may hold NUL characters.
        zero_dates: It has dates of 0.
        boolean_is_number: A boolean is a number.
        empty_enums: An enum may hold an empty text that is none of its labels.
        zone_in_columns_only: A column's moment has its zone, an expression's has lost it.
        char_ignores_blanks: Blanks at the end of a CHAR do not count when it is compared.
        char_without_blanks: A CHAR is read without the blanks at its end.
    """

    loose_types: bool = False
    keeps_nan: bool = False
    keeps_nul: bool = True
    zero_dates: bool = False
    boolean_is_number: bool = False
    empty_enums: bool = False
    zone_in_columns_only: bool = False
    char_ignores_blanks: bool = False
    char_without_blanks: bool = False

    # -- measured ---
    def characters(self, sql: str) -> str:
        """How many characters a value has."""
        raise NotImplementedError

    def octets(self, sql: str) -> str:
        """How many bytes a value has."""
        raise NotImplementedError

    def number(self, sql: str) -> str:
        """A number whose digits can be counted."""
        return sql

    def finite(self, sql: str) -> str:
        """The condition that a number that is no integer is one at all; "" where every such number is."""
        return ""

    def rounded(self, sql: str, scale: int) -> str:
        """A number with so many digits behind the point."""
        return f"ROUND({sql}, {scale})"

    def finer(self, sql: str, scale: int) -> str:
        """The condition that a number has more digits behind the point."""
        number = self.number(sql)
        return f"{number} <> {self.rounded(number, scale)}"

    def shortened(self, sql: str, kind: str, digits: int) -> str:
        """A moment of this neutral kind with so many digits of a second; "" where it is kept as a text."""
        return ""

    def span(self, kind: str) -> tuple[str, str] | None:
        """The first moment of a neutral kind, and the one after the last; None: no engine has earlier or later ones."""
        return None

    def shown(self, sql: str) -> str:
        """A value for a person."""
        return sql

    # -- found ---
    def has_nul(self, sql: str) -> str:
        """The condition that a text holds NUL characters, where it may (`keeps_nul`)."""
        raise NotImplementedError

    def without_nul(self, sql: str, kind: Neutral) -> str:
        """The text without them."""
        raise NotImplementedError

    def nul_in_json(self, sql: str) -> str:
        """The condition that texts within JSON hold them."""
        raise NotImplementedError

    def not_utf8(self, sql: str, encoding: str) -> str:
        """The condition that a text's bytes are no UTF-8; "" where the database's encoding makes sure of it."""
        return ""

    def utf8_misread(self, sql: str, collation: str) -> str:
        """The condition that UTF-8 was written into a text of another character set; "" where it cannot be told."""
        return ""

    def mistyped_values(self, sql: str, kind: Neutral) -> Iterator[MistypedValues]:
        """Values that the column's own type does not mean (`loose_types`)."""
        yield from ()

    def foreign(
        self, sql: str, here: Neutral, there: Neutral, target: Values, zero_dates: str
    ) -> Iterator[UnsupportedValues]:
        """Values of this engine that another one's type has not, in the order in which they are replaced.

        Args:
            here: The type of `sql`.
            there: The target's type.
            target: The target's engine.
            zero_dates: The plan's policy: `error`, `null`, `text`, or a date.
        """
        raise NotImplementedError
