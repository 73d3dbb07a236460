"""Signatures that openssl and ssh-keygen verify without this library, and keys that are kept from others."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from runbook_lib.errors import ConfigurationError, EvidenceError
from runbook_lib.evidence.keys import NAMESPACE, PRINCIPAL, demo_key, load_key, public_key
from runbook_lib.evidence.sign import check_ssh_signature, dsse, open_dsse, pae, ssh_signature

BODY = b'{"_type": "https://in-toto.io/Statement/v1"}\n'


def test_the_pae_is_that_of_the_specification():
    assert pae(b"hello world", "http://example.com/HelloWorld") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_ssh_keygen_verifies_the_ssh_signature_and_refuses_another_body(tmp_path: Path):
    key = demo_key(tmp_path)
    (tmp_path / "allowed").write_bytes(key.verifying.allowed_signers)
    (tmp_path / "sig").write_bytes(ssh_signature(BODY, key))
    command = ["ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", PRINCIPAL, "-n", NAMESPACE, "-s", "sig"]
    good = subprocess.run(command, cwd=tmp_path, input=BODY, capture_output=True)
    assert good.returncode == 0, good.stderr
    assert b'Good "runbook-evidence" signature' in good.stdout
    assert subprocess.run(command, cwd=tmp_path, input=BODY + b" ", capture_output=True).returncode != 0


def test_a_signature_made_by_ssh_keygen_is_accepted_byte_for_byte(tmp_path: Path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "id"], cwd=tmp_path, check=True)
    key = load_key("file:id", tmp_path)
    (tmp_path / "body").write_bytes(BODY)
    subprocess.run(["ssh-keygen", "-Y", "sign", "-q", "-f", "id", "-n", NAMESPACE, "body"], cwd=tmp_path, check=True)
    signature = (tmp_path / "body.sig").read_bytes()
    assert signature == ssh_signature(BODY, key)
    check_ssh_signature(signature, BODY, key.verifying, "body.sig")


def test_openssl_verifies_the_envelope_with_the_commands_of_the_documentation(tmp_path: Path):
    key = demo_key(tmp_path)
    (tmp_path / "public_key.pem").write_bytes(key.verifying.pem)
    (tmp_path / "statement.json").write_bytes(BODY)
    (tmp_path / "statement.dsse.json").write_bytes(dsse(BODY, key))
    page = (Path(__file__).parents[2] / "docs" / "output.md").read_text()
    script = re.search(r"```sh\n(.*?openssl.*?)```", page, re.DOTALL).group(1)
    done = subprocess.run(["sh", "-ec", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Signature Verified Successfully" in done.stdout


def test_an_envelope_of_another_key_or_with_a_changed_byte_is_refused(tmp_path: Path):
    key, other = demo_key(tmp_path), demo_key(tmp_path / "other")
    envelope = dsse(BODY, key)
    assert open_dsse(envelope, key.verifying, "e") == BODY
    with pytest.raises(EvidenceError, match="another key"):
        open_dsse(envelope, other.verifying, "e")
    for place in range(len(envelope)):
        with pytest.raises(EvidenceError):
            open_dsse(flipped(envelope, place), key.verifying, "e")


def test_every_flipped_byte_of_an_ssh_signature_is_found(tmp_path: Path):
    key = demo_key(tmp_path)
    armored = ssh_signature(BODY, key)
    for place in range(len(armored)):
        with pytest.raises(EvidenceError):
            check_ssh_signature(flipped(armored, place), BODY, key.verifying, "s")


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def test_the_demo_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path):
    first, again = demo_key(tmp_path), demo_key(tmp_path)
    path = tmp_path / ".runbook" / "keys" / "evidence_ed25519.pem"
    assert first.verifying.raw == again.verifying.raw
    assert path.stat().st_mode & 0o777 == 0o600
    assert "private" not in repr(first)
    assert [child.name for child in path.parent.iterdir()] == [path.name]


def test_a_key_that_others_may_read_is_refused(tmp_path: Path):
    demo_key(tmp_path)
    path = tmp_path / ".runbook" / "keys" / "evidence_ed25519.pem"
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        demo_key(tmp_path)


def test_a_key_comes_from_the_environment_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    key = demo_key(tmp_path)
    text = (tmp_path / ".runbook" / "keys" / "evidence_ed25519.pem").read_text()
    monkeypatch.setitem(os.environ, "EVIDENCE_KEY", text)
    assert load_key("env:EVIDENCE_KEY", tmp_path).verifying.fingerprint == key.verifying.fingerprint


@pytest.mark.parametrize(
    ("reference", "observed"),
    [("env:NO_SUCH", "is not set"), ("vault:x", "unknown kind"), ("file:missing", "No such file")],
)
def test_a_wrong_reference_is_named(tmp_path: Path, reference: str, observed: str):
    with pytest.raises(ConfigurationError, match=observed):
        load_key(reference, tmp_path)


def test_what_is_not_a_key_is_refused_without_showing_it(tmp_path: Path):
    (tmp_path / "key").write_text("-----BEGIN PRIVATE KEY-----\nhunter2hunter2\n-----END PRIVATE KEY-----\n")
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(ConfigurationError) as caught:
        load_key("file:key", tmp_path)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__
    with pytest.raises(ConfigurationError, match="not a public key"):
        public_key(b"nothing")
