"""The five pitfalls of a migration, found in the plan before anything runs.

| pitfall | found when |
|---|---|
| no_rollback_plan | no triggers; a table whose changes could not go back; a rollback path that closes at the cutover |
| big_bang | reads do not move in stages; the first stage takes more than a quarter |
| too_little_testing | no workload; no smoke test or watch at the cutover; an untested green; not passed in staging |
| no_integrity_validation | `verify` left out; a check, or a table's rows, tolerated as a whole; no data trigger |
| extended_downtime | no window or one without a time zone; a write pause longer than requests can wait |

Every problem says what to write in the plan. A blocking one stops the pre-flight.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from runbook_lib.databases.port import Problem
from runbook_lib.plan.model import Plan, Service, TableMapping, Tolerance

PITFALLS = ("no_rollback_plan", "big_bang", "too_little_testing", "no_integrity_validation", "extended_downtime")
# A router holds a request back for about ten seconds (the demo's Envoy: 10 s of retries): longer is an outage.
MAX_WRITE_PAUSE_S = 10.0
MAX_FIRST_STAGE = 25  # percent of reads
_ROW_CHECKS = ("row_counts", "data_sample", "checksums")


def lint(plan: Plan) -> list[Problem]:
    """Look for the five pitfalls.

    Returns:
        list[Problem]: in the order of PITFALLS; `subject` is `file:line`, `detail["pitfall"]` one of PITFALLS.
    """
    if not plan.phases:
        return []  # it takes a schema along its revisions: each has its down, its verification and its hazards
    found = (_no_rollback_plan, _big_bang, _too_little_testing, _no_integrity_validation, _extended_downtime)
    return [problem for check in found for problem in check(plan)]


def _problem(plan: Plan, pitfall: str, line: int, text: str, action: str, *, blocking: bool = True) -> Problem:
    subject, title = f"{plan.path}:{line or 1}", pitfall.replace("_", " ")
    return Problem(subject, f"{title}: {text}", action, blocking, detail={"pitfall": pitfall, "line": line or 1})


def _no_rollback_plan(plan: Plan) -> Iterator[Problem]:
    name, line = "no_rollback_plan", plan.lines.get("phases", 1)
    if not plan.triggers:
        action = "add `rollback_triggers: [error_rate > 1%, response_time > 2x baseline]`"
        yield _problem(plan, name, 1, "nothing says when to go back", action)
    for service in plan.services:
        for mapping in service.tables:
            yield from _one_way(plan, service, mapping)
    if not plan.phase("cleanup").after_s:
        text = "the rollback path closes as soon as the cutover has ended"
        yield _problem(plan, name, plan.phase("cleanup").line or line, text, "add `after: 30 days` to cleanup")


def _one_way(plan: Plan, service: Service, mapping: TableMapping) -> Iterator[Problem]:
    """A derived table gives back what its service changes, or a rollback would lose it."""
    words = {word for sql in mapping.reverse.values() for word in re.findall(r"\w+", sql)}
    lost = [column for column in mapping.columns if column not in words]
    if lost:
        text = f"what {service.name} writes into {mapping.target} ({', '.join(lost)}) could not go back"
        action = f"add `reverse: {{column of {mapping.source}: expression}}` to {mapping.target}"
        yield _problem(plan, "no_rollback_plan", mapping.line, text, action)


def _big_bang(plan: Plan) -> Iterator[Problem]:
    if plan.strategy != "dual_write":
        return
    phase = plan.phase("gradual_extraction")
    line = phase.line or plan.lines.get("phases", 1)
    action = "add `traffic: [1%, 10%, 50%, 100%]` to gradual_extraction"
    if len(phase.traffic) < 2:
        services = f"{len(plan.services)} services" if len(plan.services) > 1 else "the service"
        yield _problem(plan, "big_bang", line, f"{services} would get all reads at once", action)
    elif phase.traffic[0] > MAX_FIRST_STAGE:
        text = f"the first stage moves {phase.traffic[0]}% of the reads"
        yield _problem(plan, "big_bang", line, text, action, blocking=False)


def _too_little_testing(plan: Plan) -> Iterator[Problem]:
    name, switch, watch = "too_little_testing", plan.phase("cutover"), plan.phase("watch")
    line = switch.line or plan.lines.get("phases", 1)
    if not plan.performance.workload:
        action = "add `performance: {workload: plans/workload.yaml}`"
        text = "no workload to smoke-test and to measure the services with"
        yield _problem(plan, name, plan.lines.get("performance", 1), text, action)
    if switch.steps and "smoke_test" not in switch.steps:
        yield _problem(plan, name, line, "nobody tries the services after the switch", "add `smoke_test` to its steps")
    if not watch.watch_s:
        action = f"add `watch: 10 min` to {watch.name}"
        yield _problem(plan, name, line, "nobody watches errors after the switch", action)
    validate = plan.phase("validate")
    if plan.strategy == "blue_green" and not validate.tests:
        action, at = "add `tests: a command` to validate", validate.line or line
        yield _problem(plan, name, at, "nothing tests green as a whole before it gets traffic", action)
    for item in plan.checklist:
        if item.name == "tested_in_staging" and item.probe != "staging_evidence":
            text = "the plan need not have passed in staging"
            yield _problem(plan, name, item.line, text, "drop `probe` from tested_in_staging")


def _no_integrity_validation(plan: Plan) -> Iterator[Problem]:
    name, phase = "no_integrity_validation", plan.phase("data_migration")
    if phase.steps and "verify" not in phase.steps:
        yield _problem(plan, name, phase.line, "the copied data is not compared", "add `verify` to its steps")
    for tolerance in plan.tolerances:
        yield from _too_tolerant(plan, tolerance)
    if plan.triggers and not any(t.metric == "data_inconsistency" for t in plan.triggers):
        line = plan.lines.get("rollback_triggers", 1)
        text = "inconsistent data would not fire a trigger"
        yield _problem(plan, name, line, text, "add `data_inconsistency` to rollback_triggers")
    for item in plan.checklist:
        if item.name == "validation_plan_ready" and item.probe != "validation_enabled":
            text = "nobody looks whether the checks are on"
            yield _problem(plan, name, item.line, text, "drop `probe` from validation_plan_ready")


def _too_tolerant(plan: Plan, tolerance: Tolerance) -> Iterator[Problem]:
    pitfall = "no_integrity_validation"
    if not (tolerance.table or tolerance.column or tolerance.name):
        text = f"every difference of {tolerance.check} is tolerated"
        if tolerance.kind:
            text = f"every {tolerance.kind} of {tolerance.check} is tolerated"
        yield _problem(plan, pitfall, tolerance.line, text, "name the table, the column and the kind")
    elif tolerance.check in _ROW_CHECKS and not tolerance.column:
        text = f"{tolerance.check} of {tolerance.table or tolerance.name} may differ in any row"
        yield _problem(plan, pitfall, tolerance.line, text, "name the column, or map the difference with `columns`")
    elif tolerance.check not in _ROW_CHECKS and not tolerance.kind:
        text = f"any kind of difference of {tolerance.table} is tolerated by {tolerance.check}"
        yield _problem(plan, pitfall, tolerance.line, text, "name the `kind`", blocking=False)


def _extended_downtime(plan: Plan) -> Iterator[Problem]:
    name, phase = "extended_downtime", plan.phase("cutover")
    line = phase.line or plan.lines.get("phases", 1)
    if phase.window is None:
        action = f'add `window: "Sunday 02:00-06:00 Europe/Berlin"` to {phase.name}'
        yield _problem(plan, name, line, "the switch may happen at any hour", action)
    elif phase.window.timezone == "UTC" and "utc" not in phase.window.text.lower():
        action = f'write `window: "{phase.window.text} Europe/Berlin"`'
        yield _problem(plan, name, line, "the window has no time zone and is read as UTC", action, blocking=False)
    if phase.max_write_pause_s > MAX_WRITE_PAUSE_S:
        text = (
            f"writes may pause for {phase.max_write_pause_s:g} s, more than requests can wait ({MAX_WRITE_PAUSE_S:g} s)"
        )
        yield _problem(plan, name, line, text, f"write `max_write_pause: 2s` in {phase.name}")
