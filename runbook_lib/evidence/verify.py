"""Verify an evidence folder. The steps, in this order; every one is carried out, whatever the others say.

1. The public key is an ed25519 key, the one that is trusted (when given), and the only one in `allowed_signers`.
2. Every sealed folder, and the run as a whole, has its statement with both signatures.
3. Each DSSE envelope is signed by that key and holds exactly the bytes of its statement.
4. Each SSH signature is that key's, over exactly the bytes of its statement.
5. Each file that a statement names is there and has the digest that was signed.
6. There is no file that no statement names.
7. The statements follow each other without a gap; each names the digest of the one before, and the folder it is in.
8. All statements, the summary and the journal are of one run and one plan.
9. The journal's copy is an unbroken chain, and the head that each statement names is in it.
10. What each statement says of its gate is what the journal says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runbook_lib.errors import EvidenceError, RunbookError
from runbook_lib.evidence import statement as st
from runbook_lib.evidence.bundle import ALLOWED_SIGNERS, ATTEMPT, JOURNAL, PUBLIC_KEY, SUMMARY
from runbook_lib.evidence.keys import VerifyingKey, public_key
from runbook_lib.evidence.sign import check_ssh_signature, open_dsse
from runbook_lib.journal.chain import Entry, verify_entries
from runbook_lib.journal.history import History

STEPS = (
    "the key",
    "statements and signatures are complete",
    "DSSE signatures",
    "SSH signatures",
    "digests of the files",
    "no file without a statement",
    "order of the statements",
    "one run, one plan",
    "the journal's chain",
    "gates as recorded",
)


@dataclass(frozen=True)
class VerificationStep:
    """One numbered step of this module's docstring; `problems` is empty when it passed."""

    number: int
    title: str
    problems: tuple[str, ...]
    text: str = ""

    @property
    def passed(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        seen = "; ".join(self.problems) if self.problems else self.text or "fits"
        return f"{self.number:>2}. {'ok  ' if self.passed else 'FAIL'} {self.title}: {seen}"


@dataclass(frozen=True)
class _Folder:
    """A folder with a statement: the run's own, or a phase's. `predicate` is empty when it cannot be read."""

    path: Path
    name: str
    body: bytes
    content: Mapping[str, Any]

    @property
    def predicate(self) -> Mapping[str, Any]:
        return _mapping(self.content.get("predicate"))

    @property
    def subjects(self) -> dict[str, str]:
        named = {}
        for subject in self.content.get("subject") or ():
            named[str(subject.get("name"))] = str(_mapping(subject.get("digest")).get("sha256"))
        return named

    def label(self, file: str) -> str:
        return f"{self.name}/{file}" if self.name else file


@dataclass(frozen=True)
class _Bundle:
    root: Path
    key: VerifyingKey | None
    folders: tuple[_Folder, ...]  # phases, in the order of their positions

    @property
    def closing(self) -> _Folder:
        return _read_folder(self.root, "")

    @property
    def everything(self) -> tuple[_Folder, ...]:
        return (*self.folders, self.closing)


def verify_bundle(directory: Path, trusted: VerifyingKey | None = None) -> list[VerificationStep]:
    """Carry out all steps.

    Args:
        directory: A run's folder.
        trusted: The key that must have signed. Without it, compare the fingerprint that step 1 shows.
    Returns:
        list[VerificationStep]: ten, in order; the evidence holds when every one passed.
    Raises:
        EvidenceError: there is no such folder.
    """
    if not directory.is_dir():
        raise EvidenceError(str(directory), "no such folder", expected="evidence/<environment>/<run_id>")
    key, key_problems = _step_1_key(directory, trusted)
    bundle = _Bundle(directory, key, _phase_folders(directory))
    checks: Sequence[Callable[[_Bundle], Iterator[str]]] = (
        _step_2_complete,
        _step_3_dsse,
        _step_4_ssh,
        _step_5_digests,
        _step_6_unlisted,
        _step_7_order,
        _step_8_one_run,
        _step_9_journal,
        _step_10_gates,
    )
    seen = f"fingerprint {key.fingerprint}" + (", as trusted" if trusted else ": compare it") if key else ""
    steps = [VerificationStep(1, STEPS[0], key_problems, seen)]
    for number, check in enumerate(checks, start=2):
        steps.append(VerificationStep(number, STEPS[number - 1], tuple(dict.fromkeys(check(bundle)))))
    return steps


def require_valid(steps: Sequence[VerificationStep]) -> None:
    """Raise EvidenceError naming the first problem of each step that did not pass."""
    bad = [f"step {step.number} ({step.title}): {step.problems[0]}" for step in steps if not step.passed]
    if bad:
        raise EvidenceError("evidence", "; ".join(bad), action="do not rely on this folder")


def _step_1_key(root: Path, trusted: VerifyingKey | None) -> tuple[VerifyingKey | None, tuple[str, ...]]:
    try:
        pem = _bytes(root / PUBLIC_KEY)
        key = public_key(pem, PUBLIC_KEY)
    except RunbookError as error:
        return trusted, (str(error),)
    problems = []
    if key.pem != pem:
        problems.append(f"{PUBLIC_KEY} holds more than the key")
    if trusted is not None and trusted.raw != key.raw:
        problems.append(f"{PUBLIC_KEY} is {key.fingerprint}, trusted is {trusted.fingerprint}")
    if _bytes(root / ALLOWED_SIGNERS) != key.allowed_signers:
        problems.append(f"{ALLOWED_SIGNERS} does not name exactly this key")
    return trusted or key, tuple(problems)


def _step_2_complete(bundle: _Bundle) -> Iterator[str]:
    for folder in bundle.everything:
        for name in st.TRIO:
            if not (folder.path / name).is_file():
                closed = "" if folder.name else ": the run was not closed, or it was removed"
                yield f"{folder.label(name)} is missing{closed}"
        expected = st.PHASE_PREDICATE if folder.name else st.RUN_PREDICATE
        if folder.body and (folder.content.get("_type"), folder.content.get("predicateType")) != (
            st.STATEMENT_TYPE,
            expected,
        ):
            yield f"{folder.label(st.STATEMENT)} is not a statement of type {expected}"


def _step_3_dsse(bundle: _Bundle) -> Iterator[str]:
    for folder in bundle.everything:
        if bundle.key is None:
            yield f"{folder.label(st.ENVELOPE)}: no key to verify with"
            continue
        try:
            body = open_dsse(_bytes(folder.path / st.ENVELOPE), bundle.key, folder.label(st.ENVELOPE))
        except EvidenceError as error:
            yield str(error)
            continue
        if body != folder.body:
            yield f"{folder.label(st.STATEMENT)} is not what the envelope holds"


def _step_4_ssh(bundle: _Bundle) -> Iterator[str]:
    for folder in bundle.everything:
        if bundle.key is None:
            yield f"{folder.label(st.SIGNATURE)}: no key to verify with"
            continue
        try:
            signature = _bytes(folder.path / st.SIGNATURE)
            check_ssh_signature(signature, folder.body, bundle.key, folder.label(st.SIGNATURE))
        except EvidenceError as error:
            yield str(error)


def _step_5_digests(bundle: _Bundle) -> Iterator[str]:
    for folder in bundle.everything:
        for name, digest in folder.subjects.items():
            path = folder.path / name
            if not path.resolve().is_relative_to(folder.path.resolve()):
                yield f"{folder.label(name)} lies outside its folder"
            elif not path.is_file():
                yield f"{folder.label(name)} is missing"
            elif st.digest(path.read_bytes()) != digest:
                yield f"{folder.label(name)} was changed after it was signed"


def _step_6_unlisted(bundle: _Bundle) -> Iterator[str]:
    known = {folder.path / name for folder in bundle.everything for name in (*folder.subjects, *st.TRIO)}
    listed = {bundle.root / name for name in bundle.closing.subjects}
    for path in sorted(bundle.root.rglob("*")):
        if path.is_symlink() or (path.is_file() and path not in known):
            yield f"{path.relative_to(bundle.root)} is in no statement"
        elif path.is_file() and path not in listed and path.parent != bundle.root:
            yield f"{path.relative_to(bundle.root)} came after the run was closed"


def _step_7_order(bundle: _Bundle) -> Iterator[str]:
    previous = ""
    for place, folder in enumerate(bundle.folders, start=1):
        said = folder.predicate
        if said.get("position") != place:
            yield f"{folder.name} says it is statement {said.get('position')}; it stands where {place} should be"
        if said.get("previous_statement") != previous:
            yield f"{folder.name} does not follow from the statement before it"
        if folder.name.split(ATTEMPT)[0] != said.get("folder"):
            yield f"{folder.name} was made in {said.get('folder')}"
        previous = st.digest(folder.body)
    closing = bundle.closing.predicate
    if (closing.get("statements"), closing.get("previous_statement")) != (len(bundle.folders), previous):
        yield f"the run was closed over {closing.get('statements')} statements, here are {len(bundle.folders)}"


def _step_8_one_run(bundle: _Bundle) -> Iterator[str]:
    runs = {folder.name or "the run": _mapping(folder.predicate.get("run")) for folder in bundle.everything}
    first = next(iter(runs.values()))
    for name, run in runs.items():
        if run != first or not run:
            yield f"{name} is of run {run.get('run_id')}, plan {str(run.get('plan_digest'))[:12]}"
    summary = _json(_bytes(bundle.root / SUMMARY))
    for field in ("run_id", "plan_digest"):
        if summary.get(field) != first.get(field):
            yield f"{SUMMARY} has another {field}"


def _step_9_journal(bundle: _Bundle) -> Iterator[str]:
    try:
        entries = _entries(bundle.root)
        for folder in bundle.everything:
            verify_entries(entries, containing=str(_mapping(folder.predicate.get("journal")).get("head")))
    except RunbookError as error:
        yield str(error)


def _step_10_gates(bundle: _Bundle) -> Iterator[str]:
    try:
        entries = _entries(bundle.root)
    except RunbookError as error:
        yield str(error)
        return
    for folder in bundle.folders:
        said = folder.predicate
        known = entries[: int(_mapping(said.get("journal")).get("entries", 0))]
        recorded = History(known).phase_passed(str(said.get("phase")))
        if recorded != said.get("passed"):
            yield f"{folder.name} says passed: {said.get('passed')}, the journal says {recorded}"


def _phase_folders(root: Path) -> tuple[_Folder, ...]:
    folders = [_read_folder(path, path.name) for path in sorted(root.iterdir()) if path.is_dir()]
    return tuple(sorted(folders, key=lambda folder: (str(folder.predicate.get("position")).zfill(9), folder.name)))


def _read_folder(path: Path, name: str) -> _Folder:
    body = _bytes(path / st.STATEMENT)
    return _Folder(path, name, body, _json(body))


def _entries(root: Path) -> list[Entry]:
    entries = []
    for number, line in enumerate(_bytes(root / JOURNAL).decode(errors="replace").splitlines(), start=1):
        try:
            entry = Entry(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise EvidenceError(f"{JOURNAL}:{number}", "is not an entry of a journal") from error
        if entry.line() != line:
            raise EvidenceError(f"{JOURNAL}:{number}", "is not as the journal wrote it")
        entries.append(entry)
    return entries


def _bytes(path: Path) -> bytes:
    """A missing file is as good as an empty one: whatever needs it says what is wrong."""
    return path.read_bytes() if path.is_file() else b""


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        return _mapping(json.loads(body))
    except ValueError:
        return {}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
