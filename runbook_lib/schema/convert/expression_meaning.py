"""Whether an expression means the same on both engines, for its columns' types and collations; its words there.

Words and signs are not enough: the difference of two dates is days in PostgreSQL and a difference of numbers in
MariaDB; `role = 'ADMIN'` is another rule where a collation folds case, and `code <> ''` where one pads with spaces;
a quotient of integers, a cast that rounds, LIKE in SQLite. What no rule here allows is not carried over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from runbook_lib.databases import sql_text
from runbook_lib.databases.dialect import BLIND as BLIND
from runbook_lib.databases.dialect import EXACT, dialect_of
from runbook_lib.databases.dialect import PADDED as PADDED
from runbook_lib.databases.port import Column
from runbook_lib.schema.convert.expression_tree import Tree, Unreadable, columns_of, read
from runbook_lib.schema.convert.types import Neutral, read_type

FAMILIES = {
    "tinyint": "integer", "smallint": "integer", "integer": "integer", "bigint": "integer", "numeric": "numeric",
    "double": "double", "real": "real", "boolean": "boolean", "text": "text", "varchar": "text", "char": "char",
    "enum": "enum", "date": "date", "timestamp": "timestamp", "timestamptz": "instant", "uuid": "uuid",
}  # fmt: skip
_NUMBERS = ("integer", "numeric")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_MOST_DECIMALS = 30  # of MySQL's decimal


@dataclass(frozen=True)
class TypedExpression:
    """What a value of an expression is.

    Attributes:
        family: One of FAMILIES' values, "null", "literal" (a text that takes the other side's type) or "other".
        collation: Of texts: exact, padded (trailing spaces do not count) or blind (case or accents do not count).
        scale: Digits behind the point; None: not limited.
        labels: Of an enum.
        literal: Whether it is a constant.
        worked: Whether it is the result of arithmetic.
    """

    family: str
    collation: str = EXACT
    scale: int | None = 0
    labels: tuple[str, ...] = ()
    literal: bool = False
    worked: bool = False
    unsigned: bool = False


def typed(column: Column, neutral: Neutral, source: str, target: str) -> TypedExpression:
    """What a column is, as far as both engines agree on it."""
    family = FAMILIES.get(neutral.kind, "other")
    scale: int | None = 0
    if neutral.kind == "numeric":
        scale = (neutral.modifiers[1] if len(neutral.modifiers) > 1 else 0) if neutral.modifiers else None
    if loose(source, target):
        long = neutral.kind == "numeric" and (not neutral.modifiers or neutral.modifiers[0] > 15)
        if long or (neutral.kind == "bigint" and neutral.unsigned) or "decimal text" in neutral.text.lower():
            family = "other"  # a text there
    return TypedExpression(
        family, dialect_of(source).collation(column.collation), scale, neutral.labels, unsigned=neutral.unsigned
    )


def loose(source: str, target: str) -> bool:
    """Whether one of them keeps numbers and moments otherwise than they are declared."""
    return dialect_of(source).loose_types or dialect_of(target).loose_types


class DifferentMeaning(ValueError):
    """The expression may mean something else at the target."""


@dataclass
class Translator:
    """One table's expressions on their way from one engine to another."""

    columns: Mapping[str, TypedExpression]
    source: str
    target: str
    quote: Callable[[str], str]

    def condition(self, text: str) -> str | None:
        """A check or an index's condition in the target's words; None where it may mean something else there."""
        try:
            tree = read(text, self.source, self.columns)
            found, sql = self._of(tree)
        except (Unreadable, DifferentMeaning):
            return None
        return sql if found.family == "boolean" else None

    def generated(self, text: str, result: TypedExpression) -> str | None:
        """A generated column's expression; the values must be of the column's own type, without a rounding."""
        try:
            tree = read(text, self.source, self.columns)
            found, sql = self._of(tree)
        except (Unreadable, DifferentMeaning):
            return None
        return sql if self._fits(found, result) else None

    def named(self, text: str) -> set[str]:
        """The columns that an expression names; none of one that cannot be read."""
        try:
            return columns_of(read(text, self.source, self.columns))
        except Unreadable:
            return set()

    def _fits(self, found: TypedExpression, result: TypedExpression) -> bool:
        if result.family == "numeric" and found.family in _NUMBERS:
            if found.scale is None or result.scale is None:
                return False
            return found.scale <= result.scale or not loose(self.source, self.target)
        if result.family == "text":
            return found.family in ("text", "literal")
        return result.family == found.family and result.family in ("integer", "double", "boolean", "date", "timestamp")

    def _wrapped(self, sql: str) -> str:
        return _wrapped(sql, self.target)

    def _of(self, tree: Tree) -> tuple[TypedExpression, str]:
        kind = tree[0]
        if kind == "column":
            return self.columns[tree[1]], self.quote(tree[1])
        if kind in ("number", "string", "null", "true", "false"):
            return self._literal(tree)
        if kind == "cast":
            return self._cast(tree[1], tree[2])
        if kind in ("and", "or", "not", "is null"):
            return self._logical(kind, tree[1:])
        if kind in ("=", "<>", "<", ">", "<=", ">=", "like", "in"):
            return self._comparison(kind, tree[1:])
        if kind in ("+", "-", "*", "neg", "abs"):
            return self._arithmetic(kind, tree[1:])
        if kind == "||":
            return self._joined(tree[1], tree[2])
        if kind == "nullif":
            self._comparison("=", tree[1:])
            (found, one), (_, other) = self._alike([tree[1], tree[2]])
            return found, f"NULLIF({one}, {other})"
        if kind == "coalesce":
            parts = self._alike(tree[1:])
            return self._united(parts), f"COALESCE({', '.join(sql for _, sql in parts)})"
        return self._case(tree)

    def _literal(self, tree: Tree) -> tuple[TypedExpression, str]:
        kind = tree[0]
        if kind == "number":
            number = Decimal(tree[1])
            scale = max(0, -int(number.as_tuple().exponent))
            return TypedExpression(
                "numeric" if scale or "e" in tree[1].lower() else "integer", scale=scale, literal=True
            ), tree[1]
        if kind == "string":
            return TypedExpression("literal", literal=True), dialect_of(self.target).string(tree[1])
        if kind == "null":
            return TypedExpression("null", literal=True), "NULL"
        return TypedExpression("boolean", literal=True), dialect_of(self.target).boolean(value=kind == "true")

    def _cast(self, kind: str, tree: Tree) -> tuple[TypedExpression, str]:
        """Only casts that change nothing, or give a constant its type."""
        if tree[0] == "string":
            return self._typed_text(kind, tree[1])
        found, sql = self._of(tree)
        wanted = FAMILIES.get(read_type(kind, self.source).kind, "other")
        plain = "(" not in kind
        widened = (found.family, wanted) in (("integer", "numeric"), ("integer", "double"))
        if found.family == "null" or (plain and (wanted == found.family or widened)):
            numeric = found.family == "numeric"
            return replace(found, family=wanted, scale=found.scale if numeric else 0), sql
        if found.family == "literal" and plain and wanted == "text":
            return found, sql
        raise DifferentMeaning(kind)

    def _typed_text(self, kind: str, text: str) -> tuple[TypedExpression, str]:
        family = FAMILIES.get(read_type(kind, self.source).kind, "other")
        if family in ("text", "char") or family == "other":  # a user's type: its column says whether that is an enum
            known = family != "other" or any(each.family == "enum" for each in self.columns.values())
            if not known or "(" in kind:
                raise DifferentMeaning(kind)
            return self._literal(("string", text))
        if family in ("integer", "numeric", "double") and _NUMBER.fullmatch(text):
            found, sql = self._literal(("number", text.lstrip("+-")))
            wide = found if family != "double" else replace(found, family="double")
            return wide, f"-{sql}" if text[:1] == "-" else sql
        if family == "date" and _DATE.fullmatch(text):
            return TypedExpression("date", literal=True), dialect_of(self.target).date(text)
        raise DifferentMeaning(kind)

    def _logical(self, kind: str, operands: tuple[Tree, ...]) -> tuple[TypedExpression, str]:
        parts = [self._of(each) for each in operands]
        if kind == "is null":
            return TypedExpression("boolean"), f"{self._wrapped(parts[0][1])} IS NULL"
        if any(found.family not in ("boolean", "null") for found, _ in parts):
            raise DifferentMeaning(kind)
        if kind == "not":
            inner = parts[0][1]
            if inner.endswith(" IS NULL") and operands[0][0] == "is null":
                return TypedExpression("boolean"), f"{inner.removesuffix(' IS NULL')} IS NOT NULL"
            return TypedExpression("boolean"), f"NOT {self._wrapped(inner)}"
        return TypedExpression("boolean"), f" {kind.upper()} ".join(self._wrapped(sql) for _, sql in parts)

    def _comparison(self, kind: str, operands: tuple[Tree, ...]) -> tuple[TypedExpression, str]:
        parts = self._alike(operands)
        found = self._united(parts)
        ordering = kind in ("<", ">", "<=", ">=")
        self._comparable(found, parts, ordering=ordering, like=kind == "like")
        if found.family in ("text", "literal") and kind != "like":
            parts = [(t, sql if t.literal else dialect_of(self.target).bytewise(sql)) for t, sql in parts]
        texts = [self._wrapped(sql) for _, sql in parts]
        if kind == "in":
            return TypedExpression("boolean"), f"{texts[0]} IN ({', '.join(sql for _, sql in parts[1:])})"
        return TypedExpression("boolean"), f"{texts[0]} {kind.upper()} {texts[1]}"

    def _comparable(
        self, found: TypedExpression, parts: list[tuple[TypedExpression, str]], *, ordering: bool, like: bool
    ) -> None:
        loosely = loose(self.source, self.target)
        family = found.family
        collations = {
            each.collation for each, _ in parts if not each.literal and each.family in ("text", "enum", "char")
        }
        if family in ("text", "literal"):
            good = collations <= {EXACT} and not ordering and not (like and loosely)
        elif like:
            good = False
        elif family == "char":
            source, target = dialect_of(self.source), dialect_of(self.target)
            good = source.char_ignores_blanks and target.char_without_blanks and not ordering
        elif family == "enum":
            good = not ordering
        elif family in _NUMBERS:
            good = not loosely or not any(each.worked and each.family == "numeric" for each, _ in parts)
        elif family == "real":
            good = all(not each.literal or each.family == "integer" for each, _ in parts)
        elif family == "boolean":
            good = not ordering
        elif family in ("timestamp", "instant"):
            good = not loosely and not any(each.literal for each, _ in parts)
        else:
            good = family in ("double", "date")
        if not good:
            raise DifferentMeaning(family)

    def _arithmetic(self, kind: str, operands: tuple[Tree, ...]) -> tuple[TypedExpression, str]:
        parts = [self._of(each) for each in operands]
        families = {found.family for found, _ in parts}
        if not families <= {"integer", "numeric", "double"} or (len(families) > 1 and "double" in families):
            raise DifferentMeaning(kind)
        if kind in ("-", "neg") and any(found.unsigned for found, _ in parts):
            raise DifferentMeaning(kind)
        scale = _scale([found for found, _ in parts], sum if kind == "*" else max)
        family = "integer" if families == {"integer"} else "double" if "double" in families else "numeric"
        if family == "numeric" and (scale is None or scale > _MOST_DECIMALS):
            raise DifferentMeaning(kind)
        if families == {"integer"}:
            large = dialect_of(self.target).large
            parts = [(t, sql if t.literal or t.worked else large(sql)) for t, sql in parts]
        found = TypedExpression(family, scale=scale, worked=True, literal=all(t.literal for t, _ in parts))
        texts = [self._wrapped(sql) for _, sql in parts]
        if kind == "neg":
            bare = f"({texts[0]})" if texts[0].startswith("-") else texts[0]  # two signs would begin a comment
            return replace(found, worked=not found.literal), f"-{bare}"
        if kind == "abs":
            return found, f"ABS({parts[0][1]})"
        return found, f"{texts[0]} {kind} {texts[1]}"

    def _joined(self, one: Tree, other: Tree) -> tuple[TypedExpression, str]:
        parts = [self._of(one), self._of(other)]
        if any(found.family not in ("text", "literal") for found, _ in parts):
            raise DifferentMeaning("||")
        return TypedExpression("text"), dialect_of(self.target).joined(parts[0][1], parts[1][1], self._wrapped)

    def _case(self, tree: Tree) -> tuple[TypedExpression, str]:
        operand, *rest = tree[1:]
        whens, thens = rest[:-1:2], [*rest[1:-1:2], rest[-1]]
        results = self._alike(thens)
        said = []
        for when, (_, then) in zip(whens, results, strict=False):
            condition = ("=", operand, when) if operand else when
            found, sql = self._of(condition)
            if found.family != "boolean":
                raise DifferentMeaning("CASE")
            said.append(f"WHEN {sql} THEN {then}")
        return self._united(results), f"CASE {' '.join(said)} ELSE {results[-1][1]} END"

    def _alike(self, trees: Any) -> list[tuple[TypedExpression, str]]:
        """Operands that have to be of one type: constants take the type of what they stand beside."""
        parts = [self._of(each) for each in trees]
        families = {found.family for found, _ in parts} - {"literal", "null"}
        if families & {"boolean"} and families <= {"boolean", "integer"}:
            return [self._truth(tree, part) for tree, part in zip(trees, parts, strict=True)]
        if families == {"date"} and any(found.family == "literal" for found, _ in parts):
            return [self._dated(tree, part) for tree, part in zip(trees, parts, strict=True)]
        if families == {"enum"}:
            labels = {each.labels for each, _ in parts if each.family == "enum"}
            said = {tree[1] for tree in map(_bare, trees) if tree[0] == "string"}
            if len(labels) != 1 or not said <= set(labels.pop()):
                raise DifferentMeaning("enum")
        elif "literal" in {found.family for found, _ in parts} and not families <= {"text", "char"}:
            raise DifferentMeaning("a text beside another type")
        return parts

    def _truth(self, tree: Tree, part: tuple[TypedExpression, str]) -> tuple[TypedExpression, str]:
        """1 and 0 beside a boolean."""
        if part[0].family != "integer":
            return part
        if tree[0] != "number" or tree[1] not in ("0", "1"):
            raise DifferentMeaning("a number beside a boolean")
        return self._literal(("true",) if tree[1] == "1" else ("false",))

    def _dated(self, tree: Tree, part: tuple[TypedExpression, str]) -> tuple[TypedExpression, str]:
        if part[0].family != "literal":
            return part
        if tree[0] != "string" or not _DATE.fullmatch(tree[1]):
            raise DifferentMeaning("a text beside a date")
        return TypedExpression("date", literal=True), dialect_of(self.target).date(tree[1])

    def _united(self, parts: list[tuple[TypedExpression, str]]) -> TypedExpression:
        """The type of what may be any of these."""
        known = [found for found, _ in parts if found.family not in ("literal", "null")]
        if not known:
            return parts[0][0]
        families = {found.family for found in known}
        if families == {"integer", "numeric"}:
            families = {"numeric"}
        if families == {"double", "integer"} and all(f.literal for f in known if f.family == "integer"):
            families = {"double"}
        if families in ({"double", "numeric"}, {"real", "integer"}):
            families = {"double"} if "double" in families else {"real"}
            if any(not f.literal for f in known if f.family in _NUMBERS):
                raise DifferentMeaning("mixed numbers")
        if len(families) > 1:
            raise DifferentMeaning(" and ".join(sorted(families)))
        scale = _scale(known, max)
        return TypedExpression(families.pop(), scale=scale, worked=any(found.worked for found in known))


def _scale(operands: list[TypedExpression], together: Callable[[list[int]], int]) -> int | None:
    """Of a result; None where an operand's is not limited."""
    scales = [found.scale for found in operands if found.scale is not None]
    return together(scales) if len(scales) == len(operands) else None


def _bare(tree: Tree) -> Tree:
    return _bare(tree[2]) if tree[0] == "cast" else tree


def _wrapped(sql: str, dialect: str) -> str:
    """In parentheses, unless it is one word, name, literal or call."""
    found = sql_text.code(sql, dialect)
    call = len(found) > 2 and found[0].kind == sql_text.WORD and found[1].text == "("
    whole = call and found[-1].text == ")" and sql_text.depths(found)[2:-1].count(0) == 0
    constant = (
        len(found) == 2 and (found[0].text in ("-", "DATE")) and found[1].kind in (sql_text.NUMBER, sql_text.STRING)
    )
    return sql if len(found) == 1 or whole or constant else f"({sql})"
