"""Steps that had another name before 0.2.0: what an old journal, plan, notebook or step of a user's says is understood.

An old entry stays as it is, for its hash covers it; it is *read* as if today's step had written it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAMES = {
    "disable_writes_to_source": "rehearse_fence",
    "enable_writes_to_both": "start_capture",
    "open_way_back": "start_reverse_capture",
    "prove_way_back": "verify_reverse_mapping",
}


def name_today(name: str) -> str:
    """The step's name; an old one is that of the step which does it today."""
    return NAMES.get(name, name)


def _class_of(name: str) -> str:
    return name.title().replace("_", "")


CLASSES = {_class_of(old): _class_of(new) for old, new in NAMES.items()}
_PATHS = {
    f"runbook_lib.steps.{old}:{_class_of(old)}": f"runbook_lib.steps.{new}:{_class_of(new)}"
    for old, new in NAMES.items()
}


def spec_today(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A step's recorded class and fields (`step_spec.describe`) as today's code would record them."""
    path, given = str(spec["class"]), dict(spec["fields"])
    if path in _PATHS and "name" in given:
        given["name"] = name_today(given["name"])
    if isinstance(given.get("requires"), list):
        given["requires"] = [name_today(name) for name in given["requires"]]
    return {"class": _PATHS.get(path, path), "fields": given}
