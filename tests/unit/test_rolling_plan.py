"""A rolling plan and its fleet: what cannot be carried out is refused where it is written, before anything begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook_lib.config.environment import Environment, load_environment
from runbook_lib.errors import PlanError
from runbook_lib.plan.amounts import Amount
from runbook_lib.plan.lint import lint
from runbook_lib.plan.model import RollingGoal
from runbook_lib.plan.rollout import batches, minimum

PLAN = """\
migration: Release 2
strategy: rolling
source: shop
rolling:
  shop_service:
    version: 2.0
    batch: 25%
    surge: 1
    min_healthy: 4
    canary: 1
    monitor: 30s
rollback_triggers: [error_rate > 1%]
"""
INVENTORY = """\
databases: {shop: {url: "sqlite:///shop.sqlite"}}
services:
  edge: {url: "http://127.0.0.1:1"}
  shop_service:
    upgrade: [deploy, "{name}", "{version}", "{zone}"]
    backup: [keep, "{name}"]
    restore: [keep, --back, "{reference}"]
    start: [run, "{name}"]
    stop: [end, "{name}"]
    instances:
      shop-1: {url: "http://10.0.0.1", zone: a}
      shop-2: {url: "http://10.0.0.2", zone: b}
      shop-3: {url: "http://10.0.0.3", zone: a}
      shop-4: {url: "http://10.0.0.4", zone: b}
    spares:
      shop-5: {url: "http://10.0.0.5", zone: a}
router: {kind: envoy, directory: envoy, admin: "http://127.0.0.1:2", origin: edge}
"""


def load(root: Path, plan: str = PLAN, inventory: str = INVENTORY) -> Environment:
    (root / "parameters").mkdir(exist_ok=True)
    (root / "parameters/plan.yaml").write_text(plan)
    (root / "parameters/inventory.yaml").write_text(inventory)
    return load_environment("shop", "plan.yaml", "inventory.yaml", root)


def test_each_instance_is_a_service_with_the_fleets_commands_and_its_own_placeholders(tmp_path: Path) -> None:
    found = load(tmp_path)
    second = found.service("shop-2")
    assert second.url == "http://10.0.0.2"
    assert second.arguments("upgrade", version="2.0") == ["deploy", "shop-2", "2.0", "b"]  # type: ignore[attr-defined]
    fleet = found.inventory.fleets["shop_service"]
    assert fleet.routes == ("shop_service.reads", "shop_service.writes") and fleet.spares == ("shop-5",)
    [goal] = found.plan.rolling
    assert (goal.version, goal.batch, goal.monitor_s) == ("2.0", Amount(share=0.25), 30.0)
    assert lint(found.plan) == []


@pytest.mark.parametrize(
    ("batch", "canary", "expected"),
    [
        (Amount(1), 0, "1|2|3|4|5"),
        (Amount(2), 1, "1|23|45"),
        (Amount(share=0.5), 2, "1|2|34|5"),
        (Amount(9), 5, "1|2|3|4|5"),
    ],
)
def test_canaries_go_one_at_a_time_and_the_others_in_batches(batch: Amount, canary: int, expected: str) -> None:
    goal = RollingGoal("s", "2", batch, canary=canary)
    assert "|".join("".join(one) for one in batches(("1", "2", "3", "4", "5"), goal)) == expected


def test_a_share_of_a_fleet_is_rounded_to_the_careful_side() -> None:
    assert (Amount(share=0.3).at_most(5), Amount(share=0.1).at_most(5), Amount(share=0.5).at_least(5)) == (1, 1, 3)
    assert minimum(RollingGoal("s", "2", Amount(2)), 5) == 3
    assert minimum(RollingGoal("s", "2", min_healthy=Amount(share=0.9)), 5) == 5


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("min_healthy: 4", "min_healthy: 5", 9, "5 healthy instances cannot be kept: of 4 and 1 spares 4 are left"),
        ("min_healthy: 4", "min_healthy: 0", 9, "min_healthy is `0`"),
        ("batch: 25%", "batch: 101%", 7, "batch is `101%`"),
        ("batch: 25%", "batch: 5", 7, "batch is 5, and shop_service has 4 instances"),
        ("canary: 1", "canary: 5", 10, "canary is 5, and shop_service has 4 instances"),
        ("canary: 1", "canary: one", 10, "canary is `one`; expected instances (count)"),
        ("surge: 1", "surge: 2", 8, "surge is 2, and shop_service has 1 spares"),
        ("monitor: 30s", "monitor: 30", 11, "monitor is `30`"),
        ("monitor: 30s", "monitr: 30s", 11, "unknown key `monitr`"),
        ("    version: 2.0\n", "", 5, "the fleet shop_service without `version`"),
        ("shop_service:", "shop_servce:", 5, "has no fleet `shop_servce`"),
        ("shop_service:", "edge:", 5, "edge of"),
        ("strategy: rolling\n", "", 4, "`rolling` in a plan whose strategy is dual_write"),
        ("error_rate > 1%", "data_inconsistency", 12, "data_inconsistency compares two databases"),
        ("error_rate > 1%", "critical_feature_failure", 12, "the plan has no workload"),
        ("rollback_triggers: [error_rate > 1%]", "phases: {cutover: {}}", 12, "`phases` in a plan whose strategy"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused_at_its_line(
    tmp_path: Path, old: str, new: str, line: int, said: str
) -> None:
    with pytest.raises(PlanError) as found:
        load(tmp_path, PLAN.replace(old, new))
    assert f"plan.yaml:{line}: " in str(found.value) and said in str(found.value)
    assert found.value.exit_status == 2


@pytest.mark.parametrize(
    ("old", "new", "place", "said"),
    [
        ("{zone}", "{zon}", "inventory.yaml:5", "upgrade: unknown placeholder {zon} of instance shop-1"),
        ("zone: b}\n      shop-3", "name: b}\n      shop-3", "inventory.yaml:12", "`name` is a placeholder of every"),
        ('{url: "http://10.0.0.3", zone: a}', "{zone: a}", "inventory.yaml:13", "instance shop-3 has no url"),
        ("      shop-5:", "      shop-1:", "inventory.yaml:16", "`shop-1` is among the instances"),
        ("  edge: {url:", "  shop-2: {url:", "inventory.yaml:4", "service `shop-2` is there twice"),
        ("    backup: [keep", "    bakup: [keep", "inventory.yaml:6", "unknown key `bakup`"),
        ('    backup: [keep, "{name}"]\n', "", "plan.yaml:5", "has no command backup for shop_service"),
        ('    restore: [keep, --back, "{reference}"]\n', "", "plan.yaml:5", "no command rollback or restore"),
        ('    stop: [end, "{name}"]\n', "", "plan.yaml:5", "no command stop"),
        (INVENTORY[INVENTORY.index("router:") :], "", "plan.yaml:5", "and there is none"),
    ],
)
def test_an_inventory_that_does_not_fit_is_refused_at_its_line(
    tmp_path: Path, old: str, new: str, place: str, said: str
) -> None:
    with pytest.raises(PlanError) as found:
        load(tmp_path, inventory=INVENTORY.replace(old, new))
    assert f"{place}: " in str(found.value) and said in str(found.value)
