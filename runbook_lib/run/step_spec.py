"""A step as data: its class and fields for the journal, and back into a step."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, cast

from runbook_lib.errors import ConfigurationError
from runbook_lib.journal import plain
from runbook_lib.journal.renamed_steps import spec_today
from runbook_lib.run.step import Step

_PACKAGES = ("runbook_lib.steps",)


def describe(step: Step, packages: tuple[str, ...] = ()) -> dict[str, Any]:
    """The step's class and fields as JSON, from which `rebuild` makes the same step in another process.

    Raises:
        ConfigurationError: it could not be rebuilt, so it could not be undone: refused before anything is done.
    """
    kind = type(step)
    spec = {"class": f"{kind.__module__}:{kind.__qualname__}", "fields": _fields(step)}
    if not is_dataclass(step) or _made(spec, packages) != step:
        raise ConfigurationError(
            f"step {step.name}",
            f"{spec['class']} cannot be rebuilt from its recorded fields, so it could not be undone",
            expected="a frozen dataclass of JSON values and tuples",
        )
    return spec


def _fields(step: Any) -> dict[str, Any]:
    if not is_dataclass(step):
        return {}
    return {f.name: plain(getattr(step, f.name), f"{type(step).__name__}.{f.name}") for f in fields(step) if f.init}


def rebuild(spec: Mapping[str, Any], packages: tuple[str, ...] = ()) -> Step:
    """The step of a recorded intent; only modules of `runbook_lib.steps` and of these packages are imported.

    Raises:
        ConfigurationError: another module, or it is not there any more.
    """
    return _made(spec_today(spec), packages)


def _made(spec: Mapping[str, Any], packages: tuple[str, ...]) -> Step:
    module, _, name = str(spec["class"]).partition(":")
    allowed = (*_PACKAGES, *packages)
    if not any(module == package or module.startswith(f"{package}.") for package in allowed):
        raise ConfigurationError(f"step class {spec['class']}", "not a place for steps", expected=", ".join(allowed))
    try:
        kind = getattr(importlib.import_module(module), name)
        return cast(Step, kind(**{key: _frozen(value) for key, value in spec["fields"].items()}))
    except (ImportError, AttributeError, TypeError) as error:
        raise ConfigurationError(f"step class {spec['class']}", f"cannot be rebuilt: {error}") from error


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    return {key: _frozen(item) for key, item in value.items()} if isinstance(value, dict) else value
