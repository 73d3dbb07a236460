"""The inventory's `router:`: every kind has its settings, and a plan that needs more than its router can is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from make_plan_docs import PAGES, marked, page

from runbook_lib.config import router_settings
from runbook_lib.config.environment import load_environment
from runbook_lib.config.router_settings import KINDS, read_router
from runbook_lib.errors import PlanError
from runbook_lib.plan.yaml_value import Value, read_file
from runbook_lib.traffic.capabilities import CAPABILITIES
from runbook_lib.traffic.port import Router

DOCS = Path(__file__).parents[2] / "docs/routers.md"
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", DOCS.read_text("utf-8"), re.MULTILINE | re.DOTALL)
SERVICES = {"monolith": {}}


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Value]:
    """What a file has below `router:`."""

    def write(text: str) -> Value:
        (tmp_path / "inventory.yaml").write_text(text, encoding="utf-8")
        return read_file(tmp_path / "inventory.yaml", "inventory").fields("it", ["router"])["router"]

    return write


def test_the_docs_have_an_example_of_every_kind_and_each_is_read(written: Callable[[str], Value]) -> None:
    read = {settings["kind"]: settings for settings in (read_router(written(text), SERVICES) for text in EXAMPLES)}
    assert read.keys() == KINDS.keys() == CAPABILITIES.keys()
    assert read["pgbouncer"]["pause_s"] == 5.0
    assert read["pgbouncer"]["backends"]["user_service@target"] == "host=10.0.0.6 port=5432 dbname=users"
    assert read["haproxy"]["latency_table"] == "latency"
    assert "tester_header" in read["envoy"]


def test_the_tables_of_the_docs_are_what_make_docs_writes() -> None:
    for path, declared in PAGES.items():
        assert page(path.read_text("utf-8"), declared) == path.read_text("utf-8"), "make docs"
    assert {id(one) for one in marked(DOCS.read_text("utf-8"), router_settings)} == set(map(id, KINDS.values()))


@pytest.mark.parametrize(
    ("kind", "was", "becomes", "says", "advice"),
    [
        ("haproxy", "kind: haproxy", "kind: haprox", "2: unknown kind `haprox`; expected one of envoy", "`haproxy`"),
        ("haproxy", "state_file:", "statefile:", "5: unknown key `statefile` in router haproxy", "write `state_file`"),
        ("haproxy", "  socket: /run/haproxy/admin.sock\n", "", "router haproxy without `socket`", "add `socket:`"),
        ("envoy", "origin: monolith", "origin: mono", "3: origin `mono` is not a service", "all the traffic before"),
        ("pgbouncer", "runbook@10", "runbook:s3cret@10", "4: admin holds a password", "password: env:NAME"),
        ("pgbouncer", "env:PGB", "s3cret", "5: password is not a reference", "env:NAME"),
        ("pgbouncer", "dbname=users", "password=s3cret", "backends user_service@target holds a password", "auth_file"),
        ("pgbouncer", "dbname=users", "", "user_service@target is `host=10.0.0.6 port=5432`", "dbname="),
        ("pgbouncer", "kind: pgbouncer", "kind: pgbouncer\n  pause: soon", "pause is `soon`", "500 ms"),
    ],
    ids=lambda value: value[:20],
)  # fmt: skip
def test_a_wrong_setting_is_one_line_with_file_line_and_advice(
    written: Callable[[str], Value], kind: str, was: str, becomes: str, says: str, advice: str
) -> None:
    [text] = [text for text in EXAMPLES if f"kind: {kind}" in text]
    assert was in text
    with pytest.raises(PlanError) as caught:
        read_router(written(text.replace(was, becomes)), SERVICES)
    message = str(caught.value)
    assert says in message and advice in message and "\n" not in message
    assert "s3cret" not in message


def test_every_kind_has_its_adapter_with_all_of_the_port() -> None:
    wanted = {name for name in vars(Router) if not name.startswith("_")}
    for kind in KINDS:
        module = __import__(f"runbook_lib.traffic.{kind}", fromlist=["open_router"])
        [adapter] = [value for name, value in vars(module).items() if name.endswith("Router") and name != "Router"]
        assert wanted <= set(dir(adapter)), kind


# -- what a plan needs ---

PLAN = """\
migration: Shop
source: shop
services:
  stock: {database: stock_db, apis: [/api/stock/*], tables: [articles]}
phases:
  - gradual_extraction: {traffic: [10%, 100%]}
  - cutover: {window: "daily 02:00-04:00 UTC"}
rollback_triggers: [error_rate > 1%, response_time > 2x baseline, critical_feature_failure]
"""
DATABASES = {name: {"url": f"sqlite:///{name}.db"} for name in ("shop", "stock_db")}


@pytest.fixture
def project(tmp_path: Path) -> Callable[[str, str], None]:
    """Loads this plan with the docs' router of a kind, and its url left out where `without_url`."""

    def load(kind: str, plan: str) -> None:
        [text] = [text for text in EXAMPLES if f"kind: {kind}" in text]
        inventory = {"databases": DATABASES, "services": {"monolith": {"url": "http://127.0.0.1:9"}}}
        for name, content in (
            ("parameters/plans/shop.yaml", plan),
            ("parameters/inventories/test.yaml", yaml.safe_dump(inventory | yaml.safe_load(text))),
            ("parameters/test.yaml", "environment: test\nplan: plans/shop.yaml\ninventory: inventories/test.yaml\n"),
        ):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content, encoding="utf-8")
        load_environment("test", root=tmp_path)

    return load


def test_a_plan_that_needs_what_the_router_cannot_do_is_refused_at_its_line(
    project: Callable[[str, str], None],
) -> None:
    project("envoy", PLAN)
    project("haproxy", PLAN)
    with pytest.raises(PlanError) as stages:
        project("pgbouncer", PLAN)
    assert "shop.yaml:6: router pgbouncer: found: pgbouncer sends a database entry to one server" in str(stages.value)
    assert "needed: weights for gradual_extraction, which sends 10 % of reads" in str(stages.value)
    assert "Next: take a router that can: envoy or haproxy, or plan without" in str(stages.value)
    plan = PLAN.replace("10%, ", "")
    with pytest.raises(PlanError, match=r"shop.yaml:8: .*needed: errors for the trigger error_rate"):
        project("pgbouncer", plan)
    plan = plan.replace("error_rate > 1%, ", "")
    with pytest.raises(PlanError, match=r"critical_feature_failure asks through the router.* has no url"):
        project("pgbouncer", plan)
    project("pgbouncer", plan.replace(", critical_feature_failure", ""))
