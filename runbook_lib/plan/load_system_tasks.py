"""System steps, read from the tasks of a phase."""

from __future__ import annotations

import json
from typing import Any

from runbook_lib.plan import keys
from runbook_lib.plan.key import Key, Section
from runbook_lib.plan.system_tasks import CommandTask, HttpTask, SqlTask
from runbook_lib.plan.system_values import OF_A_SERVICE
from runbook_lib.plan.yaml_value import Value

SYSTEM_TASKS: dict[Key[Any], tuple[Section, type[Any]]] = {
    keys.COMMAND: (keys.COMMAND_KEYS, CommandTask),
    keys.HTTP: (keys.HTTP_KEYS, HttpTask),
    keys.SQL: (keys.SQL_KEYS, SqlTask),
}


def read_system_task(key: Key[Any], value: Value) -> dict[str, Any]:
    """What stands below `command`, `http` or `sql`, for the field of `Task` that has the key's name."""
    section, kind = SYSTEM_TASKS[key]
    settings = section.complete(value, key.name, f"`{key.name}`")
    needs = [f"{{{name}}}" for name in OF_A_SERVICE if f"{{{name}}}" in _templates(settings)]
    if needs and keys.ON in section.keys and not settings.get(keys.ON.name):
        raise value.error(f"{needs[0]} without `on`", action="add `on:`, a service of the inventory")
    return {key.name: kind(**settings)}


def _templates(settings: dict[str, Any]) -> str:
    """The texts in which placeholders may stand: a command's parts, a request's address."""
    acts = [settings.get(name) for name in ("apply", "verify", "check", "rollback")]
    return json.dumps([act.get("url") if isinstance(act, dict) else act for act in acts])
