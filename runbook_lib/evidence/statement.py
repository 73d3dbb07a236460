"""The signed statement of one phase: an in-toto Statement v1 about the files in the phase's folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PHASE_PREDICATE = "urn:runbook-lib:phase:v1"
RUN_PREDICATE = "urn:runbook-lib:run:v1"

STATEMENT, SIGNATURE, ENVELOPE = "statement.json", "statement.json.sig", "statement.dsse.json"
TRIO = (STATEMENT, SIGNATURE, ENVELOPE)


def digest(content: bytes) -> str:
    """SHA-256 in hex, as everywhere in the evidence."""
    return hashlib.sha256(content).hexdigest()


def subjects(folder: Path, files: Iterable[Path]) -> list[dict[str, Any]]:
    """Name (relative to the folder) and digest of each file, sorted by name."""
    named = sorted((path.relative_to(folder).as_posix(), path) for path in files)
    return [{"name": name, "digest": {"sha256": digest(path.read_bytes())}} for name, path in named]


def statement(predicate_type: str, subject: Sequence[Mapping[str, Any]], predicate: Mapping[str, Any]) -> bytes:
    """The statement's bytes: what is signed, and what is written to disk unchanged."""
    content = {
        "_type": STATEMENT_TYPE,
        "subject": list(subject),
        "predicateType": predicate_type,
        "predicate": dict(predicate),
    }
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, default=str).encode() + b"\n"


@cache
def code_digest() -> str:
    """One digest over every source file of the installed library: which code did this."""
    package = Path(__file__).resolve().parents[1]
    whole = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        whole.update(f"{path.relative_to(package).as_posix()} {digest(path.read_bytes())}\n".encode())
    return whole.hexdigest()


def library_version() -> str:
    """The installed version, or "source" when it runs from a checkout that was never installed."""
    try:
        return version("runbook-lib")
    except PackageNotFoundError:
        return "source"
