"""The run in figures: `summary.json`, built from the journal and from what the clients' ledger counted.

A step's result may carry these figures in its data, and they are found here: `rows_copied` (count; summed over
steps), `write_pause_ms` (milliseconds; the longest), and a validation report (its `as_dict()`, as the data itself or
under `report`; the last one counts).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from runbook_lib.evidence.checks_by_table import checks_grid
from runbook_lib.journal.chain import Entry, plain
from runbook_lib.journal.history import History, Unit
from runbook_lib.journal.kinds import (
    Gate,
    PhaseStarted,
    Result,
    RollbackResult,
    RunOpened,
    StandaloneVerdict,
)

LEDGER_KEYS = ("acknowledged_writes", "lost_writes", "failed_requests", "write_pause_ms")
_WORST = ("fail", "could_not_run", "pass")


def build_summary(entries: Sequence[Entry], *, ledger: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the run did, in JSON values.

    Args:
        entries: All entries of one run, in order; at least the first.
        ledger: What the clients saw: `acknowledged_writes`, `lost_writes`, `failed_requests`, `write_pause_ms`;
            further keys are kept under `ledger`. A figure that nobody measured is null, never 0.
    """
    history = History(entries)
    opened, last = entries[0], entries[-1]
    run = opened.read(RunOpened)
    results = _results(entries)
    seen = dict(ledger or {})
    grid = _last_grid(results)
    figures: dict[str, Any] = {name: seen.pop(name, None) for name in LEDGER_KEYS}
    if figures["write_pause_ms"] is None:
        figures["write_pause_ms"] = max(_figures(results, "write_pause_ms"), default=None)
    phases = [phase_summary(history, name) for name in _phases(entries)]
    return {
        "run_id": opened.run_id,
        "environment": run.environment,
        "plan_digest": run.plan_digest,
        "plan_path": run.plan_path,
        "actor": run.actor,
        "host": run.host,
        "started": opened.at,
        "ended": last.at,
        "duration_s": _seconds(opened, last),
        "outcome": _outcome(phases),
        "phases": phases,
        **figures,
        "rows_copied": sum(_figures(results, "rows_copied"), 0) or None,
        "checks": {check: _worst(row.values()) for check, row in grid.items()},
        "checks_by_table": grid,
        "ledger": seen,
    }


def phase_summary(history: History, phase: str) -> dict[str, Any]:
    """One phase: when, how long, its steps with their outcomes, its standalone verdicts, its gate."""
    entries = [entry for entry in history.entries if entry.phase == phase and not entry.content.aside]
    entries = entries or history.entries[:1]  # its notebook ended before it began the phase
    gate = history.gates.get(phase)
    found = [(entry, entry.read(StandaloneVerdict)) for (at, _), entry in history.verdicts.items() if at == phase]
    verdicts = [_at_once("verdict", entry, verdict) for entry, verdict in found]
    undone = [_at_once("undo", one, one.content) for one in entries if isinstance(one.content, RollbackResult)]
    return {
        "name": phase,
        "passed": history.phase_passed(phase),
        "gate": None if gate is None else _gate(gate),
        "started": entries[0].at,
        "ended": entries[-1].at,
        "duration_s": _seconds(entries[0], entries[-1]),
        "attempts": sum(isinstance(entry.content, PhaseStarted) for entry in entries) or 1,
        "steps": [_step(unit) for unit in history.latest(phase)] + verdicts + undone,
    }


def _gate(entry: Entry) -> dict[str, Any]:
    gate = entry.read(Gate)
    return {"passed": gate.passed, "items": plain(gate.items), "at": entry.at}


def _step(unit: Unit) -> dict[str, Any]:
    result = unit.result
    return {
        "name": unit.name,
        "kind": "step",
        "outcome": unit.outcome,
        "text": result.read(Result).text if result else "",
        "started": unit.intent.at,
        "ended": result.at if result else None,
        "duration_s": _seconds(unit.intent, result) if result else None,
    }


def _at_once(kind: str, entry: Entry, found: StandaloneVerdict | RollbackResult) -> dict[str, Any]:
    return {
        "name": entry.step,
        "kind": kind,
        "outcome": found.outcome,
        "text": found.text,
        "started": entry.at,
        "ended": entry.at,
        "duration_s": None,
    }


def _phases(entries: Sequence[Entry]) -> list[str]:
    """In the order in which they first started."""
    return list(dict.fromkeys(entry.phase for entry in entries if entry.phase and not entry.content.aside))


def _outcome(phases: Sequence[Mapping[str, Any]]) -> str:
    """pass, fail, open (nothing failed, something is not finished), or rolled_back."""
    by_name = {phase["name"]: phase for phase in phases}
    if by_name.get("rollback", {}).get("passed"):
        return "rolled_back"
    if any(phase["gate"] and not phase["gate"]["passed"] for phase in phases):
        return "fail"
    return "pass" if phases and all(phase["passed"] for phase in phases) else "open"


def _results(entries: Iterable[Entry]) -> list[Mapping[str, Any]]:
    """The figures of every result, and of the verdict beside it."""
    found: list[Mapping[str, Any]] = []
    for entry in entries:
        match entry.content:
            case Result(data=data, verdict=verdict):
                found += [data, verdict.data] if verdict else [data]
            case StandaloneVerdict(data=data):
                found.append(data)
    return found


def _figures(results: Iterable[Mapping[str, Any]], name: str) -> list[float]:
    return [data[name] for data in results if isinstance(data.get(name), int | float)]


def _last_grid(results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    for data in reversed(results):
        report = data.get("report", data)
        # A delta verification checks a few keys only: the whole one is what the summary shows.
        if isinstance(report, Mapping) and isinstance(report.get("results"), list) and not report.get("only_keys"):
            return checks_grid(report)
    return {}


def _worst(outcomes: Iterable[str]) -> str:
    seen = set(outcomes)
    return next((outcome for outcome in _WORST if outcome in seen), "pass")


def _seconds(first: Entry, last: Entry) -> float:
    return round((last.time - first.time).total_seconds(), 3)
