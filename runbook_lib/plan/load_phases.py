"""Phases, their tasks and steps, read from the plan."""

from __future__ import annotations

from dataclasses import replace

from runbook_lib.plan import keys, vocabulary
from runbook_lib.plan.load_services import read_services
from runbook_lib.plan.load_system_tasks import SYSTEM_TASKS, read_system_task
from runbook_lib.plan.model import Phase, Service, Task
from runbook_lib.plan.yaml_value import Entry, Value


def read_phases(value: Value, strategy: str) -> tuple[tuple[Phase, ...], tuple[Service, ...]]:
    """The phases in the strategy's order, and the services that a phase names (as plans in the wild do)."""
    order = vocabulary.PHASES[strategy]
    phases: list[Phase] = []
    services: list[Service] = []
    for entry in value.entries("phases"):
        name = _phase_name(entry, order, strategy)
        if any(phase.name == name for phase in phases):
            raise entry.at.error(f"phase `{name}` is written twice")
        if phases and value.is_list and order.index(name) < order.index(phases[-1].name):
            expected = "the order " + ", ".join(order)
            raise entry.at.error(f"phase `{name}` comes after `{phases[-1].name}`", expected=expected)
        phase, within = _read_phase(entry, name)
        phases.append(phase)
        services += within
    return tuple(sorted(phases, key=lambda phase: order.index(phase.name))), tuple(services)


def _phase_name(entry: Entry, order: tuple[str, ...], strategy: str) -> str:
    name = vocabulary.snake(entry.name)
    return entry.at.word(name, order, f"unknown phase `{entry.name}`", more=f" (strategy {strategy})")


def _read_phase(entry: Entry, name: str) -> tuple[Phase, tuple[Service, ...]]:
    if entry.value.is_list:  # only sentences below the name
        steps, tasks = _read_steps(entry.value)
        return Phase(name, steps=steps, tasks=tasks, line=entry.at.line), ()
    _refuse_misplaced(entry, name)
    given = keys.PHASE.read(entry.value, f"phase {name}", name)
    phase = Phase(name, line=entry.at.line, **given.settings())
    steps, sentences = _read_steps(given[keys.STEPS]) if keys.STEPS in given else ((), ())
    tasks = _read_tasks(given[keys.TASKS]) if keys.TASKS in given else ()
    services = read_services(given[keys.PHASE_SERVICES]) if keys.PHASE_SERVICES in given else ()
    return replace(phase, steps=steps, tasks=(*tasks, *sentences)), services


def _refuse_misplaced(entry: Entry, name: str) -> None:
    """A key of another phase deserves a better answer than "unknown"."""
    if not entry.value.is_mapping:
        return
    for inner in entry.value.entries(f"phase {name}"):
        key = keys.PHASE.named(inner.name)
        if key is not None and key.phases and name not in key.phases:
            raise inner.at.error(f"`{inner.name}` in phase {name}", action=f"write it in {' or '.join(key.phases)}")


def _read_tasks(value: Value) -> tuple[Task, ...]:
    """A sentence is a person's task, `{step: name}` the library's."""
    return tuple(
        _task(item) if item.is_mapping else Task(text=item.text("a task"), line=item.line)
        for item in value.items("tasks")
    )


def _task(item: Value) -> Task:
    given = keys.TASK.read(item, "a task")
    if (said := next((key for key in SYSTEM_TASKS if key in given), None)) and len(given) == 1:
        return Task(line=item.line, **read_system_task(said, given[said]))
    if said is not None:
        raise item.error(f"`{said.name}` beside another key", action="write two tasks")
    if keys.STEP not in given:
        raise item.error("a task without text", expected="a sentence, or {step: name}")
    name = _known_step(given[keys.STEP].text("step"), given[keys.STEP])
    if keys.STATEMENTS in given and name != "apply_ddl":
        raise given[keys.STATEMENTS].error(f"step `{name}` takes no statements", action="write {step: apply_ddl, …}")
    return Task(step=name, line=item.line, statements=given.read(keys.STATEMENTS))


def _read_steps(value: Value) -> tuple[tuple[str, ...], tuple[Task, ...]]:
    """Names of steps, or sentences about them; a sentence about none is a person's task."""
    steps: list[str] = []
    tasks: list[Task] = []
    for item in value.items("steps"):
        task = _task(item) if item.is_mapping else None
        if task is not None and (task.statements or not task.step):
            tasks.append(task)
            continue
        text = task.step if task is not None else item.text("a step")
        name = text if " " not in text else vocabulary.step_of(text)
        if name:
            steps.append(_known_step(name, item))
        else:
            tasks.append(Task(text=text, line=item.line))
    for name in steps:
        if steps.count(name) > 1:
            raise value.error(f"step `{name}` is named twice")
    return tuple(steps), tuple(tasks)


def _known_step(name: str, at: Value) -> str:
    otherwise = "write a sentence for a person's task"
    return at.word(name, vocabulary.library_steps(), f"unknown step `{name}`", otherwise=otherwise)
