"""The keys of a plan: each has its field in the model, with one default, and something reads it."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from runbook_lib.config.options import Options, carried_out
from runbook_lib.plan import keys
from runbook_lib.plan.model import (
    Acceptance,
    ChecklistItem,
    LintRule,
    PerformanceGoal,
    Phase,
    Plan,
    RollingGoal,
    SchemaGoal,
    Service,
    TableMapping,
    Task,
    Tolerance,
    Trigger,
)
from runbook_lib.plan.system_tasks import CommandTask, HttpTask, Query, Request, SqlTask

ROOT = Path(__file__).parents[2]
MODELS = {
    Plan: keys.PLAN, Service: keys.SERVICE, TableMapping: keys.TABLE, Phase: keys.PHASE, Task: keys.TASK,
    Tolerance: keys.TOLERANCE, Acceptance: keys.ACCEPTANCE, PerformanceGoal: keys.PERFORMANCE_KEYS,
    LintRule: keys.LINT_RULE, SchemaGoal: keys.SCHEMA_KEYS, ChecklistItem: keys.CHECKLIST_ITEM,
    CommandTask: keys.COMMAND_KEYS, HttpTask: keys.HTTP_KEYS, Request: keys.REQUEST, SqlTask: keys.SQL_KEYS,
    Query: keys.QUERY,
    Trigger: keys.TRIGGER, RollingGoal: keys.ROLLING_KEYS,
}  # fmt: skip
# Keys that are no field: what stands below them goes into the plan's own fields.
SPREAD = {keys.VALIDATION, keys.PHASE_SERVICES, keys.PHASE_STRATEGY}
PAIRS = [(model, key) for model, section in MODELS.items() for key in section.keys if key not in SPREAD]


def named(pair: object) -> str:
    return getattr(pair, "__name__", "") or getattr(pair, "name", "")


@pytest.mark.parametrize(("model", "key"), PAIRS, ids=named)
def test_a_key_is_a_field_of_the_model_with_the_same_default(model: Any, key: Any) -> None:
    field = {field.name: field for field in fields(model)}[key.attribute]
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    if default is not MISSING and key is not keys.PERFORMANCE:
        assert default == key.default


def test_every_phase_and_option_that_a_key_names_is_there() -> None:
    kinds = get_type_hints(Options)
    for key in keys.PHASE.keys:
        known = {name for phases in keys.vocabulary.PHASES.values() for name in phases}
        assert {*key.phases, *key.options} <= known
        assert all(kinds[name] == float | None for name in key.options.values())


def test_an_option_wins_over_the_plan_in_its_phase_only() -> None:
    options = Options(step_watch_s=3.0, after_s=0.0)
    assert carried_out(Phase("gradual_extraction", watch_s=60.0), options).watch_s == 3.0
    assert carried_out(Phase("cutover", watch_s=60.0), options).watch_s == 60.0
    assert carried_out(Phase("cleanup", after_s=60.0), options).after_s == 0.0


def test_every_key_is_read_somewhere() -> None:
    """By its field's name, anywhere but where plans are loaded; what nothing reads is accepted and does nothing."""
    loading = {"model.py", "load.py", "load_phases.py", "load_sections.py", "load_services.py"}
    files = [path for path in (ROOT / "runbook_lib").rglob("*.py") if path.name not in loading]
    read = {name for path in files for name in re.findall(r"\.(\w+)\b(?!\()", path.read_text(encoding="utf-8"))}
    assert sorted(f"{model.__name__}.{key.attribute}" for model, key in PAIRS if key.attribute not in read) == []
