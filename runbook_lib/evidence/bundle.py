"""The evidence folder of a run: seal each phase when its notebook has ended, then close the run.

    evidence/<environment>/<run_id>/
      NN_phase/  notebook.ipynb notebook.html report.json  statement.json statement.json.sig statement.dsse.json
      NN_phase.attempt-1/                     an earlier attempt at the phase, sealed as it was
      index.html summary.json journal.jsonl   the run as a whole
      public_key.pem allowed_signers          for openssl and ssh-keygen
      statement.json statement.json.sig statement.dsse.json   over everything above

Nothing is signed before the scan for secrets is clean.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runbook_lib.evidence import statement as st
from runbook_lib.evidence.html import notebook_html
from runbook_lib.evidence.index import index_html
from runbook_lib.evidence.keys import SigningKey
from runbook_lib.evidence.secrets import require_clean
from runbook_lib.evidence.sign import dsse, ssh_signature
from runbook_lib.evidence.summary import build_summary, phase_summary
from runbook_lib.journal.chain import Entry
from runbook_lib.journal.content import payload_of
from runbook_lib.journal.history import History
from runbook_lib.journal.kinds import Alarm, Approval, RunOpened, Signoff
from runbook_lib.journal.store import Journal

NOTEBOOK, PAGE, REPORT = "notebook.ipynb", "notebook.html", "report.json"
INDEX, SUMMARY, JOURNAL = "index.html", "summary.json", "journal.jsonl"
PUBLIC_KEY, ALLOWED_SIGNERS = "public_key.pem", "allowed_signers"
ATTEMPT = ".attempt-"
DRAFT = f"{st.STATEMENT}.draft"


@dataclass(frozen=True)
class Facts:
    """What the journal does not know and the statement says all the same.

    Attributes:
        engines: Database to its version, e.g. {"legacy": "PostgreSQL 18.6"}.
        schemas: Database to the SHA-256 fingerprint of its schema.
    """

    engines: Mapping[str, str] = field(default_factory=dict)
    schemas: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sealed:
    """A folder that was signed. `digest` is that of its statement."""

    folder: Path
    passed: bool
    digest: str
    files: tuple[str, ...]


def phase_folder(bundle: Path, name: str) -> Path:
    """The folder for a phase's next attempt; an earlier, sealed attempt is renamed to `NN_phase.attempt-1`, ….

    Args:
        bundle: The run's folder.
        name: The notebook's stem, e.g. "03_data_migration".
    """
    folder = bundle / name
    if (folder / st.STATEMENT).exists():
        folder.rename(bundle / f"{name}{ATTEMPT}{len(list(bundle.glob(f'{name}{ATTEMPT}*'))) + 1}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def unsealed(bundle: Path) -> list[Path]:
    """The folders of phases that a kill has left without their statement."""
    folders = sorted(path for path in bundle.glob("*/") if any(path.iterdir()))
    return [folder for folder in folders if not (folder / st.STATEMENT).exists()]


def sealed_pass(folder: Path) -> bool:
    """Whether the folder has a statement, and it says that the phase passed."""
    body = (folder / st.STATEMENT).read_bytes() if (folder / st.STATEMENT).exists() else b""
    return bool(body) and bool(json.loads(body)["predicate"]["passed"])


def closed(bundle: Path) -> bool:
    """Whether the run's closing statement is there, and every phase has its own."""
    return (bundle / st.STATEMENT).exists() and not unsealed(bundle)


def seal_phase(
    folder: Path,
    *,
    journal: Journal,
    run_id: str,
    phase: str,
    key: SigningKey,
    secrets: Sequence[str],
    facts: Facts | None = None,
) -> Sealed:
    """Make the report and the page of a phase whose notebook has ended (passed or not), scan, and sign.

    Args:
        folder: From `phase_folder`; holds `notebook.ipynb` when a notebook was executed.
        secrets: The secret values of the environment: none may be in what is signed.
    Raises:
        EvidenceError: a secret is in an artefact; nothing was signed.
        JournalError: the record of the run is damaged; nothing was signed.
    """
    head = journal.verify_chain(run_id)
    entries = journal.entries(run_id)
    _sweep(folder)
    report = phase_summary(History(entries), phase)
    report |= {"run_id": run_id, "entries": [_plain(entry) for entry in entries if entry.phase == phase]}
    _write_json(folder / REPORT, report)
    if (folder / NOTEBOOK).exists():
        _write(folder / PAGE, notebook_html(folder / NOTEBOOK, run_id=run_id, passed=report["passed"]).encode())
    files = _files(folder)
    require_clean(files, secrets)
    _reopen(folder.parent)
    _publish(folder.parent, key)
    place, previous = _last_statement(folder.parent)
    predicate = {
        "run": _run_facts(entries[0]),
        "folder": folder.name,
        "phase": phase,
        "passed": report["passed"],
        "position": place + 1,
        "previous_statement": previous,
        "started": report["started"],
        "ended": report["ended"],
        "gate": report["gate"],
        "steps": {step["name"]: step["outcome"] for step in report["steps"]},
        "approvals": _approvals(entries, phase),
        "journal": {"head": head, "entries": len(entries)},
        **_facts(facts),
    }
    body = st.statement(st.PHASE_PREDICATE, st.subjects(folder, files), predicate)
    _sign(folder, body, key, secrets)
    return Sealed(folder, bool(report["passed"]), st.digest(body), tuple(path.name for path in files))


def finish(
    bundle: Path,
    *,
    journal: Journal,
    run_id: str,
    key: SigningKey,
    secrets: Sequence[str],
    ledger: Mapping[str, Any] | None = None,
    charts: Mapping[str, str] | None = None,
    title: str = "",
    facts: Facts | None = None,
) -> Path:
    """Write the run's summary, index and journal copy, scan everything, and sign the whole. May be called again.

    Args:
        ledger: What the clients counted (see `build_summary`).
        charts: Caption to SVG text, in the order of the page.
        title: The migration's name, from the plan.
    Returns:
        Path: the index.
    """
    head = journal.verify_chain(run_id)
    entries = journal.entries(run_id)
    _sweep(bundle)
    _reopen(bundle)
    summary = build_summary(entries, ledger=ledger)
    folders = sorted(path.parent.name for path in bundle.glob(f"*/{st.STATEMENT}"))
    _write_json(bundle / SUMMARY, summary)
    _write(bundle / JOURNAL, "".join(entry.line() + "\n" for entry in entries).encode())
    page = index_html(
        summary,
        title=title,
        folders=folders,
        approvals=_given(entries, ""),
        alarms=[entry for entry in entries if isinstance(entry.content, Alarm)],
        charts=charts or {},
        fingerprint=key.verifying.fingerprint,
    )
    _write(bundle / INDEX, page.encode())
    _publish(bundle, key)
    files = _files(bundle)
    require_clean(files, secrets)
    place, previous = _last_statement(bundle)
    predicate = {
        "run": _run_facts(entries[0]),
        "outcome": summary["outcome"],
        "statements": place,
        "previous_statement": previous,
        "started": summary["started"],
        "ended": summary["ended"],
        "journal": {"head": head, "entries": len(entries)},
        **_facts(facts),
    }
    body = st.statement(st.RUN_PREDICATE, st.subjects(bundle, files), predicate)
    _sign(bundle, body, key, secrets)
    return bundle / INDEX


def _facts(facts: Facts | None) -> dict[str, Any]:
    known = facts or Facts()
    return {
        "engines": dict(known.engines),
        "schemas": dict(known.schemas),
        "code": {"version": st.library_version(), "sha256": st.code_digest()},
    }


def _run_facts(opened: Entry) -> dict[str, Any]:
    """Everything that never changes about the run: both digests, actor, host."""
    return payload_of(opened.read(RunOpened))


def _approvals(entries: Sequence[Entry], phase: str) -> list[dict[str, Any]]:
    return [
        {"kind": entry.kind, "name": entry.step, "phase": entry.phase, "actor": entry.actor, "at": entry.at,
         **entry.payload}
        for entry in _given(entries, phase)
    ]  # fmt: skip


def _given(entries: Sequence[Entry], phase: str) -> list[Entry]:
    """Approvals and sign-offs of this phase (empty: of all)."""
    return [one for one in entries if isinstance(one.content, Approval | Signoff) and phase in ("", one.phase)]


def _plain(entry: Entry) -> dict[str, Any]:
    return {"seq": entry.seq, "at": entry.at, "actor": entry.actor, "kind": entry.kind, "phase": entry.phase,
            "step": entry.step, "payload": entry.payload}  # fmt: skip


def _last_statement(bundle: Path) -> tuple[int, str]:
    """Position and digest of the phase statement that was made last; (0, "") before the first."""
    found = [path.read_bytes() for path in bundle.glob(f"*/{st.STATEMENT}")]
    placed = [(json.loads(body)["predicate"]["position"], st.digest(body)) for body in found]
    return max(placed, default=(0, ""))


def _files(folder: Path) -> list[Path]:
    """Every file under a folder but its own statement: what the statement is about."""
    own = {folder / name for name in st.TRIO}
    return sorted(path for path in folder.rglob("*") if path.is_file() and path not in own)


def _sweep(folder: Path) -> None:
    """Remove what a kill has left of a file that was being written: it would be named as evidence, and then be gone."""
    for path in (folder / DRAFT, *folder.glob(".*.part")):
        path.unlink(missing_ok=True)


def _reopen(bundle: Path) -> None:
    """A run that continues is not closed: its closing statement would no longer fit."""
    for name in st.TRIO:
        (bundle / name).unlink(missing_ok=True)


def _publish(bundle: Path, key: SigningKey) -> None:
    _write(bundle / PUBLIC_KEY, key.verifying.pem)
    _write(bundle / ALLOWED_SIGNERS, key.verifying.allowed_signers)


def _sign(folder: Path, body: bytes, key: SigningKey, secrets: Sequence[str]) -> None:
    """The statement itself comes last: where it is, its signatures are. It is scanned too: approvals hold free text."""
    draft = folder / DRAFT
    draft.write_bytes(body)
    try:
        require_clean([draft], secrets)
    finally:
        draft.unlink()
    _write(folder / st.SIGNATURE, ssh_signature(body, key))
    _write(folder / st.ENVELOPE, dsse(body, key))
    _write(folder / st.STATEMENT, body)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    _write(path, json.dumps(content, indent=1, ensure_ascii=False, default=str).encode() + b"\n")


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    aside.write_bytes(content)
    aside.replace(path)
