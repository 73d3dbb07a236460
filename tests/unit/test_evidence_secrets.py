"""No disguise that files give a secret hides it from the scan."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from fix_evidence import SECRET
from hypothesis import given, settings
from hypothesis import strategies as st

from runbook_lib.errors import EvidenceError
from runbook_lib.evidence.secrets import require_clean, scan

FORMS = {
    "as it is": SECRET,
    "json": json.dumps({"url": SECRET}),
    "json in json": json.dumps({"cell": json.dumps({"url": SECRET})}),
    "json, not ascii": json.dumps({"url": SECRET}, ensure_ascii=False),
    "html": html.escape(SECRET),
    "html, quotes kept": html.escape(SECRET, quote=False),
    "html in json": json.dumps({"text/html": html.escape(SECRET)}),
    "percent": f"postgresql://u:{quote(SECRET, safe='')}@h/db",
    "percent, lower case": quote(SECRET, safe="").lower().replace("%", "%"),
    "percent, slash kept": quote(SECRET),
    "python repr": repr({"password": SECRET}),
    "hex": SECRET.encode().hex(),
    "hex, upper case": SECRET.encode().hex().upper(),
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "base64, shifted by 1": base64.b64encode(b"x" + SECRET.encode() + b"yz").decode(),
    "base64, shifted by 2": base64.b64encode(b"xy" + SECRET.encode() + b"z").decode(),
    "basic authentication": base64.b64encode(f"user:{SECRET}".encode()).decode(),
    "url-safe base64": base64.urlsafe_b64encode(SECRET.encode()).decode(),
    "base64 in lines": base64.encodebytes(b"a long beginning of another thing " * 3 + SECRET.encode()).decode(),
    "base64 lines in json": json.dumps(base64.encodebytes(b"q" * 50 + SECRET.encode()).decode()),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_found_as(form: str, tmp_path: Path):
    path = tmp_path / "notebook.ipynb"
    path.write_text(f"before {FORMS[form]} after")
    with pytest.raises(EvidenceError) as caught:
        require_clean([path], ["another-secret", SECRET])
    assert "notebook.ipynb at byte" in str(caught.value)
    assert "nothing was signed" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_the_offset_is_that_of_the_bytes(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes("ö".encode() * 5 + SECRET.encode())
    (finding,) = [found for found in scan([path], [SECRET]) if found.form == "as it is"]
    assert finding.offset == 10


def test_clean_files_are_clean_and_counted(tmp_path: Path):
    for name in "abc":
        (tmp_path / name).write_text("nothing here but p@ss and w0rd")
    assert require_clean(tmp_path.iterdir(), [SECRET, ""]) == 3


def test_a_secret_too_short_to_search_for_is_refused(tmp_path: Path):
    with pytest.raises(EvidenceError, match="too short"):
        require_clean([], ["abc"])


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(codec="utf-8"), min_size=6, max_size=24), st.binary(max_size=7))
def test_any_secret_is_found_in_base64_after_anything(
    tmp_path_factory: pytest.TempPathFactory, secret: str, head: bytes
):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(base64.b64encode(head + secret.encode() + b"tail"))
    assert scan([path], [secret])
