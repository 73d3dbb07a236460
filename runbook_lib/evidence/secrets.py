"""Look for secret values in what is about to be signed: as they are, and in the disguises that files give them.

papermill writes parameters twice in clear text, a notebook is JSON that holds HTML, an error may print a URL: so each
value is searched raw, escaped (JSON, HTML, percent, and these inside each other), as base64 at any offset, and in hex.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

from runbook_lib.errors import EvidenceError

SHORTEST = 4  # characters: a shorter value cannot be distinguished from ordinary text


@dataclass(frozen=True)
class Finding:
    """A secret value in a file; which one is said by its number in the caller's list, never by its text."""

    path: Path
    offset: int
    form: str
    secret: int


@dataclass(frozen=True)
class _Needle:
    form: str
    secret: int
    pattern: re.Pattern[bytes] = field(repr=False)


def scan(paths: Iterable[Path], secrets: Sequence[str]) -> list[Finding]:
    """Find every secret value in every file: the first place of each form.

    Args:
        paths: Files to read whole.
        secrets: Values; empty ones are skipped.
    Returns:
        list[Finding]: offsets in bytes.
    Raises:
        EvidenceError: a value is too short to be searched for.
    """
    needles = _needles(secrets)
    found = []
    for path in sorted(paths):
        content = path.read_bytes()
        for needle in needles:
            match = needle.pattern.search(content)
            if match:
                found.append(Finding(path, match.start(), needle.form, needle.secret))
    return found


def require_clean(paths: Iterable[Path], secrets: Sequence[str]) -> int:
    """Raise unless no file holds a secret; the number of files that were read.

    Raises:
        EvidenceError: names file and offset of each finding, never the value.
    """
    files = sorted(paths)
    findings = scan(files, secrets)
    if not findings:
        return len(files)
    first = {(finding.path, finding.secret): finding for finding in reversed(findings)}.values()
    places = ", ".join(f"{f.path.name} at byte {f.offset} ({f.form})" for f in sorted(first, key=_place))
    raise EvidenceError(
        "evidence",
        f"a secret value appears in {places}",
        state="nothing was signed",
        action="remove what printed it, change that secret, and run the phase again",
    )


def _place(finding: Finding) -> tuple[Path, int]:
    return finding.path, finding.offset


def _needles(secrets: Sequence[str]) -> list[_Needle]:
    needles = []
    for number, secret in enumerate(secrets):
        if not secret:
            continue
        if len(secret) < SHORTEST:
            raise EvidenceError(
                f"secret {number + 1}",
                f"has {len(secret)} characters: too short to be searched for",
                expected=f"at least {SHORTEST}",
                action="use a longer secret",
            )
        for form, pattern in _forms(secret).items():
            needles.append(_Needle(form, number, pattern))
    return needles


def _forms(secret: str) -> dict[str, re.Pattern[bytes]]:
    texts = {"as it is": secret}
    for outer, escape in _ESCAPES.items():
        texts.setdefault(outer, escape(secret))
        for inner, first in _ESCAPES.items():
            texts.setdefault(f"{inner} in {outer}", escape(first(secret)))
    raw = secret.encode("utf-8", "surrogateescape")
    hexed = raw.hex()
    forms = {name: re.compile(re.escape(text.encode("utf-8", "surrogateescape"))) for name, text in texts.items()}
    forms["hex"] = re.compile(hexed.encode(), re.IGNORECASE)
    for name, piece in _base64_pieces(raw).items():
        # A notebook breaks base64 into lines, as real line ends or as \n inside JSON.
        gap = rb"(?:\s|\\n)*"
        forms[name] = re.compile(gap.join(re.escape(bytes([c])) for c in piece))
    return _distinct(forms)


def _distinct(forms: dict[str, re.Pattern[bytes]]) -> dict[str, re.Pattern[bytes]]:
    """Most escapes leave most secrets as they are: search each text once, under its simplest name."""
    first: dict[tuple[bytes, int], str] = {}
    for name, pattern in forms.items():
        first.setdefault((pattern.pattern, pattern.flags), name)
    return {name: forms[name] for name in first.values()}


def _base64_pieces(raw: bytes) -> dict[str, bytes]:
    """The part of the base64 text that does not depend on what stands before or after the value."""
    pieces = {}
    for shift in range(3):
        head = 0 if shift == 0 else shift + 1
        whole = (shift + len(raw)) // 3 * 4
        text = base64.b64encode(b"\0" * shift + raw)[head:whole]
        if len(text) >= SHORTEST:
            pieces[f"base64 at {shift}"] = text
            pieces[f"url-safe base64 at {shift}"] = text.translate(bytes.maketrans(b"+/", b"-_"))
    return pieces


def _json(text: str) -> str:
    return json.dumps(text)[1:-1]


def _json_unicode(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _percent(text: str) -> str:
    return quote(text, safe="")


def _percent_lower(text: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda match: match.group().lower(), _percent(text))


def _html_named(text: str) -> str:
    return html.escape(text).replace("&#x27;", "&apos;")


def _html_numbered(text: str) -> str:
    return html.escape(text).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")


def _python(text: str) -> str:
    return repr(text)[1:-1]


_ESCAPES: dict[str, Callable[[str], str]] = {
    "JSON": _json,
    "JSON, not ASCII": _json_unicode,
    "HTML": html.escape,
    "HTML, quotes kept": lambda text: html.escape(text, quote=False),
    "HTML, named": _html_named,
    "HTML, numbered": _html_numbered,
    "percent": _percent,
    "percent, lower case": _percent_lower,
    "percent, path": quote,
    "percent, form": quote_plus,
    "Python": _python,
}
