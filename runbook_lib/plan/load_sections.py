"""Validation, accepted findings, rollback triggers, hazards and checklist, read from the plan."""

from __future__ import annotations

import re
from dataclasses import replace

from runbook_lib.plan import keys, vocabulary
from runbook_lib.plan.hazard_policy import ANSWERS, RULES
from runbook_lib.plan.key import Given
from runbook_lib.plan.model import Acceptance, ChecklistItem, LintRule, Tolerance, Trigger
from runbook_lib.plan.yaml_value import Entry, Value, nearest

# Ten things that have to be true before a migration starts, each with the probe that answers for it.
CHECKLIST = (
    ChecklistItem("backup_complete", "A complete backup exists and can be restored", "backup_recorded"),
    ChecklistItem("rollback_plan_documented", "The rollback is written down and was rehearsed", "rollback_rehearsed"),
    ChecklistItem("tested_in_staging", "The same plan has passed in staging", "staging_evidence"),
    ChecklistItem("downtime_window_scheduled", "The window is agreed and lies ahead", "window_scheduled"),
    ChecklistItem("stakeholders_notified", "Everybody concerned was notified", "notified"),
    ChecklistItem("monitoring_enhanced", "The rollback triggers are defined and watched", "triggers_defined"),
    ChecklistItem("success_criteria_defined", "What counts as success is written down", "criteria_defined"),
    ChecklistItem("validation_plan_ready", "The integrity checks are on, tolerances declared", "validation_enabled"),
    ChecklistItem("performance_benchmarks_set", "The source's performance is measured", "baseline_recorded"),
    ChecklistItem("post_migration_verification_plan", "What is verified afterwards is planned", "post_checks"),
)
PROBES = tuple(item.probe for item in CHECKLIST)
_WORDS = {"rate": "error_rate", "latency": "response_time", "inconsistency": "data_inconsistency"}


def read_tolerances(value: Value) -> tuple[Tolerance, ...]:
    """The differences that the plan declares."""
    return tuple(_tolerance(item) for item in value.items("tolerate"))


def _tolerance(item: Value) -> Tolerance:
    found = Tolerance(**keys.TOLERANCE.complete(item, "tolerate", "a tolerated difference"), line=item.line)
    item.word(found.check, vocabulary.CHECKS, f"unknown check `{found.check}`")
    return found


_INSTEAD = {
    "no_key": "add a primary key, or leave the table out of the plan and move it with `runbook copy --tables`",
    "cascades": "declare the key RESTRICT for the migration",
    "engines": "ALTER TABLE … ENGINE = InnoDB",
    "prepared_transactions": "commit or roll them back",
    "rights": "grant what the finding names",
    "names": "another name at the source, or `from:` and `columns:`",
}


def read_accepted(value: Value) -> tuple[Acceptance, ...]:
    """The findings of an assessment that the plan takes as they are."""
    return tuple(_acceptance(item) for item in value.items("accept"))


def _acceptance(item: Value) -> Acceptance:
    found = Acceptance(**keys.ACCEPTANCE.complete(item, "accept", "an accepted finding"), line=item.line)
    item.word(found.finding, vocabulary.FINDINGS, f"unknown finding `{found.finding}`")
    if found.finding not in vocabulary.ACCEPTABLE:
        observed = f"`{found.finding}` cannot be taken as it is: a later step would refuse it"
        action = _INSTEAD.get(found.finding, "correct it at the source, or decide it by `types:` or `on_bad_row:`")
        raise item.error(observed, expected="one of " + ", ".join(vocabulary.ACCEPTABLE), action=action)
    return found


def read_required(value: Value) -> tuple[str, ...]:
    """What a validation fails on although it would only report it."""
    named = [(item, item.text("require")) for item in value.items("require")]
    return tuple(dict.fromkeys(at.word(name, vocabulary.REQUIRE, f"cannot require `{name}`") for at, name in named))


def read_lint(value: Value) -> dict[str, LintRule]:
    """How hazards in schema revisions are handled, where it is not the default: rule to policy and reason."""
    rules: dict[str, LintRule] = {}
    for entry in value.entries("lint"):
        if entry.name not in RULES:
            raise entry.at.error(f"unknown rule `{entry.name}`", action=nearest(entry.name, RULES))
        settings = keys.LINT_RULE.complete(entry.value, entry.name, f"rule {entry.name}", entry.at)
        rules[entry.name] = rule = LintRule(**settings, line=entry.at.line)
        entry.value.word(rule.policy, ANSWERS, f"unknown policy `{rule.policy}`")
    return rules


def read_triggers(value: Value) -> tuple[Trigger, ...]:
    """Rollback triggers, in the grammar's form or in words."""
    triggers: list[Trigger] = []
    for item in value.items("rollback_triggers"):
        trigger = _trigger(item)
        if any(other.metric == trigger.metric for other in triggers):
            raise item.error(f"trigger `{trigger.metric}` is written twice")
        triggers.append(trigger)
    return tuple(triggers)


# What each source needs, and what else it may have; a word that would do nothing is refused.
_JUDGED = {"window", "samples", "confirm", "clear", "dry_run"}
_NEEDS = {"router": (), "prometheus": ("query",), "sql": ("database", "query"), "http": ("url", "value")}
_MAY_HAVE = {"router": {*_JUDGED, "baseline"}, "http": {*_JUDGED, "at"}}


def _trigger(item: Value) -> Trigger:
    """In one text, or as a mapping with `trigger` and what its source needs."""
    if not item.is_mapping:
        return _limit(Trigger("", text=item.text("a rollback trigger"), line=item.line), item)
    found = Trigger("", **keys.TRIGGER.complete(item, "rollback_triggers", "a rollback trigger"), line=item.line)
    trigger = _limit(found, item)
    given = {key.name: at for key, at in keys.TRIGGER.read(item, "rollback_triggers").items()}
    for name in _NEEDS[trigger.source]:
        if name not in given:
            raise item.error(f"source `{trigger.source}` without `{name}`", action=f"add `{name}:`")
    probed = trigger.metric in vocabulary.TRIGGERS[2:]
    known = {"confirm", "dry_run"} if probed else {*_NEEDS[trigger.source], *_MAY_HAVE.get(trigger.source, _JUDGED)}
    for name, at in given.items():
        if name not in {"trigger", "source", *known} or (probed and name == "source"):
            raise at.error(f"`{name}` does nothing for {trigger.metric}", expected="one of " + ", ".join(sorted(known)))
    if trigger.baseline == "neighbour" and not trigger.relative_to_baseline:
        raise given["baseline"].error(f"`{trigger.text}` is not measured by a baseline", expected="> 2x baseline")
    if not trigger.window_s:
        raise given["window"].error("a window of nothing", expected="a duration such as 10s")
    return trigger


def _limit(trigger: Trigger, item: Value) -> Trigger:
    """The trigger with the metric and the limit that its text says."""
    text, asked = trigger.text, trigger.source != "router"
    words, sign, limit = (part.strip() for part in text.partition(">"))
    metric = _other_metric(words, item) if asked else _metric(words, item)
    trigger = replace(trigger, metric=metric)
    if metric in ("data_inconsistency", "critical_feature_failure"):
        if sign:
            raise item.error(f"trigger `{text}` has a limit", action=f"write `{metric}`: one is enough")
        return trigger
    factor = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:x|×|times)\s*(?:the\s+)?baseline", limit, re.IGNORECASE)
    share = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", limit)
    if metric == "response_time" and factor and float(factor[1]) >= 1 and not asked:
        return replace(trigger, threshold=float(factor[1]), relative_to_baseline=True)
    if (metric == "error_rate" or asked) and share and float(share[1]) < 100:
        return replace(trigger, threshold=round(float(share[1]) / 100, 9))
    if asked and (number := re.fullmatch(r"-?\d[\d_]*(?:\.\d+)?", limit)):
        return replace(trigger, threshold=float(number[0].replace("_", "")))
    expected = "error_rate > 1%" if metric == "error_rate" else "response_time > 2x baseline"
    raise item.error(f"trigger is `{text}`", expected=f"a limit as in `{'stuck_orders > 20' if asked else expected}`")


def _other_metric(words: str, item: Value) -> str:
    """A name for what another source answers; those that are probed have no other source."""
    name = vocabulary.snake(words)
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) or name in ("data_inconsistency", "critical_feature_failure"):
        raise item.error(f"metric `{words}` of another source", expected="a name of its own: letters, digits and `_`")
    return name


def _metric(words: str, item: Value) -> str:
    name = re.sub(r"_(detected|occurs?|found)$", "", vocabulary.snake(words))
    found = {metric for metric in vocabulary.TRIGGERS if name in (metric, f"{metric}s") or _same_words(name, metric)}
    if len(found) == 1:
        return found.pop()
    action = nearest(name, [*vocabulary.TRIGGERS, *_WORDS]) or "a metric of your own needs its `source:`"
    raise item.error(f"unknown trigger `{words}`", expected="one of " + ", ".join(vocabulary.TRIGGERS), action=action)


def _same_words(name: str, metric: str) -> bool:
    return set(metric.split("_")) <= set(name.split("_"))


def read_checklist(value: Value) -> tuple[ChecklistItem, ...]:
    """The ten items with what the plan says about them, then the plan's own items."""
    items = {item.name: item for item in CHECKLIST}
    for entry in value.entries("checklist"):
        items[entry.name] = _checklist_item(entry, items.get(entry.name))
    return tuple(items.values())


def _checklist_item(entry: Entry, known: ChecklistItem | None) -> ChecklistItem:
    line = entry.at.line
    if known and not entry.value.is_mapping:
        return replace(known, note="" if entry.value.is_null else entry.value.text(entry.name), line=line)
    given = keys.CHECKLIST_ITEM.read(entry.value, f"checklist {entry.name}") if entry.value.is_mapping else Given()
    if not known and keys.TITLE not in given:
        action = nearest(entry.name, [item.name for item in CHECKLIST]) or "give an item of your own a `title`"
        raise entry.at.error(f"unknown checklist item `{entry.name}`", action=action)
    base = known or ChecklistItem(entry.name, "")
    item = replace(base, **given.settings(), line=line)
    if item.probe == "signoff":
        return replace(item, probe="")
    if item.probe and item.probe not in PROBES:
        expected, action = "signoff, or one of " + ", ".join(PROBES), nearest(item.probe, PROBES)
        raise given[keys.PROBE].error(f"unknown probe `{item.probe}`", expected=expected, action=action)
    return item
