"""The ed25519 key that signs the evidence: found by a reference, never by value.

A demo makes its own key under `.runbook/keys`; anything else names one: `file:PATH` or `env:NAME` (PEM or OpenSSH).
"""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from runbook_lib.errors import ConfigurationError

KEY_NAME = "evidence_ed25519.pem"
PRINCIPAL = "runbook"
NAMESPACE = "runbook-evidence"


@dataclass(frozen=True)
class VerifyingKey:
    """A public key in the forms that openssl, ssh-keygen and DSSE want."""

    public: Ed25519PublicKey

    @property
    def raw(self) -> bytes:
        return self.public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    @property
    def pem(self) -> bytes:
        """SubjectPublicKeyInfo, for `openssl pkeyutl -verify -pubin`."""
        return self.public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    @property
    def ssh_blob(self) -> bytes:
        """The key as SSH carries it: string "ssh-ed25519", string key."""
        kind = b"ssh-ed25519"
        return len(kind).to_bytes(4, "big") + kind + (32).to_bytes(4, "big") + self.raw

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` prints it: what people compare with each other."""
        digest = base64.b64encode(hashlib.sha256(self.ssh_blob).digest()).decode().rstrip("=")
        return f"SHA256:{digest}"

    @property
    def allowed_signers(self) -> bytes:
        """One line for `ssh-keygen -Y verify -f allowed_signers`, bound to our namespace."""
        blob = base64.b64encode(self.ssh_blob).decode()
        return f'{PRINCIPAL} namespaces="{NAMESPACE}" ssh-ed25519 {blob}\n'.encode()


@dataclass(frozen=True)
class SigningKey:
    """A private key; its repr shows only the fingerprint."""

    private: Ed25519PrivateKey = field(repr=False)

    @property
    def verifying(self) -> VerifyingKey:
        return VerifyingKey(self.private.public_key())


def load_key(reference: str, root: Path) -> SigningKey:
    """Load the signing key that a reference names.

    Args:
        reference: `file:PATH` (relative to root) or `env:NAME`.
        root: The folder that relative paths start from.
    Returns:
        SigningKey
    Raises:
        ConfigurationError: unknown reference, missing, readable by others, or not an unencrypted ed25519 key.
    """
    kind, _, name = reference.partition(":")
    if kind == "file":
        return _parse(_private_text(root / name), reference)
    if kind == "env" and name in os.environ:
        return _parse(os.environ[name].encode(), reference)
    observed = f"the variable {name} is not set" if kind == "env" else f"unknown kind of reference {kind!r}"
    raise ConfigurationError("signing key", observed, expected="file:PATH or env:NAME", action="correct the inventory")


def demo_key(root: Path) -> SigningKey:
    """Load the demo's own key under `root/.runbook/keys`, or make it (mode 0600)."""
    path = root / ".runbook" / "keys" / KEY_NAME
    if not path.exists():
        _create(path)
    return load_key(f"file:{path.relative_to(root)}", root)


def public_key(pem: bytes, subject: str = "public key") -> VerifyingKey:
    """Read an ed25519 public key (PEM); ConfigurationError when it is anything else."""
    try:
        key = serialization.load_pem_public_key(pem)
    except ValueError as error:
        raise ConfigurationError(subject, "is not a public key in PEM form") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigurationError(subject, "is not an ed25519 key")
    return VerifyingKey(key)


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # Written aside, then linked: two demos that start together agree on one key, and none sees half of it.
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
    try:
        os.link(aside, path)
    except FileExistsError:  # the other demo was first: its key is the one
        return
    finally:
        aside.unlink()


def _private_text(path: Path) -> bytes:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_bytes()
    except OSError as error:
        raise ConfigurationError("signing key", f"{path}: {error.strerror}", action="correct the reference") from error
    if mode & 0o077:
        observed = f"{path} may be read by others (mode {mode:04o})"
        raise ConfigurationError("signing key", observed, expected="0600", action=f"chmod 600 {path}")
    return text


def _parse(text: bytes, reference: str) -> SigningKey:
    load = serialization.load_ssh_private_key if b"OPENSSH" in text[:60] else serialization.load_pem_private_key
    try:
        key = load(text, password=None)
    except (ValueError, TypeError) as error:
        # from None: the parser's message may quote the key's text
        raise ConfigurationError(
            "signing key", f"{reference} is not an unencrypted private key ({type(error).__name__})"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError("signing key", f"{reference} is not an ed25519 key", action="ssh-keygen -t ed25519")
    return SigningKey(key)
