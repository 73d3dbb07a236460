"""Phases, their tasks and steps, read from the plan."""

from __future__ import annotations

from dataclasses import replace

from runbook_lib.plan import vocabulary
from runbook_lib.plan.load_services import read_services
from runbook_lib.plan.model import Phase, Service, Task
from runbook_lib.plan.units import read_duration, read_percentages
from runbook_lib.plan.window import read_window
from runbook_lib.plan.yaml_value import Entry, Value, nearest


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
    if name not in order:
        expected = f"one of {', '.join(order)} (strategy {strategy})"
        raise entry.at.error(f"unknown phase `{entry.name}`", expected=expected, action=nearest(name, order))
    return name


def _read_phase(entry: Entry, name: str) -> tuple[Phase, tuple[Service, ...]]:
    if entry.value.is_list:  # only sentences below the name
        steps, tasks = _read_steps(entry.value)
        return Phase(name, steps=steps, tasks=tasks, line=entry.at.line), ()
    known = (*vocabulary.PHASE_COMMON, *vocabulary.PHASE_OWN.get(name, ()))
    _refuse_misplaced(entry, name, known)
    fields = entry.value.fields(f"phase {name}", known, vocabulary.PHASE_ALIASES)
    phase = _with_numbers(Phase(name, line=entry.at.line), fields)
    steps, sentences = _read_steps(fields["steps"]) if "steps" in fields else ((), ())
    tasks = _read_tasks(fields["tasks"]) if "tasks" in fields else ()
    services = read_services(fields["services"]) if "services" in fields else ()
    return replace(phase, steps=steps, tasks=(*tasks, *sentences)), services


def _with_numbers(phase: Phase, fields: dict[str, Value]) -> Phase:
    for key, name in (
        ("duration", "duration_s"),
        ("max_write_pause", "max_write_pause_s"),
        ("watch", "watch_s"),
        ("after", "after_s"),
    ):
        if key in fields:
            phase = replace(phase, **{name: read_duration(fields[key], key)})  # type: ignore[arg-type]  # a field of the table
    if "traffic" in fields:
        phase = replace(phase, traffic=read_percentages(fields["traffic"], "traffic"))
    if "window" in fields:
        phase = replace(phase, window=read_window(fields["window"]))
    if "archive" in fields:
        phase = replace(phase, archive=_archive(fields["archive"]))
    return phase


def _refuse_misplaced(entry: Entry, name: str, known: tuple[str, ...]) -> None:
    """A key of another phase deserves a better answer than "unknown"."""
    if not entry.value.is_mapping:
        return
    for inner in entry.value.entries(f"phase {name}"):
        key = vocabulary.PHASE_ALIASES.get(inner.name, inner.name)
        homes = [phase for phase, own in vocabulary.PHASE_OWN.items() if key in own]
        if key not in known and homes:
            raise inner.at.error(f"`{inner.name}` in phase {name}", action=f"write it in {' or '.join(homes)}")


def _archive(value: Value) -> str:
    text = value.text("archive").lower()
    if text not in vocabulary.ARCHIVES:
        raise value.error(f"archive is `{text}`", expected=" or ".join(vocabulary.ARCHIVES))
    return text


def _read_tasks(value: Value) -> tuple[Task, ...]:
    """A sentence is a person's task, `{step: name}` the library's."""
    return tuple(
        _task(item) if item.is_mapping else Task(text=item.text("a task"), line=item.line)
        for item in value.items("tasks")
    )


def _task(item: Value) -> Task:
    fields = item.fields("a task", ("step", "statements"))
    if "step" not in fields:
        raise item.error("a task without text", expected="a sentence, or {step: name}")
    name = _known_step(fields["step"].text("step"), fields["step"])
    statements: tuple[str, ...] = ()
    if "statements" in fields:
        if name != "apply_ddl":
            raise fields["statements"].error(f"step `{name}` takes no statements", action="write {step: apply_ddl, …}")
        statements = tuple(_statement(each) for each in fields["statements"].items("statements"))
    return Task(step=name, line=item.line, statements=statements)


def _statement(item: Value) -> str:
    item.text("a statement")  # says where it is none
    return str(item.plain())  # as it was written: a literal keeps its spaces


def _read_steps(value: Value) -> tuple[tuple[str, ...], tuple[Task, ...]]:
    """Names of steps, or sentences about them; a sentence about none is a person's task."""
    steps: list[str] = []
    tasks: list[Task] = []
    for item in value.items("steps"):
        task = _task(item) if item.is_mapping else None
        if task is not None and task.statements:
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
    known = vocabulary.library_steps()
    if name not in known:
        action = nearest(name, known) or "write a sentence for a person's task"
        raise at.error(f"unknown step `{name}`", expected="one of " + ", ".join(known), action=action)
    return name
