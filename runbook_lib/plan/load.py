"""Read a plan from YAML: every mistake is one line that names file, line and the nearest known word."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

from runbook_lib.errors import PlanError
from runbook_lib.plan import keys, vocabulary
from runbook_lib.plan.consistency import check_plan
from runbook_lib.plan.key import Given, Key
from runbook_lib.plan.load_phases import read_phases
from runbook_lib.plan.load_rolling import ROLLING, check_strategy, check_triggers, read_rolling
from runbook_lib.plan.load_sections import (
    CHECKLIST,
    read_accepted,
    read_checklist,
    read_lint,
    read_required,
    read_tolerances,
    read_triggers,
)
from runbook_lib.plan.load_services import read_services
from runbook_lib.plan.model import PerformanceGoal, Plan, SchemaGoal
from runbook_lib.plan.service_order import in_order
from runbook_lib.plan.yaml_value import Value, read_file

Readers = dict[Key[Any], Callable[[Value], Any]]
# How and where something is written does not change what is approved.
_NOT_CONTENT = {"line", "lines", "path", "digest"}
# Titles of the library's checklist as digests have them: another wording must not make it another plan.
_FIRST_TITLES = {
    "backup_complete": "A complete backup exists and can be restored",
    "rollback_plan_documented": "The way back is written down and was rehearsed",
    "tested_in_staging": "The same plan has passed in staging",
    "downtime_window_scheduled": "The window is agreed and lies ahead",
    "stakeholders_notified": "Everybody concerned was told",
    "monitoring_enhanced": "The rollback triggers are defined and watched",
    "success_criteria_defined": "What counts as success is written down",
    "validation_plan_ready": "The integrity checks are on, tolerances declared",
    "performance_benchmarks_set": "The source's performance is measured",
    "post_migration_verification_plan": "What is verified afterwards is planned",
}
_TITLES = {item.name: item.title for item in CHECKLIST}


def load_plan(path: Path | str) -> Plan:
    """Read and check a plan.

    Args:
        path: The YAML file.
    Returns:
        Plan: with its digest; the same content in another spelling has the same digest.
    Raises:
        PlanError: the first mistake, as `file:line: what`; expected …. Next: ….
    """
    document = read_file(Path(path), "plan")
    given = keys.PLAN.read(document, "the plan")
    strategy = _strategy(given)
    check_strategy(document, given, strategy)
    phases, within = read_phases(given[keys.PHASES], strategy) if keys.PHASES in given else ((), ())
    services = read_services(given[keys.SERVICES]) if keys.SERVICES in given else ()
    plan = Plan(
        **{"migration": _title(document, given), "source": keys.SOURCE.default, **given.settings()},
        strategy=strategy,
        services=in_order((*services, *within), document.file),
        phases=phases,
        **_sections(given),
        lines={key.name: value.line for key, value in given.items()},
        path=document.file,
    )
    _require_content(document, plan)
    check_plan(plan)
    return replace(plan, digest=digest_of(plan))


def _sections(given: Given) -> dict[str, Any]:
    """The parts that have keys of their own, by the model's fields."""
    found: dict[str, Any] = {"checklist": CHECKLIST}
    if keys.VALIDATION in given:
        inner = keys.VALIDATION_KEYS.read(given[keys.VALIDATION], "validation")
        readers: Readers = {keys.TOLERATE: read_tolerances, keys.REQUIRE: read_required}
        found |= {key.attribute: read(inner[key]) for key, read in readers.items() if key in inner}
    return found | {key.attribute: read(given[key]) for key, read in _READERS.items() if key in given}


def digest_of(plan: Plan) -> str:
    """SHA-256 over the canonical JSON of what the plan says; comments, key order and spelling do not count."""
    content = _content(asdict(plan))
    if not plan.lint:
        del content["lint"]  # a plan from before there was one keeps its digest
    for optional in ("schema", "rolling"):
        if not getattr(plan, optional):
            del content[optional]  # a plan from before there were any keeps its digest
    for said in (keys.METRICS, keys.ROUNDS):
        if getattr(plan.performance, said.attribute) == said.default:
            del content["performance"][said.attribute]  # a plan from before there was any keeps its digest
    for key in ("services", "checklist"):
        content[key] = sorted(content[key], key=lambda item: str(item["name"]))
    for item in content["checklist"]:
        if item["title"] == _TITLES.get(item["name"]):
            item["title"] = _FIRST_TITLES.get(item["name"], item["title"])
    for service in content["services"]:
        if not service["after"]:
            del service["after"]  # a plan from before there was any keeps its digest
    for trigger in content["triggers"]:
        del trigger["text"]
        for one in keys.TRIGGER.keys:  # a plan from before there were any keeps its digest
            if trigger.get(one.attribute) == one.default:
                del trigger[one.attribute]
    for phase in content["phases"]:
        if phase["window"]:
            del phase["window"]["text"]
        if not phase["tests"]:
            del phase["tests"], phase["tests_timeout_s"]
        for task in phase["tasks"]:
            for key in ("statements", "command", "http", "sql"):
                if not task[key]:
                    del task[key]  # a plan from before there were any keeps its digest
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _content(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _content(item) for key, item in value.items() if key not in _NOT_CONTENT}
    return [_content(item) for item in value] if isinstance(value, list | tuple) else value


def _title(document: Value, given: Given) -> str:
    if keys.MIGRATION not in given:
        raise document.error("the plan has no title", action="add `migration: What is moved where`")
    return given.read(keys.MIGRATION)


def _strategy(given: Given) -> str:
    """The strategy of the plan; plans in the wild name it in the phase `data_migration`."""
    written = [given[keys.STRATEGY]] if keys.STRATEGY in given else []
    if keys.PHASES in given:
        written += _strategies_within(given[keys.PHASES])
    found = {_known_strategy(value): value for value in written}
    if len(found) > 1:
        raise written[-1].error(f"strategy is {' and '.join(found)}", action="keep one of them")
    return next(iter(found), keys.STRATEGY.default)


def _strategies_within(phases: Value) -> list[Value]:
    inner = [entry.value for entry in phases.entries("phases") if entry.value.is_mapping]
    return [
        entry.value for value in inner for entry in value.entries("phase") if entry.name == keys.PHASE_STRATEGY.name
    ]


def _known_strategy(value: Value) -> str:
    text = vocabulary.snake(value.text("strategy"))
    return value.word(text, vocabulary.STRATEGIES, f"unknown strategy `{text}`")


def _types(value: Value) -> dict[str, str]:
    found = {entry.name: entry.value for entry in value.entries("types")}
    for name in vocabulary.POLICIES.keys() & found.keys():
        _check_policy(name, found[name])
    return {name: value.text(f"type of {name}") for name, value in found.items()}


def _check_policy(name: str, value: Value) -> None:
    text, dates = value.text(name), name == "zero_dates"
    if not (dates and _is_date(text)):
        more = ", or a date as 1970-01-01" if dates else ""
        value.word(text, vocabulary.POLICIES[name], f"{name} is `{text}`", more=more)


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _require_content(document: Value, plan: Plan) -> None:
    if plan.schema is not None and not plan.phases and not plan.services:
        return  # it moves a schema, and no rows
    if plan.strategy == ROLLING:
        check_triggers(plan)
        return
    if not plan.phases:
        raise document.error("the plan has no phases", action="add `phases:`")
    if not plan.services:
        raise document.error("the plan moves nothing", action="add `services:` with their tables")
    for service in plan.services:
        if not service.tables:
            raise PlanError(f"{document.file}:{service.line}", f"{service.name} has no tables", action="add `tables:`")


def _performance(value: Value) -> PerformanceGoal:
    return PerformanceGoal(**keys.PERFORMANCE_KEYS.read(value, "performance").settings())


def _schema(value: Value) -> SchemaGoal:
    return SchemaGoal(**keys.SCHEMA_KEYS.read(value, "schema").settings())


_READERS: Readers = {
    keys.ACCEPT: read_accepted,
    keys.PERFORMANCE: _performance,
    keys.ROLLBACK_TRIGGERS: read_triggers,
    keys.CHECKLIST: read_checklist,
    keys.TYPES: _types,
    keys.LINT: read_lint,
    keys.SCHEMA: _schema,
    keys.ROLLING: read_rolling,
}
