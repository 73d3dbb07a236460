"""Kinds that were notes before 0.2.0: an old entry is *read* as if today's code had written it, for its hash covers it.

A note said by its step, or by a key of its payload, what it was; a verdict without a step was a result without inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from runbook_lib.journal import kinds
from runbook_lib.journal.content import KINDS, Content, Unknown, from_payload

_Payload = Mapping[str, Any]
_NOTE, _RESULT, _SUPERSEDED = "note", "result", "superseded: "
_BY_STEP: dict[str, type[Content]] = {
    "sync_started": kinds.SyncStarted,
    "sync_stop": kinds.SyncStopRequested,
    "sync_ended": kinds.SyncEnded,
    "schema_changed": kinds.SchemaChanged,
    "apply_ddl_first": kinds.ApplyDdlStatement,
    "apply_ddl": kinds.ApplyDdlBegun,
    "apply_ddl_done": kinds.ApplyDdlDone,
    "baseline": kinds.SchemaBaseline,
    "clone": kinds.CopyOpened,
    "moved": kinds.WritersMoved,
}
_BY_DATA: dict[str, tuple[type[Content], Callable[[Any], _Payload]]] = {
    "schema_opened": (kinds.SchemaMigrationOpened, dict),
    "schema_undoing": (kinds.SchemaMigrationUndoing, lambda why: {"reason": why}),
    "schema_ended": (kinds.SchemaMigrationEnded, lambda number: {"number": number}),
}
_ASKED: dict[str, type[Content]] = {"approval": kinds.ApprovalRequested, "signoff": kinds.SignoffRequested}
_FORMER: dict[type[Content], str] = {
    kinds.StandaloneVerdict: _RESULT,
    **dict.fromkeys([*_BY_STEP.values(), *_ASKED.values(), *(kind for kind, _ in _BY_DATA.values())], _NOTE),
    **dict.fromkeys([kinds.CopyChanged, kinds.SchemaApproved, kinds.RunSuperseded], _NOTE),
}


def columns(wanted: tuple[type[Content], ...]) -> set[str]:
    """What the column `kind` holds for entries that are read as one of these; others may hold it too."""
    return {kind.kind for kind in wanted} | {_FORMER[kind] for kind in wanted if kind in _FORMER}


def read(kind: str, step: str, payload: _Payload) -> Content | Unknown:
    """What an entry says, whichever version wrote it. Raises TypeError when a field is missing."""
    if kind not in KINDS:
        return Unknown(kind, payload)
    known, today = KINDS[kind], payload
    if kind == _NOTE:
        known, today = _note(step, payload)
    elif kind == _RESULT and "inputs" not in payload:
        known = kinds.StandaloneVerdict
    content: Content = from_payload(known, today)
    return content


def _note(step: str, payload: _Payload) -> tuple[type[Content], _Payload]:
    """Kind and payload as today's code would write this note."""
    data, text = payload.get("data"), str(payload.get("text", ""))
    if isinstance(data, Mapping):  # a note to this day; three kinds stood in its data
        for key, (kind, today) in _BY_DATA.items():
            if key in data:
                return kind, {**today(data[key]), "text": text}
        return kinds.Note, payload
    if "asked" in payload:
        return _ASKED[payload["asked"]], payload
    if "shapes" in payload:
        return kinds.SchemaApproved, payload
    if text.startswith(_SUPERSEDED):
        return kinds.RunSuperseded, {"reason": text.removeprefix(_SUPERSEDED)}
    known = _BY_STEP.get(step, kinds.Note)
    if known is kinds.CopyOpened and "source" not in payload:
        return kinds.CopyChanged, payload
    if known is kinds.WritersMoved:
        return known, {"to": payload["to"], "data": {key: value for key, value in payload.items() if key != "to"}}
    rest = {key: value for key, value in payload.items() if key != "text"}
    return known, {"text": text, "data": rest} if known is kinds.Note else payload
