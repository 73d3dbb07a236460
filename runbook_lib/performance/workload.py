"""The workload of a plan: weighted requests and queries with parameters, and the smoke tests of its critical features.

rate: 50                      # requests and queries that leave each second, together
round: 1 s                    # of one side, in turns of `turn: 200 ms`; `warmup: 100 ms` is sent before, not counted
parameters: {user_id: {from: 1, to: 50}, theme: [light, dark]}
requests:
  - {name: read a user, weight: 40, path: "/api/users/{user_id}"}
  - {name: set the theme, weight: 5, method: PUT, path: "/api/users/{user_id}/preferences",
     headers: {idempotency-key: "{uuid}"}, body: {theme: "{theme}"}}
sql:                          # performance/statements.py
  - {name: a user by email, weight: 10, sql: "SELECT * FROM users WHERE email = :email",
     params: {email: "SELECT email FROM users"}}
smoke:
  - {name: a user, path: /api/users/1, keys: [id, email]}
"""

from __future__ import annotations

import json
import random
import string
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runbook_lib.performance.statements import Statement, StatementTemplate, read_statement, read_weight
from runbook_lib.plan.units import read_duration
from runbook_lib.plan.yaml_value import Value, read_file
from runbook_lib.services.smoke import SmokeRequest, smoke_requests

_KEYS = ("rate", "round", "turn", "warmup", "parameters", "requests", "sql", "smoke")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
Parameter = tuple[Any, ...] | range


@dataclass(frozen=True)
class RequestTemplate:
    """One kind of request; `path`, `headers` and `body` may hold `{parameter}`; any 2xx is `ok`."""

    path: str
    name: str = ""
    method: str = "GET"
    weight: float = 1.0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


@dataclass(frozen=True)
class Request:
    """A request ready to be sent."""

    name: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Load:
    """How much, how long.

    Attributes:
        rate_per_s: Requests that leave each second (count).
        duration_s: Of one round (seconds).
        warmup_s: Sent before and not counted (seconds).
        timeout_s: A request without its whole answer by then is an error (seconds).
        turn_s: A round is sent in turns of about so long, the sides alternating (seconds).
    """

    rate_per_s: float = 50.0
    duration_s: float = 1.0
    warmup_s: float = 0.1
    timeout_s: float = 10.0
    turn_s: float = 0.2


@dataclass(frozen=True)
class Workload:
    """What to send, how often, and what must work."""

    requests: tuple[RequestTemplate, ...]
    smoke: tuple[SmokeRequest, ...] = ()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    statements: tuple[StatementTemplate, ...] = ()
    load: Load = Load()

    def stream(self, seed: int = 0) -> Iterator[Request | Statement]:
        """Work without end, picked by weight; the same seed gives the same, so two sides get equal work."""
        pick = random.Random(seed)  # noqa: S311  a load pattern that can be repeated, not a secret
        templates: tuple[RequestTemplate | StatementTemplate, ...] = (*self.requests, *self.statements)
        weights = [template.weight for template in templates]
        while True:
            template = pick.choices(templates, weights)[0]
            if isinstance(template, StatementTemplate):
                yield template.filled(pick)
                continue
            values = {name: pick.choice(choices) for name, choices in self.parameters.items()}
            yield _filled(template, {**values, "uuid": uuid.UUID(int=pick.getrandbits(128), version=4)})


def load_workload(path: Path) -> Workload:
    """Read a workload file.

    Raises:
        PlanError: missing, not YAML, an unknown key or parameter, a weight that is not a number; with file and line.
    """
    fields = read_file(path, "workload").fields("the workload", _KEYS)
    listed = {name: fields[name].items(name) if name in fields else [] for name in ("requests", "sql", "smoke")}
    given = fields["parameters"].entries("parameters") if "parameters" in fields else []
    parameters = {entry.name: _parameter(entry.value) for entry in given}
    requests = tuple(_request(entry, {*parameters, "uuid"}) for entry in listed["requests"])
    smoke = tuple(one for entry in listed["smoke"] for one in _smoke(entry))
    return Workload(requests, smoke, parameters, tuple(map(read_statement, listed["sql"])), _load(fields))


def _load(fields: Mapping[str, Value]) -> Load:
    found = {}
    if "rate" in fields:
        found["rate_per_s"] = read_weight(fields["rate"], "rate")
    for key, name in (("round", "duration_s"), ("warmup", "warmup_s"), ("turn", "turn_s")):
        if key in fields:
            found[name] = read_duration(fields[key], key)
    for key, name in (("round", "duration_s"), ("turn", "turn_s")):
        if key in fields and not found[name] > 0:
            raise fields[key].error(f"a {key} of no length", expected="a duration such as 4 s")
    return Load(**found)


def _parameter(value: Value) -> Parameter:
    if value.is_list:
        choices = tuple(item.plain() for item in value.items("choices"))
        if not choices:
            raise value.error("no choices", expected="a list such as [light, dark]")
        return choices
    given = {name: bound.plain() for name, bound in value.fields("a parameter", ("from", "to")).items()}
    if not all(isinstance(given.get(name), int) for name in ("from", "to")) or given["from"] > given["to"]:
        raise value.error(f"not a range: {given}", expected="{from: 1, to: 50}, or a list of choices")
    return range(given["from"], given["to"] + 1)


def _request(value: Value, known: set[str]) -> RequestTemplate:
    fields = value.fields("a request", RequestTemplate.__dataclass_fields__)
    if "path" not in fields or not fields["path"].text("path").startswith("/"):
        raise value.error("a request has no path", expected="path: /something")
    given = {name: field_.plain() for name, field_ in fields.items()}
    given.setdefault("name", given["path"])
    given["method"] = str(given.get("method", "GET")).upper()
    if given["method"] not in METHODS:
        raise fields["method"].error(f"unknown method {given['method']}", expected=", ".join(METHODS))
    if "weight" in fields:
        given["weight"] = read_weight(fields["weight"])
    for name in ("path", "headers", "body"):
        if unknown := sorted(_used(given.get(name)) - known):
            raise fields[name].error(f"unknown parameter {{{unknown[0]}}}", expected=", ".join(sorted(known)))
    return RequestTemplate(**given)


def _smoke(value: Value) -> tuple[SmokeRequest, ...]:
    plain = value.plain()
    return smoke_requests([plain], f"{value.file}:{value.line}")


def _used(template: Any) -> set[str]:
    """The parameters that a template names."""
    if isinstance(template, str):
        return {key for _, key, _, _ in string.Formatter().parse(template) if key is not None}
    if isinstance(template, Mapping):
        template = list(template.values())
    return {name for item in template for name in _used(item)} if isinstance(template, list) else set()


def _filled(template: RequestTemplate, values: Mapping[str, Any]) -> Request:
    headers = {name.lower(): str(_fill(text, values)) for name, text in template.headers.items()}
    body = b"" if template.body is None else json.dumps(_fill(template.body, values), default=str).encode()
    if body:
        headers.setdefault("content-type", "application/json")
    return Request(template.name, template.method, template.path.format_map(values), headers, body)


def _fill(template: Any, values: Mapping[str, Any]) -> Any:
    """The template with its parameters; a text that is nothing but one parameter keeps the parameter's type."""
    if isinstance(template, Mapping):
        return {name: _fill(item, values) for name, item in template.items()}
    if isinstance(template, list):
        return [_fill(item, values) for item in template]
    if isinstance(template, str):
        whole = template[1:-1] if template.startswith("{") and template.endswith("}") else ""
        return values[whole] if whole in values else template.format_map(values)
    return template
