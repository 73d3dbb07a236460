"""What people decide and sign: checklist, sign-offs, the window, the reasons for going back, the retrospective."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from runbook_lib.databases.port import Problem
from runbook_lib.evidence.verify import verify_bundle
from runbook_lib.journal import History
from runbook_lib.journal.kinds import Alarm, Item, StandaloneVerdict
from runbook_lib.plan.model import ChecklistItem
from runbook_lib.plan.window import is_open
from runbook_lib.run.approvals import signoff
from runbook_lib.run.context import RunContext
from runbook_lib.schema.service_boundaries import ServiceBoundaries, find_service_boundaries
from runbook_lib.steps.check_table import Findings, findings, look
from runbook_lib.verdict import Outcome, Verdict

Answer = tuple[bool, str]
SIGNS = {"pass": "✓", "waived": "waived", "could_not_run": "✗", "fail": "✗"}


@look("checklist", "Checklist")
def checklist(run: RunContext) -> Findings:
    """The plan's checklist: a probe answers where there is one, a named sign-off where not."""
    answers = [(item, _answer(run, item)) for item in run.plan.checklist]
    rows = [(item.title, SIGNS[answer.word], answer.text, item.note) for item, answer in answers]
    problems = [Problem(item.title, answer.text, "") for item, answer in answers if not answer.passed]
    waived = sum(answer.waived for _, answer in answers)
    fine = f"{len(rows) - waived} of {len(rows)} items are backed, {waived} waived by policy"
    header = ("item", "", "how we know", "note")
    return findings(
        run, "checklist", "Checklist", header, rows, problems, fine if waived else f"all {len(rows)} items are backed"
    )


@look("signoffs", "Tasks for people")
def signoffs(run: RunContext) -> Findings:
    """The phase's tasks for people: each is signed off, waived by the environment's policy, or missing."""
    tasks = [task.text for task in run.plan.phase(run.phase).tasks if task.text]
    given = [(text, signoff(run, text)) for text in tasks]
    rows = [(text, SIGNS[item.word], item.text) for text, item in given]
    problems = [Problem(text, item.text) for text, item in given if not item.passed]
    waived = sum(item.waived for _, item in given)
    fine = f"{len(rows) - waived} signed off, {waived} waived by policy" if waived else "all signed off"
    return findings(run, "signoffs", "Tasks for people", ("task", "", "by whom"), rows, problems, fine)


def borders(run: RunContext) -> ServiceBoundaries:
    """The services' borders through the source's foreign keys; recorded, and nothing to fail."""
    known = run.recorded("borders_drawn")
    if known is not None and "borders" in (data := known.read(StandaloneVerdict).data):
        return ServiceBoundaries.from_record(data["borders"])
    found = find_service_boundaries(run.plan, run.source)
    text = f"{len(found.crossing)} foreign keys cross a border"
    run.verdict("borders_drawn", Verdict(Outcome.PASS, text, {"borders": found.as_record()}))
    return found


@look("window", "Window", until="cutover")
def window(run: RunContext) -> Findings:
    """Whether it is inside the cutover's window; the policy may say that this does not matter here."""
    planned = run.plan.phase("cutover").window
    if planned is None:
        return findings(run, "window", "Window", (), [], [], "the plan has no window")
    now = datetime.now(ZoneInfo(planned.timezone))
    inside, waived = is_open(planned, now), run.environment.policy.window == "ignore"
    rows = [(planned.text, f"{now:%A %H:%M}", "yes" if inside else "no", "waived by policy" if waived else "")]
    problems = [] if inside or waived else [Problem("window", f"it is {now:%A %H:%M}; the plan says {planned.text}")]
    fine = "inside the window" if inside else "outside the window, which this environment's policy waives"
    return findings(
        run,
        "window",
        "Window",
        ("planned", "now", "inside", "policy"),
        rows,
        problems,
        fine,
        waived=waived and not inside,
    )


@look("reasons", "Why")
def reasons(run: RunContext) -> Findings:
    """Why a rollback may be wanted: the alarms and failed steps of the run."""
    alarms = [(e.phase, e.step, e.read(Alarm).text) for e in run.journal.entries(run.run_id, Alarm)]
    failed = [(r.phase, r.name, r.text) for r in run.results() if r.outcome == "fail"]
    rows = [*alarms, *failed]
    fine = f"{len(alarms)} alarms, {len(failed)} failed steps" if rows else "nothing failed: somebody asked for it"
    return findings(run, "reasons", "Why", ("phase", "what", "seen"), rows, [], fine)


def timeline(run: RunContext) -> list[dict[str, object]]:
    """Each phase of the run with its beginning and end, for the chart."""
    history = run.history()
    bars: dict[str, dict[str, object]] = {}
    for entry in history.entries:
        if entry.phase:
            bar = bars.setdefault(entry.phase, {"name": entry.phase, "phase": entry.phase, "started": entry.at})
            bar["ended"] = entry.at
    return [bar | {"outcome": _outcome(history, name, run.phase)} for name, bar in bars.items()]


def _outcome(history: History, phase: str, under_way: str) -> str:
    if phase == under_way or history.phase_passed(phase):
        return "pass"
    return "undone" if any(unit.undone and unit.phase == phase for unit in history.units.values()) else "fail"


def step_times(run: RunContext) -> list[dict[str, object]]:
    """Each step of this phase with its beginning and end, for the same chart."""
    return [
        {"name": unit.name, "started": unit.intent.at, "ended": unit.result.at, "outcome": unit.outcome}
        for unit in run.history().latest(run.phase)
        if unit.result is not None
    ]


@look("retrospective", "Retrospective")
def retrospective(run: RunContext) -> Findings:
    """The whole run in figures."""
    rows = [(r.phase.replace("_", " "), r.name, f"{r.duration_s:.1f} s", r.text) for r in run.results()]
    total = sum(record.duration_s for record in run.results())
    header = ("phase", "step", "took", "what it did")
    return findings(run, "retrospective", "Retrospective", header, rows, [], f"{len(rows)} steps in {total:.0f} s")


def _answer(run: RunContext, item: ChecklistItem) -> Item:
    probe = _PROBES.get(item.probe)
    if probe:
        ok, seen = probe(run)
        if ok:
            return Item(item.title, "pass", seen)
    given = signoff(run, item.title)
    return replace(given, text=f"{seen}; {given.text}") if probe else given


def _backup(run: RunContext) -> Answer:
    done = [record for record in run.results() if record.name == "backup_source" and record.passed]
    return (True, f"backup {done[-1].text}") if done else (False, "no backup in this run")


def _way_back(run: RunContext) -> Answer:
    ways = [
        mapping.target for s in run.plan.services for mapping in s.tables if mapping.derived and not mapping.reverse
    ]
    if ways:
        return False, f"no rollback path for {', '.join(ways)}: add `reverse`"
    return True, "every mapping of the plan can be reversed; 90_rollback does it"


def _staging(run: RunContext) -> Answer:
    for path in sorted(run.environment.evidence_root.glob("staging/*/summary.json"), reverse=True):
        summary = json.loads(path.read_text())
        same = summary.get("plan_digest") == run.plan.digest and summary.get("outcome") == "pass"
        if same and all(step.passed for step in verify_bundle(path.parent)):
            return True, f"signed evidence of {path.parent.name}, of this very plan"
    return False, "no signed evidence that this very plan passed in staging"


def _window(run: RunContext) -> Answer:
    planned = run.plan.phase("cutover").window
    return (True, planned.text) if planned else (False, "the plan has no window")


def _notified(run: RunContext) -> Answer:
    return (True, f"will be told: {', '.join(run.plan.notify)}") if run.plan.notify else (False, "nobody is named")


def _triggers(run: RunContext) -> Answer:
    names = [trigger.text or trigger.metric for trigger in run.plan.triggers]
    return (True, "watched: " + ", ".join(names)) if names else (False, "the plan has no rollback triggers")


def _criteria(run: RunContext) -> Answer:
    criteria = "; ".join(run.plan.success_criteria)
    return (True, criteria) if criteria else (False, "the plan has no success criteria")


def _validation(run: RunContext) -> Answer:
    return True, f"six checks, {len(run.plan.tolerances)} declared tolerances"


def _baseline(run: RunContext) -> Answer:
    workload = run.environment.parameters_dir / run.plan.performance.workload
    there = bool(run.plan.performance.workload) and workload.exists()
    return (there, f"tolerance {run.plan.performance.tolerance:.0%}, workload {run.plan.performance.workload}")


def _after(run: RunContext) -> Answer:
    watch_s = run.plan.phase("watch").watch_s
    return (watch_s > 0, f"six checks and a watch of {watch_s:g} s after the cutover")


_PROBES: dict[str, Callable[[RunContext], Answer]] = {
    "backup_recorded": _backup,
    "rollback_rehearsed": _way_back,
    "staging_evidence": _staging,
    "window_scheduled": _window,
    "notified": _notified,
    "triggers_defined": _triggers,
    "criteria_defined": _criteria,
    "validation_enabled": _validation,
    "baseline_recorded": _baseline,
    "post_checks": _after,
}
