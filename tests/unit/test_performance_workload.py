"""Workload files: what is read, what is refused and where."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from runbook_lib.databases.sqlite import open_database
from runbook_lib.errors import ConfigurationError, PlanError
from runbook_lib.performance.statements import draw
from runbook_lib.performance.workload import Workload, load_workload

GOOD = """
parameters:
  user_id: {from: 1, to: 9}
  theme: [light, dark]
requests:
  - {name: read, weight: 3, path: "/users/{user_id}"}
  - name: write
    method: put
    path: "/users/{user_id}"
    headers: {Idempotency-Key: "{uuid}"}
    body: {id: "{user_id}", theme: "{theme}", note: "user {user_id}", tags: ["{theme}"]}
smoke:
  - /health
  - {path: /users/1, keys: [id]}
"""


def load(tmp_path: Path, text: str) -> Workload:
    path = tmp_path / "workload.yaml"
    path.write_text(text)
    return load_workload(path)


def test_requests_come_by_weight_with_their_parameters_filled(tmp_path: Path) -> None:
    workload = load(tmp_path, GOOD)
    sent = list(islice(workload.stream(), 400))
    share = Counter(request.name for request in sent)["read"] / 400
    assert 0.65 < share < 0.85
    write = next(request for request in sent if request.name == "write")
    body = json.loads(write.body)
    assert write.method == "PUT"
    assert body["id"] == int(write.path.rpartition("/")[2])  # a number stays a number
    assert body["note"] == f"user {body['id']}"
    assert body["tags"] == [body["theme"]]
    assert write.headers["content-type"] == "application/json"
    keys = {request.headers["idempotency-key"] for request in sent if request.name == "write"}
    assert len(keys) == 400 - Counter(r.name for r in sent)["read"]
    assert [request.path for request in workload.smoke] == ["/health", "/users/1"]


def test_the_same_seed_gives_the_same_requests(tmp_path: Path) -> None:
    workload = load(tmp_path, GOOD)
    assert list(islice(workload.stream(7), 50)) == list(islice(workload.stream(7), 50))
    assert list(islice(workload.stream(7), 50)) != list(islice(workload.stream(8), 50))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("requests:\n  - {name: a, path: /a, wieght: 1}", r":2: unknown key `wieght`.*weight"),
        ("requests:\n  - {name: a}", ":2: a request has no path"),
        ("requests:\n  - {path: '/a/{id}'}", r":2: unknown parameter \{id\}"),
        ("requests:\n  - {path: /a, weight: 0}", ":2: weight is `0`"),
        ("requests:\n  - {path: /a, method: GTE}", ":2: unknown method GTE"),
        ("parameters:\n  id: {from: 5, to: 1}", ":2: not a range"),
        ("parameters:\n  id: []", ":2: no choices"),
        ("smoke:\n  - /a\n  - {path: /b, kees: [a]}", ":3.*unknown key 'kees'"),
        ("request: []", ":1: unknown key `request`"),
        ("rate: 0", ":1: rate is `0`"),
        ("round: 0", ":1: a round of no length"),
        ("turn: soon", ":1: turn is `soon`"),
        ("sql:\n  - {name: a}", ":2: a query has no sql"),
        ("sql:\n  - {sql: 'SELECT :id'}", ":2: unknown parameter :id"),
        ("sql:\n  - {sql: SELECT 1, params: {id: SELECT 1}}", ":2: no `:id` in sql"),
        ("sql:\n  - {sql: SELECT 1, wieght: 1}", r":2: unknown key `wieght`.*weight"),
        ("sql:\n  - {sql: SELECT 1, weight: -1}", ":2: weight is `-1`"),
    ],
)
def test_each_mistake_is_named_with_its_line(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(PlanError, match=named):
        load(tmp_path, text)


def test_the_example_workload_of_the_project_loads() -> None:
    workload = load_workload(Path(__file__).parents[2] / "parameters/plans/workload.yaml")
    assert workload.requests
    assert workload.smoke


QUERIES = """
rate: 20
round: 2 s
turn: 100 ms
sql:
  - name: pairs
    sql: "SELECT total FROM orders WHERE id = :id AND state = :state AND note <> 'a  b'"
    params: {"id, state": "SELECT id, state FROM orders ORDER BY id"}
"""


def test_parameters_of_queries_are_drawn_from_the_rows_of_the_source(tmp_path: Path) -> None:
    source = open_database("source", f"sqlite:///{tmp_path / 'source.db'}", options={"create": True})
    source.execute("CREATE TABLE orders (id integer PRIMARY KEY, state text)")
    [template] = load(tmp_path, QUERIES).statements
    with pytest.raises(ConfigurationError, match="params of pairs: no row is found by SELECT id, state"):
        draw(template, source)
    source.execute("INSERT INTO orders VALUES (1, 'new'), (2, 'paid')")
    with pytest.raises(ConfigurationError, match=r"2 columns are found .* expected 1 \(id\)"):
        draw(replace(template, params={"id": "SELECT id, state FROM orders"}), source)
    workload = replace(load(tmp_path, QUERIES), statements=(draw(template, source),))
    found = list(islice(workload.stream(3), 40))
    assert {tuple(sorted(one.params.items())) for one in found} == {
        (("id", 1), ("state", "new")),
        (("id", 2), ("state", "paid")),
    }
    assert found[0].target == found[0].sql and "'a  b'" in found[0].sql
    assert found == list(islice(workload.stream(3), 40))
    assert (workload.load.rate_per_s, workload.load.duration_s, workload.load.turn_s) == (20, 2, 0.1)
    source.close()
