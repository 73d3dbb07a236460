"""The queries of a workload: the same on both sides, with parameters that are drawn from the data.

sql:
  - name: an order with its items
    weight: 25
    service: order_service      # left out: the plan's only one
    sql: "SELECT * FROM orders WHERE id = :id AND status = :status"
    target: "SELECT …"          # what the target is asked instead, where its tables are others
    params: {"id, status": "SELECT id, status FROM orders"}   # asked of the source, once; columns by these names
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from runbook_lib.databases.port import Database
from runbook_lib.errors import ConfigurationError
from runbook_lib.plan.yaml_value import Value

MOST_DRAWN = 1_000  # rows of a parameter's query that are kept: spread over all that it found
_PARAMETER = re.compile(r"(?<![:\w\\]):([a-z_]\w*)(?!:)", re.I)


@dataclass(frozen=True)
class Statement:
    """A query ready to be run at the source (`sql`) or at the target of a service (`target`)."""

    name: str
    service: str
    sql: str
    target: str
    params: Mapping[str, Any]


@dataclass(frozen=True)
class StatementTemplate:
    """One kind of query.

    Attributes:
        sql: With `:name` for each parameter.
        target: What the target is asked; "": the same.
        params: Names, with commas between them → the query whose rows they are drawn from.
        drawn: For each entry of `params`, the rows that were found.
    """

    sql: str
    name: str = ""
    weight: float = 1.0
    service: str = ""
    target: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    drawn: tuple[tuple[Mapping[str, Any], ...], ...] = ()

    def filled(self, pick: random.Random) -> Statement:
        """One statement of this kind."""
        values = {name: value for rows in self.drawn for name, value in pick.choice(rows).items()}
        return Statement(self.name, self.service, self.sql, self.target or self.sql, values)


def draw(template: StatementTemplate, source: Database) -> StatementTemplate:
    """The template with the rows that its parameters are drawn from.

    Raises:
        DatabaseError: the source refused a query.
        ConfigurationError: a query finds no row, or another number of columns than it has names.
    """
    return replace(template, drawn=tuple(_drawn(template, source, *one) for one in template.params.items()))


def _drawn(template: StatementTemplate, source: Database, listed: str, query: str) -> tuple[Mapping[str, Any], ...]:
    names, found, subject = _names(listed), source.rows(query), f"workload: params of {template.name}"
    if not found:
        raise ConfigurationError(subject, f"no row is found by {query}", action="name rows that the source has")
    if len(found[0]) != len(names):
        expected = f"{len(names)} ({', '.join(names)})"
        raise ConfigurationError(subject, f"{len(found[0])} columns are found by {query}", expected=expected)
    step = max(1, len(found) // MOST_DRAWN)
    return tuple(dict(zip(names, row, strict=True)) for row in found[::step][:MOST_DRAWN])


def read_statement(value: Value) -> StatementTemplate:
    """One entry of `sql:`.

    Raises:
        PlanError: an unknown key or parameter, no text, a weight that is not a number.
    """
    known = [name for name in StatementTemplate.__dataclass_fields__ if name != "drawn"]
    fields = value.fields("a query", known)
    if "sql" not in fields:
        raise value.error("a query has no sql", expected='sql: "SELECT …"')
    texts = {name: _sql(fields[name], name) for name in ("sql", "target") if name in fields}
    listed = fields["params"].entries("params") if "params" in fields else []
    params = {entry.name: _sql(entry.value, entry.name) for entry in listed}
    given = {name for names in params for name in _names(names)}
    for name, text in texts.items():
        if wrong := sorted(given.symmetric_difference(_PARAMETER.findall(text))):
            said = f"unknown parameter :{wrong[0]}" if wrong[0] not in given else f"no `:{wrong[0]}` in {name}"
            raise fields[name].error(said, expected="each name of `params` once or more, and no other")
    return StatementTemplate(
        texts["sql"],
        name=fields["name"].text("name") if "name" in fields else " ".join(texts["sql"].split()),
        weight=read_weight(fields["weight"]) if "weight" in fields else 1.0,
        service=fields["service"].text("service") if "service" in fields else "",
        target=texts.get("target", ""),
        params=params,
    )


def _sql(value: Value, what: str) -> str:
    value.text(what)  # says where it is none
    return str(value.plain())  # as written: a literal keeps its spaces


def read_weight(value: Value, what: str = "weight") -> float:
    """A number over 0."""
    weight = value.plain()
    if isinstance(weight, bool) or not isinstance(weight, int | float) or weight <= 0:
        raise value.error(f"{what} is `{weight}`", expected="a number over 0")
    return weight


def _names(listed: str) -> Sequence[str]:
    return [name.strip() for name in listed.split(",")]
