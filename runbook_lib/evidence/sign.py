"""Two signatures over the same bytes: DSSE for tools, SSHSIG for whoever has only ssh-keygen.

Opaque bytes are signed and compared, never re-serialized: whoever verifies sees exactly what was signed.

Source:
    DSSE v1 (secure-systems-lab/dsse, protocol.md); SSHSIG (openssh-portable, PROTOCOL.sshsig).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import textwrap

from cryptography.exceptions import InvalidSignature

from runbook_lib.errors import EvidenceError
from runbook_lib.evidence.keys import NAMESPACE, SigningKey, VerifyingKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_MAGIC = b"SSHSIG"
_HASH = b"sha512"
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"


def pae(body: bytes, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """The pre-authentication encoding: exactly the bytes that a DSSE signature covers."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)


def dsse(body: bytes, key: SigningKey) -> bytes:
    """Wrap and sign a statement: the envelope as it is written to disk."""
    signature = key.private.sign(pae(body))
    return _envelope(body, key.verifying.fingerprint, signature)


def open_dsse(envelope: bytes, key: VerifyingKey, name: str) -> bytes:
    """Verify an envelope and return its payload.

    Raises:
        EvidenceError: not an envelope as we write it, of another key, or the signature does not fit.
    """
    try:
        content = json.loads(envelope)
        body = base64.b64decode(content["payload"], validate=True)
        (entry,) = content["signatures"]
        signature, key_id = base64.b64decode(entry["sig"], validate=True), entry["keyid"]
    except (ValueError, KeyError, TypeError) as error:
        raise EvidenceError(name, "is not a DSSE envelope with one signature") from error
    if key_id != key.fingerprint:
        raise EvidenceError(name, "was signed by another key", expected=key.fingerprint)
    # One canonical text for one content: a changed byte in unused base64 bits or white space shows, too.
    if _envelope(body, key_id, signature) != envelope:
        raise EvidenceError(name, "holds bytes that its signature does not cover")
    _check(key, signature, pae(body), name)
    return body


def ssh_signature(body: bytes, key: SigningKey) -> bytes:
    """An armored SSHSIG over the body, for `ssh-keygen -Y verify -n runbook-evidence`."""
    return _armor(key.verifying, key.private.sign(_ssh_signed(body)))


def check_ssh_signature(armored: bytes, body: bytes, key: VerifyingKey, name: str) -> None:
    """Verify an armored SSHSIG as ssh-keygen does.

    Raises:
        EvidenceError: malformed, of another key or namespace, or the signature does not fit.
    """
    try:
        lines = armored.decode("ascii").splitlines()
        blob = base64.b64decode("".join(lines[1:-1]), validate=True)
    except (ValueError, binascii.Error) as error:
        raise EvidenceError(name, "is not an armored SSH signature") from error
    signature = blob[-64:]
    # Everything but the 64 bytes of the signature follows from key and namespace: rebuild it and compare.
    if _armor(key, signature) != armored:
        raise EvidenceError(name, "is of another key or namespace, or damaged", expected=key.fingerprint)
    _check(key, signature, _ssh_signed(body), name)


def _check(key: VerifyingKey, signature: bytes, signed: bytes, name: str) -> None:
    try:
        key.public.verify(signature, signed)
    except InvalidSignature as error:
        raise EvidenceError(name, "the signature does not fit", state="what it signs was changed") from error


def _envelope(body: bytes, key_id: str, signature: bytes) -> bytes:
    content = {
        "payload": base64.b64encode(body).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": key_id, "sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(content, indent=1).encode() + b"\n"


def _string(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


def _ssh_signed(body: bytes) -> bytes:
    digest = hashlib.sha512(body).digest()
    return _MAGIC + _string(NAMESPACE.encode()) + _string(b"") + _string(_HASH) + _string(digest)


def _armor(key: VerifyingKey, signature: bytes) -> bytes:
    inner = _string(b"ssh-ed25519") + _string(signature)
    head = _MAGIC + (1).to_bytes(4, "big") + _string(key.ssh_blob)
    blob = head + _string(NAMESPACE.encode()) + _string(b"") + _string(_HASH) + _string(inner)
    lines = textwrap.wrap(base64.b64encode(blob).decode(), 70)
    return "\n".join([_BEGIN, *lines, _END, ""]).encode()
