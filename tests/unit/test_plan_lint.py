"""The linter: each pitfall is planted in a plan without any, and exactly that one is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook_lib.databases.port import Problem
from runbook_lib.plan.lint import PITFALLS, lint
from runbook_lib.plan.load import load_plan

DEMO = Path(__file__).parents[2] / "parameters" / "plans" / "monolith_to_microservices.yaml"

GOOD = """\
migration: Shop to services
source: shop
services:
  account_service:
    database: accounts_db
    tables:
      - accounts
      - settings:
          {from: accounts, key: {account_id: id}, columns: {colour: colour}, reverse: {colour: colour}}
  stock_service: {database: stock_db, tables: [articles]}
phases:
  gradual_extraction: {traffic: [1%, 50%, 100%]}
  data_migration: {steps: [copy_history, verify]}
  cutover: {window: "Sunday 02:00-06:00 Europe/Berlin", max_write_pause: 2s, watch: 10 min, steps: [smoke_test]}
  cleanup: {after: 30 days}
validation: {tolerate: [{check: schemas, table: articles, column: flag, kind: missing_on_target, because: unused}]}
performance: {workload: plans/workload.yaml}
rollback_triggers: [error_rate > 1%, data_inconsistency]
"""


def found(tmp_path: Path, text: str) -> list[Problem]:
    path = tmp_path / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    return lint(load_plan(path))


def test_a_plan_without_pitfalls_has_no_problem(tmp_path: Path) -> None:
    assert found(tmp_path, GOOD) == []


def test_the_demo_s_plan_has_no_problem() -> None:
    assert lint(load_plan(DEMO)) == []


PITFALL = [
    ("rollback_triggers:", "#", "no_rollback_plan", 1, "rollback_triggers", True),
    (", reverse: {colour: colour}", "", "no_rollback_plan", 8, "reverse", True),
    (
        "columns: {colour: colour}",
        "columns: {colour: colour, mails: mails}",
        "no_rollback_plan",
        8,
        "reverse",
        True,
    ),
    ("{after: 30 days}", "{archive: parquet}", "no_rollback_plan", 15, "after: 30 days", True),
    ("{traffic: [1%, 50%, 100%]}", "{duration: 1 week}", "big_bang", 12, "traffic: [1%", True),
    ("[1%, 50%, 100%]", "[100%]", "big_bang", 12, "traffic: [1%", True),
    ("[1%, 50%, 100%]", "[50%, 100%]", "big_bang", 12, "traffic: [1%", False),
    ("performance:", "#", "too_little_testing", 1, "workload", True),
    ("steps: [smoke_test]", "steps: [final_sync]", "too_little_testing", 14, "smoke_test", True),
    ("watch: 10 min, ", "", "too_little_testing", 14, "watch: 10 min", True),
    (
        "performance:",
        "checklist: {tested_in_staging: {probe: signoff}}\nperformance:",
        "too_little_testing",
        17,
        "drop `probe`",
        True,
    ),
    ("copy_history, verify", "copy_history", "no_integrity_validation", 13, "verify", True),
    ("table: articles, column: flag, kind: missing_on_target, ", "", "no_integrity_validation", 16, "table", True),
    ("table: articles, column: flag, ", "", "no_integrity_validation", 16, "table", True),
    ("kind: missing_on_target, ", "", "no_integrity_validation", 16, "kind", False),
    (
        "check: schemas, table: articles, column: flag",
        "check: checksums, table: articles",
        "no_integrity_validation",
        16,
        "column",
        True,
    ),
    (", data_inconsistency", "", "no_integrity_validation", 18, "data_inconsistency", True),
    (
        "performance:",
        "checklist: {validation_plan_ready: {probe: signoff}}\nperformance:",
        "no_integrity_validation",
        17,
        "drop `probe`",
        True,
    ),
    ('window: "Sunday 02:00-06:00 Europe/Berlin", ', "", "extended_downtime", 14, "window:", True),
    (" Europe/Berlin", "", "extended_downtime", 14, "Europe/Berlin", False),
    ("max_write_pause: 2s", "max_write_pause: 1 min", "extended_downtime", 14, "max_write_pause: 2s", True),
]


@pytest.mark.parametrize(
    ("was", "becomes", "pitfall", "line", "advice", "blocking"), PITFALL, ids=[f"{p[2]}-{p[0][:24]}" for p in PITFALL]
)
def test_a_planted_pitfall_is_found_alone_with_advice(
    tmp_path: Path, was: str, becomes: str, pitfall: str, line: int, advice: str, blocking: bool
) -> None:
    assert was in GOOD
    problems = found(tmp_path, GOOD.replace(was, becomes, 1))
    assert [problem.detail["pitfall"] for problem in problems] == [pitfall]
    assert problems[0].subject.endswith(f"plan.yaml:{line}")
    assert problems[0].text.startswith(pitfall.replace("_", " ") + ": ")
    assert advice in problems[0].action
    assert problems[0].blocking is blocking


def test_every_pitfall_is_planted_above() -> None:
    assert {row[2] for row in PITFALL} == set(PITFALLS)


def test_a_bare_plan_has_them_all(tmp_path: Path) -> None:
    text = """\
migration: All at once
services: {shop: {tables: [articles]}}
phases: {data_migration: {steps: [copy_history]}, cutover: {max_write_pause: 1 h}}
"""
    assert {problem.detail["pitfall"] for problem in found(tmp_path, text)} == set(PITFALLS)
