"""Read a plan from YAML: every mistake is one line that names file, line and the nearest known word."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

from runbook_lib.errors import PlanError
from runbook_lib.plan import vocabulary
from runbook_lib.plan.consistency import check_plan
from runbook_lib.plan.load_phases import read_phases
from runbook_lib.plan.load_sections import (
    CHECKLIST,
    read_accepted,
    read_checklist,
    read_lint,
    read_performance,
    read_required,
    read_tolerances,
    read_triggers,
)
from runbook_lib.plan.load_services import read_services
from runbook_lib.plan.model import PerformanceGoal, Plan, SchemaGoal
from runbook_lib.plan.yaml_value import Value, nearest, read_file

# How and where something is written does not change what is approved.
_NOT_CONTENT = {"line", "lines", "path", "digest"}
# Titles of the library's checklist as digests have them: another wording must not make it another plan.
_FIRST_TITLES = {
    "backup_complete": "A complete backup exists and can be restored",
    "rollback_plan_documented": "The rollback is written down and was rehearsed",
    "tested_in_staging": "The same plan has passed in staging",
    "downtime_window_scheduled": "The window is agreed and lies ahead",
    "stakeholders_notified": "Everybody concerned was notified",
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
    fields = document.fields("the plan", vocabulary.TOP, vocabulary.TOP_ALIASES)
    strategy = _strategy(fields)
    phases, within = read_phases(fields["phases"], strategy) if "phases" in fields else ((), ())
    services = (*(read_services(fields["services"]) if "services" in fields else ()), *within)
    plan = Plan(
        migration=_title(document, fields),
        strategy=strategy,
        source=fields["source"].text("source") if "source" in fields else "source",
        services=services,
        phases=phases,
        tolerances=read_tolerances(fields["validation"]) if "validation" in fields else (),
        accepted=read_accepted(fields["accept"]) if "accept" in fields else (),
        require=read_required(fields["validation"]) if "validation" in fields else (),
        performance=read_performance(fields["performance"]) if "performance" in fields else PerformanceGoal(),
        triggers=read_triggers(fields["rollback_triggers"]) if "rollback_triggers" in fields else (),
        checklist=read_checklist(fields["checklist"]) if "checklist" in fields else CHECKLIST,
        success_criteria=_texts(fields, "success_criteria"),
        notify=_texts(fields, "notify"),
        types=_types(fields),
        lint=read_lint(fields["lint"]) if "lint" in fields else {},
        on_bad_row=_on_bad_row(fields),
        quarantine_limit=_limit(fields),
        schema=_schema(fields),
        lines={name: value.line for name, value in fields.items()},
        path=document.file,
    )
    _require_content(document, plan)
    check_plan(plan)
    return replace(plan, digest=digest_of(plan))


def digest_of(plan: Plan) -> str:
    """SHA-256 over the canonical JSON of what the plan says; comments, key order and spelling do not count."""
    content = _content(asdict(plan))
    if not plan.lint:
        del content["lint"]  # a plan from before there was one keeps its digest
    if plan.schema is None:
        del content["schema"]  # a plan from before there were any keeps its digest
    for key in ("services", "checklist"):
        content[key] = sorted(content[key], key=lambda item: str(item["name"]))
    for item in content["checklist"]:
        if item["title"] == _TITLES.get(item["name"]):
            item["title"] = _FIRST_TITLES.get(item["name"], item["title"])
    for trigger in content["triggers"]:
        del trigger["text"]
    for phase in content["phases"]:
        if phase["window"]:
            del phase["window"]["text"]
        for task in phase["tasks"]:
            if not task["statements"]:
                del task["statements"]  # a plan from before there were any keeps its digest
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _content(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _content(item) for key, item in value.items() if key not in _NOT_CONTENT}
    return [_content(item) for item in value] if isinstance(value, list | tuple) else value


def _title(document: Value, fields: dict[str, Value]) -> str:
    if "migration" not in fields:
        raise document.error("the plan has no title", action="add `migration: What is moved where`")
    return fields["migration"].text("migration")


def _strategy(fields: dict[str, Value]) -> str:
    """The strategy of the plan; plans in the wild name it in the phase `data_migration`."""
    written = [fields["strategy"]] if "strategy" in fields else []
    if "phases" in fields:
        written += _strategies_within(fields["phases"])
    found = {_known_strategy(value): value for value in written}
    if len(found) > 1:
        raise written[-1].error(f"strategy is {' and '.join(found)}", action="keep one of them")
    return next(iter(found), "dual_write")


def _strategies_within(phases: Value) -> list[Value]:
    inner = [entry.value for entry in phases.entries("phases") if entry.value.is_mapping]
    return [entry.value for value in inner for entry in value.entries("phase") if entry.name == "strategy"]


def _known_strategy(value: Value) -> str:
    text = vocabulary.snake(value.text("strategy"))
    if text not in vocabulary.STRATEGIES:
        expected = "one of " + ", ".join(vocabulary.STRATEGIES)
        if text in vocabulary.STRATEGIES_TO_COME:
            raise value.error(f"strategy `{text}` is not in this version", expected=expected)
        raise value.error(f"unknown strategy `{text}`", expected=expected, action=nearest(text, vocabulary.STRATEGIES))
    return text


def _texts(fields: dict[str, Value], name: str) -> tuple[str, ...]:
    return tuple(item.text(name) for item in fields[name].items(name)) if name in fields else ()


def _types(fields: dict[str, Value]) -> dict[str, str]:
    if "types" not in fields:
        return {}
    found = {entry.name: entry.value for entry in fields["types"].entries("types")}
    for name in vocabulary.POLICIES.keys() & found.keys():
        _check_policy(name, found[name])
    return {name: value.text(f"type of {name}") for name, value in found.items()}


def _check_policy(name: str, value: Value) -> None:
    text, known = value.text(name), vocabulary.POLICIES[name]
    if text in known or (name == "zero_dates" and _is_date(text)):
        return
    expected = "one of " + ", ".join(known) + (", or a date as 1970-01-01" if name == "zero_dates" else "")
    raise value.error(f"{name} is `{text}`", expected=expected, action=nearest(text, known))


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _on_bad_row(fields: dict[str, Value]) -> str:
    if "on_bad_row" not in fields:
        return Plan.on_bad_row
    text = fields["on_bad_row"].text("on_bad_row")
    if text not in vocabulary.ON_BAD_ROW:
        expected, action = "one of " + ", ".join(vocabulary.ON_BAD_ROW), nearest(text, vocabulary.ON_BAD_ROW)
        raise fields["on_bad_row"].error(f"on_bad_row is `{text}`", expected=expected, action=action)
    return text


def _limit(fields: dict[str, Value]) -> int:
    if "quarantine_limit" not in fields:
        return Plan.quarantine_limit
    text = fields["quarantine_limit"].text("quarantine_limit").replace("_", "")
    if not text.isdigit() or not int(text):
        raise fields["quarantine_limit"].error(f"quarantine_limit is `{text}`", expected="rows (count, at least 1)")
    return int(text)


def _schema(fields: dict[str, Value]) -> SchemaGoal | None:
    if "schema" not in fields:
        return None
    given = fields["schema"].fields("schema", vocabulary.SCHEMA)
    return SchemaGoal(**{name: value.text(name) for name, value in given.items()})


def _require_content(document: Value, plan: Plan) -> None:
    if plan.schema is not None and not plan.phases and not plan.services:
        return  # it moves a schema, and no rows
    if not plan.phases:
        raise document.error("the plan has no phases", action="add `phases:`")
    if not plan.services:
        raise document.error("the plan moves nothing", action="add `services:` with their tables")
    for service in plan.services:
        if not service.tables:
            raise PlanError(f"{document.file}:{service.line}", f"{service.name} has no tables", action="add `tables:`")
